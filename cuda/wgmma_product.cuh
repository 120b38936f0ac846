// Matrix products by warpgroups (wgmma, sm_90a): bfloat16 and float16 in all orders of dimensions,
// and float32 rounded to TF32 where both operands lie along the inner dimension; summed in float32.
//
// A block of nine warps computes a tile of y of 128 rows and kColumns columns, 128 or 256, or a run
// of its sums (runs.cuh), as wgmma_parts.cuh says. The copy engine fills with zeros what lies
// outside. y is written 16 bytes per thread.
//
//   128 x 128  3 stages of 32 KiB, 97 KiB of shared memory; 90 registers, 64 of them sums; 2
//              blocks, 18 warps per multiprocessor. 32 pairs are multiplied per byte that is read.
//   128 x 256  4 stages of 48 KiB, 193 KiB of shared memory; 154 registers, 128 of them sums; 1
//              block, 9 warps. 43 pairs per byte.
#pragma once

#include "mma_product.cuh"
#include "tensor_map.cuh"
#include "wgmma_parts.cuh"

namespace tilegrad::cuda {

inline constexpr int kWgmmaRows = 128;
template <int kColumns>
using ProductTile = WgmmaTile<kWgmmaRows, kColumns>;

// The maps of both operands, and how far the indices of two batch dimensions move their boxes.
struct WgmmaBatch {
  std::int64_t size[2];  // innermost first
  bool moves_x[2], moves_other[2];
};
struct WgmmaMaps {
  CUtensorMap x, other;
  WgmmaBatch batch;
};

#if defined(TILEGRAD_HAS_WARPGROUPS)

// Brings kOuter rows or columns of an operand to a stage.
template <bool kAlongInner, int kOuter>
static __device__ void load_boxes(char* to, const CUtensorMap& map, int outer, int inner,
                                  const int (&batch)[2], Barrier& full) {
  if constexpr (kAlongInner) {
    const int at[4] = {inner, outer, batch[0], batch[1]};
    copy_box(to, map, at, full);
  } else {
#pragma unroll
    for (int part = 0; part < kOuter / 64; ++part) {
      const int at[4] = {outer + 64 * part, inner, batch[0], batch[1]};
      copy_box(to + part * kBoxBytes, map, at, full);
    }
  }
}

// Fills the ring with what a run of a tile needs.
template <class T, int kColumns, bool kXAlongInner, bool kOtherAlongInner>
static __device__ void load_all(char* stages,
                                RingBarriers<ProductTile<kColumns>::kStages>& barriers,
                                const CUtensorMap& x, const CUtensorMap& other,
                                const WgmmaBatch& batch, const TilePlace& place, const Run& run,
                                int steps) {
  using Tile = ProductTile<kColumns>;
  const int index[2] = {static_cast<int>(run.batch % batch.size[0]),
                        static_cast<int>(run.batch / batch.size[0])};
  int x_batch[2], other_batch[2];
  for (int d = 0; d < 2; ++d) {
    x_batch[d] = batch.moves_x[d] ? index[d] : 0;
    other_batch[d] = batch.moves_other[d] ? index[d] : 0;
  }
  fill_ring<Tile>(stages, barriers, steps, [&](int step, char* to, Barrier& full) {
    const int inner =
        static_cast<int>(run.first) + step * (kSwizzleBytes / static_cast<int>(sizeof(T)));
    load_boxes<kXAlongInner, kWgmmaRows>(to, x, static_cast<int>(place.row), inner, x_batch, full);
    load_boxes<kOtherAlongInner, kColumns>(
        to + Tile::kXBytes, other, static_cast<int>(place.column), inner, other_batch, full);
  });
}

// Finishes the 16 rows of a warp, whose sums lie in shared memory.
template <class T, int kColumns>
static __device__ void finish_rows(const Matmul& args, const Operands<T>& m, const float* sums,
                                   std::int64_t first_row, std::int64_t first_column) {
  struct alignas(kChunkBytes) Chunk {
    T at[kChunk<T>];
  };
  constexpr int kOfRow = kColumns / kChunk<T>;
  const bool whole =
      args.columns % kChunk<T> == 0 && reinterpret_cast<std::uintptr_t>(args.y) % kChunkBytes == 0;
#pragma unroll 1
  for (int n = threadIdx.x % kWarp; n < kWarpRows * kOfRow; n += kWarp) {
    const std::int64_t row = first_row + n / kOfRow;
    const std::int64_t column = first_column + n % kOfRow * kChunk<T>;
    if (row >= args.rows || column >= args.columns) continue;
    const float* from =
        sums + n / kOfRow * ProductTile<kColumns>::kSumStride + n % kOfRow * kChunk<T>;
    T* to = m.y + row * args.columns + column;
    Chunk chunk = {};
#pragma unroll
    for (int e = 0; e < kChunk<T>; ++e) {
      if (column + e >= args.columns) continue;
      chunk.at[e] = finished(args, m, row, column + e, from[e]);
      if (!whole) to[e] = chunk.at[e];
    }
    if (whole) *reinterpret_cast<Chunk*>(to) = chunk;
  }
}

// Keeps the sums of those rows for add_runs_kernel: `to` is the first of the run's.
template <int kColumns>
static __device__ void keep_rows(const Matmul& args, float* to, const float* sums,
                                 std::int64_t first_row, std::int64_t first_column) {
#pragma unroll 1
  for (int n = threadIdx.x % kWarp; n < kWarpRows * kColumns; n += kWarp) {
    const std::int64_t row = first_row + n / kColumns, column = first_column + n % kColumns;
    if (row < args.rows && column < args.columns)
      to[row * args.columns + column] =
          sums[n / kColumns * ProductTile<kColumns>::kSumStride + n % kColumns];
  }
}

#endif  // TILEGRAD_HAS_WARPGROUPS

template <class T, int kColumns, bool kXAlongInner, bool kOtherAlongInner>
static __global__ void __launch_bounds__(kWgmmaThreads, ProductTile<kColumns>::kBlocks)
    wgmma_kernel(const Matmul args, const Runs runs, const __grid_constant__ WgmmaMaps maps) {
#if defined(TILEGRAD_HAS_WARPGROUPS)
  using Tile = ProductTile<kColumns>;
  __shared__ RingBarriers<Tile::kStages> barriers;
  char* stages = swizzle_aligned(dynamic_shared<char>());
  const TilePlace place =
      tile_place((args.rows + kWgmmaRows - 1) / kWgmmaRows,
                 (args.columns + kColumns - 1) / kColumns, kWgmmaRows, kColumns);
  init_ring(barriers);
  constexpr int kInnerStep = kSwizzleBytes / static_cast<int>(sizeof(T));
  const Run run = run_of(args, runs, place.number);
  const int steps = static_cast<int>((run.inner + kInnerStep - 1) / kInnerStep);
  const int warp = __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kWarp, 0);
  if (warp == kMultiplyingWarps) {
    if (threadIdx.x % kWarp == 0)
      load_all<T, kColumns, kXAlongInner, kOtherAlongInner>(stages, barriers, maps.x, maps.other,
                                                            maps.batch, place, run, steps);
    return;
  }
  float sum[Tile::kSums] = {};
  multiply_ring<T, Tile, kXAlongInner, kOtherAlongInner>(sum, stages, barriers, warp, steps);
  const WarpPart part = warp_part<Tile>(warp);
  const float* sums = spread_sums<Tile>(sum, stages, barriers, part);
  const std::int64_t row = place.row + part.row;
  if (runs.count == 1)
    return finish_rows<T, kColumns>(args, operands_of<T>(args, run.batch), sums, row, place.column);
  float* to = static_cast<float*>(runs.sums) + place.number * args.rows * args.columns;
  keep_rows<kColumns>(args, to, sums, row, place.column);
#endif
}

// --- launches ---

// Batch dimensions in which both operands step evenly become one; at most two may be left.
struct EvenBatch {
  int ndim = 0;
  std::int64_t size[2] = {1, 1}, x_strides[2] = {}, other_strides[2] = {};
};
static inline bool merge_batch(const Matmul& args, EvenBatch& batch) {
  for (int d = 0; d < args.batch_ndim; ++d) {
    const std::int64_t size = args.batch_shape[d], x = args.x_batch_strides[d],
                       other = args.other_batch_strides[d];
    if (size == 1) continue;
    const int last = batch.ndim - 1;
    if (last >= 0 && x == batch.x_strides[last] * batch.size[last] &&
        other == batch.other_strides[last] * batch.size[last]) {
      batch.size[last] *= size;
      continue;
    }
    if (batch.ndim == 2) return false;
    batch.size[batch.ndim] = size;
    batch.x_strides[batch.ndim] = x;
    batch.other_strides[batch.ndim++] = other;
  }
  return true;
}

// An operand with so many rows or columns.
template <class T>
static bool map_operand(CUtensorMap& map, const void* data, bool along_inner, std::int64_t outer,
                        std::int64_t inner, std::int64_t outer_stride, std::int64_t inner_stride,
                        const std::int64_t (&batch)[2], const std::int64_t (&batch_strides)[2],
                        int tile) {
  constexpr std::int64_t bytes = sizeof(T);
  if ((along_inner ? inner_stride : outer_stride) != 1) return false;
  const MapSource source = {data,
                            along_inner ? inner : outer,
                            along_inner ? outer : inner,
                            (along_inner ? outer_stride : inner_stride) * bytes,
                            {batch[0], batch[1]},
                            {batch_strides[0] * bytes, batch_strides[1] * bytes}};
  // Of halves the bits are copied; floats are rounded to TF32 on the way.
  const auto type =
      sizeof(T) == 2 ? CU_TENSOR_MAP_DATA_TYPE_UINT16 : CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  return encode_map(map, source, type, sizeof(T), along_inner ? tile : 64);
}

template <class T, int kColumns, bool kXAlongInner, bool kOtherAlongInner>
static void launch_wgmma(const Matmul& args, const Runs& runs, const WgmmaMaps& maps) {
  launch_tiles<ProductTile<kColumns>>(wgmma_kernel<T, kColumns, kXAlongInner, kOtherAlongInner>,
                                      blocks_in_tiles(args, runs, kWgmmaRows, kColumns), args, runs,
                                      maps);
}

// Multiplies in tiles of kColumns columns; false if the operands do not lie as it takes.
template <class T, int kColumns>
static bool multiply_in_wide_tiles(const Matmul& args, const Runs& given) {
  const bool x_along_inner = is_along_inner(args.x_column_stride, args.x_row_stride);
  const bool other_along_inner = args.other_column_stride != 1;
  if (sizeof(T) == 4 && !(x_along_inner && other_along_inner)) return false;  // only halves turn
  EvenBatch batch;
  WgmmaMaps maps;
  if (args.inner <= 0 || !merge_batch(args, batch) ||
      !map_operand<T>(maps.x, args.x, x_along_inner, args.rows, args.inner, args.x_row_stride,
                      args.x_column_stride, batch.size, batch.x_strides, kWgmmaRows) ||
      !map_operand<T>(maps.other, args.other, other_along_inner, args.columns, args.inner,
                      args.other_column_stride, args.other_row_stride, batch.size,
                      batch.other_strides, kColumns))
    return false;
  for (int d = 0; d < 2; ++d) {
    maps.batch.size[d] = batch.size[d];
    maps.batch.moves_x[d] = batch.x_strides[d] != 0;
    maps.batch.moves_other[d] = batch.other_strides[d] != 0;
  }
  multiply_in_runs<T>(args, given, [&](const Runs& runs) {
    if constexpr (sizeof(T) == 4) {
      launch_wgmma<T, kColumns, true, true>(args, runs, maps);
    } else {
      if (x_along_inner && other_along_inner)
        launch_wgmma<T, kColumns, true, true>(args, runs, maps);
      else if (x_along_inner) launch_wgmma<T, kColumns, true, false>(args, runs, maps);
      else if (other_along_inner) launch_wgmma<T, kColumns, false, true>(args, runs, maps);
      else launch_wgmma<T, kColumns, false, false>(args, runs, maps);
    }
  });
  return true;
}

// Multiplies by warpgroups if the card has them, this build has code for them, the operands can be
// mapped, and there is enough to do; else returns false. T: BFloat16, Half, or float for TF32.
template <class T>
static bool multiply_by_warpgroups(const Matmul& args) {
#if defined(TILEGRAD_CUDA_SM_90A) || defined(TILEGRAD_EMULATED_CUDA)
  // The runs are those of other cards.
  const Runs runs = tensor_core_runs<T>(args, 128);
  if (!takes_large_tiles(args, runs) || compute_capability() != 90) return false;
  const bool wide = runs.count == 1 && blocks_in_tiles(args, runs, kWgmmaRows, 256) >= 128;
  return wide ? multiply_in_wide_tiles<T, 256>(args, runs)  // about one for each multiprocessor
              : multiply_in_wide_tiles<T, 128>(args, runs);
#else
  (void)args;
  return false;
#endif
}

}  // namespace tilegrad::cuda
