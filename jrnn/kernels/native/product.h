// The one matrix product, from panels of weights.
#pragma once
#include <array>
#include <memory>
#include <new>

#include "numbers.h"
#if defined(JRNN_PAIRS)
#include <immintrin.h>
#endif

#define JRNN_UNROLL _Pragma("GCC unroll 16")

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int kWide = 4;  // vectors of a panel
// Rows of a tile so many vectors wide: the accumulators fit the registers beside the weights. Measured on a core, against
// 3 rows and 6 (64 bytes) of any width: 4 x 3 of 32 bytes 1.08 (4 rows: 1.3), 6 x 2 1.03 (1.35), 6 x 1 1.1 (1.5); 8 x 3
// and 8 x 2 of 64 bytes 1.0 (7 rows: 1.3), 8 x 1 .95. Four vectors by 6 x 2 twice: .8 to 1.0.
constexpr int tile_rows(int64_t vectors) {
  if (kBytes == 64) return vectors == 2 || vectors == 3 ? 8 : 6;
  return vectors > 2 ? 12 / vectors : 6;
}
constexpr int kTile = tile_rows(kWide);
constexpr int kTallest = 8;
// Bytes of a panel that all rows read before its next part; panels below two parts are read whole. Measured: vectors of
// 64 bytes lose up to 4 % by it.
constexpr int64_t kPanelBytes = kBytes == 64 ? std::numeric_limits<int64_t>::max() : 20 << 10;

// An aligned array that frees itself; contents undefined.
template <class T>
struct Scratch {
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<T, Free> data;
  Scratch() = default;
  explicit Scratch(int64_t count)
      : data(static_cast<T*>(::operator new(std::max<int64_t>(count, 1) * sizeof(T), std::align_val_t(64)))) {
#if defined(JRNN_POISON)  // the sanitizers' build: NaN of every type, which no zero weight hides
    std::memset(static_cast<void*>(data.get()), 0xff, count * sizeof(T));
#endif
  }
  Scratch(int64_t count, T value) : Scratch(count) { std::fill_n(data.get(), count, value); }
  operator T*() const { return data.get(); }
};

// Multiplication: a vector of weights, and of left factors one for all its lanes. Of bfloat16 both hold pairs, whose
// products are added to the sum: weights lie [k / 2][lanes][2], and left factors two by two.
template <class O>
struct Multiplication {
  using Many = Vector<O>;
  static JRNN_INLINE O one(const O* a) { return *a; }
  static JRNN_INLINE void add(Many& sum, Many w, O x) { sum += w * x; }
};
#if defined(JRNN_PAIRS)
template <>
struct Multiplication<Bfloat16> {
  using Many = __m512bh;
  static JRNN_INLINE Many one(const Bfloat16* a) {
    int pair;
    std::memcpy(&pair, a, sizeof pair);
    return (Many)_mm512_set1_epi32(pair);
  }
  static JRNN_INLINE void add(Vector<float>& sum, Many w, Many x) { sum = _mm512_dpbf16_ps(sum, w, x); }
};
#endif

// Left factors: k-th (pair) of row r at a[r * row + k * next]. After `count` of k the next run begins `jump` further.
template <class O>
struct Left {
  const O* a;
  int64_t row, next, count, runs = 1, jump = 0;
};

// The same product, its terms from the last one to the first.
template <class O>
void turn_round(Left<O>& left, const O*& w, int64_t& step) {
  left.a += (left.runs - 1) * left.jump + (left.count - 1) * left.next;
  w += (left.runs * left.count - 1) * step;
  left.next = -left.next, left.jump = -left.jump, step = -step;
}

// c[r * line + p * lanes] += sum_k a(r, k) w[k * step + p * lanes] for R rows and P vectors, sums kept in registers.
// Few sums would wait for one another: then W of each are kept, for every W-th k.
template <int R, int P, class O, class T = Wide<O>>
__attribute__((noinline)) void multiply(T* c, int64_t line, const Left<O>& left, const O* w, int64_t step) {
  using M = Multiplication<O>;
  constexpr int W = R * P >= 8 ? 1 : R * P >= 4 ? 2 : 4;
  Vector<T> sums[W][R][P] = {};
  JRNN_UNROLL for (int r = 0; r < R; ++r) {
    JRNN_UNROLL for (int p = 0; p < P; ++p) sums[0][r][p] = load(c + r * line + p * kLanes<T>);
  }
  const O* run = left.a;
  for (int64_t i = 0; i < left.runs; ++i, run += left.jump) {
    const O* a = run;
    auto take = [&](Vector<T>(&to)[R][P]) __attribute__((always_inline)) {
      typename M::Many panel[P];
      JRNN_UNROLL for (int p = 0; p < P; ++p) std::memcpy(&panel[p], w + p * kDepth<O> * kLanes<T>, kBytes);
      JRNN_UNROLL for (int r = 0; r < R; ++r) {
        const auto x = M::one(a + r * left.row);
        JRNN_UNROLL for (int p = 0; p < P; ++p) M::add(to[r][p], panel[p], x);
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

template <class O>
using Multiply = void (*)(Wide<O>*, int64_t, const Left<O>&, const O*, int64_t);

template <int R, int P, class O>
constexpr Multiply<O> multiply_by() {
  if constexpr (R <= tile_rows(P)) return multiply<R, P, O>;
  return nullptr;
}
template <class O, int... I>
constexpr auto all_multiply(std::integer_sequence<int, I...>) {
  return std::array<Multiply<O>, sizeof...(I)>{multiply_by<I / kWide + 1, I % kWide + 1, O>()...};
}
template <class O>
constexpr auto kMultiply = all_multiply<O>(std::make_integer_sequence<int, kTallest * kWide>{});

// The same for any number of rows, in tiles of nearly equal height; vectors <= kWide.
template <class O>
void multiply_tiles(int64_t rows, int64_t vectors, Wide<O>* c, int64_t line, Left<O> left, const O* w, int64_t step) {
  const int64_t most = tile_rows(vectors), tiles = (rows + most - 1) / most;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t rest = tiles - i, height = rest > 1 ? (rows + rest - 1) / rest : rows;
    kMultiply<O>[(height - 1) * kWide + vectors - 1](c, line, left, w, step);
    c += height * line, left.a += height * left.row, rows -= height;
  }
}

// The same. One row more than a tile's takes one half of the panel after the other, where two tiles would read all of it
// twice: 4 rows by 32 bytes 1.06 to 1.3, 7 by 64 bytes 1.06 to 1.44 as fast.
template <class O>
void multiply_whole(int64_t rows, int64_t vectors, Wide<O>* c, int64_t line, const Left<O>& left, const O* w,
                    int64_t step) {
  constexpr int64_t half = kWide / 2;
  if (vectors < kWide || rows != kTile + 1) return multiply_tiles<O>(rows, vectors, c, line, left, w, step);
  multiply_tiles<O>(rows, half, c, line, left, w, step);
  multiply_tiles<O>(rows, half, c + half * kLanes<Wide<O>>, line, left, w + half * kDepth<O> * kLanes<Wide<O>>, step);
}

// The same, a part of the panel for all rows before the next: the first cache holds what tile after tile reads.
template <class O>
void multiply_rows(int64_t rows, int64_t vectors, Wide<O>* c, int64_t line, const Left<O>& left, const O* w,
                   int64_t step) {
  const bool runs = left.runs > 1;
  const int64_t count = runs ? left.runs : left.count, lines = runs ? left.count : 1;
  const int64_t parts = std::min(count, count * lines * vectors * kBytes / kPanelBytes);
  if (rows <= tile_rows(vectors) || parts < 2) return multiply_whole<O>(rows, vectors, c, line, left, w, step);
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t from = count * i / parts;
    Left<O> part = left;
    (runs ? part.runs : part.count) = count * (i + 1) / parts - from;
    part.a += from * (runs ? left.jump : left.next);
    multiply_tiles<O>(rows, vectors, c, line, part, w + from * lines * step, step);
  }
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
