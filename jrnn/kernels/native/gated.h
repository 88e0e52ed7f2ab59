// The gated linear recurrence h' = a h + b, elementwise, forwards and backwards: a and b are its inputs.
#pragma once
#include "parallel.h"
#include "rows.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kGated = 6, kComplex = 7;
constexpr int64_t kUnitsOfThread = 1 << 14;  // units x steps x rows below which waking threads costs more than it saves

// Some rows and units of one group. P = 1: real numbers; P = 2: complex ones, their parts h (real) and c (imaginary).
// xs [T, B, 2 P H]: the parts of a, then those of b; in the wide type, since 16 bits do not resolve an a close to 1.
template <int P, class S>
struct Gated : Sequences {
  using T = Wide<S>;
  using V = Vector<T>;
  static constexpr int64_t L = kLanes<T>;
  struct Parts {  // of a number
    V of[P];
  };

  using Operands = std::array<Operand, P>;
  static Operands parts(const Operand& h, const Operand& c) {
    if constexpr (P == 1) {
      return {h};
    } else {
      return {h, c};
    }
  }

  int64_t from, units;  // the units from..from + units - 1
  int64_t h = p.units, wide = (units + L - 1) / L * L;

  // f(where a number is in scratch, its first unit, how many units follow) for the vectors of a row.
  template <class F>
  JRNN_INLINE void each(int64_t row, F&& f) const {
    for (int64_t i = 0; i < units; i += L) f(row * P * wide + i, from + i, units - i);
  }
  JRNN_INLINE Parts read(const T* scratch, int64_t here) const {
    Parts v;
    JRNN_UNROLL for (int q = 0; q < P; ++q) v.of[q] = load(scratch + here + q * wide);
    return v;
  }
  JRNN_INLINE void write(T* scratch, int64_t here, const Parts& v) const {
    JRNN_UNROLL for (int q = 0; q < P; ++q) store(scratch + here + q * wide, v.of[q]);
  }
  JRNN_INLINE Parts read(const Operands& arrays, int64_t there, int64_t n) const {
    Parts v;
    JRNN_UNROLL for (int q = 0; q < P; ++q) v.of[q] = arrays[q] ? load(arrays[q].template of<S>(g) + there, n) : V{};
    return v;
  }
  JRNN_INLINE void write(const Operands& arrays, int64_t there, const Parts& v, int64_t n) const {
    JRNN_UNROLL for (int q = 0; q < P; ++q)
      if (arrays[q]) store(arrays[q].template of<S>(g) + there, v.of[q], n);
  }
  // The parts of a (which = 0) or b (1) in an array like xs.
  JRNN_INLINE T* number(const Operand& xs, int64_t t, int64_t row, int64_t unit, int which) const {
    return xs.of<T>(g) + at(t, row, 2 * P * h) + which * P * h + unit;
  }
  JRNN_INLINE Parts input(int64_t t, int64_t row, int64_t unit, int which, int64_t n) const {
    const T* there = number(p.xs, t, row, unit, which);
    Parts v;
    JRNN_UNROLL for (int q = 0; q < P; ++q) v.of[q] = load(there + q * h, n);
    return v;
  }

  void forward() const {
    const Operands start = parts(p.h0, p.c0);
    const Operands reset_state = parts(p.reset_h, p.reset_c);
    const Operands tap = parts(p.tap_h, p.tap_c);
    const Operands all = parts(p.hs, p.cs);
    const Operands last = parts(p.last_h, p.last_c);
    Scratch<T> state(rows * P * wide);
    for (int64_t r = 0; r < rows; ++r)
      each(r, [&](int64_t here, int64_t unit, int64_t n) { write(state, here, read(start, at(r, h) + unit, n)); });
    for (int64_t s = 0; s < p.steps; ++s) {
      const int64_t t = time(s);
      for (int64_t r = 0; r < rows; ++r) {
        const bool reset = flag(p.resets, t, r), held = !happens(t, r), tapped = tap[0] && inside(t, r);
        each(r, [&](int64_t here, int64_t unit, int64_t n) {
          Parts v = reset ? read(reset_state, at(r, h) + unit, n) : read(state, here);
          if (!held) {
            const Parts a = input(t, r, unit, 0, n), b = input(t, r, unit, 1, n), before = v;
            if constexpr (P == 1) {
              v.of[0] = rounded<S>(a.of[0] * before.of[0] + b.of[0]);
            } else {
              v.of[0] = rounded<S>(a.of[0] * before.of[0] - a.of[1] * before.of[1] + b.of[0]);
              v.of[1] = rounded<S>(a.of[1] * before.of[0] + a.of[0] * before.of[1] + b.of[1]);
            }
          }
          if (tapped) {
            const Parts more = read(tap, at(t, r, h) + unit, n);
            JRNN_UNROLL for (int q = 0; q < P; ++q) v.of[q] = rounded<S>(v.of[q] + more.of[q]);
          }
          write(state, here, v), write(all, at(t, r, h) + unit, v, n);
        });
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      each(r, [&](int64_t here, int64_t unit, int64_t n) { write(last, at(r, h) + unit, read(state, here), n); });
  }

  // delta of the state before is conj(a) delta; of a it is conj(h) delta, of b delta.
  void backward() const {
    const Operands start = parts(p.h0, p.c0);
    const Operands reset_state = parts(p.reset_h, p.reset_c);
    const Operands all = parts(p.hs, p.cs);
    const Operands g_all = parts(p.g_hs, p.g_cs);
    const Operands g_last = parts(p.g_last_h, p.g_last_c);
    const Operands d_tap = parts(p.d_tap_h, p.d_tap_c);
    const Operands d_start = parts(p.d_h0, p.d_c0);
    const Operands d_reset_state = parts(p.d_reset_h, p.d_reset_c);
    Scratch<T> deltas(rows * P * wide), to_reset_state(rows * P * wide, T(0));
    for (int64_t r = 0; r < rows; ++r)
      each(r, [&](int64_t here, int64_t unit, int64_t n) { write(deltas, here, read(g_last, at(r, h) + unit, n)); });
    for (int64_t s = p.steps - 1; s >= 0; --s) {
      const int64_t t = time(s);
      for (int64_t r = 0; r < rows; ++r) {
        const bool reset = flag(p.resets, t, r), cut = flag(p.cuts, t, r), held = !happens(t, r), open = inside(t, r);
        const Operands& entered = reset ? reset_state : s ? all : start;
        const int64_t line = reset || !s ? at(r, h) : at(time(s - 1), r, h);
        each(r, [&](int64_t here, int64_t unit, int64_t n) {
          Parts delta = read(deltas, here);
          const Parts more = read(g_all, at(t, r, h) + unit, n);
          JRNN_UNROLL for (int q = 0; q < P; ++q) delta.of[q] += more.of[q];
          write(d_tap, at(t, r, h) + unit, open ? delta : Parts{}, n);  // padding is held: nothing can be added there
          const Parts now = held ? Parts{} : delta;
          if (p.d_xs) {
            const Parts before = held ? Parts{} : read(entered, line + unit, n);
            T *of_a = number(p.d_xs, t, r, unit, 0), *of_b = number(p.d_xs, t, r, unit, 1);
            if constexpr (P == 1) {
              store(of_a, now.of[0] * before.of[0], n);
            } else {
              store(of_a, now.of[0] * before.of[0] + now.of[1] * before.of[1], n);
              store(of_a + h, now.of[1] * before.of[0] - now.of[0] * before.of[1], n);
            }
            JRNN_UNROLL for (int q = 0; q < P; ++q) store(of_b + q * h, now.of[q], n);
          }
          if (!held) {
            const Parts a = input(t, r, unit, 0, n);
            if constexpr (P == 1) {
              delta.of[0] = a.of[0] * now.of[0];
            } else {
              delta.of[0] = a.of[0] * now.of[0] + a.of[1] * now.of[1];
              delta.of[1] = a.of[0] * now.of[1] - a.of[1] * now.of[0];
            }
          }
          if (reset) {
            Parts sum = read(to_reset_state, here);
            JRNN_UNROLL for (int q = 0; q < P; ++q) sum.of[q] += delta.of[q];
            write(to_reset_state, here, sum);
          }
          write(deltas, here, reset || cut ? Parts{} : delta);
        });
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      each(r, [&](int64_t here, int64_t unit, int64_t n) {
        write(d_start, at(r, h) + unit, read(deltas, here), n);
        write(d_reset_state, at(r, h) + unit, read(to_reset_state, here), n);
      });
  }
};

// Rows are independent, and so are units: whichever gives every thread a share.
template <int P, class S>
void solve_gated(const Problem& p, Parallel parallel) {
  if (p.groups * p.steps * p.rows * p.units < kUnitsOfThread) parallel.threads = 1;
  const int64_t each = (parallel.threads + p.groups - 1) / p.groups, vectors = p.units / kLanes<Wide<S>>;
  const bool by_rows = p.rows >= each;
  const int64_t pieces = by_rows ? each : std::clamp<int64_t>(each, 1, std::max<int64_t>(1, vectors));
  run(parallel, p.groups * pieces, [&](int64_t i) {
    const int64_t g = i / pieces, piece = i % pieces;
    auto cut = [&](int64_t n) { return n == pieces ? p.units : vectors * n / pieces * kLanes<Wide<S>>; };
    auto share = [&](int64_t n) { return p.rows * n / pieces; };
    const int64_t begin = by_rows ? share(piece) : 0, end = by_rows ? share(piece + 1) : p.rows;
    const int64_t from = by_rows ? 0 : cut(piece), to = by_rows ? p.units : cut(piece + 1);
    const Gated<P, S> gated{{p, g, begin, end - begin}, from, to - from};
    p.backward ? gated.backward() : gated.forward();
  });
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
