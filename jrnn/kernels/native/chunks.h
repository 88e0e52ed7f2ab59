// The backward pass takes some steps at a time: what is known of them before delta, and what follows from their dz.
#pragma once
#include "rows.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

template <class C, class S>
struct Chunks : Rows<C, S> {
  using Base = Rows<C, S>;
  using T = typename Base::T;
  using O = typename Base::O;
  using V = Vector<T>;
  using Base::weights, Base::g, Base::rows, Base::blocks, Base::h, Base::f, Base::wide;
  using Base::at, Base::flag, Base::happens, Base::time;
  static constexpr int64_t L = Base::L, D = Base::D;
  const Problem& p = Base::p;

  // Some steps at a time, `total` rows from step `start` on: [x, 1, h, 1] and, for some cells, [r h, 0].
  struct Chunk {
    Scratch<O> columns, dz[2];
    Scratch<O> column_pairs, dz_pairs[2];  // rows two by two, where such pairs are multiplied
    Scratch<T> gates, sums;
    std::vector<typename Base::Sums> of_member;  // to compute gates again
    int64_t line = 0, start = 0, count = 0, total = 0;
  };
  // Gradients of the weights stay in panels: of_in [F + 1], of_rec [H + 1] rows, the last ones for the biases.
  struct Gradients {
    Scratch<T> of_in[2], of_rec[2], of_leak;
  };

  // Columns of a product, `vectors` at a time.
  struct Pieces {
    int64_t first, end, vectors;
  };

  Chunk room_for_chunk(int64_t most) const {
    const int64_t used = f + 1 + (h + 1) * (C::kTwice ? 2 : 1);
    Chunk chunk;
    chunk.line = (used + 15) / 16 * 16 + 16;  // a power of two would fall on few sets of the cache
    chunk.columns = Scratch<O>(most * chunk.line, O{});
    chunk.sums = Scratch<T>(p.d_xs ? most * kWide * L : 0);
    if (!p.gates && needs_gates()) {
      chunk.gates = Scratch<T>(most * C::kSaved * h);
      for (int64_t i = 0; i < this->members; ++i) chunk.of_member.push_back(this->room_for_sums(most));
    }
    each_product<C>([&](auto part, int i) { chunk.dz[i] = Scratch<O>(most * part.kSums * wide); });
    if (D == 1) return chunk;
    chunk.column_pairs = Scratch<O>(deep<O>(most) * chunk.line);
    each_product<C>([&](auto part, int i) { chunk.dz_pairs[i] = Scratch<O>(deep<O>(most) * part.kSums * wide); });
    return chunk;
  }

  Gradients room_for_gradients() const {
    Gradients found;
    each_product<C>([&](auto part, int i) {
      found.of_in[i] = Scratch<T>((f + 1) * part.kWeights * wide, T(0));
      if (C::kRecurrent) found.of_rec[i] = Scratch<T>((h + 1) * part.kWeights * wide, T(0));
    });
    if (C::kLeaks) found.of_leak = Scratch<T>(wide, T(0));
    return found;
  }

  // Finds what is known before delta: the columns and, where they were not saved, the gates.
  void open(Chunk& chunk, int64_t start, int64_t end, Member& one) const {
    if (!one.meet()) return;  // nobody reads it as it was
    if (!one.index) chunk.start = start, chunk.count = end - start, chunk.total = chunk.count * rows;
    const auto [first, last] = one.share(end - start);
    gather(chunk, start, first, last);
    if (!one.meet()) return;
    if (chunk.gates) recompute(chunk, one);
  }

  // Finds what follows from dz of all steps of a chunk.
  void conclude(const Gradients& found, const Chunk& chunk, Member& one) const {
    if (p.d_bias) accumulate(found, chunk, one);
    if (p.d_xs) inputs_back(chunk, one);
  }

  // A slope of the state follows from h, unless h was rounded or a tap was added to it.
  bool needs_gates() const { return !C::kSlopeOfState || !std::is_same_v<S, T> || p.tap_h; }

  // The state that entered step s: its neighbour's, what a reset went to, or the initial one.
  const S* entered(int64_t s, int64_t row, const Operand& all, const Operand& reset, const Operand& start) const {
    if (flag(p.resets, time(s), row)) return reset.of<S>(g) + at(row, h);
    return s ? all.of<S>(g) + at(time(s - 1), row, h) : start.of<S>(g) + at(row, h);
  }

  // [x, 1, h, 1] of some steps of a chunk from `start` on, zero where the step did not happen; space for [r h, 0].
  void gather(const Chunk& chunk, int64_t start, int64_t first, int64_t end) const {
    O* to = chunk.columns + first * rows * chunk.line;
    for (int64_t s = start + first; s < start + end; ++s)
      for (int64_t r = 0; r < rows; ++r, to += chunk.line) {
        const int64_t t = time(s);
        if (!happens(t, r)) {
          std::fill_n(to, chunk.line, O{});
          continue;
        }
        const S *x = p.xs.of<S>(g) + at(t, r, f), *before = entered(s, r, p.hs, p.reset_h, p.h0);
        for (int64_t k = 0; k < f; ++k) to[k] = as<O>(x[k]);
        for (int64_t k = 0; k < h; ++k) to[f + 1 + k] = as<O>(before[k]);
        to[f] = to[f + 1 + h] = as<O>(T(1));
      }
  }

  // Where the columns of the i-th product's state begin in a chunk.
  O* states(const Chunk& chunk, int i) const { return chunk.columns + f + 1 + i * (h + 1); }

  // The gates of a chunk from its inputs and the states that entered it, all steps at once.
  void recompute(const Chunk& chunk, Member& one) const {
    const auto& sums = chunk.of_member[one.index];
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      if (i && !one.meet()) return;
      const typename Base::Factors of{chunk.columns, states(chunk, i), chunk.line, chunk.line};
      const T* leak = weights[i].leak;
      this->template sweep<Part>(weights[i], chunk.total, of, sums, this->units_of(one), false, [&](int64_t m) {
        T* saved = chunk.gates + m * C::kSaved * h;
        O *before = states(chunk, 0) + m * chunk.line, *gated = before + h + 1;
        return [=](int64_t unit, const T* z, int64_t width) {
          const int64_t n = h - unit;
          V unused{};
          const Kept<T, T> kept{saved + unit, h, n};
          const Shares<T> shares{C::kLeaks ? leak + unit : nullptr, wide};
          const V old = load(before + unit, n);
          const V value = Part::template activate<S>(p.kind, UnitSums<T>{z, width}, old, unused, kept, shares);
          if constexpr (Part::kTwice) store(gated + unit, value, n);
        };
      });
    });
  }

  const T* gates_of(const Chunk& chunk, int64_t t, int64_t row, int64_t m) const {
    if (p.gates) return p.gates.of<T>(g, at(t, row, C::kSaved * h));
    return chunk.gates ? chunk.gates + m * C::kSaved * h : nullptr;
  }

  // put(row, column, dz w^T) for `count` rows of dz from m on: beside the i-th product's states, or with i < 0 beside
  // the inputs, which feed all products; for pieces first .. end - 1 of the columns, each of pieces.vectors.
  template <class Put>
  void back(const Chunk& chunk, T* sums, int i, int64_t m, int64_t count, Pieces pieces, bool down, Put&& put) const {
    const int64_t columns = i < 0 ? f : h, vectors = (columns + L - 1) / L;
    for (int64_t n = pieces.first; n < pieces.end; ++n) {
      const int64_t j = (down ? pieces.first + pieces.end - 1 - n : n) * pieces.vectors, panel_from = j / kWide * kWide;
      const int64_t these = std::min(pieces.vectors, vectors - j), line = these * L;
      const int64_t packed = std::min<int64_t>(kWide, vectors - panel_from) * L;
      for (int64_t k = 0; k < count * line; k += L) store(sums + k, V{});  // as in `sweep`
      each_product<C>([&](auto part, int number) {
        using Part = decltype(part);
        if (i >= 0 && i != number) return;
        const int64_t full = blocks.vectors / Part::kBlock, rest = blocks.vectors % Part::kBlock;
        const int offset = i < 0 ? Part::kInput : Part::kState;
        const O* panel = (i < 0 ? weights[number].in_back : weights[number].rec_back) +
                         panel_from * L * Part::kWeights * wide + (j - panel_from) * L * D;
        auto add = [&](int64_t from, int64_t width, int64_t runs) {
          const O* a = chunk.dz[number] + Part::kSums * (chunk.total * from + m * width) + offset * width;
          Left<O> left{a, Part::kSums * width, D, Part::kWeights * width / D, runs, Part::kSums * chunk.total * width};
          const O* w = panel + Part::kWeights * from * packed;
          int64_t step = packed * D;
          if (down) turn_round(left, w, step);
          multiply_rows<O>(count, these, sums, line, left, w, step);
        };
        if (rest && down) add(full * Part::kBlock * L, rest * L, 1);
        if (full) add(0, Part::kBlock * L, full);
        if (rest && !down) add(full * Part::kBlock * L, rest * L, 1);
      });
      for (int64_t r = 0; r < count; ++r)
        for (int64_t v = 0; v < these; ++v) put(r, (j + v) * L, load(sums + r * line + v * L));
    }
  }

  void inputs_back(const Chunk& chunk, const Member& one) const {
    const int64_t panels = ((f + L - 1) / L + kWide - 1) / kWide;
    const auto [first, end] = one.share(this->members);  // as many pieces whoever is there: they round alike
    for (int64_t i = first; i < end; ++i) {
      const int64_t from = chunk.total * i / this->members, to = chunk.total * (i + 1) / this->members;
      back(chunk, chunk.sums + from * kWide * L, -1, from, to - from, {0, panels, kWide}, false,
           [&](int64_t r, int64_t column, V v) {
             const int64_t m = from + r, t = time(chunk.start + m / rows), row = m % rows;
             store(p.d_xs.of<S>(g) + at(t, row, f) + column, happens(t, row) ? v : V{}, f - column);
           });
    }
  }

  // The gradients of the weights, [block][rows][kWeights][vectors][lanes], += columns^T dz.
  void accumulate(const Gradients& found, const Chunk& chunk, Member& one) const {
    const int64_t pairs = deep<O>(chunk.total) / D;
    if (D > 1) {
      const auto [first, end] = one.share(pairs);
      const int64_t from = first * D, line = chunk.line;
      pair_rows<O>(chunk.column_pairs + from * line, chunk.columns + from * line, std::min(end * D, chunk.total) - from,
                   line);
      if (!one.meet()) return;
    }
    const auto these = this->units_of(one);
    const O* all = D > 1 ? chunk.column_pairs : chunk.columns;
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      Blocks<Part, T>(h).each(these.from, these.end, [&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L, line = Part::kWeights * width, lines = Part::kSums * width;
        const O* dz = chunk.dz[i] + chunk.total * Part::kSums * from;
        if constexpr (D > 1) {
          O* by_pairs = chunk.dz_pairs[i] + pairs * D * Part::kSums * from;
          pair_rows<O>(by_pairs, dz, chunk.total, lines);
          dz = by_pairs;
        }
        auto add = [&](int offset, int64_t column, int64_t count, T* to) {
          const Left<O> left{all + column * D, D, chunk.line * D, pairs};
          T* sums = to + count * Part::kWeights * from;
          multiply_rows<O>(count, Part::kWeights * vectors, sums, line, left, dz + offset * width * D, lines * D);
        };
        add(Part::kInput, 0, f + 1, found.of_in[i]);
        if (C::kRecurrent) add(Part::kState, states(chunk, i) - chunk.columns, h + 1, found.of_rec[i]);
      });
    });
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
