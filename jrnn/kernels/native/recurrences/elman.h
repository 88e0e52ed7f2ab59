// h' = f(z), f tanh, relu or the identity; and its leaky kind, sigmoid(-theta) h + sigmoid(theta) f(z).
#pragma once
#include "../unit.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

struct Elman : Usual {
  static constexpr int64_t kTanh = 0, kRelu = 1, kIdentity = 2;
  static bool runs(const Problem& p) { return p.kind <= kIdentity && !p.theta; }
  static constexpr int kSums = 1, kWeights = 1, kBlock = 4, kSaved = 1, kGates = 1;
  static constexpr int of_input[kWeights] = {0}, of_state[kWeights] = {0};
  static constexpr bool kSlopeOfState = true;

  template <class S, class T, class V>
  static JRNN_INLINE V activate(int64_t kind, UnitSums<T> z, V, V&, Kept<T, T> kept, Shares<T>) {
    V value = z[0];
    if (kind == kTanh) value = tanh<T>(value);
    if (kind == kRelu) value = value < T(0) ? V{} : value;
    kept.save(0, value);
    return value;
  }
  template <class T, class V, class S, class O>
  static JRNN_INLINE V slope(int64_t kind, V dh, V&, Kept<T, const T> kept, const S* h_now, V, V, Slopes<T, O> dz,
                             Shares<T>) {
    const V value = kept.of ? kept[0] : load(h_now, kept.n);
    if (kind == kTanh) dh = dh * (T(1) - value * value);
    if (kind == kRelu) dh = value > T(0) ? dh : V{};
    dz.put(0, dh);
    return V{};
  }
};

struct Leaky : Elman {
  static bool runs(const Problem& p) { return p.kind <= kIdentity && p.theta; }
  static constexpr bool kLeaks = true, kSlopeOfState = false;

  template <class S, class T, class V>
  static JRNN_INLINE V activate(int64_t kind, UnitSums<T> z, V before, V& c, Kept<T, T> kept, Shares<T> shares) {
    const V value = Elman::activate<S>(kind, z, before, c, kept, shares);
    return shares.old() * before + shares.fresh() * value;
  }
  // dc becomes delta of sigmoid(theta).
  template <class T, class V, class S, class O>
  static JRNN_INLINE V slope(int64_t kind, V dh, V& dc, Kept<T, const T> kept, const S* h_now, V before, V c,
                             Slopes<T, O> dz, Shares<T> shares) {
    dc = dh * (kept[0] - before);
    Elman::slope(kind, dh * shares.fresh(), dc, kept, h_now, before, c, dz, shares);
    return dh * shares.old();
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
