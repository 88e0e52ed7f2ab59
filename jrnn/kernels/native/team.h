// Threads that take every step together, each its share of the units.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>
#include <utility>

#include "numbers.h"
#include "parallel.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kMostMembers = 8;
using Clock = std::chrono::steady_clock;

// Whether it is done within about the time that another core's store takes to arrive.
template <class Done>
JRNN_INLINE bool at_once(Done&& done) {
  for (int i = 0; i < 200; ++i)
    if (done()) return true;
  return false;
}

// Whoever is still not there after a while may need this processor.
template <class Done>
void wait_for(Done&& done) {
  for (const auto from = Clock::now(); Clock::now() - from < std::chrono::microseconds(50);)
    for (int i = 0; i < 8; ++i, relax())
      if (done()) return;
  while (!done()) std::this_thread::yield();
}

// Whoever is there when the first member closes the team is in. They share `things`.
class Team {
  struct alignas(128) Mark {  // 2 x how often a member has come to meet the others; odd: the first goes on alone
    std::atomic<int64_t> of{0};
  };
  std::array<Mark, kMostMembers> marks;
  std::atomic<int64_t> taken{1}, closed_with{0};
  const int64_t most, things;
  const Clock::duration patience;
  const std::thread::id owner = std::this_thread::get_id();
  Clock::time_point start;
  Clock::duration lost{};  // by the first, waiting

 public:
  // One of the members, with its share of the things: first .. end - 1. Where waiting for the others costs the first
  // more than they save, as their processors do other work, it goes on alone, and they leave.
  class Member {
    Team* team;
    int64_t size, met = 0;
    bool alone = false;
    friend Team;

   public:
    const int64_t index, things;
    int64_t first = 0, end = 0;
    Member(Team* team, int64_t index, int64_t size, int64_t things)
        : team(team), size(size), index(index), things(things) {
      std::tie(first, end) = share(things);
    }
    explicit Member(int64_t things) : Member(nullptr, 0, 1, things) {}
    bool in_company() const { return size > 1; }
    bool has_left() const { return !size; }
    // The member's share of other things.
    std::pair<int64_t, int64_t> share(int64_t count) const {
      if (has_left()) return {0, 0};
      return {count * index / size, count * (index + 1) / size};
    }
    // Waits for all others to come here; what they have written before can be read. False: this one has left, and what
    // they share changes without it.
    JRNN_INLINE bool meet() {
      if (size > 1) team->meet(*this);
      return size > 0;
    }
  };

  // `patience`: how long the first waits, alone, for others to come.
  Team(int64_t most, int64_t things, Clock::duration patience) : most(most), things(things), patience(patience) {}
  // A seat, or none (a member that has left): once the team is closed, and for work that the pool gives back to the
  // thread that offered it.
  Member join() {
    if (std::this_thread::get_id() == owner) return {this, 0, 0, things};
    int64_t seat = taken.load();
    while (seat && !taken.compare_exchange_weak(seat, seat + 1)) {
    }
    if (seat) wait_for([&] { return closed_with.load() > 0; });
    return {this, seat, seat ? closed_with.load() : 0, things};
  }
  // The first member. The more are there, the more their waiting costs.
  Member close() {
    const auto from = Clock::now();
    for (int64_t n; (n = taken.load()) < most && Clock::now() - from < patience / n;) relax();
    const int64_t size = taken.exchange(0);
    start = Clock::now();
    closed_with.store(size);
    return {this, 0, size, things};
  }

 private:
  __attribute__((noinline)) void meet(Member& one) {
    const int64_t now = 2 * ++one.met;
    marks[one.index].of.store(now + one.alone, std::memory_order_release);
    bool late = false;
    for (int64_t i = 0; i < one.size; ++i) {
      const auto there = [&] { return marks[i].of.load(std::memory_order_acquire) >= now; };
      if (i == one.index || at_once(there)) continue;
      const auto from = Clock::now();
      wait_for(there);
      if (!one.index) lost += Clock::now() - from, late = true;
    }
    // what the first has stored since differs; once it has said so it stores no more
    const bool alone = one.index ? marks[0].of.load(std::memory_order_relaxed) == now + 1 : one.alone;
    if (alone) {
      one.size = !one.index;
      std::tie(one.first, one.end) = one.share(things);
    }
    one.alone = late && one.size * lost > (one.size - 1) * (Clock::now() - start + patience);
#if defined(JRNN_POISON)  // the sanitizers' build: teams part at all places
    static std::atomic<int64_t> all{0};
    one.alone |= !one.index && ++all % 61 == 0;
#endif
  }
};
using Member = Team::Member;

// work(member) on up to `most` threads, this one too; it must not throw, as others would wait for ever.
template <class Work>
void together(const Parallel* parallel, int64_t most, Clock::duration patience, int64_t things, Work&& work) {
  if (most < 2) {
    Member alone(things);
    return work(alone);
  }
  Team team(most, things, patience);
  auto act = [&](Member one) noexcept {
    if (!one.has_left()) work(one);
  };
  auto help = [&] { act(team.join()); };
  auto call = [](void* context, int64_t) { (*static_cast<decltype(help)*>(context))(); };
  void* begun = parallel->start(parallel->pool, most - 1, most - 1, call, &help);
  act(team.close());
  parallel->finish(begun);
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
