// Work on threads of one's own, for programs that have no pool of XLA's.
#pragma once
#include <atomic>
#include <thread>
#include <vector>

#include "../../jrnn/kernels/native/problem.h"

struct Begun {
  std::atomic<int64_t> next{0};
  std::vector<std::thread> threads;
};

inline void* start(void*, int64_t count, int64_t helpers, void (*work)(void*, int64_t), void* context) {
  auto* begun = new Begun;
  for (int64_t i = 0; i <= helpers; ++i)
    begun->threads.emplace_back([=] {
      for (int64_t j; (j = begun->next.fetch_add(1)) < count;) work(context, j);
    });
  return begun;
}

inline void finish(void* begun) {
  for (auto& thread : static_cast<Begun*>(begun)->threads) thread.join();
  delete static_cast<Begun*>(begun);
}
