// What products by warpgroups (wgmma, sm_90a) have in common, those of matrices (wgmma_product.cuh)
// and those behind convolutions: a ring of stages in shared memory, who fills it and who reads it,
// and how sums leave the registers.
//
// A block of nine warps computes a tile of kRows x kColumns. The last warp, of which one lane
// works, has the copy engine bring 128 bytes of the inner dimension of both operands at a time to a
// ring of stages. The other eight warps are two warpgroups, which multiply from there: of a tile of
// 128 rows each takes 64 rows, of one of 64 rows half of the columns. Per stage, a barrier `full`
// counts the bytes that have come, and a barrier `empty` the eight warps that have read it; one
// step stays in flight while the next is issued. The sums then go through the same shared memory,
// so that they can be written in order of addresses.
//
// Where an operand lies along the inner dimension, a stage holds a row of 128 bytes for each of its
// rows or columns; otherwise boxes of 64 rows or columns, and in each a row for every element of
// the inner dimension. Descriptors tell wgmma which.
#pragma once

#include "hopper.cuh"
#include "launch.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {

inline constexpr int kMultiplyingWarps = 8;
inline constexpr int kWgmmaThreads = (kMultiplyingWarps + 1) * kWarp;
inline constexpr int kBoxBytes = 64 * kSwizzleBytes;  // 64 rows
inline constexpr int kWarpRows = 16;

// What lies in shared memory, and what a warpgroup takes of it. 32 pairs are multiplied per byte
// that comes to a tile of 128 x 128, 43 in one of 128 x 256, 26 in one of 64 x 256.
template <int kRows_, int kColumns_>
struct WgmmaTile {
  static constexpr int kRows = kRows_, kColumns = kColumns_;
  static constexpr bool kByRows = kRows == 128;  // how the warpgroups share it
  static_assert(kByRows || kRows == 64);
  static constexpr int kGroupColumns = kByRows ? kColumns : kColumns / 2;
  static constexpr int kSums = kGroupColumns / 2;      // of a thread
  static constexpr int kBlocks = kSums == 64 ? 2 : 1;  // on a multiprocessor
  static constexpr int kStages = !kByRows ? 2 : kColumns == 256 ? 4 : 3;
  static constexpr int kXBytes = kRows * kSwizzleBytes;
  static constexpr int kStageBytes = kXBytes + kColumns * kSwizzleBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes + kSwizzleGroupBytes;
  static constexpr int kSumStride = kColumns + 8;  // of a row: four rows lie in different banks
  static_assert(kRows * kSumStride * 4 <= kStages * kStageBytes);
};

template <int kStages>
struct RingBarriers {
  Barrier full[kStages], empty[kStages], drained;
};

// The rows and columns of a tile that a warp sums begin here.
struct WarpPart {
  int row, column;
};
template <class Tile>
static __device__ WarpPart warp_part(int warp) {
  return Tile::kByRows ? WarpPart{warp * kWarpRows, 0}
                       : WarpPart{warp % 4 * kWarpRows, warp / 4 * Tile::kGroupColumns};
}

#if defined(TILEGRAD_HAS_WARPGROUPS)

// Goes around the ring. `parity` is that of the phase to wait for.
template <int kStages>
struct RingPlace {
  unsigned parity;
  int stage = 0;

  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// All threads.
template <int kStages>
static __device__ void init_ring(RingBarriers<kStages>& barriers) {
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      init_barrier(barriers.full[stage], 1);
      init_barrier(barriers.empty[stage], kMultiplyingWarps);
    }
    init_barrier(barriers.drained, kMultiplyingWarps);
    fence_async_proxy();
  }
  __syncthreads();
}

// What one lane of the last warp does. load(step, to, full) begins the copies of a step, all of
// kStageBytes, which arrive at `full`.
template <class Tile, class Load>
static __device__ void fill_ring(char* stages, RingBarriers<Tile::kStages>& barriers, int steps,
                                 Load&& load) {
  RingPlace<Tile::kStages> place = {1};  // nobody reads a stage before its first bytes
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    Barrier& full = barriers.full[place.stage];
    wait_for_phase(barriers.empty[place.stage], place.parity);
    arrive_expecting(full, Tile::kStageBytes);
    load(step, stages + place.stage * Tile::kStageBytes, full);
    place.advance();
  }
}

// What each of the other warps does: sums its warpgroup's share of all steps.
template <class T, class Tile, bool kXAlongInner, bool kOtherAlongInner>
static __device__ void multiply_ring(float (&sum)[Tile::kSums], const char* stages,
                                     RingBarriers<Tile::kStages>& barriers, int warp, int steps) {
  constexpr int kXMove = kXAlongInner ? 32 : 16 * kSwizzleBytes;  // from product to product
  constexpr int kOtherMove = kOtherAlongInner ? 32 : 16 * kSwizzleBytes;
  const int x_bytes = Tile::kByRows ? warp / 4 * kBoxBytes : 0;
  const int other_bytes = Tile::kByRows ? 0 : warp / 4 * (Tile::kGroupColumns * kSwizzleBytes);
  const std::uint64_t x_first = tile_descriptor(stages + x_bytes, kBoxBytes, kSwizzleGroupBytes);
  const std::uint64_t other_first =
      tile_descriptor(stages + Tile::kXBytes + other_bytes, kBoxBytes, kSwizzleGroupBytes);
  const bool first_lane = threadIdx.x % kWarp == 0;
  RingPlace<Tile::kStages> place = {0};
  int stage_before = 0;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const std::uint64_t x = moved(x_first, place.stage * Tile::kStageBytes);
    const std::uint64_t other = moved(other_first, place.stage * Tile::kStageBytes);
    wait_for_phase(barriers.full[place.stage], place.parity);
    fence_products();
#pragma unroll
    for (int k = 0; k < kSwizzleBytes / 32; ++k)
      multiply_tiles<T, Tile::kGroupColumns, !kXAlongInner, !kOtherAlongInner>(
          sum, moved(x, k * kXMove), moved(other, k * kOtherMove));
    commit_products();
    wait_for_products<1>(sum);  // those of the step before
    if (step > 0 && first_lane) arrive(barriers.empty[stage_before]);
    stage_before = place.stage;
    place.advance();
  }
  wait_for_products<0>(sum);
}

// Writes the sums of a warp to shared memory, in rows, once nobody reads stages; returns where its
// part begins.
template <class Tile>
static __device__ float* spread_sums(const float (&sum)[Tile::kSums], char* stages,
                                     RingBarriers<Tile::kStages>& barriers, const WarpPart& part) {
  const int lane = threadIdx.x % kWarp;
  if (lane == 0) arrive(barriers.drained);
  wait_for_phase(barriers.drained, 0);  // the other warpgroup still reads until then
  float* sums = reinterpret_cast<float*>(stages) + part.row * Tile::kSumStride + part.column;
  float* to = sums + lane / 4 * Tile::kSumStride + lane % 4 * 2;
#pragma unroll
  for (int j = 0; j < Tile::kGroupColumns / 8; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      *reinterpret_cast<float2*>(to + half * 8 * Tile::kSumStride + 8 * j) =
          make_float2(sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]);
  __syncwarp();
  return sums;
}

#endif  // TILEGRAD_HAS_WARPGROUPS

// Launches a kernel whose blocks hold such tiles.
template <class Tile, class... Parameters, class... Arguments>
static void launch_tiles(void (*kernel)(Parameters...), std::int64_t blocks,
                         const Arguments&... arguments) {
  TILEGRAD_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           Tile::kSharedBytes));
  launch(kernel, {blocks_of(blocks, 1), kWgmmaThreads, Tile::kSharedBytes}, arguments...);
}

}  // namespace tilegrad::cuda
