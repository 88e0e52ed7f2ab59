// The sizes of a kernel, all known when it is compiled, and where a thread stands in them. `plan.py` chooses them.
#pragma once
#include <numbers.cuh>

namespace jrnn {

// The recurrences, by the numbers in the files of `recurrences/`.
enum Kind { kTanh = 0, kRelu = 1, kIdentity = 2, kLstm = 3, kGru = 4, kGruBefore = 5 };

// A cluster of `CLUSTER` blocks runs 8 `TILES` sequences; each warp owns 8 `SPAN` units with all their gates. Of its
// weights `HELD` k-steps are in registers, the others in shared memory. `PRODUCTS` of TF32 make one of float32.
template <int KIND, class STORAGE, int PRODUCTS, int UNITS, int CLUSTER, int TILES, int SPAN, int HELD>
struct Plan {
  using S = STORAGE;
  static constexpr int kKind = KIND, kProducts = PRODUCTS, kUnits = UNITS, kCluster = CLUSTER, kTiles = TILES,
                       kSpan = SPAN, kHeld = HELD;
  static constexpr int kGates = KIND == kLstm ? 4 : KIND == kGru || KIND == kGruBefore ? 3 : 1;
  static constexpr int kSaved = KIND == kLstm || KIND == kGru ? 4 : KIND == kGruBefore ? 3 : 1;
  static constexpr int kBlocks = KIND == kGru ? 4 : kGates;  // of dz
  static constexpr bool kCell = KIND == kLstm;          // whether the state has a c
  static constexpr bool kTwice = KIND == kGruBefore;    // whether a step has two products, one after the other
  static constexpr int kRows = 8 * TILES;
  static constexpr int kOwn = 8 * SPAN;                 // units of a warp
  static constexpr int kPadded = multiple(UNITS, larger(kOwn * CLUSTER, 64 / S::kBytes));
  static constexpr int kWarps = kPadded / CLUSTER / kOwn, kThreads = 32 * kWarps;
  static constexpr int kSteps = kPadded * S::kBytes / 32;  // k-steps of a product with one h
  static_assert(kPadded % (kOwn * CLUSTER) == 0 && kPadded * S::kBytes % 64 == 0, "powers of two");
};

// Where a thread stands: an mma gives lane i the sums of row i / 4 (a unit), columns 2 (i % 4) and the next (sequences).
template <class P>
struct Place {
  int warp, lane, rank, group, first_row, first_unit, rows;

  DEVICE Place(int all_rows, int thread, int block) : warp(thread / 32), lane(thread % 32), rows(all_rows) {
    const int tiles = (rows + P::kRows - 1) / P::kRows, cluster = block / P::kCluster;
    rank = 0;
    if constexpr (P::kCluster > 1) rank = cluster_rank();
    group = cluster / tiles;
    first_row = cluster % tiles * P::kRows + 2 * (lane % 4);
    first_unit = (rank * P::kWarps + warp) * P::kOwn + lane / 4;
  }
  DEVICE int unit(int u) const { return first_unit + 8 * u; }
  DEVICE int row(int n, int j) const { return first_row + 8 * n + j; }
  DEVICE bool has_unit(int u) const { return unit(u) < P::kUnits; }
  DEVICE bool has_row(int n, int j) const { return row(n, j) < rows; }
  DEVICE bool has(int u, int n, int j) const { return has_unit(u) && has_row(n, j); }
  // of an array [T, B, width], width a multiple of H
  DEVICE long long of(long long t, int u, int n, int j, int width = P::kUnits) const {
    return (t * rows + row(n, j)) * width + unit(u);
  }
};

// An array with a leading axis of groups, which all share where the stride is 0; null if it is absent.
struct Operand {
  void* data;
  long long stride;  // bytes
  template <class T>
  DEVICE T* of(int group) const {
    return data ? reinterpret_cast<T*>(static_cast<char*>(data) + group * stride) : nullptr;
  }
};

// What happens at a step of a sequence, a byte each.
enum Event { kHappens = 1, kReset = 2, kCut = 4, kPadding = 8 };

// A thread's numbers: a unit group, a tile and a sequence each.
template <class P>
using Own = float[P::kSpan][P::kTiles][2];

template <class P, class F>
DEVICE void each(F body) {
  UNROLL for (int u = 0; u < P::kSpan; ++u) {
    UNROLL for (int n = 0; n < P::kTiles; ++n) {
      UNROLL for (int j = 0; j < 2; ++j) body(u, n, j);
    }
  }
}

// The events of a thread's sequences.
template <class P>
struct Events {
  int at[P::kTiles][2];
  DEVICE void read(const Place<P>& place, const unsigned char* flags, long long t, bool exists) {
    UNROLL for (int n = 0; n < P::kTiles; ++n) {
      UNROLL for (int j = 0; j < 2; ++j) {
        const bool there = exists && place.has_row(n, j);
        at[n][j] = !there ? 0 : flags ? +flags[t * place.rows + place.row(n, j)] : +kHappens;
      }
    }
  }
};

}  // namespace jrnn
