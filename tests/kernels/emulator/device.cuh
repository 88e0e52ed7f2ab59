// The instructions that `jrnn/kernels/cuda/device.cuh` has for a GPU, for a CPU: what each does to the lanes of a warp.
#pragma once
#include <cmath>
#include <cstring>

#include "machine.h"

#define DEVICE inline
#define UNROLL
#define JRNN_KERNEL(name, run, Problem, Plan)                                                            \
  extern "C" int name(const void* problem, int blocks, int cluster, int threads, int bytes, unsigned seed) { \
    return machine::launch(blocks, cluster, threads, bytes, seed, [=](int thread, int block, unsigned char* shared) { \
      jrnn::run<Plan>(*static_cast<const jrnn::Problem*>(problem), shared, thread, block);               \
    });                                                                                                  \
  }

namespace jrnn {

using Word = unsigned int;
using HalfWord = unsigned short;

struct alignas(16) Quad {
  Word at[4];
};

// A shared address is an offset in the block's memory; of another block of the cluster it has its rank + 1 on top.
constexpr int kRankBit = 24;

DEVICE Word shared_address(const void* pointer) {
  return static_cast<Word>(static_cast<const unsigned char*>(pointer) - machine::own_memory());
}
template <class T>
DEVICE T load(Word address) {
  T value;
  std::memcpy(&value, machine::own_memory() + machine::checked(address, sizeof(T)), sizeof(T));
  return value;
}
template <class T>
DEVICE void store_shared(Word address, const T& value) {
  std::memcpy(machine::own_memory() + machine::checked(address, sizeof(T)), &value, sizeof(T));
}
DEVICE Quad load_quad(Word address) { return load<Quad>(address); }

DEVICE void load_matrices(Word (&words)[4], Word address) {
  Word all[32];
  machine::exchange(address, all);
  const int lane = machine::lane();
  for (int m = 0; m < 4; ++m) words[m] = load<Word>(all[m * 8 + lane / 4] + lane % 4 * 4);
}

DEVICE float as_float(Word bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
DEVICE Word as_word(float value) {
  Word bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

struct Parts {
  Word a[4], b[2];
};

// A tensor core adds what it multiplies to the sum at once, and cuts off what a float32 has no room for (Ootomo and
// Yokota, 2022).
DEVICE float cut_off(double value) {
  const float nearest = static_cast<float>(value);
  return std::fabs(nearest) > std::fabs(value) && !std::isinf(nearest) ? std::nextafter(nearest, 0.f) : nearest;
}

// d [16, 8] += a [16, depth] b [depth, 8], `number(word, i)` of the numbers that a word of 4 bytes holds.
template <int IN_WORD, class F>
DEVICE void multiply_parts(float (&d)[4], const Word (&a)[4], Word b0, Word b1, F number) {
  Parts mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}}, all[32];
  machine::exchange(mine, all);
  const int lane = machine::lane();
  for (int q = 0; q < 4; ++q) {
    const int row = lane / 4 + q / 2 * 8, column = 2 * (lane % 4) + q % 2;
    double sum = d[q];
    for (int k = 0; k < 8 * IN_WORD; ++k) {
      const int word = k / IN_WORD;  // 0 to 7: of lane word % 4, its first or second pair
      const Word left = all[row % 8 * 4 + word % 4].a[row / 8 + word / 4 * 2], right = all[column * 4 + word % 4].b[word / 4];
      sum += static_cast<double>(number(left, k % IN_WORD)) * number(right, k % IN_WORD);
    }
    d[q] = cut_off(sum);
  }
}
DEVICE void multiply_bfloat16(float (&d)[4], const Word (&a)[4], Word b0, Word b1) {
  multiply_parts<2>(d, a, b0, b1, [](Word word, int i) { return as_float(i ? word & 0xffff0000 : word << 16); });
}
DEVICE void multiply_tf32(float (&d)[4], const Word (&a)[4], Word b0, Word b1) {
  multiply_parts<1>(d, a, b0, b1, [](Word word, int) { return as_float(word & 0xffffe000); });
}

// Rounded to the nearest, ties to even (bfloat16) or away from zero (TF32); NaN stays NaN.
DEVICE HalfWord round_to_bfloat16(float value) {
  const Word bits = as_word(value);
  if (value != value) return 0x7fff;
  return static_cast<HalfWord>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
DEVICE Word round_to_tf32(float value) {
  return value != value || std::isinf(value) ? as_word(value) : (as_word(value) + 0x1000) & 0xffffe000;
}
// With the error that PTX's words allow, up or down by the argument's last bits, and without subnormal numbers.
DEVICE bool upwards(float x) { return as_word(x) * 2654435761u >> 31; }
DEVICE float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }
DEVICE float power_of_two(float x) {
  return flushed(static_cast<float>(std::exp2(static_cast<double>(flushed(x))) * (1 + (upwards(x) ? 0x1p-22 : -0x1p-22))));
}
DEVICE float reciprocal(float x) {
  const float y = 1.f / flushed(x);
  return !std::isfinite(y) || y == 0.f ? y : flushed(std::nextafter(y, upwards(x) ? 2 * y : 0.f));
}
DEVICE void prefetch(const void*) {}

DEVICE void warp_barrier() {
  int all[32];
  machine::exchange(0, all);
}
DEVICE void block_barrier() { machine::block_barrier(); }
DEVICE Word cluster_rank() { return machine::rank(); }
DEVICE Word address_at(Word address, Word rank) { return address | (rank + 1) << kRankBit; }
DEVICE void cluster_barrier() { machine::cluster_barrier(); }
DEVICE void arrivals_init(Word barrier) { machine::arrivals_init(barrier); }
DEVICE void arrivals_init_done() {}
DEVICE void arrivals_expect(Word barrier, Word bytes) { machine::arrivals_expect(barrier, bytes); }
DEVICE void arrivals_wait(Word barrier, Word parity) { machine::arrivals_wait(barrier, parity); }
DEVICE void store_remote(Word address, const Quad& value, Word barrier) {
  const Word offset = (1u << kRankBit) - 1;
  machine::send(static_cast<int>(address >> kRankBit) - 1, address & offset, &value, barrier & offset);
}

}  // namespace jrnn
