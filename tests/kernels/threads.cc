// The kernel on threads of its own, for the thread sanitizer: jaxlib's pool is not built for it, and would be blamed.
// Gradients on many threads are compared with those on one, to rounding, as sums are split otherwise; and bit by bit
// with those of the same split where nobody helps.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "../../jrnn/kernels/native/problem.h"
#include "own_threads.h"

namespace jrnn {
namespace baseline {
void solve(const Problem&, const Parallel&);
}
}  // namespace jrnn
using namespace jrnn;

struct Arrays {
  std::mt19937 random{0};
  std::vector<std::unique_ptr<std::vector<float>>> all;
  Operand of(int64_t groups, int64_t count) {  // small enough to contract: chaos would magnify rounding
    all.push_back(std::make_unique<std::vector<float>>(groups * count));
    for (float& x : *all.back()) x = std::normal_distribution<float>(0, 0.05f)(random);
    return {all.back()->data(), groups == 1 ? 0 : count};
  }
};

// The numbers of the recurrences, as `native` in the files of `jrnn/kernels/recurrences`.
enum Kind : int64_t {
  kTanh = 0, kLstm = 3, kGru = 4, kGruBefore = 5, kGated = 6, kComplex = 7,
  kMinGru = 8, kMinGruTanh = 9, kMinGruPositive = 10
};

// A recurrence: the leaky Elman network has the number of the bare one.
struct Network {
  int64_t kind;
  bool leaks = false;
  bool linear() const { return kind == kGated || kind == kComplex; }  // a and b are its inputs
  bool min_gru() const { return kind >= kMinGru; }
  bool two_parts() const { return kind == kLstm || kind == kComplex; }
  int64_t gates() const {  // blocks of weights a unit
    if (linear()) return 0;
    return kind == kLstm ? 4 : min_gru() ? 2 : kind >= kGru ? 3 : 1;
  }
  int64_t saved() const {  // numbers a unit that the backward pass does not compute again
    return linear() || min_gru() ? 0 : kind >= kLstm ? 4 : leaks ? 1 : 0;
  }
};

// Everything a call writes, one after the other.
std::vector<float> solve(Network network, int64_t groups, int64_t t, int64_t b, bool save, const Parallel& parallel) {
  const int64_t h = b < 6 ? 150 : 37,  // few rows: work for idle threads, and weights to share
                parts = network.two_parts() ? 2 : 1, gates = network.gates(),
                f = network.linear() ? 2 * parts * h : b < 6 ? 90 : 5;
  std::vector<int64_t> reverse(groups, 0);
  Arrays a;
  Problem p{};
  p.kind = network.kind, p.storage = Storage::kFloat32, p.reverse = reverse.data();
  p.groups = groups, p.steps = t, p.rows = b, p.features = f, p.units = h;
  p.xs = a.of(1, t * b * f), p.h0 = a.of(groups, b * h);
  if (gates) p.w_in = a.of(groups, f * gates * h), p.bias = a.of(groups, gates * h);
  if (gates && !network.min_gru()) p.w_rec = a.of(groups, h * gates * h);
  if (network.kind == kGru) p.bias_rec = a.of(groups, h);
  if (network.leaks) p.theta = a.of(groups, h);
  if (parts > 1) p.c0 = a.of(groups, b * h);
  p.hs = a.of(groups, t * b * h), p.last_h = a.of(groups, b * h);
  if (parts > 1) p.cs = a.of(groups, t * b * h), p.last_c = a.of(groups, b * h);
  std::vector<uint8_t> resets(t * b);
  for (int64_t i = 0; i < t * b && !save; ++i) resets[i] = i % 7 == 0;  // step 0, and others
  if (!save) {
    p.resets = {resets.data(), 0}, p.reset_h = a.of(groups, b * h);
    if (parts > 1) p.reset_c = a.of(groups, b * h);
  }
  if (network.saved() && save) p.gates = a.of(groups, t * b * network.saved() * h);
  baseline::solve(p, parallel);
  p.backward = true, p.last_h = p.last_c = {};
  p.g_hs = a.of(groups, t * b * h);
  p.d_xs = a.of(groups, t * b * f), p.d_h0 = a.of(groups, b * h);
  if (p.reset_h) p.d_reset_h = a.of(groups, b * h);
  if (p.reset_c) p.d_reset_c = a.of(groups, b * h);
  if (p.c0) p.d_c0 = a.of(groups, b * h);
  if (p.w_in) p.d_w_in = a.of(groups, f * gates * h), p.d_bias = a.of(groups, gates * h);
  if (p.w_rec) p.d_w_rec = a.of(groups, h * gates * h);
  if (p.bias_rec) p.d_bias_rec = a.of(groups, h);
  if (p.theta) p.d_theta = a.of(groups, h);
  baseline::solve(p, parallel);
  std::vector<float> found;
  for (const auto& array : a.all) found.insert(found.end(), array->begin(), array->end());
  return found;
}

// A pool whose threads have no time: what it is offered the caller does, at once or in the end.
void* start_here(void*, int64_t count, int64_t, void (*work)(void*, int64_t), void* context) {
  for (int64_t i = 0; i < count; ++i) work(context, i);
  return nullptr;
}
void finish_here(void*) {}

int main() {
  const Network networks[] = {{kTanh},      {kTanh, true}, {kLstm},    {kGru},
                              {kGruBefore}, {kGated},      {kComplex}, {kMinGru},
                              {kMinGruTanh}, {kMinGruPositive}};
  struct Size {
    int64_t threads, groups, t, b;
    bool save = true;
  };
  // rows of their own; a thread beside the only one of a group; teams: of 2 and more, several at once, more than rows
  const Size sizes[] = {{4, 1, 12, 23}, {4, 2, 12, 23},        {4, 5, 12, 23}, {4, 3, 300, 2},
                        {4, 1, 300, 2}, {4, 1, 140, 2, false}, {4, 1, 40, 1},  {4, 1, 40, 4},
                        {4, 2, 40, 1},  {16, 1, 7, 1},         {64, 1, 3, 7}};
  for (const Network& network : networks)
    for (const auto& size : sizes) {
      auto with = [&](int64_t threads, auto begin, auto end) {
        return solve(network, size.groups, size.t, size.b, size.save, {threads, nullptr, begin, end});
      };
      const auto alone = with(1, start, finish), together = with(size.threads, start, finish),
                 unaided = with(size.threads, start_here, finish_here);
      const int kind = int(network.kind);
      for (size_t i = 0; i < alone.size(); ++i)
        if (!(std::fabs(alone[i] - together[i]) <= 1e-4f * (1 + std::fabs(alone[i])))) {
          std::printf("kind %d, %d groups: %g and %g at %zu\n", kind, int(size.groups), alone[i], together[i], i);
          return 1;
        }
      if (std::memcmp(together.data(), unaided.data(), together.size() * sizeof(float))) {
        std::printf("kind %d, %d threads, %d rows: bits depend on who helps\n", kind, int(size.threads), int(size.b));
        return 1;
      }
    }
  std::printf("all agree\n");
}
