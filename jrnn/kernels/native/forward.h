// The recurrence forwards.
#pragma once
#include "parallel.h"
#include "rows.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

template <class C, class S>
struct Forward : Rows<C, S> {
  using Base = Rows<C, S>;
  using T = typename Base::T;
  using O = typename Base::O;
  using V = Vector<T>;
  using Base::weights, Base::g, Base::rows, Base::h, Base::f, Base::wide;
  using Base::at, Base::flag, Base::happens, Base::inside, Base::time;
  static constexpr int64_t L = Base::L;
  const Problem& p = Base::p;
  static constexpr bool kHasC = C::kCell || C::kTwice;  // c, or z on its way from one product to the next

  // x W_in for each product, and x.
  struct Early {
    // a load 4096 n bytes behind a store waits for it, and large arrays, as hs, begin at one place of a page
    static constexpr int64_t kApart = 2048 / sizeof(T);
    Scratch<T> sums[2];
    Scratch<O> gathered;
    T* of(int i) const { return sums[i] + kApart; }
  };

  // What the members of a team write, each for its own units, and a room for each of them.
  struct Workspace {
    Scratch<O> now, next, gated;
    Scratch<T> c;
    Early early[2];
    struct Own {
      Scratch<O> inputs;
      typename Base::Sums sums;
    };
    std::vector<Own> own;
  };

  void run() const {
    Workspace work;
    work.now = Scratch<O>(rows * wide), work.next = Scratch<O>(rows * wide);
    work.gated = Scratch<O>(C::kTwice ? rows * wide : 0);
    work.c = Scratch<T>(kHasC ? rows * wide : 0);
    for (int64_t i = 0; i < this->members; ++i)
      work.own.push_back({Scratch<O>(rows * x_row), this->room_for_sums(rows)});
    for (int64_t r = 0; r < rows; ++r) {
      this->read(p.h0, r, work.now);
      if (C::kCell) this->read(p.c0, r, work.c);
    }
    // with few rows, a step would read all of W_in for little: x W_in is taken for several steps at once
    const int64_t ahead = rows < kTile && f ? std::max<int64_t>(2, kChunk / rows) : 1;
    const Parallel* beside = this->helpers(ahead * rows, f);
    for (int k = 0; ahead > 1 && k < (beside ? 2 : 1); ++k) {
      Early& early = work.early[k];
      early.gathered = Scratch<O>(ahead * rows * x_row);
      each_product<C>([&](auto part, int i) {
        early.sums[i] = Scratch<T>(Early::kApart + ahead * rows * part.kWeights * wide);
      });
    }
    this->together([&](Member& one) { steps(work, ahead, beside, one); });
    const auto& last = p.steps % 2 ? work.next : work.now;
    for (int64_t r = 0; r < rows; ++r) this->write(p.last_h, r, last), this->write(p.last_c, r, work.c);
  }

  // All steps, as a member.
  void steps(const Workspace& work, int64_t ahead, const Parallel* beside, Member& one) const {
    O *now = work.now, *next = work.next, *gated = work.gated;
    T* c = work.c;
    const auto& own = work.own[one.index];
    const Early *ready = work.early, *later = beside ? ready + 1 : ready;
    int64_t then = 0;
    auto prepare = [&] {
      Member alone(one.things);
      project(then, std::min(ahead, p.steps - then), *later, beside ? alone : one);
    };
    Beside coming(beside);
    enter(0, now, c, this->units_of(one));
    if (!one.meet()) return;
    for (int64_t s = 0; s < p.steps; ++s) {
      const int64_t t = time(s), done = s % ahead, count = std::min(ahead, p.steps - (s - done));
      if (ahead > 1 && done == 0) {
        if (!s || !beside) prepare();
        if (one.has_left()) return;
        coming.finish();
        std::swap(ready, later);
        then = s + count;
        if (beside && then < p.steps) coming.start(prepare);
      }
      for (int64_t r = 0; r < rows && rows < kTile && one.in_company(); ++r) this->ask_for(now + r * wide, wide);
      const O* x = ahead > 1 ? nullptr : inputs(t, own.inputs);
      each_product<C>([&](auto part, int i) {
        using Part = decltype(part);
        if (i && !one.meet()) return;
        const O* state = i ? gated : now;
        typename Base::Factors of{x, state, x_row, wide};
        if (ahead > 1) of.early = ready->of(i), of.total = count * rows, of.done = done * rows;
        const T* leak = weights[i].leak;
        const auto these = this->units_of(one);
        this->template sweep<Part>(weights[i], rows, of, own.sums, these, this->goes_down(s), [&](int64_t r) {
          // found once a row: after every store of a vector the compiler would read `p` again
          const bool held = !happens(t, r), tapped = inside(t, r);
          const int64_t there = at(t, r, h);
          T* saved = p.gates.of<T>(g, at(t, r, C::kSaved * h));
          const S* tap_h = tapped ? p.tap_h.of<S>(g, there) : nullptr;
          const S* tap_c = tapped ? p.tap_c.of<S>(g, there) : nullptr;
          S *hs = p.hs.of<S>(g, there), *cs = p.cs.of<S>(g, there);
          return [=](int64_t unit, const T* z, int64_t width) {
            const int64_t here = r * wide + unit, n = h - unit;
            const V before = load(now + here);
            V cell = kHasC ? load(c + here) : V{};
            const Kept<T, T> kept{saved ? saved + unit : nullptr, h, n};
            const Shares<T> shares{C::kLeaks ? leak + unit : nullptr, wide};
            const V value = Part::template activate<S>(p.kind, UnitSums<T>{z, width}, before, cell, kept, shares);
            if constexpr (Part::kTwice) {
              store(gated + here, first<T>(value, n)), store(c + here, cell);
            } else {
              settle(value, before, held, tap_h, hs, next + here, unit);
              if (C::kCell) settle(cell, load(c + here), held, tap_c, cs, c + here, unit);
            }
          };
        });
      });
      enter(s + 1, next, c, this->units_of(one));
      if (!one.meet()) return;
      std::swap(now, next);
    }
  }

  // The state that enters step s, of these units, where a reset replaces it.
  void enter(int64_t s, O* state, T* c, typename Base::Units these) const {
    for (int64_t r = 0; p.resets && s < p.steps && r < rows; ++r) {
      if (!flag(p.resets, time(s), r)) continue;
      this->read(p.reset_h, r, state, these);
      if (C::kCell) this->read(p.reset_c, r, c, these);
    }
  }

  // The state after the step, as stored: rounded, held where the step did not happen, the tap added.
  template <class N>
  JRNN_INLINE void settle(V v, V before, bool held, const S* tap, S* all, N* to, int64_t unit) const {
    const int64_t n = h - unit;
    v = held ? before : first<T>(rounded<S>(v), n);
    if (tap) v = first<T>(rounded<S>(v + load(tap + unit, n)), n);
    store(to, v);
    if (all) store(all + unit, v, n);
  }

  // x_t of these rows as factors, a pair's second one zero where there is none.
  const int64_t x_row = deep<O>(f);
  const O* inputs(int64_t t, O* room) const {
    const S* x = p.xs.of<S>(g) + at(t, 0, f);
    if constexpr (std::is_same_v<S, O>) {
      if (x_row == f) return x;
    }
    for (int64_t r = 0; r < rows; ++r) copy(x + r * f, room + r * x_row);
    return room;
  }
  void copy(const S* x, O* to) const {
    for (int64_t i = 0; i < f; ++i) to[i] = as<O>(x[i]);
    if (f < x_row) to[f] = O{};
  }

  // x W_in of `count` steps from s on, as `Factors` have it.
  void project(int64_t s, int64_t count, const Early& to, Member& one) const {
    const int64_t total = count * rows;
    const auto [first, end] = one.share(count);
    for (int64_t i = first; i < end; ++i) {
      const S* x = p.xs.of<S>(g) + at(time(s + i), 0, f);
      for (int64_t r = 0; r < rows; ++r) copy(x + r * f, to.gathered + (i * rows + r) * x_row);
    }
    if (!one.meet()) return;
    const auto these = this->units_of(one);
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      Blocks<Part, T>(h).each(these.from, these.end, [&](int64_t from, int64_t vectors) {
        T* sums = to.of(i) + Part::kWeights * total * from;
        std::fill_n(sums, Part::kWeights * total * vectors * L, T(0));
        const auto left = this->along(to.gathered, x_row, f);
        this->template product<Part>(sums, Part::kWeights * vectors * L, left, weights[i].in, from, vectors, total);
      });
    });
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
