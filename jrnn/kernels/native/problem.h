// What the handlers hand to the kernels: one recurrence over a whole sequence, forwards or backwards.
#pragma once
#include <cstdint>

namespace jrnn {

enum class Storage { kFloat32, kFloat64, kBfloat16 };

// An array with a leading axis of groups, which all groups share where it has length 1. Absent: null.
struct Operand {
  void* data = nullptr;
  int64_t stride = 0;  // elements from one group to the next
  explicit operator bool() const { return data != nullptr; }
  template <class S>
  S* of(int64_t group, int64_t offset = 0) const {
    return data ? static_cast<S*>(data) + group * stride + offset : nullptr;
  }
};

// Time is the first axis, rows are the batch; see `kernels/implementations/native.py` for the meaning of each array.
struct Problem {
  int64_t kind;  // the number of the recurrence, `native` in its Python file
  Storage storage;
  bool backward;
  const int64_t* reverse;  // one a group
  int64_t groups, steps, rows, features, units;
  Operand xs, w_in, w_rec, bias, bias_rec, theta, h0, c0, reset_h, reset_c, inside, valid, resets, cuts, tap_h, tap_c;
  Operand hs, cs, gates, last_h, last_c;                 // results forwards, residuals (or cotangents) backwards
  Operand g_hs, g_cs, g_last_h, g_last_c;                // cotangents, backwards
  Operand d_xs, d_w_in, d_w_rec, d_bias, d_bias_rec, d_theta, d_h0, d_c0, d_reset_h, d_reset_c, d_tap_h, d_tap_c;
};

// `start` offers work(context, i), i = 0..count-1, to at most `helpers` threads (a pool may run some of it at once, in
// the thread that offers it); `finish` does what nobody has begun,
// waits for what others have, throws what they threw.
struct Parallel {
  int64_t threads;
  void* pool;
  void* (*start)(void* pool, int64_t count, int64_t helpers, void (*work)(void* context, int64_t i), void* context);
  void (*finish)(void* begun);
};

// Between two looks of a thread that waits.
static inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

using Solve = void (*)(const Problem&, const Parallel&);

}  // namespace jrnn
