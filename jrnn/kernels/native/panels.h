// The products of each cell, and how their weights are packed into panels.
#pragma once
#include <vector>

#include "problem.h"
#include "product.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

// ---- cells ----
// A product over [x, h] has Q sums a unit; the inputs feed P of them from kInput on, the states P from kState on.

struct Elman {
  static constexpr int Q = 1, P = 1, kInput = 0, kState = 0, kBlock = 4, kKept = 1, kGates = 1;
  static constexpr int of_input[P] = {0}, of_state[P] = {0};
  static constexpr bool kCell = false, kOwnBias = false;
};
struct Lstm {
  static constexpr int Q = 4, P = 4, kInput = 0, kState = 0, kBlock = 1, kKept = 4, kGates = 4;
  static constexpr int of_input[P] = {0, 1, 2, 3}, of_state[P] = {0, 1, 2, 3};
  static constexpr bool kCell = true, kOwnBias = false;
};
struct Gru {  // n from x, r, z, n from h
  static constexpr int Q = 4, P = 3, kInput = 0, kState = 1, kBlock = 1, kKept = 4, kGates = 3;
  static constexpr int of_input[P] = {2, 0, 1}, of_state[P] = {0, 1, 2};
  static constexpr bool kCell = false, kOwnBias = true;
};
struct GruBefore {  // r, z; n takes a product of its own, which needs r of all units
  static constexpr int Q = 2, P = 2, kInput = 0, kState = 0, kBlock = 2, kKept = 3, kGates = 3;
  static constexpr int of_input[P] = {0, 1}, of_state[P] = {0, 1};
  static constexpr bool kCell = false, kOwnBias = false;
};
struct Fresh {  // n of GruBefore, over [x, r h]
  static constexpr int Q = 1, P = 1, kInput = 0, kState = 0, kBlock = 4, kGates = 3;
  static constexpr int of_input[P] = {2}, of_state[P] = {2};
  static constexpr bool kOwnBias = false;
};

template <class C>
constexpr bool kTwice = std::is_same_v<C, GruBefore>;

// f(product, its number) for the products of a step.
template <class C, class F>
JRNN_INLINE void each_product(F&& f) {
  f(C{}, 0);
  if constexpr (kTwice<C>) f(Fresh{}, 1);
}

// H units in blocks of kBlock vectors, the last one narrower; a panel's line is [P][vectors][lanes].
template <class C, class T>
struct Blocks {
  int64_t units, vectors, padded;
  explicit Blocks(int64_t h) : units(h), vectors((h + kLanes<T> - 1) / kLanes<T>), padded(vectors * kLanes<T>) {}
  // f(first unit, vectors) for the blocks that begin at units first .. end - 1.
  template <class F>
  JRNN_INLINE void each(int64_t first, int64_t end, F&& f) const {
    constexpr int64_t step = C::kBlock * kLanes<T>;
    for (; first < end; first += step) f(first, std::min<int64_t>(C::kBlock, vectors - first / kLanes<T>));
  }
  template <class F>
  JRNN_INLINE void each(F&& f) const {
    each(0, padded, f);
  }
  // Where [block][rows][Q][vectors][lanes] holds a vector of units.
  int64_t place(int64_t unit, int64_t rows, int64_t row) const {
    constexpr int64_t step = C::kBlock * kLanes<T>;
    const int64_t from = unit / step * step, width = std::min(step, padded - from);
    return C::Q * (rows * from + row * width) + unit - from;
  }
};

// Panels of w [K, gates * H]: block by block [K][P][vectors][lanes], zero beyond the last unit.
template <class C, class S, class T = Wide<S>>
Scratch<T> pack(const S* w, int64_t rows, const int (&order)[C::P], const Blocks<C, T>& blocks) {
  const int64_t h = blocks.units;
  Scratch<T> packed(rows * C::P * blocks.padded);
  T* to = packed;
  blocks.each([&](int64_t from, int64_t vectors) {
    for (int64_t k = 0; k < rows; ++k)
      for (int p = 0; p < C::P; ++p, to += vectors * kLanes<T>)
        for (int64_t i = 0; i < vectors * kLanes<T>; ++i)
          to[i] = from + i < h ? widen(w[k * C::kGates * h + order[p] * h + from + i]) : T(0);
  });
  return packed;
}

// The transpose, for products with dz: kWide vectors of the K columns at a time, [units in panel order][those columns].
template <class C, class S, class T = Wide<S>>
Scratch<T> pack_transposed(const S* w, int64_t columns, const int (&order)[C::P], const Blocks<C, T>& blocks) {
  const int64_t h = blocks.units, vectors = (columns + kLanes<T> - 1) / kLanes<T>;
  Scratch<T> packed(vectors * kLanes<T> * C::P * blocks.padded);
  T* to = packed;
  for (int64_t j = 0; j < vectors; j += kWide) {
    const int64_t wide = std::min<int64_t>(kWide, vectors - j) * kLanes<T>;
    blocks.each([&](int64_t from, int64_t of_block) {
      for (int p = 0; p < C::P; ++p)
        for (int64_t i = 0; i < of_block * kLanes<T>; ++i, to += wide)
          for (int64_t n = 0; n < wide; ++n) {
            const int64_t k = j * kLanes<T> + n;
            to[n] = from + i < h && k < columns ? widen(w[k * C::kGates * h + order[p] * h + from + i]) : T(0);
          }
    });
  }
  return packed;
}

// What one product needs of a group.
template <class T>
struct Weights {
  Scratch<T> in, rec, in_back, rec_back, bias;
};

template <class C, class S, class T = Wide<S>>
Weights<T> pack_all(const Problem& p, int64_t g) {
  const Blocks<C, T> blocks(p.units);
  Weights<T> w;
  w.bias = Scratch<T>(C::Q * blocks.padded, T(0));
  blocks.each([&](int64_t from, int64_t vectors) {
    const int64_t width = vectors * kLanes<T>;
    for (int64_t i = 0; i < width && from + i < p.units; ++i) {
      T* to = w.bias + C::Q * from + i;
      for (int q = 0; q < C::P; ++q)
        to[(C::kInput + q) * width] = widen(p.bias.of<S>(g)[C::of_input[q] * p.units + from + i]);
      if (C::kOwnBias) to[(C::Q - 1) * width] = widen(p.bias_rec.of<S>(g)[from + i]);
    }
  });
  if (!p.backward || !p.gates) {
    w.in = pack<C, S>(p.w_in.of<S>(g), p.features, C::of_input, blocks);
    w.rec = pack<C, S>(p.w_rec.of<S>(g), p.units, C::of_state, blocks);
  }
  if (p.backward) w.rec_back = pack_transposed<C, S>(p.w_rec.of<S>(g), p.units, C::of_state, blocks);
  if (p.d_xs) w.in_back = pack_transposed<C, S>(p.w_in.of<S>(g), p.features, C::of_input, blocks);
  return w;
}

// The sum of panels as [K, gates * H]; the last of the `rows` rows is the bias, of the gates from `biased` on.
template <class C, class S, class T = Wide<S>>
void unpack(const std::vector<const T*>& panels, int64_t rows, const int (&order)[C::P], const Blocks<C, T>& blocks,
            S* to, S* bias, int biased) {
  const int64_t h = blocks.units;
  int64_t i = 0;
  blocks.each([&](int64_t from, int64_t vectors) {
    for (int64_t k = 0; k < rows; ++k)
      for (int q = 0; q < C::P; ++q, i += vectors * kLanes<T>) {
        S* line = k < rows - 1         ? to + k * C::kGates * h + order[q] * h
                  : order[q] >= biased ? bias + (order[q] - biased) * h
                                       : nullptr;
        for (int64_t n = 0; line && n < vectors * kLanes<T> && from + n < h; ++n) {
          T sum = 0;
          for (const T* panel : panels) sum += panel[i + n];
          line[from + n] = narrow<S>(sum);
        }
      }
  });
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
