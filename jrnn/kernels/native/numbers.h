// Numbers and vectors of them: storage types, loads and stores with tails, exp, sigmoid and tanh.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#define JRNN_INLINE inline __attribute__((always_inline))
#define JRNN_COLD __attribute__((noinline, cold))  // inlined, a tail would keep vectors of the whole loop in memory

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kBytes = JRNN_VECTOR_BYTES;
template <class T>
constexpr int64_t kLanes = kBytes / int64_t(sizeof(T));

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

// ---- numbers -------------------------------------------------------------------------------------------------------

struct Bfloat16 {
  uint16_t bits;
};

JRNN_INLINE float widen(Bfloat16 x) {
  uint32_t bits = uint32_t(x.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}
JRNN_INLINE float widen(float x) { return x; }
JRNN_INLINE double widen(double x) { return x; }

template <class S>
using Wide = decltype(widen(S{}));

template <class S>
JRNN_INLINE S narrow(Wide<S> x) {
  if constexpr (std::is_same_v<S, Bfloat16>) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if (x != x) return {uint16_t((bits >> 16) | 0x40)};
    return {uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};  // to nearest, ties to even
  } else {
    return x;
  }
}

// What products take of S: the machine's own pairs of bfloat16 where it multiplies those, wide numbers elsewhere.
// The pairs' instruction takes numbers below 2^-126 for zero and rounds to even whatever the thread's mode says.
#if defined(JRNN_PAIRS)  // set by the build, not by what a compiler's flags happen to allow
constexpr bool kHasPairs = true;
static_assert(kBytes == 64, "pairs of bfloat16 are multiplied in vectors of 64 bytes");
#else
constexpr bool kHasPairs = false;
#endif
template <class S>
using Factor = std::conditional_t<kHasPairs && std::is_same_v<S, Bfloat16>, S, Wide<S>>;
template <class O>
constexpr int64_t kDepth = std::is_same_v<O, Bfloat16> ? 2 : 1;  // terms of a sum that one instruction adds
template <class O>
constexpr int64_t deep(int64_t count) {
  return (count + kDepth<O> - 1) / kDepth<O> * kDepth<O>;
}

template <class O, class S>
JRNN_INLINE O as(S x) {
  if constexpr (std::is_same_v<O, S>) {
    return x;
  } else if constexpr (std::is_same_v<O, Wide<S>>) {
    return widen(x);
  } else {
    return narrow<O>(x);
  }
}

// bfloat16 a vector at a time, as the lower halves of words.
typedef uint32_t Words __attribute__((vector_size(kBytes)));
typedef uint16_t Halves __attribute__((vector_size(kBytes / 2)));

JRNN_INLINE Vector<float> widen_all(Words halves) {
  Vector<float> v;
  halves <<= 16;
  std::memcpy(&v, &halves, sizeof v);
  return v;
}
JRNN_INLINE Words narrow_all(Vector<float> v) {
  Words bits;
  std::memcpy(&bits, &v, sizeof bits);
  const Words near = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return v != v ? (bits >> 16) | 0x40 : near;
}

template <class S, class T = Wide<S>>
JRNN_COLD Vector<T> load_tail(const S* from, int64_t count) {
  Vector<T> v{};
  for (int64_t i = 0; i < count; ++i) v[i] = widen(from[i]);
  return v;
}
template <class S, class T = Wide<S>>
JRNN_INLINE Vector<T> load(const S* from, int64_t count = kLanes<T>) {
  if (count >= kLanes<T>) {
    Vector<T> v;
    if constexpr (std::is_same_v<S, T>) {
      std::memcpy(&v, from, sizeof v);
      return v;
    } else {
      Halves halves;
      std::memcpy(&halves, from, sizeof halves);
      return widen_all(__builtin_convertvector(halves, Words));
    }
  }
  return load_tail<S, T>(from, count);
}

template <class S, class T = Wide<S>>
JRNN_COLD void store_tail(S* to, Vector<T> v, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = narrow<S>(v[i]);
}
template <class S, class T = Wide<S>>
JRNN_INLINE void store(S* to, Vector<T> v, int64_t count = kLanes<T>) {
  if (count >= kLanes<T>) {
    if constexpr (std::is_same_v<S, T>) {
      std::memcpy(to, &v, sizeof v);
    } else {
      const Halves halves = __builtin_convertvector(narrow_all(v), Halves);
      std::memcpy(to, &halves, sizeof halves);
    }
    return;
  }
  store_tail<S, T>(to, v, count);
}

// v as it comes back from an array of S.
template <class S, class T = Wide<S>>
JRNN_INLINE Vector<T> rounded(Vector<T> v) {
  if constexpr (!std::is_same_v<S, T>) return widen_all(narrow_all(v));
  return v;
}

// Zero in the lanes beyond the last unit: zero weights times an infinite input would leave NaN there.
template <class T>
JRNN_COLD Vector<T> first_tail(Vector<T> v, int64_t count) {
  for (int64_t i = std::max<int64_t>(count, 0); i < kLanes<T>; ++i) v[i] = 0;
  return v;
}
template <class T>
JRNN_INLINE Vector<T> first(Vector<T> v, int64_t count) {
  return count >= kLanes<T> ? v : first_tail<T>(v, count);
}

// ---- exp, sigmoid, tanh --------------------------------------------------------------------------------------------

template <class T>
struct Exp;
template <>
struct Exp<float> {
  using Int = int32_t;
  static constexpr int mantissa = 23, bias = 127, degree = 7;
  static constexpr float round = 12582912.f, low = -88.f, high_ln2 = 0.693359375f, low_ln2 = -2.12194440e-4f;
};
template <>
struct Exp<double> {
  using Int = int64_t;
  static constexpr int mantissa = 52, bias = 1023, degree = 13;
  static constexpr double round = 6755399441055744., low = -709.4, high_ln2 = 6.93145751953125e-1,
                          low_ln2 = 1.42860682030941723212e-6;
};

// exp = s (1 + p); a pair of the standard's changed how ARM passes it, and compilers say so.
template <class T>
struct ExpParts {
  Vector<T> s, p;
};

// y <= 0 -> (s, p) with exp(y) = s (1 + p), s = 2^n, p = expm1(r), |r| <= ln(2) / 2; s = 0 where exp(y) underflows.
// Comparisons are written so that NaN passes.
template <class T>
JRNN_INLINE ExpParts<T> exp_parts(Vector<T> y) {
  using E = Exp<T>;
  typedef typename E::Int I __attribute__((vector_size(kBytes)));
  y = y < E::low ? Vector<T>{} + E::low : y;
  Vector<T> shifted = y * T(1.44269504088896340736) + E::round;
  Vector<T> n = shifted - E::round;
  Vector<T> r = y - n * E::high_ln2;
  r = r - n * E::low_ln2;
  T factorial[E::degree + 1] = {1};
  for (int k = 1; k <= E::degree; ++k) factorial[k] = factorial[k - 1] * T(k);
  // two terms at a time (Estrin): half as long a chain of products that wait for each other
  const Vector<T> squared = r * r;
  auto pair = [&](int k) { return r * (T(1) / factorial[k + 1]) + T(1) / factorial[k]; };
  Vector<T> q = pair(E::degree - 1);
  for (int k = E::degree - 3; k >= 2; k -= 2) q = q * squared + pair(k);
  Vector<T> p = r + squared * q;
  I exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  typename E::Int base;
  T zero = E::round;
  std::memcpy(&base, &zero, sizeof base);
  exponent = (exponent - (base - E::bias)) << E::mantissa;
  Vector<T> s;
  std::memcpy(&s, &exponent, sizeof s);
  return {s, p};
}

// The magnitude of x with the sign of `of`.
template <class T>
JRNN_INLINE Vector<T> with_sign(Vector<T> x, Vector<T> of) {
  typedef typename Exp<T>::Int I __attribute__((vector_size(kBytes)));
  const I sign = I{} + std::numeric_limits<typename Exp<T>::Int>::min();
  I bits, from;
  std::memcpy(&bits, &x, sizeof bits), std::memcpy(&from, &of, sizeof from);
  bits = (bits & ~sign) | (from & sign);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <class T>
JRNN_INLINE Vector<T> sigmoid(Vector<T> x) {
  auto [s, p] = exp_parts<T>(with_sign<T>(x, Vector<T>{} - T(1)));
  Vector<T> t = s * p + s;
  return (x >= T(0) ? Vector<T>{} + T(1) : t) / (t + T(1));
}

template <class T>
JRNN_INLINE Vector<T> tanh(Vector<T> x) {
  auto [s, p] = exp_parts<T>(with_sign<T>(x, Vector<T>{} - T(1)) * T(2));
  Vector<T> e = s * p + (s - T(1));
  return with_sign<T>(e / (e + T(2)), x);
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
