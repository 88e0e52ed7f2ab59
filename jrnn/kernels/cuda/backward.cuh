// The recurrence backwards: from the end of the sequence it carries dL/dh (and dL/dc) and leaves dz of every step; the
// gradients of the weights and of the inputs are then a product each over all steps, by XLA.
#pragma once
#include <exchange.cuh>
#include <gates.cuh>
#include <product.cuh>

namespace jrnn {

// As `ForwardProblem`. `dz` has a block a gate and, of the GRU, one for the candidate's product with h. `entered`: h or, of the LSTM, c before each step; `d_reset_h` and `d_reset_c` are float32.
struct BackwardProblem {
  Operand w_rec, w_candidate, entered, events, reverse, gates[4], g_hs, g_cs, g_last_h, g_last_c;
  Operand dz, d_h0, d_c0, d_reset_h, d_reset_c, d_tap_h, d_tap_c;
  int steps, rows;
};

template <class P>
struct Backward {
  static constexpr int kParts = P::kTwice ? 2 : P::kGates;  // gates whose dz meets W_rec in one product
  using Messages = Exchange<P, kParts * P::kPadded, kParts>;
  using Product = Fragments<P, P::kSpan / 2, kParts * P::kSteps>;
  using Candidate = Fragments<P, P::kSpan / 2, P::kTwice ? P::kSteps : 0>;
  static constexpr int kShared = Messages::kShared + Product::kShared + Candidate::kShared;
  static_assert(P::kSpan % 2 == 0, "whole tiles");
};

template <class P>
DEVICE void backward(const BackwardProblem& p, unsigned char* shared, int thread, int block) {
  using B = Backward<P>;
  using S = typename P::S;
  using Bits = typename S::Bits;
  const Place<P> place(p.rows, thread, block);
  const int group = place.group;
  const Word memory = shared_address(shared);

  typename B::Product product;
  typename B::Candidate candidate;
  product.load(place, memory + B::Messages::kShared, p.w_rec.of<const Quad>(group));
  if constexpr (P::kTwice) {
    candidate.load(place, memory + B::Messages::kShared + B::Product::kShared, p.w_candidate.of<const Quad>(group));
  }

  auto read = [&](const Operand& array, long long t, int u, int n, int j) {
    const Bits* numbers = array.of<const Bits>(group);
    return numbers && place.has(u, n, j) ? S::read(numbers[place.of(t, u, n, j)]) : 0.f;
  };
  State delta[P::kSpan][P::kTiles][2];
  each<P>([&](int u, int n, int j) {
    delta[u][n][j] = {read(p.g_last_h, 0, u, n, j), P::kCell ? read(p.g_last_c, 0, u, n, j) : 0.f};
    const long long here = place.of(0, u, n, j);
    if (p.d_reset_h.data && place.has(u, n, j)) p.d_reset_h.of<float>(group)[here] = 0.f;
    if (P::kCell && p.d_reset_c.data && place.has(u, n, j)) p.d_reset_c.of<float>(group)[here] = 0.f;
  });
  const bool from_end = p.reverse.of<const unsigned char>(group)[0];
  auto time = [&](int s) -> long long { return from_end ? p.steps - 1 - s : s; };

  // what a step reads, one step ahead
  const unsigned char* flags = p.events.of<const unsigned char>(group);
  Events<P> now, next;
  float gates[P::kSpan][P::kTiles][2][P::kSaved];
  Own<P> entered, g_h, g_c;
  auto fetch = [&](int s) {
    const bool exists = s >= 0;
    const long long t = time(s < 0 ? 0 : s), later = time(s < 3 ? 0 : s - 3);
    next.read(place, flags, t, exists);
    each<P>([&](int u, int n, int j) {
      const bool there = exists && place.has(u, n, j);
      const long long here = place.of(t, u, n, j), far = place.of(later, u, n, j);
      auto get = [&](const Operand& array, float& to) {
        to = there && array.data ? S::read(array.of<const Bits>(group)[here]) : 0.f;
        if (there && array.data) prefetch(array.of<const Bits>(group) + far);
      };
      get(p.g_hs, g_h[u][n][j]);
      if constexpr (P::kCell) get(p.g_cs, g_c[u][n][j]);
      if constexpr (P::kKind >= kLstm) get(p.entered, entered[u][n][j]);
      UNROLL for (int q = 0; q < P::kSaved; ++q) {
        const bool saved = there && p.gates[q].data;
        gates[u][n][j][q] = saved ? p.gates[q].of<const float>(group)[here] : 0.f;
        if (saved) prefetch(p.gates[q].of<const float>(group) + far);
      }
    });
  };
  fetch(p.steps - 1);

  constexpr int kLast = P::kTwice ? B::kParts : P::kGates;
  typename B::Messages messages(place, memory, (P::kTwice ? 1 : kLast) * P::kPadded, kLast * P::kPadded,
                                (P::kTwice ? 2 : 1) * p.steps);
  for (int s = p.steps - 1; s >= 0; --s) {
    now = next;
    float dz[P::kGates][P::kSpan][P::kTiles][2], to_h[P::kGates][P::kSpan][P::kTiles][2];
    State direct[P::kSpan][P::kTiles][2];
    [[maybe_unused]] Own<P> reset, of_reset;  // r, and what dL/d(r h) is multiplied by for its dz
    each<P>([&](int u, int n, int j) {
      State& d = delta[u][n][j];
      d.h += g_h[u][n][j];
      if constexpr (P::kCell) d.c += g_c[u][n][j];
      if (place.has(u, n, j)) {
        const bool inside = !(now.at[n][j] & kPadding);
        const long long here = place.of(time(s), u, n, j);
        if (p.d_tap_h.data) p.d_tap_h.of<Bits>(group)[here] = S::write(inside ? d.h : 0.f);
        if (P::kCell && p.d_tap_c.data) p.d_tap_c.of<Bits>(group)[here] = S::write(inside ? d.c : 0.f);
      }
      const State before{entered[u][n][j], entered[u][n][j]};
      const Slope<P> found = slope<P>(d, gates[u][n][j], before);
      const bool happens = now.at[n][j] & kHappens && place.has_unit(u);
      UNROLL for (int q = 0; q < P::kGates; ++q) {
        dz[q][u][n][j] = happens ? found.dz[q] : 0.f;
        to_h[q][u][n][j] = happens ? found.to_h[q] : 0.f;
      }
      direct[u][n][j] = found.direct;
      if constexpr (P::kTwice) {
        const float r = gates[u][n][j][0];
        reset[u][n][j] = r, of_reset[u][n][j] = before.h * r * (1.f - r);
      }
    });
    fetch(s - 1);
    typename B::Product::Sums sums;
    if constexpr (P::kTwice) {
      float of_n[1][P::kSpan][P::kTiles][2], of_rz[2][P::kSpan][P::kTiles][2];
      each<P>([&](int u, int n, int j) { of_n[0][u][n][j] = to_h[2][u][n][j]; });
      messages.send(of_n);
      typename B::Candidate::Sums reached;
      candidate.template multiply<B::Messages::kRow>(messages.receive(), reached);
      each<P>([&](int u, int n, int j) {
        const bool happens = now.at[n][j] & kHappens && place.has_unit(u);
        const float delta_gated = sum_of(reached, u, n, j);  // dL/d(r h)
        of_rz[0][u][n][j] = dz[0][u][n][j] = happens ? delta_gated * of_reset[u][n][j] : 0.f;
        of_rz[1][u][n][j] = dz[1][u][n][j];
        direct[u][n][j].h += delta_gated * reset[u][n][j];
      });
      messages.send(of_rz);
    } else {
      messages.send(to_h);
    }
    each<P>([&](int u, int n, int j) {
      if (!place.has(u, n, j)) return;
      Bits* here = p.dz.of<Bits>(group) + place.of(time(s), u, n, j, P::kBlocks * P::kUnits);
      UNROLL for (int q = 0; q < P::kGates; ++q) here[q * P::kUnits] = S::write(dz[q][u][n][j]);
      if constexpr (P::kKind == kGru) here[P::kGates * P::kUnits] = S::write(to_h[2][u][n][j]);
    });
    product.template multiply<B::Messages::kRow>(messages.receive(), sums);
    each<P>([&](int u, int n, int j) {
      State& d = delta[u][n][j];
      if (now.at[n][j] & kHappens && place.has_unit(u)) {
        d = {sum_of(sums, u, n, j) + direct[u][n][j].h, direct[u][n][j].c};
      }
      if (now.at[n][j] & kReset && place.has(u, n, j)) {
        const long long here = place.of(0, u, n, j);
        if (p.d_reset_h.data) p.d_reset_h.of<float>(group)[here] += d.h;
        if (P::kCell && p.d_reset_c.data) p.d_reset_c.of<float>(group)[here] += d.c;
      }
      if (now.at[n][j] & (kReset | kCut)) d = {0.f, 0.f};
    });
  }
  each<P>([&](int u, int n, int j) {
    if (!place.has(u, n, j)) return;
    const long long here = place.of(0, u, n, j);
    if (p.d_h0.data) p.d_h0.of<Bits>(group)[here] = S::write(delta[u][n][j].h);
    if (P::kCell && p.d_c0.data) p.d_c0.of<Bits>(group)[here] = S::write(delta[u][n][j].c);
  });
  messages.leave();
}

}  // namespace jrnn
