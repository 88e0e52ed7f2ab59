// The instructions of the device that the kernels use, one function each: all that is PTX is here. The tests compile
// the other files against a header of the same name that runs these functions on a CPU.
#pragma once

#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
// A kernel of one plan: `run` over (problem, plan), with as much shared memory as the launch gives.
#define JRNN_KERNEL(name, run, Problem, Plan)                                                  \
  extern "C" __global__ void __launch_bounds__(Plan::kThreads, 1)                              \
      name(const __grid_constant__ jrnn::Problem problem) {                                    \
    extern __shared__ __align__(128) unsigned char shared[];                                   \
    jrnn::run<Plan>(problem, shared, threadIdx.x, blockIdx.x);                                 \
  }

namespace jrnn {

using Word = unsigned int;
using HalfWord = unsigned short;

struct alignas(16) Quad {
  Word at[4];
};

DEVICE Word shared_address(const void* pointer) { return static_cast<Word>(__cvta_generic_to_shared(pointer)); }

DEVICE Word load_word(Word address) {
  Word value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
DEVICE Quad load_quad(Word address) {
  Quad v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.at[0]), "=r"(v.at[1]), "=r"(v.at[2]), "=r"(v.at[3])
               : "r"(address)
               : "memory");
  return v;
}
DEVICE void store_shared(Word address, Word value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}
DEVICE void store_shared(Word address, HalfWord value) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(address), "h"(value) : "memory");
}
DEVICE void store_shared(Word address, const Quad& v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(v.at[0]), "r"(v.at[1]), "r"(v.at[2]),
               "r"(v.at[3])
               : "memory");
}

// Four 8x8 matrices of 16 bits, or 8x4 of 32: lane i gives the address of row i % 8 of matrix i / 8, and receives word
// i % 4 of row i / 4 of each.
DEVICE void load_matrices(Word (&words)[4], Word address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// sums [16, 8] += a [16, 16] b [16, 8] of bfloat16, the lanes' parts as PTX lays them out.
DEVICE void multiply_bfloat16(float (&d)[4], const Word (&a)[4], Word b0, Word b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// sums [16, 8] += a [16, 8] b [8, 8] of TF32.
DEVICE void multiply_tf32(float (&d)[4], const Word (&a)[4], Word b0, Word b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE float as_float(Word bits) { return __uint_as_float(bits); }
DEVICE Word as_word(float value) { return __float_as_uint(value); }
DEVICE HalfWord round_to_bfloat16(float value) {
  HalfWord bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
DEVICE Word round_to_tf32(float value) {
  Word bits;
  asm volatile("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));  // volatile: not kept beside its argument
  return bits;
}
DEVICE float power_of_two(float x) {  // 2 ulp
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float reciprocal(float x) {  // 1 ulp
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

DEVICE void prefetch(const void* pointer) { asm volatile("prefetch.global.L2 [%0];" ::"l"(pointer)); }

DEVICE void warp_barrier() { __syncwarp(); }
DEVICE void block_barrier() { __syncthreads(); }

// The blocks of a cluster: each can write to the shared memory of the others.
DEVICE Word cluster_rank() {
  Word rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
DEVICE Word address_at(Word address, Word rank) {
  Word there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
}
DEVICE void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// A barrier in shared memory that completes a phase when all bytes that were announced have arrived.
DEVICE void arrivals_init(Word barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
}
DEVICE void arrivals_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void arrivals_expect(Word barrier, Word bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
DEVICE void arrivals_wait(Word barrier, Word parity) {
#ifdef JRNN_BOUNDED_WAIT
  for (long long tries = 0; tries < JRNN_BOUNDED_WAIT; ++tries) {
#else
  while (true) {
#endif
    Word done;
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
    if (done) return;
  }
  asm volatile("trap;");
}
// Stores 16 bytes in a block of the cluster, and tells its barrier when they have arrived.
DEVICE void store_remote(Word address, const Quad& v, Word barrier) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1,%2,%3,%4}, [%5];" ::"r"(address),
      "r"(v.at[0]), "r"(v.at[1]), "r"(v.at[2]), "r"(v.at[3]), "r"(barrier)
      : "memory");
}

}  // namespace jrnn
