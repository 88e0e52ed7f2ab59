// The LSTM: c' = f c + i g, h' = o tanh(c'), gates i, f, g, o.
#pragma once
#include "../unit.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

struct Lstm : Usual {
  static constexpr int64_t kLstm = 3;
  static bool runs(const Problem& p) { return p.kind == kLstm; }
  static constexpr int kSums = 4, kWeights = 4, kBlock = 1, kSaved = 4, kGates = 4;
  static constexpr int of_input[kWeights] = {0, 1, 2, 3}, of_state[kWeights] = {0, 1, 2, 3};
  static constexpr bool kCell = true;

  template <class S, class T, class V>
  static JRNN_INLINE V activate(int64_t, UnitSums<T> z, V, V& c, Kept<T, T> kept, Shares<T>) {
    const V in = sigmoid<T>(z[0]), forget = sigmoid<T>(z[1]), cell = tanh<T>(z[2]), out = sigmoid<T>(z[3]);
    kept.save(0, in), kept.save(1, forget), kept.save(2, cell), kept.save(3, out);
    c = forget * c + in * cell;
    return out * tanh<T>(c);
  }
  template <class T, class V, class S, class O>
  static JRNN_INLINE V slope(int64_t, V dh, V& dc, Kept<T, const T> kept, const S*, V, V c, Slopes<T, O> dz,
                             Shares<T>) {
    const V in = kept[0], forget = kept[1], cell = kept[2], out = kept[3], squashed = tanh<T>(forget * c + in * cell);
    const V inner = dc + dh * out * (T(1) - squashed * squashed);
    dz.put(0, inner * cell * in * (T(1) - in));
    dz.put(1, inner * c * forget * (T(1) - forget));
    dz.put(2, inner * in * (T(1) - cell * cell));
    dz.put(3, dh * squashed * out * (T(1) - out));
    dc = inner * forget;
    return V{};
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
