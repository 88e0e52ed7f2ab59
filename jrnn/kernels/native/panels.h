// How the weights of a product are packed into panels.
#pragma once
#include <cmath>
#include <vector>

#include "product.h"
#include "recurrences.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

// H units in blocks of kBlock vectors, the last one narrower; a panel's line is [kWeights][vectors][lanes].
template <class C, class T>
struct Blocks {
  int64_t units, vectors, padded;
  explicit Blocks(int64_t h) : units(h), vectors((h + kLanes<T> - 1) / kLanes<T>), padded(vectors * kLanes<T>) {}
  // f(first unit, vectors) for the blocks that begin at units first .. end - 1; `down`: the last one first.
  template <class F>
  JRNN_INLINE void each(int64_t first, int64_t end, F&& f, bool down = false) const {
    constexpr int64_t step = C::kBlock * kLanes<T>;
    const int64_t count = (end - first + step - 1) / step;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t from = first + (down ? count - 1 - i : i) * step;
      f(from, std::min<int64_t>(C::kBlock, vectors - from / kLanes<T>));
    }
  }
  template <class F>
  JRNN_INLINE void each(F&& f) const {
    each(0, padded, f);
  }
  // The i-th of n shares of the blocks.
  template <class F>
  void each_of(int64_t i, int64_t n, F&& f) const {
    constexpr int64_t step = C::kBlock * kLanes<T>;
    const int64_t count = (vectors + C::kBlock - 1) / C::kBlock;
    each(count * i / n * step, std::min(padded, count * (i + 1) / n * step), f);
  }
  // Where [block][rows][kSums][vectors][lanes] holds a vector of units.
  int64_t place(int64_t unit, int64_t rows, int64_t row) const {
    constexpr int64_t step = C::kBlock * kLanes<T>;
    const int64_t from = unit / step * step, width = std::min(step, padded - from);
    return C::kSums * (rows * from + row * width) + unit - from;
  }
};

// One of several shares of the work on panels.
struct Share {
  int64_t i = 0, of = 1;
};

// Panels of w [K, gates * H]: block by block [K][kWeights][vectors][lanes], zero beyond the last unit; of pairs
// [K / 2][kWeights][vectors][lanes][2].
template <class C, class S, class T = Wide<S>>
void pack(Factor<S>* panels, const S* w, int64_t rows, const int (&order)[C::kWeights], const Blocks<C, T>& blocks,
          Share share) {
  using O = Factor<S>;
  constexpr int64_t D = kDepth<O>;
  const int64_t h = blocks.units;
  blocks.each_of(share.i, share.of, [&](int64_t from, int64_t vectors) {
    const int64_t width = vectors * kLanes<T>, there = std::min(width, h - from);
    O* to = panels + deep<O>(rows) * C::kWeights * from;
    for (int64_t k = 0; k < rows; k += D)
      for (int p = 0; p < C::kWeights; ++p, to += D * width) {
        if (D > 1 || there < width) std::fill_n(to, D * width, O{});
        for (int64_t d = 0; d < std::min(D, rows - k); ++d) {
          const S* line = w + (k + d) * C::kGates * h + order[p] * h + from;
          for (int64_t i = 0; i < there; ++i) to[i * D + d] = as<O>(line[i]);
        }
      }
  });
}

// The transpose, for products with dz: kWide vectors of the K columns at a time, [units in panel order][those columns].
template <class C, class S, class T = Wide<S>>
void pack_transposed(Factor<S>* panels, const S* w, int64_t columns, const int (&order)[C::kWeights],
                     const Blocks<C, T>& blocks, Share share) {
  using O = Factor<S>;
  constexpr int64_t L = kLanes<T>, D = kDepth<O>;
  const int64_t h = blocks.units, vectors = (columns + L - 1) / L;
  O square[kWide * L][L] = {};  // lines of w are far apart, often by a power of two: each is read once
  for (int64_t j = 0; j < vectors; j += kWide) {
    const int64_t wide = std::min<int64_t>(kWide, vectors - j) * L, there = std::min(wide, columns - j * L);
    blocks.each_of(share.i, share.of, [&](int64_t from, int64_t of_block) {
      O* to = panels + j * L * C::kWeights * blocks.padded + C::kWeights * from * wide;
      for (int p = 0; p < C::kWeights; ++p)
        for (int64_t unit = from; unit < from + of_block * L; unit += L, to += L * wide) {
          const S* line = w + j * L * C::kGates * h + order[p] * h + unit;
          const int64_t units = std::min(L, h - unit);
          for (int64_t n = 0; n < there; ++n, line += C::kGates * h)
            for (int64_t i = 0; i < units; ++i) square[n][i] = as<O>(line[i]);
          for (int64_t i = 0; i < L; ++i)
            for (int64_t n = 0; n < wide; ++n)
              to[i / D * D * wide + n * D + i % D] = i < units && n < there ? square[n][i] : O{};
        }
    });
  }
}

// What one product needs of a group.
template <class S>
struct Weights {
  Scratch<Factor<S>> in, rec, in_back, rec_back;
  Scratch<Wide<S>> bias, leak;  // leak: [2][units], sigmoid(-theta) and sigmoid(theta)
};

// Allocates them; `pack_all` fills them.
template <class C, class S, class T = Wide<S>, class O = Factor<S>>
Weights<S> room_for_weights(const Problem& p) {
  const Blocks<C, T> blocks(p.units);
  const int64_t line = C::kWeights * blocks.padded, lanes = kLanes<T>;
  auto padded = [&](int64_t columns) { return (columns + lanes - 1) / lanes * lanes; };
  Weights<S> w;
  w.bias = Scratch<T>(C::kSums * blocks.padded, T(0));
  if (C::kLeaks) w.leak = Scratch<T>(2 * blocks.padded, T(0));
  if (!p.backward || !p.gates) {
    w.in = Scratch<O>(deep<O>(p.features) * line);
    if (C::kRecurrent) w.rec = Scratch<O>(deep<O>(p.units) * line);
  }
  if (p.backward && C::kRecurrent) w.rec_back = Scratch<O>(padded(p.units) * line);
  if (p.d_xs) w.in_back = Scratch<O>(padded(p.features) * line);
  return w;
}

template <class C, class S, class T = Wide<S>>
void pack_all(const Weights<S>& w, const Problem& p, int64_t g, Share share) {
  const Blocks<C, T> blocks(p.units);
  blocks.each_of(share.i, share.of, [&](int64_t from, int64_t vectors) {
    const int64_t width = vectors * kLanes<T>;
    for (int64_t i = 0; i < width && from + i < p.units; ++i) {
      T* to = w.bias + C::kSums * from + i;
      for (int q = 0; q < C::kWeights; ++q)
        to[(C::kInput + q) * width] = widen(p.bias.of<S>(g)[C::of_input[q] * p.units + from + i]);
      if (C::kOwnBias) to[(C::kSums - 1) * width] = widen(p.bias_rec.of<S>(g)[from + i]);
      if (!C::kLeaks) continue;
      const T theta = widen(p.theta.of<S>(g)[from + i]);  // at infinity the shares are exactly 0 and 1
      w.leak[from + i] = T(1) / (T(1) + std::exp(theta));
      w.leak[blocks.padded + from + i] = T(1) / (T(1) + std::exp(-theta));
    }
  });
  const S *in = p.w_in.of<S>(g), *rec = p.w_rec.of<S>(g);
  if (w.in) pack<C, S>(w.in, in, p.features, C::of_input, blocks, share);
  if (w.rec) pack<C, S>(w.rec, rec, p.units, C::of_state, blocks, share);
  if (w.rec_back) pack_transposed<C, S>(w.rec_back, rec, p.units, C::of_state, blocks, share);
  if (w.in_back) pack_transposed<C, S>(w.in_back, in, p.features, C::of_input, blocks, share);
}

// Rows of n numbers by pairs, [m][n] as [m / 2][n][2], with a row of zeros where the number is odd.
template <class O>
void pair_rows(O* to, const O* from, int64_t rows, int64_t n) {
  for (int64_t m = 0; m < rows; m += 2, from += 2 * n, to += 2 * n)
    for (int64_t i = 0; i < n; ++i) to[2 * i] = from[i], to[2 * i + 1] = m + 1 < rows ? from[n + i] : O{};
}

// The sum of panels as [K, gates * H]; the last of the `rows` rows is the bias, of the gates from `biased` on.
template <class C, class S, class T = Wide<S>>
void unpack(const std::vector<const T*>& panels, int64_t rows, const int (&order)[C::kWeights],
            const Blocks<C, T>& blocks, S* to, S* bias, int biased, Share share) {
  const int64_t h = blocks.units;
  blocks.each_of(share.i, share.of, [&](int64_t from, int64_t vectors) {
    const int64_t width = vectors * kLanes<T>, there = std::min(width, h - from);
    int64_t i = rows * C::kWeights * from;
    for (int64_t k = 0; k < rows; ++k)
      for (int q = 0; q < C::kWeights; ++q, i += width) {
        S* line = k < rows - 1         ? to + k * C::kGates * h + order[q] * h
                  : order[q] >= biased ? bias + (order[q] - biased) * h
                                       : nullptr;
        if (!line) continue;
        T sums[C::kBlock * kLanes<T>] = {};
        for (const T* panel : panels)
          for (int64_t n = 0; n < width; ++n) sums[n] += panel[i + n];
        for (int64_t n = 0; n < there; ++n) line[from + n] = narrow<S>(sums[n]);
      }
  });
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
