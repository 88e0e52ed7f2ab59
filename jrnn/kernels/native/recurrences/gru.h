// The GRU that resets after the product, gates r, z, n: sums of n from x, of r, of z, of n from h.
#pragma once
#include "../unit.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

struct Gru : Usual {
  static constexpr int64_t kGru = 4;
  static bool runs(const Problem& p) { return p.kind == kGru; }
  static constexpr int kSums = 4, kWeights = 3, kState = 1, kBlock = 1, kSaved = 4, kGates = 3;
  static constexpr int of_input[kWeights] = {2, 0, 1}, of_state[kWeights] = {0, 1, 2};
  static constexpr bool kOwnBias = true;

  template <class S, class T, class V>
  static JRNN_INLINE V activate(int64_t, UnitSums<T> z, V before, V&, Kept<T, T> kept, Shares<T>) {
    const V reset = sigmoid<T>(z[1]), update = sigmoid<T>(z[2]), inner = z[3],
            candidate = tanh<T>(z[0] + reset * inner);
    kept.save(0, reset), kept.save(1, update), kept.save(2, candidate), kept.save(3, inner);
    return (T(1) - update) * candidate + update * before;
  }
  template <class T, class V, class S, class O>
  static JRNN_INLINE V slope(int64_t, V dh, V&, Kept<T, const T> kept, const S*, V before, V, Slopes<T, O> dz,
                             Shares<T>) {
    const V reset = kept[0], update = kept[1], candidate = kept[2], inner = kept[3];
    const V dn = dh * (T(1) - update) * (T(1) - candidate * candidate);
    dz.put(0, dn);
    dz.put(1, dn * inner * reset * (T(1) - reset));
    dz.put(2, dh * (before - candidate) * update * (T(1) - update));
    dz.put(3, dn * reset);
    return dh * update;
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
