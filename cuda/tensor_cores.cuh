// The PTX instructions of tensor cores (sm_80 and later), one function each. Where the compiler is
// not CUDA's, tests/cuda/emulation does what the PTX manual says of them.
//
// A warp holds the fragments of a product of 16 x 8 elements. With g = lane / 4 and t = lane % 4:
//   16 bits, inner 16  left:  rows g, g + 8, g, g + 8; inner 2t, 2t, 2t + 8, 2t + 8 and the next
//                      right: inner 2t, 2t + 8 and the next; column g
//   32 bits, inner 8   left:  rows g, g + 8, g, g + 8; inner t, t, t + 4, t + 4
//                      right: inner t, t + 4; column g
//   result             rows g, g, g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <type_traits>

#include "half.h"

namespace tilegrad::cuda {

#if defined(__CUDACC__)

static __device__ inline unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Begins to copy 16 bytes, of which those behind the first `bytes` become zeros.
static __device__ inline void copy_async(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
// What this thread has begun since the last commit becomes one group.
static __device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits for this thread's groups but the last kPending.
template <int kPending>
static __device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four matrices of 8 rows of 16 bytes; lane 8i + j has the address of row j of matrix i. Lane 4r +
// c gets bytes 4c to 4c + 3 of row r of each; transposed, the 16-bit elements r of rows 2c and 2c
// + 1.
template <bool kTransposed>
static __device__ inline void load_matrices(unsigned (&to)[4], const void* shared_row) {
  const unsigned address = shared_address(shared_row);
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

#define TILEGRAD_MMA(shape, type)                                                       \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type                  \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"   \
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                 \
               : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), \
                 "r"(right[1]))

// sum += left @ right; T says what the bits of the operands are, float stands for TF32.
template <class T>
static __device__ inline void multiply_fragments(float (&sum)[4], const unsigned (&left)[4],
                                                 const unsigned (&right)[2]) {
  if constexpr (std::is_same_v<T, BFloat16>) TILEGRAD_MMA("m16n8k16", "bf16");
  else if constexpr (std::is_same_v<T, Half>) TILEGRAD_MMA("m16n8k16", "f16");
  else TILEGRAD_MMA("m16n8k8", "tf32");
}
#undef TILEGRAD_MMA

// To the nearest TF32, ties away from zero: without it the hardware truncates, and sums are biased.
static __device__ inline unsigned to_tf32(unsigned bits) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

// Two floats rounded to halves, as the lower and the upper 16 bits.
template <class T>
static __device__ inline unsigned pack_halves(float low, float high) {
  unsigned both;
  if constexpr (std::is_same_v<T, BFloat16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

#else

static inline void copy_async(void* shared, const void* global, int bytes) {
  emulation::copy_async(shared, global, bytes);
}
static inline void commit_copies() { emulation::commit_copies(); }
template <int kPending>
static inline void wait_for_copies() {
  emulation::wait_for_copies(kPending);
}
template <bool kTransposed>
static inline void load_matrices(unsigned (&to)[4], const void* shared_row) {
  emulation::load_matrices(to, shared_row, kTransposed);
}
template <class T>
static inline void multiply_fragments(float (&sum)[4], const unsigned (&left)[4],
                                      const unsigned (&right)[2]) {
  if constexpr (std::is_same_v<T, float>) {
    emulation::multiply_tf32(sum, left, right);
  } else {
    const auto value = [](unsigned short bits) { return float(std::bit_cast<T>(bits)); };
    emulation::multiply_halves(sum, left, right, value);
  }
}
static inline unsigned to_tf32(unsigned bits) { return emulation::to_tf32(bits); }
template <class T>
static inline unsigned pack_halves(float low, float high) {
  return T(low).bits | static_cast<unsigned>(T(high).bits) << 16;
}

#endif

}  // namespace tilegrad::cuda
