// The PTX instructions of Hopper, one function each: barriers in shared memory that count arrivals
// and bytes (mbarrier), copies by the copy engine (cp.async.bulk), and products of a warpgroup
// (wgmma, in code for sm_90a alone). Where the compiler is not CUDA's, tests/cuda/emulation does
// what the PTX manual says of them.
//
// The copy engine and wgmma reach shared memory by a way of their own, the async proxy. What
// threads have written there by ordinary stores, barriers included, it sees after each of them has
// called fence_async_proxy(). What it has written, threads see once they have waited for it.
//
// A warpgroup is four warps, the first of which has a number divisible by four. It multiplies 64
// rows by kColumns columns. With g = lane / 4 and t = lane % 4, its warp w holds of the result
//   rows 16w + g, 16w + g, 16w + g + 8, 16w + g + 8; columns 8j + 2t, 8j + 2t + 1, and both again
// in sum[4j] to sum[4j + 3].
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <bit>
#include <cstdint>
#include <type_traits>

#include "half.h"
#include "tensor_cores.cuh"

#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TILEGRAD_HAS_WARPGROUPS  // this compilation may contain wgmma
#endif
#if !defined(__CUDACC__)
#define TILEGRAD_WHERE , const std::source_location& where = std::source_location::current()
#endif

namespace tilegrad::cuda {

// Lies in shared memory. It is in a phase until all expected arrivals and bytes have come, and then
// in the next one; phases have parity 0 and 1 in turn, beginning with 0.
struct Barrier {
  unsigned long long bits;
};

// Rows of operands are this long, and chunks of 16 bytes are exchanged within groups of eight such
// rows: bits 4 to 6 of an address in shared memory are xored with bits 7 to 9.
inline constexpr int kSwizzleBytes = 128;
inline constexpr int kSwizzleGroupBytes = 8 * kSwizzleBytes;  // where the pattern begins anew

#if defined(__CUDACC__)

// Each phase waits for so many arrivals.
static __device__ inline void init_barrier(Barrier& barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)),
               "r"(arrivals)
               : "memory");
}
static __device__ inline void arrive(Barrier& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier))
               : "memory");
}
// The phase also waits for so many bytes of copies.
static __device__ inline void expect_bytes(Barrier& barrier, int bytes) {
  asm volatile(
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
}
// Both in one: first expects, then arrives.
static __device__ inline void arrive_expecting(Barrier& barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
}

#define TILEGRAD_ASK_BARRIER(instruction)                                           \
  asm volatile("{\n\t.reg .pred p;\n\t" instruction                                 \
               ".parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}" \
               : "=r"(completed)                                                    \
               : "r"(shared_address(&barrier)), "r"(parity)                         \
               : "memory")

// Whether the phase of that parity is over; before the first phase, the one of parity 1 is.
static __device__ inline bool has_completed(Barrier& barrier, unsigned parity) {
  unsigned completed;
  TILEGRAD_ASK_BARRIER("mbarrier.test_wait");
  return completed != 0;
}
static __device__ inline void wait_for_phase(Barrier& barrier, unsigned parity) {
  unsigned completed;
  do TILEGRAD_ASK_BARRIER("mbarrier.try_wait");  // sleeps for a while
  while (completed == 0);
}
#undef TILEGRAD_ASK_BARRIER

static __device__ inline void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Begins to copy `bytes`, a multiple of 16, as are both addresses; they arrive at the barrier.
static __device__ inline void copy_bulk(void* shared, const void* global, int bytes,
                                        Barrier& barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(&barrier))
      : "memory");
}

// Begins to copy the box that begins at `at`, innermost dimension first, which may lie outside in
// part: there are zeros. All bytes of a box arrive at the barrier.
template <int kDimensions>
static __device__ inline void copy_box(void* shared, const CUtensorMap& map,
                                       const int (&at)[kDimensions], Barrier& barrier) {
  static_assert(kDimensions == 2 || kDimensions == 4);
  if constexpr (kDimensions == 2)
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(at[0]), "r"(at[1]), "r"(shared_address(&barrier))
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(shared_address(&barrier))
        : "memory");
}

// Begins to copy the pixels that a map of images (encode_images) walks over, from the one at
// {channel, x, y, image} on: all of them shifted by that many pixels across and down, up to 255
// each.
static __device__ inline void copy_pixels(void* shared, const CUtensorMap& map, const int (&at)[4],
                                          int across, int down, Barrier& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(shared_address(shared)),
      "l"(&map), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(shared_address(&barrier)),
      "h"(static_cast<unsigned short>(across)), "h"(static_cast<unsigned short>(down))
      : "memory");
}

// Before the first product, and between other uses of its registers and a product.
static __device__ inline void fence_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// The products since the last commit become one group.
static __device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits for all groups but the last kPending; until then the products read shared memory, and
// `sum` is theirs.
template <int kPending, int kSums>
static __device__ inline void wait_for_products(float (&sum)[kSums]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#pragma unroll
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sum[i])::"memory");  // used no earlier
}

// Registers %0 to %63, and %64 to %127.
#define TILEGRAD_REGISTERS_64                                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, " \
  "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, " \
  "%56, %57, %58, %59, %60, %61, %62, %63"
#define TILEGRAD_REGISTERS_128                                                                   \
  TILEGRAD_REGISTERS_64                                                                          \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
  "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, "   \
  "%100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, "   \
  "%115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define TILEGRAD_SUMS_8(i)                                                              \
  "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), \
      "+f"(sum[i + 5]), "+f"(sum[i + 6]), "+f"(sum[i + 7])
#define TILEGRAD_SUMS_32(i) \
  TILEGRAD_SUMS_8(i), TILEGRAD_SUMS_8(i + 8), TILEGRAD_SUMS_8(i + 16), TILEGRAD_SUMS_8(i + 24)
#define TILEGRAD_SUMS_64 TILEGRAD_SUMS_32(0), TILEGRAD_SUMS_32(32)
#define TILEGRAD_SUMS_128 TILEGRAD_SUMS_64, TILEGRAD_SUMS_32(64), TILEGRAD_SUMS_32(96)

// `rest`: the descriptors, whether to add to sum, no signs changed, and for halves which operands
// do not lie along the inner dimension.
#define TILEGRAD_WGMMA(columns, sums, kind, rest, ...)                                          \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns kind " {" TILEGRAD_REGISTERS_##sums \
               "}, " rest ";"                                                                   \
               : TILEGRAD_SUMS_##sums                                                           \
               : "l"(x), "l"(other)__VA_ARGS__                                                  \
               : "memory")
#define TILEGRAD_WGMMA_HALVES(columns, sums, type, rest)          \
  TILEGRAD_WGMMA(columns, sums, "k16.f32." type "." type, rest, , \
                 "n"(static_cast<int>(kXTransposed)), "n"(static_cast<int>(kOtherTransposed)))

// Begins sum += x @ other for 64 rows and 32 bytes of the inner dimension, both in shared memory
// where descriptors say. T says what the bits are, float stands for TF32. Transposed: chunks hold
// elements of the outer dimension, which only halves may.
template <class T, int kColumns, bool kXTransposed, bool kOtherTransposed>
static __device__ inline void multiply_tiles(float (&sum)[kColumns / 2], std::uint64_t x,
                                             std::uint64_t other) {
  static_assert(kColumns == 128 || kColumns == 256);
  static_assert(sizeof(T) == 2 || !(kXTransposed || kOtherTransposed));
  if constexpr (std::is_same_v<T, BFloat16> && kColumns == 128)
    TILEGRAD_WGMMA_HALVES(128, 64, "bf16", "%64, %65, 1, 1, 1, %66, %67");
  else if constexpr (std::is_same_v<T, BFloat16>)
    TILEGRAD_WGMMA_HALVES(256, 128, "bf16", "%128, %129, 1, 1, 1, %130, %131");
  else if constexpr (std::is_same_v<T, Half> && kColumns == 128)
    TILEGRAD_WGMMA_HALVES(128, 64, "f16", "%64, %65, 1, 1, 1, %66, %67");
  else if constexpr (std::is_same_v<T, Half>)
    TILEGRAD_WGMMA_HALVES(256, 128, "f16", "%128, %129, 1, 1, 1, %130, %131");
  else if constexpr (kColumns == 128)
    TILEGRAD_WGMMA(128, 64, "k8.f32.tf32.tf32", "%64, %65, 1, 1, 1", );
  else TILEGRAD_WGMMA(256, 128, "k8.f32.tf32.tf32", "%128, %129, 1, 1, 1", );
}
#undef TILEGRAD_WGMMA_HALVES
#undef TILEGRAD_WGMMA
#undef TILEGRAD_SUMS_128
#undef TILEGRAD_SUMS_64
#undef TILEGRAD_SUMS_32
#undef TILEGRAD_SUMS_8
#undef TILEGRAD_REGISTERS_128
#undef TILEGRAD_REGISTERS_64

#else

static inline unsigned shared_address(const void* shared) {
  return emulation::shared_address(shared);
}
static inline void init_barrier(Barrier& barrier, int arrivals TILEGRAD_WHERE) {
  emulation::init_barrier(&barrier, static_cast<unsigned>(arrivals), where);
}
static inline void arrive(Barrier& barrier TILEGRAD_WHERE) { emulation::arrive(&barrier, where); }
static inline void expect_bytes(Barrier& barrier, int bytes TILEGRAD_WHERE) {
  emulation::expect_bytes(&barrier, bytes, where);
}
static inline void arrive_expecting(Barrier& barrier, int bytes TILEGRAD_WHERE) {
  emulation::expect_bytes(&barrier, bytes, where);
  emulation::arrive(&barrier, where);
}
static inline bool has_completed(Barrier& barrier, unsigned parity TILEGRAD_WHERE) {
  return emulation::has_completed(&barrier, parity, where);
}
static inline void wait_for_phase(Barrier& barrier, unsigned parity TILEGRAD_WHERE) {
  emulation::wait_for_phase(&barrier, parity, where);
}
static inline void fence_async_proxy() { emulation::fence_async_proxy(); }
static inline void copy_bulk(void* shared, const void* global, int bytes,
                             Barrier& barrier TILEGRAD_WHERE) {
  emulation::copy_bulk(shared, global, bytes, &barrier, where);
}
template <int kDimensions>
static inline void copy_box(void* shared, const CUtensorMap& map, const int (&at)[kDimensions],
                            Barrier& barrier TILEGRAD_WHERE) {
  emulation::copy_box(shared, map, at, kDimensions, &barrier, where);
}
static inline void copy_pixels(void* shared, const CUtensorMap& map, const int (&at)[4], int across,
                               int down, Barrier& barrier TILEGRAD_WHERE) {
  emulation::copy_pixels(shared, map, at, across, down, &barrier, where);
}
static inline void fence_products() { emulation::fence_products(); }
static inline void commit_products() { emulation::commit_products(); }
template <int kPending, int kSums>
static inline void wait_for_products(float (&)[kSums] TILEGRAD_WHERE) {
  emulation::wait_for_products(kPending, where);
}
template <class T, int kColumns, bool kXTransposed, bool kOtherTransposed>
static inline void multiply_tiles(float (&sum)[kColumns / 2], std::uint64_t x,
                                  std::uint64_t other TILEGRAD_WHERE) {
  static_assert(sizeof(T) == 2 || !(kXTransposed || kOtherTransposed));
  const auto value = [](unsigned bits) {
    if constexpr (sizeof(T) == 4) return std::bit_cast<float>(bits & ~0x1fffu);
    else return float(std::bit_cast<T>(static_cast<unsigned short>(bits)));
  };
  emulation::multiply_tiles({x, kXTransposed}, {other, kOtherTransposed}, sum, kColumns, sizeof(T),
                            value, where);
}

#endif

// The next address from there on where the pattern of exchanged chunks begins.
static __device__ inline char* swizzle_aligned(char* shared) {
  return shared + (0u - shared_address(shared)) % kSwizzleGroupBytes;
}

// Describes an operand of wgmma to it: rows of kSwizzleBytes with exchanged chunks, in groups of
// eight. If chunks hold elements of the inner dimension, the next group of rows is group_bytes
// further; if they hold elements of the outer one, the next eight of the inner dimension are, and
// the next kSwizzleBytes of the outer dimension begin outer_bytes further.
static __device__ inline std::uint64_t tile_descriptor(const void* shared, unsigned outer_bytes,
                                                       unsigned group_bytes) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
  const auto field = [](unsigned bytes) { return std::uint64_t{(bytes & 0x3ffff) >> 4}; };
  return field(shared_address(shared)) | field(outer_bytes) << 16 | field(group_bytes) << 32 |
         kSwizzle128;
}
// The same descriptor for what lies so many bytes further.
static __device__ inline std::uint64_t moved(std::uint64_t descriptor, int bytes) {
  return descriptor + static_cast<std::uint64_t>(bytes >> 4);
}

#if !defined(__CUDACC__)
#undef TILEGRAD_WHERE
#endif

}  // namespace tilegrad::cuda
