// The GRU that resets before the product: r and z first, then n over [x, r h], which needs r of all units.
#pragma once
#include "../unit.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

struct GruBefore : Usual {
  static constexpr int64_t kGruBefore = 5;
  static bool runs(const Problem& p) { return p.kind == kGruBefore; }
  static constexpr int kSums = 2, kWeights = 2, kBlock = 2, kSaved = 3, kGates = 3;
  static constexpr int of_input[kWeights] = {0, 1}, of_state[kWeights] = {0, 1};
  static constexpr bool kTwice = true;

  // r h; c carries z to the second product.
  template <class S, class T, class V>
  static JRNN_INLINE V activate(int64_t, UnitSums<T> z, V before, V& c, Kept<T, T> kept, Shares<T>) {
    const V reset = sigmoid<T>(z[0]);
    c = sigmoid<T>(z[1]);
    kept.save(0, reset), kept.save(1, c);
    return rounded<S>(reset * before);
  }
  // dz of z and of n; that of r follows from dn.
  template <class T, class V, class S, class O>
  static JRNN_INLINE V slope(int64_t, V dh, V&, Kept<T, const T> kept, const S*, V before, V, Slopes<T, O> dz,
                             Shares<T>) {
    const V update = kept[1], candidate = kept[2];
    dz.put_second(dh * (T(1) - update) * (T(1) - candidate * candidate));
    dz.put(1, dh * (before - candidate) * update * (T(1) - update));
    return dh * update;
  }

  struct Second : Usual {  // n
    static constexpr int kSums = 1, kWeights = 1, kBlock = 4, kGates = 3;
    static constexpr int of_input[kWeights] = {2}, of_state[kWeights] = {2};

    template <class S, class T, class V>
    static JRNN_INLINE V activate(int64_t, UnitSums<T> z, V before, V& c, Kept<T, T> kept, Shares<T>) {
      const V candidate = tanh<T>(z[0]);
      kept.save(2, candidate);
      return (T(1) - c) * candidate + c * before;
    }
  };
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
