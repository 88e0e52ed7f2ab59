// The gates of each cell from their sums, and their slopes. Of MinGru the slopes themselves are saved.
#pragma once
#include "panels.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

// A unit's vector of gates from its sums z (q-th at z + q * width): returns the new h, changes c in place, and stores
// what the backward pass needs in `saved` [kSaved][h]. Of GruBefore it returns r h, and c carries z to GruCandidate; of
// Leaky, `leak` holds the unit's shares of the old state and, `padded` further, of what is new.
template <class Part, class S, class T = Wide<S>, class V = Vector<T>>
JRNN_INLINE V activate(Kind kind, const T* z, int64_t width, V before, V& c, T* saved, int64_t h, int64_t n,
                       const T* leak, int64_t padded) {
  auto save = [&](int q, V v) {
    if (saved) store(saved + q * h, v, n);
  };
  if constexpr (std::is_same_v<Part, Lstm>) {
    const V in = sigmoid<T>(load(z)), forget = sigmoid<T>(load(z + width)), cell = tanh<T>(load(z + 2 * width)),
            out = sigmoid<T>(load(z + 3 * width));
    save(0, in), save(1, forget), save(2, cell), save(3, out);
    c = forget * c + in * cell;
    return out * tanh<T>(c);
  } else if constexpr (std::is_same_v<Part, GruBefore>) {
    const V reset = sigmoid<T>(load(z));
    c = sigmoid<T>(load(z + width));
    save(0, reset), save(1, c);
    return rounded<S>(reset * before);
  } else if constexpr (std::is_same_v<Part, GruCandidate>) {
    const V candidate = tanh<T>(load(z));
    save(2, candidate);
    return (T(1) - c) * candidate + c * before;
  } else if constexpr (std::is_same_v<Part, Gru>) {
    const V reset = sigmoid<T>(load(z + width)), update = sigmoid<T>(load(z + 2 * width)), inner = load(z + 3 * width),
            candidate = tanh<T>(load(z) + reset * inner);
    save(0, reset), save(1, update), save(2, candidate), save(3, inner);
    return (T(1) - update) * candidate + update * before;
  } else if constexpr (std::is_same_v<Part, MinGru>) {
    const V update = load(z), stay = sigmoid<T>(-update), take = sigmoid<T>(update);  // both keep all digits
    V candidate = load(z + width), steep = take;  // take times the candidate's slope
    if (kind == Kind::kMinGruTanh) {
      candidate = tanh<T>(candidate), steep = take * (T(1) - candidate * candidate);
    } else if (kind == Kind::kMinGruPositive) {
      const V low = sigmoid<T>(candidate);
      steep = candidate >= T(0) ? take : take * low * (T(1) - low);
      candidate = candidate >= T(0) ? candidate + T(0.5) : low;
    }
    const V after = stay * before + take * candidate;
    save(0, stay), save(1, take * stay * (candidate - before)), save(2, steep);
    return after;
  } else {
    V value = load(z);
    if (kind == Kind::kTanh) value = tanh<T>(value);
    if (kind == Kind::kRelu) value = value < T(0) ? V{} : value;
    save(0, value);
    if constexpr (kLeaks<Part>) return load(leak) * before + load(leak + padded) * value;
    return value;
  }
}

// dz (q-th at dz + q * width) from delta of h and of c; returns what passes to the state before without dz, changes dc.
// Of GruBefore it finds dz of z, and of n in `dn`; that of r follows from dn. Of Leaky, dc becomes delta of
// sigmoid(theta).
template <class C, class S, class O, class T = Wide<S>, class V = Vector<T>>
JRNN_INLINE V slope(Kind kind, V dh, V& dc, const T* saved, const S* h_now, V before, V c, O* dz, int64_t width, O* dn,
                    int64_t h, int64_t n, const T* leak, int64_t padded) {
  auto put = [&](int q, V v) { store(dz + q * width, first<T>(v, n)); };
  auto gate = [&](int q) { return load(saved + q * h, n); };
  if constexpr (std::is_same_v<C, Lstm>) {
    const V in = gate(0), forget = gate(1), cell = gate(2), out = gate(3), squashed = tanh<T>(forget * c + in * cell);
    const V inner = dc + dh * out * (T(1) - squashed * squashed);
    put(0, inner * cell * in * (T(1) - in));
    put(1, inner * c * forget * (T(1) - forget));
    put(2, inner * in * (T(1) - cell * cell));
    put(3, dh * squashed * out * (T(1) - out));
    dc = inner * forget;
    return V{};
  } else if constexpr (std::is_same_v<C, Gru>) {
    const V reset = gate(0), update = gate(1), candidate = gate(2), inner = gate(3);
    const V dn = dh * (T(1) - update) * (T(1) - candidate * candidate);
    put(0, dn);
    put(1, dn * inner * reset * (T(1) - reset));
    put(2, dh * (before - candidate) * update * (T(1) - update));
    put(3, dn * reset);
    return dh * update;
  } else if constexpr (kTwice<C>) {
    const V update = gate(1), candidate = gate(2);
    store(dn, first<T>(dh * (T(1) - update) * (T(1) - candidate * candidate), n));
    put(1, dh * (before - candidate) * update * (T(1) - update));
    return dh * update;
  } else if constexpr (std::is_same_v<C, MinGru>) {
    put(0, dh * gate(1)), put(1, dh * gate(2));
    return dh * gate(0);
  } else {
    const V value = saved ? gate(0) : load(h_now, n);
    V held{};
    if constexpr (kLeaks<C>) {
      dc = dh * (value - before);
      held = dh * load(leak);
      dh *= load(leak + padded);
    }
    if (kind == Kind::kTanh) dh = dh * (T(1) - value * value);
    if (kind == Kind::kRelu) dh = value > T(0) ? dh : V{};
    put(0, dh);
    return held;
  }
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
