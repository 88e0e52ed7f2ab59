// The recurrence forwards: one kernel runs the whole sequence. A cluster owns a tile of sequences, a warp some units.
#pragma once
#include <exchange.cuh>
#include <gates.cuh>
#include <product.cuh>

namespace jrnn {

// The arrays in the order in which the handler gets them (`launch.py`), then the sizes.
struct ForwardProblem {
  Operand from_x, w_rec, w_candidate, bias, bias_rec, h0, c0, reset_h, reset_c, events, tap_h, tap_c, reverse;
  Operand hs, cs, last_h, last_c, gates[4];
  int steps, rows;
};

template <class P>
struct Forward {
  static constexpr int kFirst = P::kTwice ? 2 : P::kGates;  // gates whose product is with h
  using Messages = Exchange<P, P::kPadded, 1>;
  using Product = Fragments<P, kFirst * P::kSpan / 2, P::kSteps>;
  using Candidate = Fragments<P, P::kTwice ? P::kSpan / 2 : 1, P::kTwice ? P::kSteps : 0>;  // that with r h
  static constexpr int kShared = Messages::kShared + Product::kShared + Candidate::kShared;
  static_assert(kFirst * P::kSpan % 2 == 0 && (!P::kTwice || P::kSpan == 2), "whole tiles");
};

template <class P>
DEVICE void forward(const ForwardProblem& p, unsigned char* shared, int thread, int block) {
  using F = Forward<P>;
  using S = typename P::S;
  using Bits = typename S::Bits;
  const Place<P> place(p.rows, thread, block);
  const int group = place.group;
  const Word memory = shared_address(shared);

  typename F::Product product;
  typename F::Candidate candidate;
  product.load(place, memory + F::Messages::kShared, p.w_rec.of<const Quad>(group));
  if constexpr (P::kTwice) {
    candidate.load(place, memory + F::Messages::kShared + F::Product::kShared, p.w_candidate.of<const Quad>(group));
  }

  // absent arrays are null; a state of one part has no c
  auto state_of = [&](const Bits* states, int u, int n, int j) {
    return states && place.has(u, n, j) ? S::read(states[place.of(0, u, n, j)]) : 0.f;
  };
  const Bits *reset_h = p.reset_h.of<const Bits>(group), *reset_c = p.reset_c.of<const Bits>(group);
  float h[1][P::kSpan][P::kTiles][2];
  Own<P> c;
  float bias[P::kSpan][P::kGates], bias_rec[P::kSpan];
  UNROLL for (int u = 0; u < P::kSpan; ++u) {
    auto read = [&](const Operand& array, int g) {
      const Bits* numbers = array.of<const Bits>(group);
      return numbers && place.has_unit(u) ? S::read(numbers[g * P::kUnits + place.unit(u)]) : 0.f;
    };
    UNROLL for (int g = 0; g < P::kGates; ++g) bias[u][g] = read(p.bias, g);
    bias_rec[u] = read(p.bias_rec, 0);
  }
  const bool from_end = p.reverse.of<const unsigned char>(group)[0];
  auto time = [&](int s) -> long long { return from_end ? p.steps - 1 - s : s; };

  const float* inputs = p.from_x.of<const float>(group);
  float x[P::kSpan][P::kTiles][2][P::kGates];
  auto fetch = [&](int s) {
    each<P>([&](int u, int n, int j) {
      const float* here = inputs + place.of(time(s), u, n, j, P::kGates * P::kUnits);
      const float* later = inputs + place.of(time(s + 3), u, n, j, P::kGates * P::kUnits);
      UNROLL for (int g = 0; g < P::kGates; ++g) {
        x[u][n][j][g] = place.has(u, n, j) && s < p.steps ? here[g * P::kUnits] : 0.f;
        if (place.has(u, n, j) && s + 3 < p.steps) prefetch(later + g * P::kUnits);  // into the second cache
      }
    });
  };
  const unsigned char* flags = p.events.of<const unsigned char>(group);
  Events<P> now, next;
  now.read(place, flags, time(0), p.steps > 0);
  next.read(place, flags, time(1), p.steps > 1);
  fetch(0);

  typename F::Messages messages(place, memory, P::kPadded, P::kPadded, (P::kTwice ? 2 : 1) * p.steps);
  each<P>([&](int u, int n, int j) {
    const bool reset = now.at[n][j] & kReset;
    h[0][u][n][j] = state_of(reset ? reset_h : p.h0.of<const Bits>(group), u, n, j);
    c[u][n][j] = state_of(reset ? reset_c : p.c0.of<const Bits>(group), u, n, j);
  });
  auto write_last = [&](int u, int n, int j) {
    const long long last = place.of(0, u, n, j);
    p.last_h.of<Bits>(group)[last] = S::write(h[0][u][n][j]);
    if (P::kCell) p.last_c.of<Bits>(group)[last] = S::write(c[u][n][j]);
  };
  if (p.steps > 0) messages.send(h);
  if (p.steps == 0) {
    each<P>([&](int u, int n, int j) {
      if (place.has(u, n, j)) write_last(u, n, j);
    });
  }

  for (int s = 0; s < p.steps; ++s) {
    typename F::Product::Sums sums;
    product.template multiply<F::Messages::kRow>(messages.receive(), sums);
    float gates[P::kSpan][P::kTiles][2][P::kSaved];
    typename F::Candidate::Sums of_candidate;
    if constexpr (P::kTwice) {
      float gated[1][P::kSpan][P::kTiles][2];
      each<P>([&](int u, int n, int j) {
        const float reset = sigmoid(x[u][n][j][0] + bias[u][0] + sum_of(sums, u, n, j));
        gates[u][n][j][0] = reset;
        gates[u][n][j][1] = sigmoid(x[u][n][j][1] + bias[u][1] + sum_of(sums, P::kSpan + u, n, j));
        gated[0][u][n][j] = place.has_unit(u) ? reset * h[0][u][n][j] : 0.f;
      });
      messages.send(gated);
      candidate.template multiply<F::Messages::kRow>(messages.receive(), of_candidate);
    }
    float entering[1][P::kSpan][P::kTiles][2];
    each<P>([&](int u, int n, int j) {
      float from_x[P::kGates], from_h[P::kGates];
      UNROLL for (int g = 0; g < P::kGates; ++g) from_x[g] = x[u][n][j][g] + bias[u][g];
      UNROLL for (int g = 0; g < F::kFirst; ++g) from_h[g] = sum_of(sums, g * P::kSpan + u, n, j);
      if constexpr (P::kTwice) from_h[2] = sum_of(of_candidate, u, n, j);
      const State before{h[0][u][n][j], c[u][n][j]};
      State after = activate<P>(from_x, from_h, bias_rec[u], before, gates[u][n][j]);
      // rounded as it is stored; held where the step did not happen; a unit or sequence that is not there stays 0
      const bool happens = now.at[n][j] & kHappens && place.has_unit(u);
      after.h = happens ? S::round(after.h) : before.h;
      after.c = happens ? S::round(after.c) : before.c;
      if (p.tap_h.data && !(now.at[n][j] & kPadding) && place.has(u, n, j)) {
        const long long here = place.of(time(s), u, n, j);
        after.h = S::round(after.h + S::read(p.tap_h.of<const Bits>(group)[here]));
        if constexpr (P::kCell) after.c = S::round(after.c + S::read(p.tap_c.of<const Bits>(group)[here]));
      }
      h[0][u][n][j] = after.h, c[u][n][j] = after.c;
      entering[0][u][n][j] = next.at[n][j] & kReset ? state_of(reset_h, u, n, j) : after.h;
    });
    if (s + 1 < p.steps) messages.send(entering);
    fetch(s + 1);
    each<P>([&](int u, int n, int j) {
      if (!place.has(u, n, j)) return;
      const long long here = place.of(time(s), u, n, j);
      p.hs.of<Bits>(group)[here] = S::write(h[0][u][n][j]);
      if (P::kCell && p.cs.data) p.cs.of<Bits>(group)[here] = S::write(c[u][n][j]);
      UNROLL for (int q = 0; q < P::kSaved; ++q) {
        if (p.gates[q].data) p.gates[q].of<float>(group)[here] = gates[u][n][j][q];
      }
      if (s + 1 == p.steps) write_last(u, n, j);
      h[0][u][n][j] = entering[0][u][n][j];
      if (P::kCell && next.at[n][j] & kReset) c[u][n][j] = state_of(reset_c, u, n, j);
    });
    now = next;
    next.read(place, flags, time(s + 2), s + 2 < p.steps);
  }
  messages.leave();
}

}  // namespace jrnn
