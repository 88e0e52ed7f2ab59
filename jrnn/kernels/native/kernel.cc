// The recurrences of Elman, LSTM and GRU over a whole sequence, forwards and backwards.
//
// Compiled once for each instruction set (JRNN_ISA, JRNN_VECTOR_BYTES). Rows of the batch are independent, so they are
// split over threads, without any synchronisation inside the time loop. A step takes block after block of units: the
// product over [x, h] for all rows, then the gates while the sums are in the cache; there is no array of
// pre-activations. Backwards, the gradients of the weights are taken once a chunk of steps, whose dz is still in the
// cache: there is no [T, B, gates * H] array of dz either. The GRU that resets before the product takes two of them a
// step: r and z over [x, h], then, with r of all units known, n over [x, r h].
#include "panels.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

constexpr int64_t kSums = 4096;  // pre-activations between the products and the gates
constexpr int64_t kChunk = 128;  // rows (steps x batch) of dz between two updates of the weights' gradients

// Some rows of one group over the whole sequence.
template <class C, class S>
struct Task {
  using T = Wide<S>;
  using V = Vector<T>;
  static constexpr int64_t L = kLanes<T>;
  static constexpr bool kHasC = C::kCell || kTwice<C>;  // c, or z on its way from one product to the next

  const Problem& p;
  const Weights<T>* weights;  // of each product
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
  // backward pass needs goes to `kept` [kKept][H]. Of GruBefore r h is returned, and z goes to Fresh in c.
  template <class Part>
  JRNN_INLINE V activate(const T* z, int64_t width, V before, V& c, T* kept, int64_t n) const {
    auto keep = [&](int q, V v) {
      if (kept) store(kept + q * h, v, n);
    };
    if constexpr (std::is_same_v<Part, Lstm>) {
      const V in = sigmoid<T>(load(z)), forget = sigmoid<T>(load(z + width)), cell = tanh<T>(load(z + 2 * width)),
              out = sigmoid<T>(load(z + 3 * width));
      keep(0, in), keep(1, forget), keep(2, cell), keep(3, out);
      c = forget * c + in * cell;
      return out * tanh<T>(c);
    } else if constexpr (std::is_same_v<Part, GruBefore>) {
      const V reset = sigmoid<T>(load(z));
      c = sigmoid<T>(load(z + width));
      keep(0, reset), keep(1, c);
      return rounded<S>(reset * before);
    } else if constexpr (std::is_same_v<Part, Fresh>) {
      const V fresh = tanh<T>(load(z));
      keep(2, fresh);
      return (T(1) - c) * fresh + c * before;
    } else if constexpr (std::is_same_v<Part, Gru>) {
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
  // Of GruBefore that of z, and of n to `dn`; that of r follows from dn.
  JRNN_INLINE V slope(V dh, V& dc, const T* kept, const S* h_now, V before, V c, T* dz, int64_t width, T* dn,
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
    } else if constexpr (kTwice<C>) {
      const V update = gate(1), fresh = gate(2);
      store(dn, first<T>(dh * (T(1) - update) * (T(1) - fresh * fresh), n));
      put(1, dh * (before - fresh) * update * (T(1) - update));
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

  // What a product multiplies, with the distance of two rows: x and the state; or x W_in is there early, of `total` rows
  // [block][row][P][vectors][lanes], of which `done` come before.
  struct Factors {
    const T *x, *state;
    int64_t x_row, state_row;
    const T* early = nullptr;
    int64_t total = 0, done = 0;
  };

  // Room for the sums of some blocks: the gates of one block alone would wait for each other.
  struct Sums {
    Scratch<T> z;
    int64_t blocks;
  };
  Sums room_for_sums(int64_t count) const {  // a second product needs no more
    const int64_t blocks = std::max<int64_t>(1, kSums / (count * C::Q * C::kBlock * L));
    return {Scratch<T>(count * C::Q * std::min(blocks * C::kBlock * L, wide)), blocks};
  }

  // The sums of `count` rows, then gates(row)(unit, the unit's sums, width) for every vector of units.
  template <class Part, class F>
  JRNN_INLINE void sweep(const Weights<T>& w, int64_t count, const Factors& of, const Sums& room, F&& gates) const {
    const Blocks<Part, T> blocks(h);
    const int64_t step = room.blocks * Part::kBlock * L;
    for (int64_t first = 0; first < wide; first += step) {
      const int64_t end = std::min(wide, first + step);
      blocks.each(first, end, [&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L, line = Part::Q * width;
        T* sums = room.z + count * Part::Q * (from - first);
        for (int64_t r = 0; r < count; ++r) {
          std::copy_n(w.bias + Part::Q * from, line, sums + r * line);
          if (!of.early) continue;
          const T* of_x = of.early + Part::P * (of.total * from + (of.done + r) * width);
          for (int64_t i = 0; i < Part::P * width; i += L) {
            T* sum = sums + r * line + Part::kInput * width + i;
            store(sum, load(sum) + load(of_x + i));
          }
        }
        T *beside_x = sums + Part::kInput * width, *beside_h = sums + Part::kState * width;
        if (!of.early) product<Part>(beside_x, line, {of.x, of.x_row, 1, f}, w.in, from, vectors, count);
        product<Part>(beside_h, line, {of.state, of.state_row, 1, h}, w.rec, from, vectors, count);
      });
      for (int64_t r = 0; r < count; ++r) {
        const auto finish = gates(r);
        blocks.each(first, end, [&](int64_t from, int64_t vectors) {
          const int64_t width = vectors * L;
          const T* sums = room.z + Part::Q * (count * (from - first) + r * width);
          for (int64_t v = 0; v < vectors; ++v) finish(from + v * L, sums + v * L, width);
        });
      }
    }
  }

  void forward() const {
    const bool converts = !std::is_same_v<S, T>;
    Scratch<T> one(rows * wide), other(rows * wide), c(kHasC ? rows * wide : 0);
    Scratch<T> room(converts ? rows * f : 0), gated(kTwice<C> ? rows * wide : 0);
    const Sums sums = room_for_sums(rows);
    T *now = one, *next = other;
    for (int64_t r = 0; r < rows; ++r) {
      read(p.h0, r, now);
      if (C::kCell) read(p.c0, r, c);
    }
    // with few rows, a step would read all of W_in for little: x W_in is taken for several steps at once
    const int64_t ahead = rows < kTile && f ? std::max<int64_t>(2, kChunk / 2 / rows) : 1;
    Scratch<T> early[2], gathered(ahead > 1 ? ahead * rows * f : 0);
    each_product<C>([&](auto part, int i) {
      if (ahead > 1) early[i] = Scratch<T>(ahead * rows * part.P * wide);
    });
    for (int64_t s = 0; s < p.steps; ++s) {
      const int64_t t = time(s), ready = s % ahead, total = std::min(ahead, p.steps - (s - ready)) * rows;
      if (ahead > 1 && ready == 0) project(s, total / rows, gathered, early);
      for (int64_t r = 0; r < rows; ++r) {
        if (!flag(p.resets, t, r)) continue;
        read(p.reset_h, r, now);
        if (C::kCell) read(p.reset_c, r, c);
      }
      const T* x = ahead > 1 ? nullptr : inputs(t, room);
      each_product<C>([&](auto part, int i) {
        using Part = decltype(part);
        const Factors of{x, i ? gated : now, f, wide, early[i], total, ready * rows};
        sweep<Part>(weights[i], rows, of, sums, [&](int64_t r) {
          const bool held = !happens(t, r);
          T* kept = p.gates ? p.gates.of<T>(g) + at(t, r, C::kKept * h) : nullptr;
          return [=, &c, &gated](int64_t unit, const T* z, int64_t width) {
            const int64_t here = r * wide + unit;
            const V before = load(now + here);
            V cell = kHasC ? load(c + here) : V{};
            const V value = activate<Part>(z, width, before, cell, kept ? kept + unit : nullptr, h - unit);
            if constexpr (std::is_same_v<Part, GruBefore>) {
              store(gated + here, value), store(c + here, cell);
            } else {
              settle(value, before, held, t, r, unit, p.tap_h, p.hs, next);
              if (C::kCell) settle(cell, load(c + here), held, t, r, unit, p.tap_c, p.cs, c);
            }
          };
        });
      });
      std::swap(now, next);
    }
    for (int64_t r = 0; r < rows; ++r) write(p.last_h, r, now), write(p.last_c, r, c);
  }

  // sums += left times the panel of the block that begins at unit `from`.
  template <class Part>
  void product(T* sums, int64_t line, const Left<T>& left, const T* w, int64_t from, int64_t vectors,
               int64_t count) const {
    const T* panel = w + Part::P * from * left.count;
    multiply_rows<T>(count, Part::P * vectors, sums, line, left, panel, Part::P * vectors * L);
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

  // x W_in of `count` steps from s on, as `Factors` have it.
  void project(int64_t s, int64_t count, T* gathered, const Scratch<T>* early) const {
    const int64_t total = count * rows;
    for (int64_t i = 0; i < count; ++i) {
      const S* x = p.xs.of<S>(g) + at(time(s + i), 0, f);
      for (int64_t j = 0; j < rows * f; ++j) gathered[i * rows * f + j] = widen(x[j]);
    }
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      std::fill_n(early[i] + 0, total * Part::P * wide, T(0));
      Blocks<Part, T>(h).each([&](int64_t from, int64_t vectors) {
        T* to = early[i] + Part::P * total * from;
        product<Part>(to, Part::P * vectors * L, {gathered, f, 1, f}, weights[i].in, from, vectors, total);
      });
    });
  }

  // ---- backwards ----

  struct Room {
    Scratch<T> columns, gates, dh, around, dc, to_reset_h, to_reset_c, sums, dz[2], of_in[2], of_rec[2];
    int64_t line = 0;
  };

  // Gradients of the weights stay in panels: of_in [F + 1], of_rec [H + 1] rows, the last ones for the biases.
  void backward(Room& room) const {
    const int64_t ahead = std::min<int64_t>(p.steps, std::max<int64_t>(1, kChunk / rows)), most = ahead * rows;
    const int64_t used = f + 1 + (h + 1) * (kTwice<C> ? 2 : 1);
    room.line = (used + 15) / 16 * 16 + 16;  // a power of two would fall on few sets of the cache
    room.columns = Scratch<T>(most * room.line, T(0));
    room.sums = Scratch<T>(most * kWide * L);
    if (!p.gates && needs_gates()) room.gates = Scratch<T>(most * C::kKept * h);
    for (Scratch<T>* each : {&room.dh, &room.around, &room.dc, &room.to_reset_h, &room.to_reset_c})
      *each = Scratch<T>(rows * wide, T(0));
    each_product<C>([&](auto part, int i) {
      room.dz[i] = Scratch<T>(most * part.Q * wide);
      room.of_in[i] = Scratch<T>((f + 1) * part.P * wide, T(0));
      room.of_rec[i] = Scratch<T>((h + 1) * part.P * wide, T(0));
    });
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
      if (p.d_w_rec) accumulate(room, total);
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

  // [x, 1, h, 1] of a chunk, zero where the step did not happen; room for [r h, 0].
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

  // Where the columns of a chunk begin that the i-th product's state had.
  T* states(const Room& room, int i) const { return room.columns + f + 1 + i * (h + 1); }

  // The gates of a chunk from its inputs and the states that entered it, all steps at once.
  void recompute(Room& room, int64_t total) const {
    const Sums sums = room_for_sums(total);
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      sweep<Part>(weights[i], total, {room.columns, states(room, i), room.line, room.line}, sums, [&](int64_t m) {
        T *kept = room.gates + m * C::kKept * h, *before = states(room, 0) + m * room.line;
        return [=](int64_t unit, const T* z, int64_t width) {
          const int64_t n = h - unit;
          V unused{};
          const V value = activate<Part>(z, width, load(before + unit, n), unused, kept + unit, n);
          if constexpr (std::is_same_v<Part, GruBefore>) store(before + h + 1 + unit, value, n);
        };
      });
    });
  }

  // delta_t and dz_t of step s; what reaches the state before around dz goes to `around` and dc.
  void differentiate(Room& room, int64_t s, int64_t start, int64_t total) const {
    const int64_t t = time(s);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t m = (s - start) * rows + r;
      const bool held = !happens(t, r), inside = taken(t, r);
      const S* c_before = C::kCell ? entered(s, r, p.cs, p.reset_c, p.c0) : nullptr;
      const T* kept = gates_of(room, t, r, m);
      blocks.each([&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L;
        T* dz = room.dz[0] + C::Q * (total * from + m * width);
        if (held) std::fill_n(dz, C::Q * width, T(0));
        for (int64_t v = 0; v < vectors; ++v) {
          const int64_t unit = from + v * L, n = h - unit, here = r * wide + unit, there = at(t, r, h) + unit;
          V dh = load(room.dh + here), dc = C::kCell ? load(room.dc + here) : V{};
          if (p.g_hs) dh += load(p.g_hs.of<S>(g) + there, n);
          if (C::kCell && p.g_cs) dc += load(p.g_cs.of<S>(g) + there, n);
          // padding is held by definition: nothing can be added there
          if (p.d_tap_h) store(p.d_tap_h.of<S>(g) + there, inside ? dh : V{}, n);
          if (C::kCell && p.d_tap_c) store(p.d_tap_c.of<S>(g) + there, inside ? dc : V{}, n);
          T* dn = kTwice<C> ? room.dz[1] + Blocks<Fresh, T>(h).place(unit, total, m) : nullptr;
          if (kTwice<C> && held) store(dn, V{});
          if (!held) {
            const V before = load(states(room, 0) + m * room.line + unit, n);
            const V c = C::kCell ? load(c_before + unit, n) : V{};
            const T* gates = kept ? kept + unit : nullptr;
            dh = slope(dh, dc, gates, p.hs.of<S>(g) + there, before, c, dz + v * L, width, dn, n);
          }
          store(room.around + here, first<T>(dh, n));
          if (C::kCell) store(room.dc + here, first<T>(dc, n));
        }
      });
    }
  }

  const T* gates_of(const Room& room, int64_t t, int64_t row, int64_t m) const {
    if (p.gates) return p.gates.of<T>(g) + at(t, row, C::kKept * h);
    return room.gates ? room.gates + m * C::kKept * h : nullptr;
  }

  // delta of the state that entered step s: dz W_rec^T and what went around; then resets and cuts.
  void pull_back(Room& room, int64_t s, int64_t start, int64_t total) const {
    const int64_t t = time(s), m = (s - start) * rows;
    if constexpr (kTwice<C>) {
      back(room, 1, total, m, rows, [&](int64_t r, int64_t unit, V v) {
        if (happens(t, r)) reset_back(room, t, r, unit, total, m + r, v);
      });
    }
    back(room, 0, total, m, rows, [&](int64_t r, int64_t unit, V v) {
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

  // delta of r h to dz of r, to what goes around and, for the gradient of U_n, r h itself.
  void reset_back(Room& room, int64_t t, int64_t row, int64_t unit, int64_t total, int64_t m, V delta) const {
    const int64_t n = h - unit;
    const V reset = load(gates_of(room, t, row, m) + unit, n), before = load(states(room, 0) + m * room.line + unit, n);
    T* around = room.around + row * wide + unit;
    store(room.dz[0] + blocks.place(unit, total, m), first<T>(delta * before * reset * (T(1) - reset), n));
    store(around, load(around) + delta * reset);
    store(states(room, 1) + m * room.line + unit, rounded<S>(reset * before), n);
  }

  // put(row, column, dz w^T) for `count` rows of dz from m on: beside the i-th product's states, or with i < 0 beside
  // the inputs, which feed all products.
  template <class Put>
  void back(Room& room, int i, int64_t total, int64_t m, int64_t count, Put&& put) const {
    const int64_t columns = i < 0 ? f : h, vectors = (columns + L - 1) / L;
    for (int64_t j = 0; j < vectors; j += kWide) {
      const int64_t these = std::min<int64_t>(kWide, vectors - j), line = these * L;
      std::fill_n(room.sums + 0, count * line, T(0));
      each_product<C>([&](auto part, int number) {
        using Part = decltype(part);
        if (i >= 0 && i != number) return;
        const int64_t full = blocks.vectors / Part::kBlock, rest = blocks.vectors % Part::kBlock;
        const int offset = i < 0 ? Part::kInput : Part::kState;
        const T* panel = (i < 0 ? weights[number].in_back : weights[number].rec_back) + j * L * Part::P * wide;
        auto add = [&](int64_t from, int64_t width, int64_t runs) {
          const T* a = room.dz[number] + Part::Q * (total * from + m * width) + offset * width;
          const Left<T> left{a, Part::Q * width, 1, Part::P * width, runs, Part::Q * total * width};
          multiply_rows<T>(count, these, room.sums, line, left, panel + Part::P * from * line, line);
        };
        if (full) add(0, Part::kBlock * L, full);
        if (rest) add(full * Part::kBlock * L, rest * L, 1);
      });
      for (int64_t r = 0; r < count; ++r)
        for (int64_t v = 0; v < these; ++v) put(r, (j + v) * L, load(room.sums + r * line + v * L));
    }
  }

  void inputs_back(Room& room, int64_t start, int64_t total) const {
    back(room, -1, total, 0, total, [&](int64_t m, int64_t column, V v) {
      const int64_t t = time(start + m / rows), row = m % rows;
      store(p.d_xs.of<S>(g) + at(t, row, f) + column, happens(t, row) ? v : V{}, f - column);
    });
  }

  // The gradients of the weights, [block][rows][P][vectors][lanes], += columns^T dz.
  void accumulate(const Room& room, int64_t total) const {
    each_product<C>([&](auto part, int i) {
      using Part = decltype(part);
      Blocks<Part, T>(h).each([&](int64_t from, int64_t vectors) {
        const int64_t width = vectors * L, line = Part::P * width;
        const T* dz = room.dz[i] + Part::Q * total * from;
        auto add = [&](int offset, const T* columns, int64_t count, T* to) {
          const Left<T> left{columns, 1, room.line, total};
          multiply_rows<T>(count, Part::P * vectors, to + count * Part::P * from, line, left, dz + offset * width,
                           Part::Q * width);
        };
        add(Part::kInput, room.columns, f + 1, room.of_in[i]);
        add(Part::kState, states(room, i), h + 1, room.of_rec[i]);
      });
    });
  }
};

template <class C, class S>
void solve_as(const Problem& p, const Parallel& parallel) {
  using T = Wide<S>;
  const double work = double(p.groups) * p.steps * p.rows * C::kGates * p.units * (p.features + p.units);
  const int64_t threads = work < 1e5 ? 1 : parallel.threads;
  const int64_t pieces =
      std::clamp<int64_t>((threads + p.groups - 1) / p.groups, 1, std::max<int64_t>(1, (p.rows + kTile - 1) / kTile));
  const bool shared = !p.w_in.stride && !p.w_rec.stride && !p.bias.stride && !p.bias_rec.stride;
  std::vector<std::array<Weights<T>, 2>> weights(shared ? 1 : p.groups);
  using Room = typename Task<C, S>::Room;
  std::vector<Room> rooms(p.backward ? p.groups * pieces : 0);

  auto run = [&](int64_t count, auto&& job) {
    using Job = std::remove_reference_t<decltype(job)>;
    auto call = [](void* context, int64_t i) { (*static_cast<Job*>(context))(i); };
    if (threads > 1 && count > 1) return parallel.run(parallel.pool, count, call, &job);
    for (int64_t i = 0; i < count; ++i) job(i);
  };
  run(weights.size(), [&](int64_t g) {
    each_product<C>([&](auto part, int i) { weights[g][i] = pack_all<decltype(part), S>(p, g); });
  });
  run(p.groups * pieces, [&](int64_t i) {
    const int64_t g = i / pieces, piece = i % pieces;
    const int64_t begin = p.rows * piece / pieces, end = p.rows * (piece + 1) / pieces;
    const Task<C, S> task{p, weights[shared ? 0 : g].data(), g, begin, end - begin};
    if (!p.backward) return task.forward();
    Room room;
    task.backward(room);
    std::swap(rooms[i].of_in, room.of_in), std::swap(rooms[i].of_rec, room.of_rec);
  });
  if (!p.d_w_rec) return;
  run(p.groups, [&](int64_t g) {
    each_product<C>([&](auto part, int number) {
      using Part = decltype(part);
      const Blocks<Part, T> blocks(p.units);
      std::vector<const T*> in, rec;
      for (int64_t i = g * pieces; i < (g + 1) * pieces; ++i)
        in.push_back(rooms[i].of_in[number]), rec.push_back(rooms[i].of_rec[number]);
      unpack<Part, S>(in, p.features + 1, Part::of_input, blocks, p.d_w_in.of<S>(g), p.d_bias.of<S>(g), 0);
      // beside h only n of the GRU has a bias
      const int biased = Part::kOwnBias ? Part::kGates - 1 : Part::kGates;
      unpack<Part, S>(rec, p.units + 1, Part::of_state, blocks, p.d_w_rec.of<S>(g), p.d_bias_rec.of<S>(g), biased);
    });
  });
}

template <class S>
void solve_in(const Problem& p, const Parallel& parallel) {
  if (p.kind == Kind::kLstm) return solve_as<Lstm, S>(p, parallel);
  if (p.kind == Kind::kGru) return solve_as<Gru, S>(p, parallel);
  if (p.kind == Kind::kGruBefore) return solve_as<GruBefore, S>(p, parallel);
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
