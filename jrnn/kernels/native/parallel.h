// Work for threads that have none.
#pragma once
#include <algorithm>
#include <utility>

#include "problem.h"

namespace jrnn {

namespace JRNN_ISA {
namespace {

// job(i), i = 0..count-1, on all threads, this one too.
template <class Job>
void run(const Parallel& parallel, int64_t count, Job&& job) {
  using Bare = std::remove_reference_t<Job>;
  auto call = [](void* context, int64_t i) { (*static_cast<Bare*>(context))(i); };
  if (parallel.threads > 1 && count > 1)
    return parallel.finish(parallel.start(parallel.pool, count, std::min(count, parallel.threads) - 1, call, &job));
  for (int64_t i = 0; i < count; ++i) job(i);
}

// A job for a thread that has nothing else to do; if none has taken it up, `finish` does it.
class Beside {
  const Parallel* parallel;
  void* begun = nullptr;

 public:
  explicit Beside(const Parallel* parallel) : parallel(parallel) {}
  Beside(const Beside&) = delete;
  ~Beside() {
    try {
      finish();
    } catch (...) {  // something else has failed before
    }
  }
  template <class Job>
  void start(Job& job) {  // which has to live, unchanged, until it is finished
    auto call = [](void* context, int64_t) { (*static_cast<Job*>(context))(); };
    begun = parallel->start(parallel->pool, 1, 1, call, &job);
  }
  void finish() {
    if (begun) parallel->finish(std::exchange(begun, nullptr));
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
