// W^T times what the warps exchanged: the weights of a warp's units as mma fragments that it loads once.
#pragma once
#include <plan.cuh>

namespace jrnn {

// `TILES` fragments of 16 rows by `STEPS` k-steps of 32 bytes.
template <class P, int TILES, int STEPS>
struct Fragments {
  using S = typename P::S;
  static constexpr int kRest = STEPS <= P::kHeld ? 0 : multiple(STEPS - P::kHeld, 4), kHeld = STEPS - kRest;
  static constexpr int kShared = P::kWarps * TILES * kRest * 512;
  // sums that do not wait for each other: an mma takes some 33 cycles; three products are a sum of their own
  static constexpr int kChains = P::kProducts == 3 ? 1 : multiple(4, TILES * P::kTiles) / (TILES * P::kTiles);
  static_assert(kHeld >= 0 && kHeld % 2 == 0, "k-steps are read in pairs, the rest four at a time");

  Word held[TILES][larger(kHeld, 1)][4];
  Word rest;
  int lane;

  // `all`: the fragments of all warps of a cluster, in the order of `plan.fragments`.
  DEVICE void load(const Place<P>& place, Word shared, const Quad* all) {
    lane = place.lane;
    rest = shared + place.warp * TILES * kRest * 512 + lane * 16;
    const Quad* own = all + (place.rank * P::kWarps + place.warp) * (TILES * STEPS * 32) + lane;
    UNROLL for (int tile = 0; tile < TILES; ++tile) {
      UNROLL for (int s = 0; s < kHeld; ++s) {
        const Quad fragment = prepared(own[(tile * STEPS + s) * 32]);
        UNROLL for (int q = 0; q < 4; ++q) held[tile][s][q] = fragment.at[q];
      }
      _Pragma("unroll 4") for (int s = 0; s < kRest; ++s) {
        store_shared(rest + (tile * kRest + s) * 512, prepared(own[(tile * STEPS + kHeld + s) * 32]));
      }
    }
  }
  DEVICE static Quad prepared(Quad fragment) {
    if constexpr (S::kBytes == 4 && P::kProducts == 1) {
      UNROLL for (int q = 0; q < 4; ++q) fragment.at[q] = round_to_tf32(as_float(fragment.at[q]));
    }
    return fragment;
  }

  using Sums = float[TILES][P::kTiles][4];

  // sums = this times the message in a slot, rows `ROW` bytes apart; a warp reads back what it alone has stored.
  template <int ROW>
  DEVICE void multiply(Word slot, Sums& sums) const {
    float parts[kChains][TILES][P::kTiles][4] = {};
    const Word from = slot + (lane % 8) * ROW + (lane / 8) * 16;
    UNROLL for (int s = 0; s < kHeld; s += 2) {
      Word b[P::kTiles][4];
      UNROLL for (int n = 0; n < P::kTiles; ++n) load_matrices(b[n], from + n * 8 * ROW + s * 32);
      UNROLL for (int e = 0; e < 2; ++e) {
        UNROLL for (int tile = 0; tile < TILES; ++tile) add(parts[(s + e) % kChains][tile], held[tile][s + e], b, e);
      }
    }
    _Pragma("unroll 2") for (int s = 0; s < kRest; s += 4) {
      UNROLL for (int half = 0; half < 4; half += 2) {
        Word b[P::kTiles][4];
        UNROLL for (int n = 0; n < P::kTiles; ++n) load_matrices(b[n], from + n * 8 * ROW + (kHeld + s + half) * 32);
        UNROLL for (int e = half; e < half + 2; ++e) {
          UNROLL for (int tile = 0; tile < TILES; ++tile) {
            add(parts[e % kChains][tile], load_quad(rest + (tile * kRest + s + e) * 512).at, b, e % 2);
          }
        }
      }
    }
    UNROLL for (int tile = 0; tile < TILES; ++tile) {
      UNROLL for (int n = 0; n < P::kTiles; ++n) {
        UNROLL for (int q = 0; q < 4; ++q) {
          float sum = parts[0][tile][n][q];
          UNROLL for (int chain = 1; chain < kChains; ++chain) sum += parts[chain][tile][n][q];
          sums[tile][n][q] = sum;
        }
      }
    }
  }

  // One k-step of one tile for all sequences; e: the first or second k-step of `b`.
  DEVICE static void add(float (&sums)[P::kTiles][4], const Word (&a)[4], const Word (&b)[P::kTiles][4], int e) {
    if constexpr (S::kBytes == 2) {
      UNROLL for (int n = 0; n < P::kTiles; ++n) multiply_bfloat16(sums[n], a, b[n][2 * e], b[n][2 * e + 1]);
    } else if constexpr (P::kProducts == 1) {
      UNROLL for (int n = 0; n < P::kTiles; ++n) {
        const Word b0 = round_to_tf32(as_float(b[n][2 * e])), b1 = round_to_tf32(as_float(b[n][2 * e + 1]));
        multiply_tf32(sums[n], a, b0, b1);
      }
    } else {  // (high + low) (high + low), without low times low; the small ones first
      Word high[4], low[4];
      UNROLL for (int q = 0; q < 4; ++q) {
        const Split split(a[q]);
        high[q] = split.high, low[q] = split.low;
      }
      UNROLL for (int n = 0; n < P::kTiles; ++n) {
        const Split b0(b[n][2 * e]), b1(b[n][2 * e + 1]);
        float step[4] = {};  // not into the sums: a tensor core cuts off what it adds, an addition rounds it
        multiply_tf32(step, low, b0.high, b1.high);
        multiply_tf32(step, high, b0.low, b1.low);
        multiply_tf32(step, high, b0.high, b1.high);
        UNROLL for (int q = 0; q < 4; ++q) sums[n][q] += step[q];
      }
    }
  }
};

// The sum of 8 rows `half` that a thread has for tile n and sequence j.
template <int TILES, int N>
DEVICE float sum_of(const float (&sums)[TILES][N][4], int half, int n, int j) {
  return sums[half / 2][n][half % 2 * 2 + j];
}

}  // namespace jrnn
