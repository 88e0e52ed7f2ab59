// A GPU on one thread: every thread of the device is a fiber, which a random choice lets run on. Async stores land late
// and out of order, so that a wait that is missing shows; shared memory begins as NaN. A deadlock is an error.
#pragma once
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

namespace machine {

constexpr int kStack = 64 << 10, kMost = 64;  // bytes that a lane hands to the others of its warp

struct Barrier {
  unsigned count = 0, passed = 0;
};
struct Warp {
  Barrier met;
  unsigned char hands[2][32][kMost];
};
struct Arrivals {
  bool announced = false;
  long bytes = 0;
  unsigned phase = 0;
};
struct Store {
  int block;
  unsigned address, barrier;
  unsigned char value[16];
};
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  int thread, block;
  bool done = false;
  bool (*ready)(const void*) = nullptr;  // null: it can run
  const void* of = nullptr;
};

struct Machine {
  ucontext_t scheduler;
  int blocks, cluster, threads, bytes;
  unsigned long long random;
  std::vector<Fiber> fibers;
  Fiber* now = nullptr;
  std::vector<std::vector<unsigned char>> memory;
  std::vector<std::vector<Arrivals>> arrivals;  // of each block, by address / 8
  std::vector<Warp> warps;
  std::vector<Barrier> in_block, in_cluster;
  std::vector<Store> flying;
  void (*body)(const void*, int, int, unsigned char*);
  const void* kernel;
  const char* failed = nullptr;

  unsigned draw(unsigned below) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return static_cast<unsigned>(random >> 33) % below;
  }
};
inline Machine& here() {
  static Machine machine;
  return machine;
}

inline int lane() { return here().now->thread % 32; }
inline unsigned rank() { return here().now->block % here().cluster; }
inline unsigned char* own_memory() { return here().memory[here().now->block].data(); }
inline void fail(const char* why) {  // the thread stops here, and with it the launch
  here().failed = why;
  swapcontext(&here().now->context, &here().scheduler);
}
inline unsigned checked(unsigned address, unsigned size) {
  if (address + size > static_cast<unsigned>(here().bytes) || address % size) fail("an address beyond shared memory");
  return address;
}

template <class F>
void wait_until(const F& ready) {
  if (ready()) return;
  here().now->ready = [](const void* of) { return (*static_cast<const F*>(of))(); };
  here().now->of = &ready;
  swapcontext(&here().now->context, &here().scheduler);
}
inline void meet(Barrier& barrier, unsigned all) {
  const unsigned passed = barrier.passed;
  if (++barrier.count == all) barrier.count = 0, ++barrier.passed;
  wait_until([&] { return barrier.passed != passed; });
}
inline void block_barrier() { meet(here().in_block[here().now->block], here().threads); }
inline void cluster_barrier() {
  meet(here().in_cluster[here().now->block / here().cluster], here().threads * here().cluster);
}
// All lanes of a warp meet, and each sees what the others bring.
template <class T>
void exchange(const T& mine, T (&all)[32]) {
  static_assert(sizeof(T) <= kMost);
  Warp& warp = here().warps[(here().now->block * here().threads + here().now->thread) / 32];
  const unsigned turn = warp.met.passed & 1;
  std::memcpy(warp.hands[turn][lane()], &mine, sizeof(T));
  meet(warp.met, 32);
  for (int i = 0; i < 32; ++i) std::memcpy(&all[i], warp.hands[turn][i], sizeof(T));
}

inline Arrivals& arrivals_at(int block, unsigned barrier) { return here().arrivals[block][checked(barrier, 8) / 8]; }
inline void settle(Arrivals& barrier) {
  if (barrier.announced && barrier.bytes == 0) barrier.announced = false, ++barrier.phase;
}
inline void arrivals_init(unsigned barrier) { arrivals_at(here().now->block, barrier) = {}; }
inline void arrivals_expect(unsigned barrier, unsigned bytes) {
  Arrivals& own = arrivals_at(here().now->block, barrier);
  if (own.announced) fail("a second announcement in one phase");
  own.announced = true, own.bytes += bytes;
  settle(own);
}
inline void arrivals_wait(unsigned barrier, unsigned parity) {
  Arrivals& own = arrivals_at(here().now->block, barrier);
  wait_until([&] { return (own.phase & 1) != parity; });
}
inline void send(int rank, unsigned address, const void* value, unsigned barrier) {
  if (rank < 0 || rank >= here().cluster) fail("a store to no block of the cluster");
  Store store{here().now->block / here().cluster * here().cluster + rank, checked(address, 16), checked(barrier, 8), {}};
  std::memcpy(store.value, value, 16);
  here().flying.push_back(store);
}
inline bool deliver() {
  std::vector<Store>& flying = here().flying;
  if (flying.empty()) return false;
  std::swap(flying[here().draw(flying.size())], flying.back());
  const Store store = flying.back();
  flying.pop_back();
  std::memcpy(here().memory[store.block].data() + store.address, store.value, 16);
  Arrivals& barrier = here().arrivals[store.block][store.barrier / 8];
  barrier.bytes -= 16;
  settle(barrier);
  return true;
}

inline void enter() {
  Machine& m = here();
  Fiber* own = m.now;
  m.body(m.kernel, own->thread, own->block, m.memory[own->block].data());
  own->done = true;
  swapcontext(&own->context, &m.scheduler);
}

// Runs a kernel(thread, block, shared memory); 0 if all threads come to their end, 1 if they wait for each other.
template <class F>
int launch(int blocks, int cluster, int threads, int bytes, unsigned seed, const F& kernel) {
  Machine& m = here();
  m = Machine();
  m.blocks = blocks, m.cluster = cluster, m.threads = threads, m.bytes = bytes;
  m.random = 0x9e3779b97f4a7c15ull * (seed + 1);
  m.memory.assign(blocks, std::vector<unsigned char>(bytes, 0xff));
  m.arrivals.assign(blocks, std::vector<Arrivals>(bytes / 8 + 1));
  m.warps.resize(blocks * threads / 32), m.in_block.resize(blocks), m.in_cluster.resize(blocks / cluster);
  m.body = [](const void* f, int thread, int block, unsigned char* shared) {
    (*static_cast<const F*>(f))(thread, block, shared);
  };
  m.kernel = &kernel;
  m.fibers = std::vector<Fiber>(blocks * threads);
  std::vector<Fiber*> alive;
  for (int i = 0; i < blocks * threads; ++i) {
    Fiber& fiber = m.fibers[i];
    fiber.thread = i % threads, fiber.block = i / threads, fiber.stack.reset(new char[kStack]);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get(), fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = &m.scheduler;
    makecontext(&fiber.context, enter, 0);
    alive.push_back(&fiber);
  }
  while (!alive.empty()) {
    if (m.draw(4) == 0) deliver();
    bool ran = false;
    // from a random place on, the first that can run
    const size_t from = m.draw(alive.size());
    for (size_t i = 0; i < alive.size() && !ran; ++i) {
      const size_t k = (from + i) % alive.size();
      Fiber& fiber = *alive[k];
      if (fiber.ready && !fiber.ready(fiber.of)) continue;
      ran = true, fiber.ready = nullptr, m.now = &fiber;
      swapcontext(&m.scheduler, &fiber.context);
      if (m.failed) {
        std::fprintf(stderr, "emulator: %s\n", m.failed);
        return 2;
      }
      if (fiber.done) alive[k] = alive.back(), alive.pop_back(), fiber.stack.reset();
    }
    if (!ran && !deliver()) {
      std::fprintf(stderr, "emulator: %zu threads wait for ever\n", alive.size());
      return 1;
    }
  }
  return m.flying.empty() ? 0 : 1;
}

}  // namespace machine
