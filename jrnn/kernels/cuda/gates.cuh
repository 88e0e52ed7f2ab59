// The gates of each cell from their sums, and their slopes.
#pragma once
#include <plan.cuh>

namespace jrnn {

// A unit of a sequence: its state, and what a backward pass needs of a step.
struct State {
  float h, c;
};

template <class P>
using Gates = float[P::kSaved];

// Of the sums x W_in + b and h W_rec the state after the step. Of kGruBefore the gates r and z are there already, and
// `from_h` holds the candidate's product at its place.
template <class P>
DEVICE State activate(const float (&from_x)[P::kGates], const float (&from_h)[P::kGates], float bias_rec, State before,
                      Gates<P>& gates) {
  if constexpr (P::kKind == kLstm) {
    gates[0] = sigmoid(from_x[0] + from_h[0]), gates[1] = sigmoid(from_x[1] + from_h[1]);
    gates[2] = tanh(from_x[2] + from_h[2]), gates[3] = sigmoid(from_x[3] + from_h[3]);
    const float c = gates[1] * before.c + gates[0] * gates[2];
    return {gates[3] * tanh(c), c};
  } else if constexpr (P::kKind == kGru) {
    gates[0] = sigmoid(from_x[0] + from_h[0]), gates[1] = sigmoid(from_x[1] + from_h[1]);
    gates[3] = from_h[2] + bias_rec;
    gates[2] = tanh(from_x[2] + gates[0] * gates[3]);
    return {(1.f - gates[1]) * gates[2] + gates[1] * before.h, 0.f};
  } else if constexpr (P::kKind == kGruBefore) {
    gates[2] = tanh(from_x[2] + from_h[2]);
    return {(1.f - gates[1]) * gates[2] + gates[1] * before.h, 0.f};
  } else {
    const float z = from_x[0] + from_h[0];
    gates[0] = P::kKind == kTanh ? tanh(z) : P::kKind == kRelu && z < 0.f ? 0.f : z;  // NaN stays NaN
    return {gates[0], 0.f};
  }
}

// What a backward step finds for a unit: dz of each gate, what of it multiplies W_rec, and what passes to the state
// before the step without a product.
template <class P>
struct Slope {
  float dz[P::kGates], to_h[P::kGates];
  State direct;
};

// `delta`: dL/dh and dL/dc after the step; `entered`: the state before it. Of kGruBefore dz of r is found later.
template <class P>
DEVICE Slope<P> slope(State delta, const Gates<P>& gates, State entered) {
  Slope<P> found{};
  auto put = [&](int q, float v) { found.dz[q] = found.to_h[q] = v; };
  if constexpr (P::kKind == kLstm) {
    const float in = gates[0], forget = gates[1], cell = gates[2], out = gates[3];
    const float squashed = tanh(forget * entered.c + in * cell);
    const float inner = delta.c + delta.h * out * (1.f - squashed * squashed);
    put(0, inner * cell * in * (1.f - in));
    put(1, inner * entered.c * forget * (1.f - forget));
    put(2, inner * in * (1.f - cell * cell));
    put(3, delta.h * squashed * out * (1.f - out));
    found.direct.c = inner * forget;
  } else if constexpr (P::kKind == kGru || P::kKind == kGruBefore) {
    const float reset = gates[0], update = gates[1], candidate = gates[2];
    const float dn = delta.h * (1.f - update) * (1.f - candidate * candidate);
    put(1, delta.h * (entered.h - candidate) * update * (1.f - update));
    put(2, dn);
    if constexpr (P::kKind == kGru) {
      put(0, dn * gates[3] * reset * (1.f - reset));
      found.to_h[2] = dn * reset;
    }
    found.direct.h = delta.h * update;
  } else {
    const float value = gates[0];
    put(0, P::kKind == kTanh ? delta.h * (1.f - value * value)
                             : P::kKind == kRelu && !(value > 0.f) ? 0.f : delta.h);
  }
  return found;
}

}  // namespace jrnn
