// The recurrences of Elman, LSTM and GRU over a whole sequence, forwards and backwards.
//
// Compiled once for each instruction set (JRNN_ISA, JRNN_VECTOR_BYTES). Rows of the batch are independent, so they are
// split over threads, without any synchronisation inside the time loop. A step takes block after block of units: the
// product over [x, h] for all rows, then the gates while the sums are in the cache; there is no array of
// pre-activations. Backwards, the gradients of the weights are taken once a chunk of steps, whose dz is still in the
// cache: there is no [T, B, gates * H] array of dz either.
#include "numbers.h"
#include "problem.h"
#include "product.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kSums = 4096;  // pre-activations between the products and the gates
constexpr int64_t kChunk = 128;  // rows (steps x batch) of dz between two updates of the weights' gradients

template <class T>
struct Weights {
  Scratch<T> in, rec, in_back, rec_back, bias;
};

template <class C, class S, class T = Wide<S>>
Weights<T> pack_all(const Problem& p, int64_t g) {
  const Blocks<C, T> blocks(p.units);
  Weights<T> w;
  w.bias = Scratch<T>(C::Q * blocks.padded, T(0));
  blocks.each([&](int64_t from, int64_t vectors) {
    const int64_t width = vectors * kLanes<T>;
    for (int64_t i = 0; i < width && from + i < p.units; ++i) {
      T* to = w.bias + C::Q * from + i;
      for (int q = 0; q < C::P; ++q)
        to[(C::kInput + q) * width] = widen(p.bias.of<S>(g)[C::of_input[q] * p.units + from + i]);
      if (C::kOwnBias) to[(C::Q - 1) * width] = widen(p.bias_rec.of<S>(g)[from + i]);
    }
  });
  if (!p.backward || !p.gates) {
    w.in = pack<C, S>(p.w_in.of<S>(g), p.features, C::of_input, blocks);
    w.rec = pack<C, S>(p.w_rec.of<S>(g), p.units, C::of_state, blocks);
  }
  if (p.backward) w.rec_back = pack_transposed<C, S>(p.w_rec.of<S>(g), p.units, C::of_state, blocks);
  if (p.d_xs) w.in_back = pack_transposed<C, S>(p.w_in.of<S>(g), p.features, C::of_input, blocks);
  return w;
}

// Some rows of one group over the whole sequence.
template <class C, class S>
struct Task {
  using T = Wide<S>;
  using V = Vector<T>;
  static constexpr int64_t L = kLanes<T>;

  const Problem& p;
  const Weights<T>& w;
  int64_t g, begin, rows;
  Blocks<C, T> blocks{p.units};
  int64_t h = p.units, f = p.features, wide = blocks.padded;

  // ---- where things are ----

  bool flag(const Operand& flags, int64_t t, int64_t row) const {
    return flags && flags.of<uint8_t>(g)[t * p.rows + begin + row];
  }
  bool happens(int64_t t, int64_t row) const { return !p.valid || flag(p.valid, t, row); }
  bool taken(int64_t t, int64_t row) const { return !p.inside || flag(p.inside, t, row); }
  int64_t time(int64_t s) const { return p.reverse[g] ? p.steps - 1 - s : s; }
  // Where an array [T, B, n], or [B, n], holds the row.
  int64_t at(int64_t t, int64_t row, int64_t n) const { return (t * p.rows + begin + row) * n; }
  int64_t at(int64_t row, int64_t n) const { return (begin + row) * n; }

  void read(const Operand& from, int64_t row, T* to) const {
    for (int64_t i = 0; i < h; ++i) to[row * wide + i] = widen(from.of<S>(g)[at(row, h) + i]);
    std::fill(to + row * wide + h, to + (row + 1) * wide, T(0));
  }
  void write(const Operand& to, int64_t row, const T* from) const {
    for (int64_t i = 0; to && i < h; ++i) to.of<S>(g)[at(row, h) + i] = narrow<S>(from[row * wide + i]);
  }

  // ---- gates ----

  // A unit's vector of gates from its sums z (q-th at z + q * width): the new h returned, c changed in place; what the
  // backward pass needs goes to `kept` [kKept][H].
  JRNN_INLINE V activate(const T* z, int64_t width, V before, V& c, T* kept, int64_t n) const {
    auto keep = [&](int q, V v) {
      if (kept) store(kept + q * h, v, n);
    };
    if constexpr (std::is_same_v<C, Lstm>) {
      const V in = sigmoid<T>(load(z)), forget = sigmoid<T>(load(z + width)), cell = tanh<T>(load(z + 2 * width)),
              out = sigmoid<T>(load(z + 3 * width));
      keep(0, in), keep(1, forget), keep(2, cell), keep(3, out);
      c = forget * c + in * cell;
      return out * tanh<T>(c);
    } else if constexpr (std::is_same_v<C, Gru>) {
      const V reset = sigmoid<T>(load(z + width)), update = sigmoid<T>(load(z + 2 * width)), inner = load(z + 3 * width),
              fresh = tanh<T>(load(z) + reset * inner);
      keep(0, reset), keep(1, update), keep(2, fresh), keep(3, inner);
      return (T(1) - update) * fresh + update * before;
    } else {
      V value = load(z);
      if (p.kind == Kind::kTanh) value = tanh<T>(value);
      if (p.kind == Kind::kRelu) value = value < T(0) ? V{} : value;
      keep(0, value);
      return value;
    }
  }

  // dz (q-th at dz + q * width) from delta of h and of c; returns what reaches the state before around dz, changes dc.
  JRNN_INLINE V slope(V dh, V& dc, const T* kept, const S* h_now, V before, V c, T* dz, int64_t width,
                      int64_t n) const {
    auto put = [&](int q, V v) { store(dz + q * width, first<T>(v, n)); };
    auto gate = [&](int q) { return load(kept + q * h, n); };
    if constexpr (std::is_same_v<C, Lstm>) {
      const V in = gate(0), forget = gate(1), cell = gate(2), out = gate(3), squashed = tanh<T>(forget * c + in * cell);
      const V inner = dc + dh * out * (T(1) - squashed * squashed);
      put(0, inner * cell * in * (T(1) - in));
      put(1, inner * c * forget * (T(1) - forget));
      put(2, inner * in * (T(1) - cell * cell));
      put(3, dh * squashed * out * (T(1) - out));
      dc = inner * forget;
      return V{};
    } else if constexpr (std::is_same_v<C, Gru>) {
      const V reset = gate(0), update = gate(1), fresh = gate(2), inner = gate(3);
      const V dn = dh * (T(1) - update) * (T(1) - fresh * fresh);
      put(0, dn);
      put(1, dn * inner * reset * (T(1) - reset));
      put(2, dh * (before - fresh) * update * (T(1) - update));
      put(3, dn * reset);
      return dh * update;
    } else {
      const V value = kept ? gate(0) : load(h_now, n);
      if (p.kind == Kind::kTanh) dh = dh * (T(1) - value * value);
      if (p.kind == Kind::kRelu) dh = value > T(0) ? dh : V{};
      put(0, dh);
      return V{};
    }
  }

  // ---- forwards ----

  void forward() const {
    const bool converts = !std::is_same_v<S, T>;
    Scratch<T> one(rows * wide), other(rows * wide), c(C::kCell ? rows * wide : 0);
    const int64_t span = std::max<int64_t>(1, kSums / (rows * C::Q * C::kBlock * L)) * C::kBlock * L;
    Scratch<T> z(rows * C::Q * std::min(span, wide)), room(converts ? rows * f : 0);
    T *now = one, *next = other;
    for (int64_t r = 0; r < rows; ++r) {
      read(p.h0, r, now);
      if (C::kCell) read(p.c0, r, c);
    }
    // with few rows, a step would read all of W_in for little: x W_in is taken for several steps at once
    const int64_t ahead = rows < kTile && f ? std::max<int64_t>(2, kChunk / 2 / rows) : 1;
    Scratch<T> early(ahead > 1 ? ahead * rows * C::P * wide : 0), gathered(ahead > 1 ? ahead * rows * f : 0);
    for (int64_t s = 0; s < p.steps; ++s) {
      const int64_t t = time(s), ready = s % ahead, filled = std::min(ahead, p.steps - (s - ready)) * rows;
      if (ahead > 1 && ready == 0) project(s, filled / rows, gathered, early);
      for (int64_t r = 0; r < rows; ++r) {
        if (!flag(p.resets, t, r)) continue;
        read(p.reset_h, r, now);
        if (C::kCell) read(p.reset_c, r, c);
      }
      const T* x = ahead > 1 ? nullptr : inputs(t, room);
      // some blocks' sums, then their gates: those of one block alone would wait for each other
      for (int64_t first = 0; first < wide; first += span) {
        const int64_t end = std::min(wide, first + span);
        blocks.each(first, end, [&](int64_t from, int64_t vectors) {
          const int64_t width = vectors * L, line = C::Q * width;
          T* sums = z + rows * C::Q * (from - first);
          for (int64_t r = 0; r < rows; ++r) {
            std::copy_n(w.bias + C::Q * from, line, sums + r * line);
            if (ahead == 1) continue;
            const T* of_x = early + C::P * (filled * from + (ready * rows + r) * width);
            for (int64_t i = 0; i < C::P * width; i += L) {
              T* sum = sums + r * line + C::kInput * width + i;
              store(sum, load(sum) + load(of_x + i));
            }
          }
          if (ahead == 1) product(sums + C::kInput * width, line, {x, f, 1, f}, w.in + C::P * from * f, vectors, rows);
          product(sums + C::kState * width, line, {now, wide, 1, h}, w.rec + C::P * from * h, vectors, rows);
        });
        for (int64_t r = 0; r < rows; ++r) {
          const bool held = !happens(t, r);
          blocks.each(first, end, [&](int64_t from, int64_t vectors) {
            const int64_t width = vectors * L;
            for (int64_t v = 0; v < vectors; ++v) {
              const int64_t unit = from + v * L, n = h - unit, here = r * wide + unit;
              const V before = load(now + here);
              V cell = C::kCell ? load(c + here) : V{};
              T* kept = p.gates ? p.gates.of<T>(g) + at(t, r, C::kKept * h) + unit : nullptr;
              const T* sums = z + rows * C::Q * (from - first) + C::Q * r * width + v * L;
              const V hidden = activate(sums, width, before, cell, kept, n);
              settle(hidden, before, held, t, r, unit, p.tap_h, p.hs, next);
              if (C::kCell) settle(cell, load(c + here), held, t, r, unit, p.tap_c, p.cs, c);
            }
          });
        }
      }
      std::swap(now, next);
    }
    for (int64_t r = 0; r < rows; ++r) write(p.last_h, r, now), write(p.last_c, r, c);
  }

  // sums += left times a panel of P gates.
  void product(T* sums, int64_t line, const Left<T>& left, const T* panel, int64_t vectors, int64_t count) const {
    multiply_rows<T>(count, C::P * vectors, sums, line, left, panel, C::P * vectors * L);
  }

  // The state after the step, as stored: rounded, held where the step did not happen, the tap added.
  JRNN_INLINE void settle(V v, V before, bool held, int64_t t, int64_t row, int64_t unit, const Operand& tap,
                          const Operand& all, T* to) const {
    const int64_t n = h - unit, there = at(t, row, h) + unit;
    v = held ? before : first<T>(rounded<S>(v), n);
    if (tap && taken(t, row)) v = first<T>(rounded<S>(v + load(tap.of<S>(g) + there, n)), n);
    store(to + row * wide + unit, v);
    if (all) store(all.of<S>(g) + there, v, n);
  }

  // x_t of these rows in the arithmetic's type.
  const T* inputs(int64_t t, T* room) const {
    const S* x = p.xs.of<S>(g) + at(t, 0, f);
    if constexpr (std::is_same_v<S, T>) return x;
    for (int64_t i = 0; i < rows * f; ++i) room[i] = widen(x[i]);
    return room;
  }

  // x W_in of `count` steps from s on, in panels [step x row][P][vectors][lanes].
  void project(int64_t s, int64_t count, T* gathered, T* early) const {
    const int64_t total = count * rows;
    for (int64_t i = 0; i < count; ++i) {
      const S* x = p.xs.of<S>(g) + at(time(s + i), 0, f);
      for (int64_t j = 0; j < rows * f; ++j) gathered[i * rows * f + j] = widen(x[j]);
    }
    std::fill_n(early, total * C::P * wide, T(0));
    blocks.each([&](int64_t from, int64_t vectors) {
      T* to = early + C::P * total * from;
      product(to, C::P * vectors * L, {gathered, f, 1, f}, w.in + C::P * from * f, vectors, total);
    });
  }

  // ---- backwards ----

  struct Room {
    Scratch<T> dz, columns, gates, dh, around, dc, to_reset_h, to_reset_c, of_in, of_rec, sums;
    int64_t line = 0;
  };

  // Gradients of the weights stay in panels: of_in [F + 1], of_rec [H + 1] rows, the last ones for the biases.
  void backward(Room& room) const {
    const int64_t ahead = std::min<int64_t>(p.steps, std::max<int64_t>(1, kChunk / rows)), most = ahead * rows;
    room.line = (f + h + 2 + 15) / 16 * 16 + 16;  // a power of two would fall on few sets of the cache
    room.dz = Scratch<T>(most * C::Q * wide);
    room.columns = Scratch<T>(most * room.line, T(0));
    room.sums = Scratch<T>(most * kWide * L);
    if (!p.gates && needs_gates()) room.gates = Scratch<T>(most * C::kKept * h);
    for (Scratch<T>* each : {&room.dh, &room.around, &room.dc, &room.to_reset_h, &room.to_reset_c})
      *each = Scratch<T>(rows * wide, T(0));
    room.of_in = Scratch<T>((f + 1) * C::P * wide, T(0)), room.of_rec = Scratch<T>((h + 1) * C::P * wide, T(0));
    for (int64_t r = 0; r < rows; ++r) {
      if (p.g_last_h) read(p.g_last_h, r, room.dh);
      if (C::kCell && p.g_last_c) read(p.g_last_c, r, room.dc);
    }
    for (int64_t end = p.steps; end > 0;) {
      const int64_t start = std::max<int64_t>(0, end - ahead), total = (end - start) * rows;
      gather(room, start, end - start);
      if (room.gates) recompute(room, total);
      for (int64_t s = end - 1; s >= start; --s) {
        differentiate(room, s, start, total);
        pull_back(room, s, start, total);
      }
      if (p.d_w_rec) {
        accumulate(room, C::kInput, room.columns, total, f + 1, room.of_in);
        accumulate(room, C::kState, room.columns + f + 1, total, h + 1, room.of_rec);
      }
      if (p.d_xs) inputs_back(room, start, total);
      end = start;
    }
    for (int64_t r = 0; r < rows; ++r) {
      write(p.d_h0, r, room.dh), write(p.d_c0, r, room.dc);
      write(p.d_reset_h, r, room.to_reset_h), write(p.d_reset_c, r, room.to_reset_c);
    }
  }

  // An Elman network's slope follows from h, unless h was rounded or added to.
  bool needs_gates() const { return !std::is_same_v<C, Elman> || !std::is_same_v<S, T> || p.tap_h; }

  // The state that entered step s: its neighbour's, what a reset went to, or the initial one.
  const S* entered(int64_t s, int64_t row, const Operand& all, const Operand& reset, const Operand& start) const {
    if (flag(p.resets, time(s), row)) return reset.of<S>(g) + at(row, h);
    return s ? all.of<S>(g) + at(time(s - 1), row, h) : start.of<S>(g) + at(row, h);
  }

  // [x, 1, h, 1] of a chunk, zero where the step did not happen.
  void gather(Room& room, int64_t start, int64_t count) const {
    T* to = room.columns;
    for (int64_t s = start; s < start + count; ++s)
      for (int64_t r = 0; r < rows; ++r, to += room.line) {
        const int64_t t = time(s);
        if (!happens(t, r)) {
          std::fill_n(to, room.line, T(0));
          continue;
        }
        const S *x = p.xs.of<S>(g) + at(t, r, f), *before = entered(s, r, p.hs, p.reset_h, p.h0);
        for (int64_t k = 0; k < f; ++k) to[k] = widen(x[k]);
        for (int64_t k = 0; k < h; ++k) to[f + 1 + k] = widen(before[k]);
        to[f] = to[f + 1 + h] = 1;
      }
  }

  // The gates of a chunk from its inputs and the states that entered it, all steps at once.
  void recompute(Room& room, int64_t total) const {
    Scratch<T> z(total * C::Q * kWide * L);
    blocks.each([&](int64_t from, int64_t vectors) {
      const int64_t width = vectors * L, line = C::Q * width;
      const T *x = room.columns, *before = x + f + 1;
      for (int64_t m = 0; m < total; ++m) std::copy_n(w.bias + C::Q * from, line, z + m * line);
      product(z + C::kInput * width, line, {x, room.line, 1, f}, w.in + C::P * from * f, vectors, total);
      product(z + C::kState * width, line, {before, room.line, 1, h}, w.rec + C::P * from * h, vectors, total);
      for (int64_t m = 0; m < total; ++m)
        for (int64_t v = 0; v < vectors; ++v) {
          V unused{};
          const int64_t unit = from + v * L;
          activate(z + m * line + v * L, width, V{}, unused, room.gates + m * C::kKept * h + unit, h - unit);
        }
    });
  }

  // delta_t and dz_t of step s; what reaches the state before around dz goes to `around` and dc.
  void differentiate(Room& room, int64_t s, int64_t start, int64_t total) const {
    const int64_t t = time(s);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t m = (s - start) * rows + r;
      const bool held = !happens(t, r), inside = taken(t, r);
      const S* c_before = C::kCell ? entered(s, r, p.cs, p.reset_c, p.c0) : nullptr;
      const T* kept = p.gates ? p.gates.of<T>(g) + at(t, r, C::kKept * h)
                              : (room.gates ? room.gates + m * C::kKept * h : nullptr);
      blocks.each([&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L;
        T* dz = room.dz + C::Q * (total * from + m * width);
        if (held) std::fill_n(dz, C::Q * width, T(0));
        for (int64_t v = 0; v < vectors; ++v) {
          const int64_t unit = from + v * L, n = h - unit, here = r * wide + unit, there = at(t, r, h) + unit;
          V dh = load(room.dh + here), dc = C::kCell ? load(room.dc + here) : V{};
          if (p.g_hs) dh += load(p.g_hs.of<S>(g) + there, n);
          if (C::kCell && p.g_cs) dc += load(p.g_cs.of<S>(g) + there, n);
          // padding is held by definition: nothing can be added there
          if (p.d_tap_h) store(p.d_tap_h.of<S>(g) + there, inside ? dh : V{}, n);
          if (C::kCell && p.d_tap_c) store(p.d_tap_c.of<S>(g) + there, inside ? dc : V{}, n);
          if (!held) {
            const V before = load(room.columns + m * room.line + f + 1 + unit, n);
            const V c = C::kCell ? load(c_before + unit, n) : V{};
            dh = slope(dh, dc, kept ? kept + unit : nullptr, p.hs.of<S>(g) + there, before, c, dz + v * L, width, n);
          }
          store(room.around + here, first<T>(dh, n));
          if (C::kCell) store(room.dc + here, first<T>(dc, n));
        }
      });
    }
  }

  // delta of the state that entered step s: dz W_rec^T and what went around; then resets and cuts.
  void pull_back(Room& room, int64_t s, int64_t start, int64_t total) const {
    const int64_t t = time(s);
    back(room, C::kState, w.rec_back, h, total, (s - start) * rows, rows, [&](int64_t r, int64_t unit, V v) {
      T* to = room.around + r * wide + unit;
      if (happens(t, r)) store(to, load(to) + v);
    });
    std::swap(room.dh, room.around);
    for (int64_t r = 0; r < rows; ++r) {
      const bool reset = flag(p.resets, t, r);
      if (!reset && !flag(p.cuts, t, r)) continue;
      for (int64_t i = r * wide; i < (r + 1) * wide; ++i) {
        if (reset) room.to_reset_h[i] += room.dh[i], room.to_reset_c[i] += room.dc[i];
        room.dh[i] = room.dc[i] = 0;
      }
    }
  }

  // put(row, column, dz w^T) for `count` rows of dz from m on; w, packed transposed, has `columns` columns.
  template <class Put>
  void back(Room& room, int offset, const T* packed, int64_t columns, int64_t total, int64_t m, int64_t count,
            Put&& put) const {
    const int64_t vectors = (columns + L - 1) / L, full = blocks.vectors / C::kBlock, rest = blocks.vectors % C::kBlock;
    for (int64_t j = 0; j < vectors; j += kWide) {
      const int64_t these = std::min<int64_t>(kWide, vectors - j), line = these * L;
      const T* panel = packed + j * L * C::P * wide;
      std::fill_n(room.sums + 0, count * line, T(0));
      auto add = [&](int64_t from, int64_t width, int64_t runs) {
        const T* a = room.dz + C::Q * (total * from + m * width) + offset * width;
        const Left<T> left{a, C::Q * width, 1, C::P * width, runs, C::Q * total * width};
        multiply_rows<T>(count, these, room.sums, line, left, panel + C::P * from * line, line);
      };
      if (full) add(0, C::kBlock * L, full);
      if (rest) add(full * C::kBlock * L, rest * L, 1);
      for (int64_t r = 0; r < count; ++r)
        for (int64_t v = 0; v < these; ++v) put(r, (j + v) * L, load(room.sums + r * line + v * L));
    }
  }

  void inputs_back(Room& room, int64_t start, int64_t total) const {
    back(room, C::kInput, w.in_back, f, total, 0, total, [&](int64_t m, int64_t column, V v) {
      const int64_t t = time(start + m / rows), row = m % rows;
      store(p.d_xs.of<S>(g) + at(t, row, f) + column, happens(t, row) ? v : V{}, f - column);
    });
  }

  // to [block][count][P][vectors][lanes] += columns^T dz.
  void accumulate(const Room& room, int offset, const T* columns, int64_t total, int64_t count, T* to) const {
    blocks.each([&](int64_t from, int64_t vectors) {
      const int64_t width = vectors * L, line = C::P * width;
      const T* dz = room.dz + C::Q * total * from + offset * width;
      const Left<T> left{columns, 1, room.line, total};
      multiply_rows<T>(count, C::P * vectors, to + count * C::P * from, line, left, dz, C::Q * width);
    });
  }
};

template <class C, class S>
void solve_as(const Problem& p, const Parallel& parallel) {
  using T = Wide<S>;
  const Blocks<C, T> blocks(p.units);
  const double work = double(p.groups) * p.steps * p.rows * C::P * p.units * (p.features + p.units);
  const int64_t threads = work < 1e5 ? 1 : parallel.threads;
  const int64_t pieces =
      std::clamp<int64_t>((threads + p.groups - 1) / p.groups, 1, std::max<int64_t>(1, (p.rows + kTile - 1) / kTile));
  const bool shared = !p.w_in.stride && !p.w_rec.stride && !p.bias.stride && !p.bias_rec.stride;
  std::vector<Weights<T>> weights(shared ? 1 : p.groups);
  using Room = typename Task<C, S>::Room;
  std::vector<Room> rooms(p.backward ? p.groups * pieces : 0);

  auto run = [&](int64_t count, auto&& job) {
    using Job = std::remove_reference_t<decltype(job)>;
    auto call = [](void* context, int64_t i) { (*static_cast<Job*>(context))(i); };
    if (threads > 1 && count > 1) return parallel.run(parallel.pool, count, call, &job);
    for (int64_t i = 0; i < count; ++i) job(i);
  };
  run(weights.size(), [&](int64_t g) { weights[g] = pack_all<C, S>(p, g); });
  run(p.groups * pieces, [&](int64_t i) {
    const int64_t g = i / pieces, piece = i % pieces;
    const int64_t begin = p.rows * piece / pieces, end = p.rows * (piece + 1) / pieces;
    const Task<C, S> task{p, weights[shared ? 0 : g], g, begin, end - begin};
    if (!p.backward) return task.forward();
    Room room;
    task.backward(room);
    rooms[i].of_in = std::move(room.of_in), rooms[i].of_rec = std::move(room.of_rec);
  });
  if (!p.d_w_rec) return;
  run(p.groups, [&](int64_t g) {
    std::vector<const T*> in, rec;
    for (int64_t i = g * pieces; i < (g + 1) * pieces; ++i) in.push_back(rooms[i].of_in), rec.push_back(rooms[i].of_rec);
    unpack<C, S>(in, p.features + 1, C::of_input, blocks, p.d_w_in.of<S>(g), p.d_bias.of<S>(g), 0);
    // beside h only n of the GRU has a bias
    const int biased = C::kOwnBias ? C::kGates - 1 : C::kGates;
    unpack<C, S>(rec, p.units + 1, C::of_state, blocks, p.d_w_rec.of<S>(g), p.d_bias_rec.of<S>(g), biased);
  });
}

template <class S>
void solve_in(const Problem& p, const Parallel& parallel) {
  if (p.kind == Kind::kLstm) return solve_as<Lstm, S>(p, parallel);
  if (p.kind == Kind::kGru) return solve_as<Gru, S>(p, parallel);
  return solve_as<Elman, S>(p, parallel);
}

}  // namespace

void solve(const Problem& p, const Parallel& parallel) {
  if (p.storage == Storage::kFloat32) return solve_in<float>(p, parallel);
  if (p.storage == Storage::kFloat64) return solve_in<double>(p, parallel);
  return solve_in<Bfloat16>(p, parallel);
}

}  // namespace JRNN_ISA
}  // namespace jrnn
