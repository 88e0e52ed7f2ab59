// How the warps of a cluster hand each other what they computed: message after message, each a row a sequence, to which
// every warp contributes the columns of its units.
//
// Two slots are enough: message m + 2, which goes where m was, can only be made after all of m + 1 has arrived, and a
// warp sends m + 1 after its reads of m. One wait a message, no barrier of threads. With one block it is one barrier of
// threads a message, and no instruction that clusters need.
#pragma once
#include <plan.cuh>

namespace jrnn {

// `WIDTH`: columns of the widest message, of which a warp contributes `PARTS` times its units.
template <class P, int WIDTH, int PARTS>
struct Exchange {
  using S = typename P::S;
  static constexpr int kRow = WIDTH * S::kBytes + 16;  // 16 bytes more: rows begin in different banks
  static constexpr int kSlot = P::kRows * kRow;
  static constexpr int kOwnBytes = P::kOwn * S::kBytes;
  static constexpr bool kRemote = P::kCluster > 1;
  static constexpr int kStage = kRemote ? P::kRows * PARTS * kOwnBytes : 0;  // of a warp
  static constexpr int kShared = 2 * kSlot + P::kWarps * kStage + (kRemote ? 16 : 0);

  const Place<P>& place;
  Word slots, stage, barriers;
  Word bytes, more;  // of a message in the first slot, and how many more in the second
  int sent = 0, received = 0, total;

  // `columns`: those of the messages in the first slot and in the second; `total`: how many messages there will be.
  DEVICE Exchange(const Place<P>& at, Word shared, int columns0, int columns1, int messages)
      : place(at), slots(shared), total(messages) {
    stage = slots + 2 * kSlot + place.warp * kStage;
    barriers = slots + 2 * kSlot + P::kWarps * kStage;
    bytes = P::kRows * columns0 * S::kBytes, more = P::kRows * columns1 * S::kBytes - bytes;
    if constexpr (kRemote) {
      if (place.warp == 0 && place.lane == 0) {
        arrivals_init(barriers), arrivals_init(barriers + 8);
        arrivals_init_done();
        arrivals_expect(barriers, bytes);
        if (total > 1) arrivals_expect(barriers + 8, bytes + more);
      }
      block_barrier();
      cluster_barrier();
    }
  }

  // The next message: `N` columns of each unit, column q of unit i at q * kPadded + i.
  template <int N>
  DEVICE void send(const float (&values)[N][P::kSpan][P::kTiles][2]) {
    const int slot = sent++ & 1;
    UNROLL for (int q = 0; q < N; ++q) {
      each<P>([&](int u, int n, int j) {
        const int row = 8 * n + 2 * (place.lane % 4) + j, unit = 8 * u + place.lane / 4;
        const Word local = stage + (row * N + q) * kOwnBytes + unit * S::kBytes;
        const Word there = slots + slot * kSlot + row * kRow + (q * P::kPadded + place.unit(u)) * S::kBytes;
        store_shared(kRemote ? local : there, S::write(values[q][u][n][j]));
      });
    }
    if constexpr (kRemote) {
      constexpr int kPieces = kOwnBytes / 16, kAll = P::kRows * N * kPieces;  // of 16 bytes
      constexpr int kAtOnce = kAll < 32 ? 32 / kAll : 1, kLanes = 32 / kAtOnce;  // blocks that a warp writes to at once
      constexpr int kTurns = (P::kCluster + kAtOnce - 1) / kAtOnce;
      warp_barrier();
      UNROLL for (int first = 0; first < kAll; first += kLanes) {
        const int i = first + place.lane % kLanes, row = i / (N * kPieces), piece = i % (N * kPieces);
        if (i >= kAll) break;
        const int column = (piece / kPieces * P::kPadded + place.unit(0) - place.lane / 4) * S::kBytes;
        const Word offset = slot * kSlot + row * kRow + column + piece % kPieces * 16;
        const Quad value = load_quad(stage + i * 16);
        _Pragma("unroll 4") for (int turn = 0; turn < kTurns; ++turn) {
          const int peer = turn * kAtOnce + place.lane / kLanes;
          if (P::kCluster % kAtOnce && peer >= P::kCluster) break;
          const Word there = address_at(slots, peer);
          store_remote(there + offset, value, there + (barriers - slots) + 8 * slot);
        }
      }
      warp_barrier();  // before the stage is written again; a message that is received in between would do
    }
  }

  // The next message's slot, when all of it has arrived.
  DEVICE Word receive() {
    const int slot = received & 1;
    if constexpr (kRemote) {
      arrivals_wait(barriers + 8 * slot, (received >> 1) & 1);
      if (place.warp == 0 && place.lane == 0 && received + 2 < total) {
        arrivals_expect(barriers + 8 * slot, bytes + slot * more);
      }
      warp_barrier();  // lanes may leave the wait one by one, and what follows is for whole warps
    } else {
      block_barrier();
    }
    ++received;
    return slots + slot * kSlot;
  }

  // Nobody leaves while others may still write to it: who has received all messages could, but CUDA asks for this.
  DEVICE void leave() {
    if constexpr (kRemote) warp_barrier(), cluster_barrier();
  }
};

}  // namespace jrnn
