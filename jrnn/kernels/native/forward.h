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

  void run() const {
    Scratch<O> one(rows * wide), other(rows * wide), room(rows * x_row);
    Scratch<O> gated(C::kTwice ? rows * wide : 0);
    Scratch<T> c(kHasC ? rows * wide : 0);
    const auto sums = this->room_for_sums(rows);
    O *now = one, *next = other;
    for (int64_t r = 0; r < rows; ++r) {
      this->read(p.h0, r, now);
      if (C::kCell) this->read(p.c0, r, c);
    }
    // with few rows, a step would read all of W_in for little: x W_in is taken for several steps at once
    const int64_t ahead = rows < kTile && f ? std::max<int64_t>(2, kChunk / rows) : 1;
    const Parallel* spare = this->helpers(ahead * rows, f);
    Early early[2];
    for (int k = 0; ahead > 1 && k < (spare ? 2 : 1); ++k) {
      early[k].gathered = Scratch<O>(ahead * rows * x_row);
      each_product<C>([&](auto part, int i) {
        early[k].sums[i] = Scratch<T>(Early::kApart + ahead * rows * part.kWeights * wide);
      });
    }
    Early *ready = early, *later = spare ? early + 1 : early;
    int64_t then = 0;
    auto prepare = [&] { project(then, std::min(ahead, p.steps - then), *later); };
    Beside coming(spare);
    for (int64_t s = 0; s < p.steps; ++s) {
      const int64_t t = time(s), done = s % ahead, count = std::min(ahead, p.steps - (s - done));
      if (ahead > 1 && done == 0) {
        if (!s || !spare) prepare();
        coming.finish();
        std::swap(ready, later);
        then = s + count;
        if (spare && then < p.steps) coming.start(prepare);
      }
      for (int64_t r = 0; r < rows; ++r) {
        if (!flag(p.resets, t, r)) continue;
        this->read(p.reset_h, r, now);
        if (C::kCell) this->read(p.reset_c, r, c);
      }
      const O* x = ahead > 1 ? nullptr : inputs(t, room);
      each_product<C>([&](auto part, int i) {
        using Part = decltype(part);
        const O* state = i ? gated : now;
        typename Base::Factors of{x, state, x_row, wide};
        if (ahead > 1) of.early = ready->of(i), of.total = count * rows, of.done = done * rows;
        const T* leak = weights[i].leak;
        this->template sweep<Part>(weights[i], rows, of, sums, this->goes_down(s), [&](int64_t r) {
          // found once a row: after every store of a vector the compiler would read `p` again
          const bool held = !happens(t, r), tapped = inside(t, r);
          const int64_t there = at(t, r, h);
          T* saved = p.gates.of<T>(g, at(t, r, C::kSaved * h));
          const S* tap_h = tapped ? p.tap_h.of<S>(g, there) : nullptr;
          const S* tap_c = tapped ? p.tap_c.of<S>(g, there) : nullptr;
          S *hs = p.hs.of<S>(g, there), *cs = p.cs.of<S>(g, there);
          return [=, &c, &gated](int64_t unit, const T* z, int64_t width) {
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
      std::swap(now, next);
    }
    for (int64_t r = 0; r < rows; ++r) this->write(p.last_h, r, now), this->write(p.last_c, r, c);
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
  void project(int64_t s, int64_t count, const Early& to) const {
    const int64_t total = count * rows;
    for (int64_t i = 0; i < count; ++i) {
      const S* x = p.xs.of<S>(g) + at(time(s + i), 0, f);
      for (int64_t r = 0; r < rows; ++r) copy(x + r * f, to.gathered + (i * rows + r) * x_row);
    }
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      std::fill_n(to.of(i), total * Part::kWeights * wide, T(0));
      Blocks<Part, T>(h).each([&](int64_t from, int64_t vectors) {
        T* sums = to.of(i) + Part::kWeights * total * from;
        const auto left = this->along(to.gathered, x_row, f);
        this->template product<Part>(sums, Part::kWeights * vectors * L, left, weights[i].in, from, vectors, total);
      });
    });
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
