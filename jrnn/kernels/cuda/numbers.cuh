// How states and weights are stored, and the functions of the gates.
#pragma once
#include <device.cuh>

namespace jrnn {

struct Bfloat16 {
  using Bits = HalfWord;
  static constexpr int kBytes = 2;
  static DEVICE float read(Bits bits) { return as_float(static_cast<Word>(bits) << 16); }
  static DEVICE Bits write(float value) { return round_to_bfloat16(value); }
  static DEVICE float round(float value) { return read(write(value)); }
};

struct Float32 {
  using Bits = Word;
  static constexpr int kBytes = 4;
  static DEVICE float read(Bits bits) { return as_float(bits); }
  static DEVICE Bits write(float value) { return as_word(value); }
  static DEVICE float round(float value) { return value; }
};

// A number as a sum of two of TF32, of 11 bits each. An infinity is the second, as the first meets second parts of 0.
struct Split {
  Word high, low;
  explicit DEVICE Split(Word bits) : high(round_to_tf32(as_float(bits))) {
    low = round_to_tf32(as_float(bits) - as_float(high));
    if ((high & 0x7fffffff) == 0x7f800000) low = high, high = 0;
  }
};

constexpr float kLog2OfE = 1.4426950408889634f;

DEVICE float sigmoid(float x) { return reciprocal(1.f + power_of_two(-kLog2OfE * x)); }

DEVICE float tanh(float x) {
  const float far = 1.f - 2.f * reciprocal(1.f + power_of_two(2.f * kLog2OfE * x));
  const float square = x * x;  // near 0 `far` loses digits; this, a minimax, is within 2 ulp up to 0.55
  const float more = -0.33332947f + square * (0.13320726f + square * (-0.05267188f + square * 0.016437719f));
  return square < 0.3025f ? x + x * (square * more) : far;
}

DEVICE constexpr int larger(int a, int b) { return a > b ? a : b; }
DEVICE constexpr int multiple(int n, int of) { return (n + of - 1) / of * of; }

}  // namespace jrnn
