// The kernel on threads of its own, for the thread sanitizer: jaxlib's pool is not built for it, and would be blamed.
// Gradients on four threads are compared with those on one, bit by bit where no sum is split, to rounding elsewhere.
#include <array>
#include <cmath>
#include <cstdio>
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
std::vector<float> solve(Network network, int64_t groups, int64_t t, int64_t b, const Parallel& parallel) {
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
  if (network.saved()) p.gates = a.of(groups, t * b * network.saved() * h);
  baseline::solve(p, parallel);
  p.backward = true, p.last_h = p.last_c = {};
  p.g_hs = a.of(groups, t * b * h);
  p.d_xs = a.of(groups, t * b * f), p.d_h0 = a.of(groups, b * h);
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

int main() {
  const Parallel one{1, nullptr, start, finish}, four{4, nullptr, start, finish};
  const Network networks[] = {{kTanh},      {kTanh, true}, {kLstm},    {kGru},
                              {kGruBefore}, {kGated},      {kComplex}, {kMinGru},
                              {kMinGruTanh}, {kMinGruPositive}};
  const std::vector<std::array<int64_t, 3>> sizes{{1, 12, 23}, {2, 12, 23}, {5, 12, 23}, {1, 300, 2}, {1, 40, 1}};
  for (const Network& network : networks)
    for (auto [groups, t, b] : sizes) {
      const auto alone = solve(network, groups, t, b, one), together = solve(network, groups, t, b, four);
      for (size_t i = 0; i < alone.size(); ++i)
        if (!(std::fabs(alone[i] - together[i]) <= 1e-4f * (1 + std::fabs(alone[i])))) {
          const int kind = int(network.kind);
          std::printf("kind %d, %d groups: %g and %g at %zu\n", kind, int(groups), alone[i], together[i], i);
          return 1;
        }
    }
  std::printf("all agree\n");
}
