// Threads that take every step together, each its share of the units.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>

#include "parallel.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kMostMembers = 8;
constexpr int kLooks = 200;  // as long as another core's store takes to arrive
using Clock = std::chrono::steady_clock;

template <class Done>
bool comes_within(Clock::duration most, Done&& done) {
  for (int i = 0; i < kLooks; ++i)
    if (done()) return true;
  for (const auto start = Clock::now(); Clock::now() - start < most;)
    for (int i = 0; i < 8; ++i, pause())
      if (done()) return true;
  return false;
}

// Whoever is there when the first member closes the team is in.
class Team {
  struct alignas(128) Mark {  // 2 x how often a member has come to meet the others; odd: the first goes on alone
    std::atomic<int64_t> of{0};
  };
  std::array<Mark, kMostMembers> marks;
  std::atomic<int64_t> taken{1}, closed_with{0};
  Clock::time_point start;
  Clock::duration lost{};  // by the first, as another member's processor did other work

 public:
  // One of the members, with its share of `count` things: first .. end - 1. Where others keep the first waiting for a
  // quarter of its time, it goes on alone, and they leave.
  class Member {
    Team* team;
    int64_t size, met = 0;
    bool alone = false;
    friend Team;

   public:
    int64_t index, count, first = 0, end = 0;
    Member(Team* team, int64_t index, int64_t size, int64_t count)
        : team(team), size(size), index(index), count(count) {
      std::tie(first, end) = share(count);
    }
    explicit Member(int64_t count) : Member(nullptr, 0, 1, count) {}
    bool in_company() const { return size > 1; }
    bool has_left() const { return !size; }
    // The member's share of other things.
    std::pair<int64_t, int64_t> share(int64_t things) const {
      if (has_left()) return {0, 0};
      return {things * index / size, things * (index + 1) / size};
    }
    // Waits for all others to come here; what they have written before can be read. False: this one has left, and what
    // they share changes without it.
    JRNN_INLINE bool meet() {
      if (size > 1) team->meet(*this);
      return size > 0;
    }
  };

  // A seat, or none (a member that has left) once the team is closed.
  Member join(int64_t count) {
    int64_t seat = taken.load();
    while (seat && !taken.compare_exchange_weak(seat, seat + 1)) {
    }
    while (seat && !closed_with.load()) pause();
    return {this, seat, seat ? closed_with.load() : 0, count};
  }
  // The first member; waits for the team to be `most`, as long as it has patience.
  Member close(int64_t most, Clock::duration patience, int64_t count) {
    comes_within(patience, [&] { return taken.load() == most; });
    const int64_t size = taken.exchange(0);
    start = Clock::now();
    closed_with.store(size);
    return {this, 0, size, count};
  }

 private:
  __attribute__((noinline)) void meet(Member& one) {
    constexpr auto kAwake = std::chrono::microseconds(50);
    const int64_t now = 2 * ++one.met;
    marks[one.index].of.store(now + one.alone, std::memory_order_release);
    bool late = false;
    for (int64_t i = 0; i < one.size; ++i) {
      const auto there = [&] { return marks[i].of.load(std::memory_order_acquire) >= now; };
      if (i == one.index || comes_within(kAwake, there)) continue;
      const auto from = Clock::now();
      while (!there()) std::this_thread::yield();
      if (one.index) continue;
      lost += Clock::now() - from;
      late = true;
    }
    // the first cannot have come to the next meeting and say so already: it waits there for this member
    const bool alone = one.index ? marks[0].of.load(std::memory_order_relaxed) == now + 1 : one.alone;
    if (alone) {
      one.size = !one.index;
      std::tie(one.first, one.end) = one.share(one.count);
    }
    one.alone = late && 4 * lost > Clock::now() - start;
  }
};
using Member = Team::Member;

// work(member) on up to `most` threads, this one too, for members that share `count` things; it must not throw.
template <class Work>
void together(const Parallel* parallel, int64_t most, Clock::duration patience, int64_t count, Work&& work) {
  if (most < 2) {
    Member alone(count);
    return work(alone);
  }
  Team team;
  auto help = [&] {
    Member one = team.join(count);
    if (!one.has_left()) work(one);
  };
  auto call = [](void* context, int64_t) { (*static_cast<decltype(help)*>(context))(); };
  void* begun = parallel->start(parallel->pool, most - 1, most - 1, call, &help);
  Member first = team.close(most, patience, count);
  work(first);
  parallel->finish(begun);
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
