// The one matrix product, from panels of weights, and how weights are packed into panels.
#pragma once
#include <array>
#include <memory>
#include <new>
#include <vector>

#include "numbers.h"

#define JRNN_UNROLL _Pragma("GCC unroll 16")

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int kTile = kBytes == 64 ? 6 : 3;  // rows whose accumulators fit the registers beside four vectors of weights
constexpr int kWide = 4;                     // vectors of a panel

// An aligned array that frees itself; contents undefined.
template <class T>
struct Scratch {
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<T, Free> data;
  Scratch() = default;
  explicit Scratch(int64_t count)
      : data(static_cast<T*>(::operator new(std::max<int64_t>(count, 1) * sizeof(T), std::align_val_t(64)))) {}
  Scratch(int64_t count, T value) : Scratch(count) { std::fill_n(data.get(), count, value); }
  operator T*() const { return data.get(); }
};

// Left factors: element (r, k) at a[r * row + k * next]. After `count` of k the next run begins `jump` further.
template <class T>
struct Left {
  const T* a;
  int64_t row, next, count, runs = 1, jump = 0;
};

// c[r * line + p * lanes] += sum_k a(r, k) w[k * step + p * lanes] for R rows and P vectors, sums kept in registers.
// Few sums would wait for one another: then W of each are kept, for every W-th k.
template <int R, int P, class T>
__attribute__((noinline)) void multiply(T* c, int64_t line, const Left<T>& left, const T* w, int64_t step) {
  constexpr int W = R * P >= 8 ? 1 : R * P >= 4 ? 2 : 4;
  Vector<T> sums[W][R][P] = {};
  JRNN_UNROLL for (int r = 0; r < R; ++r) {
    JRNN_UNROLL for (int p = 0; p < P; ++p) sums[0][r][p] = load(c + r * line + p * kLanes<T>);
  }
  const T* run = left.a;
  for (int64_t i = 0; i < left.runs; ++i, run += left.jump) {
    const T* a = run;
    auto take = [&](Vector<T>(&to)[R][P]) __attribute__((always_inline)) {
      Vector<T> panel[P];
      JRNN_UNROLL for (int p = 0; p < P; ++p) panel[p] = load(w + p * kLanes<T>);
      JRNN_UNROLL for (int r = 0; r < R; ++r) {
        const T x = a[r * left.row];
        JRNN_UNROLL for (int p = 0; p < P; ++p) to[r][p] += panel[p] * x;
      }
      a += left.next, w += step;
    };
    int64_t k = 0;
    for (; k + W <= left.count; k += W) {
      JRNN_UNROLL for (int i = 0; i < W; ++i) take(sums[i]);
    }
    for (; W > 1 && k < left.count; ++k) take(sums[0]);
  }
  JRNN_UNROLL for (int r = 0; r < R; ++r) {
    JRNN_UNROLL for (int p = 0; p < P; ++p) {
      JRNN_UNROLL for (int i = 1; i < W; ++i) sums[0][r][p] += sums[i][r][p];
      store(c + r * line + p * kLanes<T>, sums[0][r][p]);
    }
  }
}

template <class T>
using Multiply = void (*)(T*, int64_t, const Left<T>&, const T*, int64_t);

template <class T, int... I>
constexpr auto all_multiply(std::integer_sequence<int, I...>) {
  return std::array<Multiply<T>, sizeof...(I)>{multiply<I / kWide + 1, I % kWide + 1, T>...};
}
template <class T>
constexpr auto kMultiply = all_multiply<T>(std::make_integer_sequence<int, kTile * kWide>{});

// The same for any number of rows, in tiles of nearly equal height; vectors <= kWide.
template <class T>
void multiply_rows(int64_t rows, int64_t vectors, T* c, int64_t line, Left<T> left, const T* w, int64_t step) {
  const int64_t tiles = (rows + kTile - 1) / kTile;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t height = (rows + tiles - i - 1) / (tiles - i);
    kMultiply<T>[(height - 1) * kWide + vectors - 1](c, line, left, w, step);
    c += height * line, left.a += height * left.row, rows -= height;
  }
}

// ---- cells ----
// Q sums a unit; the inputs feed P of them from kInput on, the states P of them from kState on.

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
