// Some rows of the batch: where their numbers are, and the sums of their gates.
#pragma once
#include <chrono>

#include "panels.h"
#include "team.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kSumsAtOnce = 4096;  // pre-activations between the products and the gates
constexpr double kWorthwhile = 6e6;  // FLOPs of a job for another thread: 40 us, several times what waking it takes
#if defined(JRNN_POISON)
constexpr int64_t kWakingUp = 50'000'000;  // ns
#else
constexpr int64_t kWakingUp = 50'000;
#endif
constexpr int64_t kChunk = 128;  // rows (steps x batch) that are taken at once where no step waits for another

// Some rows of one group over the whole sequence: what happens to them when, and where their numbers are.
struct Sequences {
  const Problem& p;
  int64_t g, begin, rows;

  bool flag(const Operand& flags, int64_t t, int64_t row) const {
    return flags && flags.of<uint8_t>(g)[t * p.rows + begin + row];
  }
  bool happens(int64_t t, int64_t row) const { return !p.valid || flag(p.valid, t, row); }
  bool inside(int64_t t, int64_t row) const { return !p.inside || flag(p.inside, t, row); }
  int64_t time(int64_t s) const { return p.reverse[g] ? p.steps - 1 - s : s; }
  // Where an array [T, B, n], or [B, n], holds the row.
  int64_t at(int64_t t, int64_t row, int64_t n) const { return (t * p.rows + begin + row) * n; }
  int64_t at(int64_t row, int64_t n) const { return (begin + row) * n; }
};

// The same with their products.
template <class C, class S>
struct Rows : Sequences {
  using T = Wide<S>;
  using O = Factor<S>;
  static constexpr int64_t L = kLanes<T>, D = kDepth<O>;

  const Weights<S>* weights;  // of each product
  const Parallel* spare;      // threads that have no rows of their own, if there are any
  int64_t members;            // how many of them, with this one, may take each step together
  int64_t grain;              // vectors of units that one member takes as a whole
  Blocks<C, T> blocks{p.units};
  int64_t h = p.units, f = p.features, wide = blocks.padded;

  // f(member) on this thread and on those that take each step with it.
  template <class F>
  void together(F&& f) const {
    // waking up, and a tenth of what it takes alone, at 40 multiplications a nanosecond
    const std::chrono::nanoseconds patience(kWakingUp + p.steps * rows * C::kGates * h * h / 400);
    jrnn::JRNN_ISA::together(spare, members, patience, (blocks.vectors + grain - 1) / grain, f);
  }
  // The units of a member.
  struct Units {
    int64_t from, end;
  };
  JRNN_INLINE Units units_of(const Member& one) const {
    return {one.first * grain * L, std::min(wide, one.end * grain * L)};
  }

  // What others have written: asked for at once, its lines come together.
  template <class N>
  static JRNN_INLINE void ask_for(const N* from, int64_t count) {
    for (auto *line = reinterpret_cast<const char*>(from), *end = reinterpret_cast<const char*>(from + count);
         line < end; line += 64)
      __builtin_prefetch(line);
  }

  // Threads beside the only one, for a job of so many FLOPs a row of each gate, `count` rows at a time.
  const Parallel* helpers(int64_t count, int64_t each) const {
    return members > 1 || 2. * count * each * C::kGates * h < kWorthwhile ? nullptr : spare;
  }

  template <class N>
  void read(const Operand& from, int64_t row, N* to, Units these) const {
    for (int64_t i = these.from; i < these.end; ++i)
      to[row * wide + i] = i < h ? as<N>(from.of<S>(g)[at(row, h) + i]) : N{};
  }
  template <class N>
  void read(const Operand& from, int64_t row, const Scratch<N>& to) const {
    read(from, row, static_cast<N*>(to), {0, wide});
  }
  template <class Array>
  void write(const Operand& to, int64_t row, const Array& from) const {
    for (int64_t i = 0; to && i < h; ++i) to.of<S>(g)[at(row, h) + i] = as<S>(from[row * wide + i]);
  }

  // What a product multiplies, with the distance of two rows: x and the state; or x W_in is there early, of `total`
  // rows [block][row][kWeights][vectors][lanes], of which `done` come before.
  struct Factors {
    const O *x, *state;
    int64_t x_row, state_row;
    const T* early = nullptr;
    int64_t total = 0, done = 0;
  };

  // Space for the sums of several blocks: the gates of a single block would wait for each other.
  struct Sums {
    Scratch<T> z;
    int64_t blocks;
  };
  Sums room_for_sums(int64_t count) const {  // a second product needs no more
    const int64_t blocks = std::max<int64_t>(1, kSumsAtOnce / std::max<int64_t>(1, count * C::kSums * C::kBlock * L));
    return {Scratch<T>(count * C::kSums * std::min(blocks * C::kBlock * L, wide)), blocks};
  }

  // Steps go through the weights up and down in turn: the next one finds in the cache what this one read last.
  static bool goes_down(int64_t s) { return s % 2; }

  // The sums of `count` rows, then gates(row)(unit, the unit's sums, width) for every vector of these units.
  template <class Part, class F>
  JRNN_INLINE void sweep(const Weights<S>& w, int64_t count, const Factors& of, const Sums& room, Units these,
                         bool down, F&& gates) const {
    const Blocks<Part, T> blocks(h);
    const int64_t step = room.blocks * Part::kBlock * L;
    const int64_t pieces = (these.end - these.from + step - 1) / step;
    for (int64_t n = 0; n < pieces; ++n) {
      const int64_t first = these.from + (down ? pieces - 1 - n : n) * step, end = std::min(these.end, first + step);
      blocks.each(first, end, [&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L, line = Part::kSums * width;
        T* sums = room.z + count * Part::kSums * (from - first);
        for (int64_t r = 0; r < count; ++r) {
          // vector by vector, as it is read again: memcpy's narrower stores would have to leave for the cache first
          const T* bias = w.bias + Part::kSums * from;
          const T* of_x = of.early ? of.early + Part::kWeights * (of.total * from + (of.done + r) * width) : nullptr;
          for (int64_t i = 0, j = -Part::kInput * width; i < line; i += L, j += L) {
            const bool has_x = of_x && j >= 0 && j < Part::kWeights * width;
            store(sums + r * line + i, has_x ? load(bias + i) + load(of_x + j) : load(bias + i));
          }
        }
        T *beside_x = sums + Part::kInput * width, *beside_h = sums + Part::kState * width;
        if (!of.early) product<Part>(beside_x, line, along(of.x, of.x_row, f), w.in, from, vectors, count);
        if (!Part::kRecurrent) return;
        product<Part>(beside_h, line, along(of.state, of.state_row, h), w.rec, from, vectors, count);
      }, down);
      for (int64_t r = 0; r < count; ++r) {
        const auto finish = gates(r);
        blocks.each(first, end, [&](int64_t from, int64_t vectors) {
          const int64_t width = vectors * L;
          const T* sums = room.z + Part::kSums * (count * (from - first) + r * width);
          for (int64_t v = 0; v < vectors; ++v) finish(from + v * L, sums + v * L, width);
        });
      }
    }
  }

  // Rows of `count` numbers, as left factors.
  static Left<O> along(const O* a, int64_t row, int64_t count) { return {a, row, D, deep<O>(count) / D}; }

  // sums += left times the panel of the block that begins at unit `from`.
  template <class Part>
  void product(T* sums, int64_t line, const Left<O>& left, const O* w, int64_t from, int64_t vectors,
               int64_t count) const {
    const O* panel = w + Part::kWeights * from * left.count * D;
    multiply_rows<O>(count, Part::kWeights * vectors, sums, line, left, panel, Part::kWeights * vectors * L * D);
  }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
