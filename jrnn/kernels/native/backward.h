// The recurrence backwards.
#pragma once
#include "chunks.h"
#include "parallel.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

template <class C, class S>
struct Backward : Chunks<C, S> {
  using Base = Chunks<C, S>;
  using T = typename Base::T;
  using O = typename Base::O;
  using V = Vector<T>;
  using Base::weights, Base::g, Base::rows, Base::blocks, Base::h, Base::f, Base::wide;
  using Base::at, Base::flag, Base::happens, Base::inside, Base::time, Base::read, Base::write;
  using typename Base::Chunk, typename Base::Gradients, typename Base::Pieces;
  using Base::entered, Base::gates_of, Base::states;
  static constexpr int64_t L = Base::L;
  const Problem& p = Base::p;

  // Deltas, of which members write those of their own units; `sums`: a room for each member.
  struct Workspace {
    T *dh, *skip_delta, *dc, *to_reset_h, *to_reset_c, *sums;
  };

  Gradients run() const {
    const int64_t ahead = std::min<int64_t>(p.steps, std::max<int64_t>(1, kChunk / rows)), most = ahead * rows;
    const Parallel* beside = this->helpers(most, f + h);
    Chunk chunks[2];
    for (int k = 0; k < (beside ? 2 : 1); ++k) chunks[k] = this->room_for_chunk(most);
    Gradients found = this->room_for_gradients();
    const Scratch<T> sums(this->members * rows * kWide * L);
    Scratch<T> dh(rows * wide, T(0)), skip_delta(rows * wide, T(0)), dc(rows * wide, T(0));
    const Scratch<T> to_reset_h(rows * wide, T(0)), to_reset_c(rows * wide, T(0));
    for (int64_t r = 0; r < rows; ++r) {
      if (p.g_last_h) read(p.g_last_h, r, dh);
      if (C::kCell && p.g_last_c) read(p.g_last_c, r, dc);
    }
    this->together([&](Member& one) {
      T* own_sums = sums + one.index * rows * kWide * L;
      steps({dh, skip_delta, dc, to_reset_h, to_reset_c, own_sums}, chunks, found, ahead, beside, one);
    });
    if (p.steps % 2) std::swap(dh, skip_delta);
    for (int64_t r = 0; r < rows; ++r) {
      write(p.d_h0, r, dh), write(p.d_c0, r, dc);
      write(p.d_reset_h, r, to_reset_h), write(p.d_reset_c, r, to_reset_c);
    }
    return found;
  }

  // All steps, as a member.
  void steps(Workspace work, Chunk* chunks, const Gradients& found, int64_t ahead, const Parallel* beside,
             Member& one) const {
    Chunk *now = chunks, *other = beside ? chunks + 1 : chunks;
    // what does not wait for delta: the gradients of the chunk after this one, the gates of the one before
    auto off_critical_path = [&](Member& who) {
      if (other->total) this->conclude(found, *other, who);
      if (who.has_left()) return;
      if (const int64_t start = now->start) this->open(*other, start - std::min(ahead, start), start, who);
    };
    Member alone(one.things);
    auto elsewhere = [&] { off_critical_path(alone); };
    Beside rest(beside);
    for (int64_t end = p.steps; end > 0; std::swap(now, other)) {
      if (end == p.steps) this->open(*now, end - ahead, end, one);
      if (one.has_left()) return;
      const int64_t start = now->start;
      if (beside) rest.start(elsewhere);
      for (int64_t s = end - 1; s >= start && !one.has_left(); --s) {
        differentiate(work, found, *now, s, this->units_of(one));
        if (!one.meet()) return;
        pull_back(work, *now, s, one);
      }
      if (one.has_left()) return;
      rest.finish();
      if (!beside) off_critical_path(one);
      if (beside && !start) this->conclude(found, *now, one);
      end = start;
    }
  }

  // delta_t and dz_t of step s, of these units; what passes to the state before without dz goes to `skip_delta` and dc.
  void differentiate(const Workspace& work, const Gradients& found, const Chunk& chunk, int64_t s,
                     typename Base::Units these) const {
    const int64_t t = time(s);
    const T* leak = weights[0].leak;
    T* of_leak = found.of_leak;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t m = (s - chunk.start) * rows + r;
      const bool held = !happens(t, r), tapped = inside(t, r);
      const O* h_before = states(chunk, 0) + m * chunk.line;
      const S* c_before = C::kCell ? entered(s, r, p.cs, p.reset_c, p.c0) : nullptr;
      const T* saved = gates_of(chunk, t, r, m);
      const int64_t there = at(t, r, h);
      const S *hs = p.hs.of<S>(g, there), *g_hs = p.g_hs.of<S>(g, there), *g_cs = p.g_cs.of<S>(g, there);
      S *d_tap_h = p.d_tap_h.of<S>(g, there), *d_tap_c = p.d_tap_c.of<S>(g, there);
      T *dh_row = work.dh + r * wide, *dc_row = work.dc + r * wide, *skip_delta = work.skip_delta + r * wide;
      blocks.each(these.from, these.end, [&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L;
        O* dz = chunk.dz[0] + C::kSums * (chunk.total * from + m * width);
        if (held) std::fill_n(dz, C::kSums * width, O{});
        for (int64_t v = 0; v < vectors; ++v) {
          const int64_t unit = from + v * L, n = h - unit;
          V dh = load(dh_row + unit), dc = C::kCell ? load(dc_row + unit) : V{};
          if (g_hs) dh += load(g_hs + unit, n);
          if (C::kCell && g_cs) dc += load(g_cs + unit, n);
          // padding is held by definition: nothing can be added there
          if (d_tap_h) store(d_tap_h + unit, tapped ? dh : V{}, n);
          if (C::kCell && d_tap_c) store(d_tap_c + unit, tapped ? dc : V{}, n);
          O* dn = nullptr;
          if constexpr (C::kTwice) {
            dn = chunk.dz[1] + Blocks<typename C::Second, T>(h).place(unit, chunk.total, m);
            if (held) store(dn, V{});
          }
          if (!held) {
            const V before = load(h_before + unit, n), c = C::kCell ? load(c_before + unit, n) : V{};
            const Kept<T, const T> kept{saved ? saved + unit : nullptr, h, n};
            const Slopes<T, O> to{dz + v * L, dn, width, n};
            const Shares<T> shares{C::kLeaks ? leak + unit : nullptr, wide};
            dh = C::slope(p.kind, dh, dc, kept, hs + unit, before, c, to, shares);
            if (C::kLeaks) store(of_leak + unit, load(of_leak + unit) + dc);
          }
          store(skip_delta + unit, first<T>(dh, n));
          if (C::kCell) store(dc_row + unit, first<T>(dc, n));
        }
      });
    }
  }

  // delta of the state that entered step s: dz W_rec^T + skip_delta; then resets and cuts.
  void pull_back(Workspace& work, const Chunk& chunk, int64_t s, Member& one) const {
    const int64_t t = time(s), m = (s - chunk.start) * rows;
    if constexpr (C::kTwice) {
      const Pieces pieces{one.first, one.end, this->grain};
      this->back(chunk, work.sums, 1, m, rows, pieces, this->goes_down(s), [&](int64_t r, int64_t unit, V v) {
        if (happens(t, r)) reset_back(work, chunk, t, r, unit, m + r, v);
      });
      if (!one.meet()) return;
    }
    const Pieces pieces{one.first, one.end, this->grain};
    const auto add = [&](int64_t r, int64_t unit, V v) {
      T* to = work.skip_delta + r * wide + unit;
      if (happens(t, r)) store(to, load(to) + v);
    };
    if (rows < kTile && one.in_company()) blocks.each([&](int64_t from, int64_t vectors) {
      const int64_t width = C::kSums * vectors * L;
      this->ask_for(chunk.dz[0] + C::kSums * chunk.total * from + m * width, rows * width);
    });
    if (C::kRecurrent) this->back(chunk, work.sums, 0, m, rows, pieces, this->goes_down(s), add);
    std::swap(work.dh, work.skip_delta);
    for (int64_t r = 0; r < rows; ++r) {
      const bool reset = flag(p.resets, t, r);
      if (!reset && !flag(p.cuts, t, r)) continue;
      const auto these = this->units_of(one);
      for (int64_t i = r * wide + these.from; i < r * wide + these.end; ++i) {
        if (reset) work.to_reset_h[i] += work.dh[i], work.to_reset_c[i] += work.dc[i];
        work.dh[i] = work.dc[i] = 0;
      }
    }
  }

  // From delta of r h: dz of r, its share of skip_delta and, for the gradient of U_n, r h itself.
  void reset_back(const Workspace& work, const Chunk& chunk, int64_t t, int64_t row, int64_t unit, int64_t m,
                  V delta) const {
    const int64_t n = h - unit;
    const V reset = load(gates_of(chunk, t, row, m) + unit, n),
            before = load(states(chunk, 0) + m * chunk.line + unit, n);
    T* skip_delta = work.skip_delta + row * wide + unit;
    store(chunk.dz[0] + blocks.place(unit, chunk.total, m), first<T>(delta * before * reset * (T(1) - reset), n));
    store(skip_delta, load(skip_delta) + delta * reset);
    store(states(chunk, 1) + m * chunk.line + unit, rounded<S>(reset * before), n);
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
