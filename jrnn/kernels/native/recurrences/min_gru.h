// The minimal GRU, h' = (1 - z) h + z n, z and n of x alone; n as it is, its tanh, or positive. The slopes are kept.
#pragma once
#include "../unit.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

struct MinGru : Usual {
  static constexpr int64_t kMinGru = 8, kMinGruTanh = 9, kMinGruPositive = 10;
  static bool runs(const Problem& p) { return kMinGru <= p.kind && p.kind <= kMinGruPositive; }
  static constexpr int kSums = 2, kWeights = 2, kBlock = 2, kSaved = 3, kGates = 2;
  static constexpr int of_input[kWeights] = {0, 1}, of_state[kWeights] = {0, 1};
  static constexpr bool kRecurrent = false;

  template <class S, class T, class V>
  static JRNN_INLINE V activate(int64_t kind, UnitSums<T> z, V before, V&, Kept<T, T> kept, Shares<T>) {
    const V update = z[0], stay = sigmoid<T>(-update), take = sigmoid<T>(update);  // both keep all digits
    V candidate = z[1], steep = take;  // take times the candidate's slope
    if (kind == kMinGruTanh) {
      candidate = tanh<T>(candidate), steep = take * (T(1) - candidate * candidate);
    } else if (kind == kMinGruPositive) {
      const V low = sigmoid<T>(candidate);
      steep = candidate >= T(0) ? take : take * low * (T(1) - low);
      candidate = candidate >= T(0) ? candidate + T(0.5) : low;
    }
    const V after = stay * before + take * candidate;
    kept.save(0, stay), kept.save(1, take * stay * (candidate - before)), kept.save(2, steep);
    return after;
  }
  template <class T, class V, class S, class O>
  static JRNN_INLINE V slope(int64_t, V dh, V&, Kept<T, const T> kept, const S*, V, V, Slopes<T, O> dz, Shares<T>) {
    dz.put(0, dh * kept[1]), dz.put(1, dh * kept[2]);
    return dh * kept[0];
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
