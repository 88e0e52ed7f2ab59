// A kernel's library at the other end of a pipe: calls come in, results go out, for a machine that has no Python.
// `aarch64.py` says what a call looks like.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../jrnn/kernels/native/problem.h"
#include "../kernels/own_threads.h"
using namespace jrnn;

void read(void* to, size_t bytes) {
  if (bytes && std::fread(to, 1, bytes, stdin) != bytes) std::exit(0);  // the other end has no more calls
}

int64_t number() {
  int64_t found;
  read(&found, sizeof found);
  return found;
}

struct Array {
  std::vector<char> bytes;
  Operand operand;
  Array(bool given) {
    const int64_t first = number(), count = number(), size = number();
    bytes.resize(count * size, char(0xa5));  // what is not written is no number
    if (given) read(bytes.data(), bytes.size());
    if (count) operand = {bytes.data(), first == 1 ? 0 : count / first};
  }
};

int main(int, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW);
  void* found = library ? dlsym(library, "_ZN4jrnn8baseline5solveERKNS_7ProblemERKNS_8ParallelE") : nullptr;
  if (!found) return std::fprintf(stderr, "%s\n", dlerror()), 1;
  const auto solve = reinterpret_cast<Solve>(found);
  const Parallel parallel{std::atoi(arguments[2]), nullptr, start, finish};
  for (;;) {
    Problem p{};
    p.backward = number(), p.storage = static_cast<Storage>(number());
    for (int64_t* size : {&p.kind, &p.groups, &p.steps, &p.rows, &p.features, &p.units}) *size = number();
    std::vector<int64_t> reverse(p.groups);
    read(reverse.data(), reverse.size() * sizeof(int64_t));
    p.reverse = reverse.data();
    std::vector<Operand*> given{&p.xs, &p.w_in, &p.w_rec, &p.bias, &p.bias_rec, &p.theta, &p.h0, &p.c0, &p.reset_h,
                                &p.reset_c, &p.inside, &p.valid, &p.resets, &p.cuts, &p.tap_h, &p.tap_c};
    std::vector<Operand*> wanted{&p.hs, &p.cs, &p.gates, &p.last_h, &p.last_c};
    if (p.backward) {
      given.insert(given.end(), {&p.hs, &p.cs, &p.gates, &p.g_hs, &p.g_cs, &p.g_last_h, &p.g_last_c});
      wanted = {&p.d_xs, &p.d_w_in, &p.d_w_rec, &p.d_bias, &p.d_bias_rec, &p.d_theta,
                &p.d_h0, &p.d_c0, &p.d_reset_h, &p.d_reset_c, &p.d_tap_h, &p.d_tap_c};
    }
    std::vector<Array> inputs, results;
    inputs.reserve(given.size()), results.reserve(wanted.size());
    for (Operand* each : given) *each = inputs.emplace_back(true).operand;
    for (Operand* each : wanted) *each = results.emplace_back(false).operand;
    solve(p, parallel);
    for (const Array& each : results) std::fwrite(each.bytes.data(), 1, each.bytes.size(), stdout);
    std::fflush(stdout);
  }
}
