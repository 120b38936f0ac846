// Matrix products on tensor cores (mma.sync, sm_80 and later): bfloat16, float16, and float32
// rounded to TF32; summed in float32.
//
// A block of 256 threads, 2 x 4 warps, computes a kTile x kTile tile of y, or a run of its sums
// (runs.cuh), and each warp a part of kTile / 2 x kTile / 4 in registers. The inner dimension comes
// in steps of 64 bytes. Three stages of both operands lie in shared memory: while one is
// multiplied, two more are on their way, by cp.async where addresses are multiples of 16 bytes,
// else element by element. A stage lies as memory does, inner dimension fastest or slowest, and in
// both cases chunks of 16 bytes are exchanged within a row so that the eight rows of a matrix that
// ldmatrix reads lie in different banks.
//
// Tile 128, 16 bits: 48.2 KiB of shared memory, up to 128 registers: 2 blocks, 16 warps per
// multiprocessor. A step reads 16 KiB and multiplies 524288 pairs: 32 per byte from the caches.
#pragma once

#include "matmul_parts.cuh"
#include "tensor_cores.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {

inline constexpr int kStages = 3;
inline constexpr int kStepBytes = 64;  // of the inner dimension
inline constexpr int kChunkBytes = 16;

template <class T>
inline constexpr int kChunk = kChunkBytes / sizeof(T);  // elements
template <class T>
inline constexpr int kStep = kStepBytes / sizeof(T);
template <class T>
inline constexpr int kMmaInner = 32 / sizeof(T);  // of one instruction: 16 or 8

// An operand of a block: rows of x, or columns of the other one, from the block's first on.
template <class T>
struct MmaOperand {
  const T* data;
  std::int64_t outer_stride, inner_stride;
  int outer;  // how many rows or columns of the tile there are
  std::int64_t inner;
  bool aligned;  // chunks may be copied whole
};

// Where a chunk lies in its stage. kAlongInner: a row of the stage holds kStep elements of the
// inner dimension for one row of the operand; otherwise kTile elements of the outer one.
template <class T, int kTile, bool kAlongInner>
static __device__ int chunk_place(int row, int chunk) {
  if constexpr (kAlongInner) return row * kStepBytes + ((chunk ^ (row >> 1 & 3)) * kChunkBytes);
  constexpr int kRowBytes = kTile * static_cast<int>(sizeof(T));
  const int exchange = sizeof(T) == 2 ? row & 7 : (row & 3) * 2;
  return row * kRowBytes + ((chunk ^ exchange) * kChunkBytes);
}

// Brings the part of an operand that begins at `inner` to a stage.
template <class T, int kTile, bool kAlongInner>
static __device__ void load_stage(const MmaOperand<T>& x, std::int64_t inner, char* stage) {
  constexpr int kChunks = kTile * kStepBytes / kChunkBytes;
  constexpr int kOfRow = kAlongInner ? kStepBytes / kChunkBytes : kTile / kChunk<T>;
  const int left = static_cast<int>(min(x.inner - inner, std::int64_t{kStep<T>}));
  const T* first = x.data + inner * x.inner_stride;
#pragma unroll
  for (int n = threadIdx.x; n < kChunks; n += kBlock) {
    const int row = n / kOfRow, chunk = n % kOfRow;
    const int along = chunk * kChunk<T>;
    int count = kAlongInner ? left - along : x.outer - along;
    if (row >= (kAlongInner ? x.outer : left)) count = 0;
    const int valid = max(0, min(count, kChunk<T>));
    const int o = kAlongInner ? row : along, i = kAlongInner ? along : row;
    const T* from = valid > 0 ? first + o * x.outer_stride + i * x.inner_stride : x.data;
    char* to = stage + chunk_place<T, kTile, kAlongInner>(row, chunk);
    if (x.aligned) {
      copy_async(to, from, valid * static_cast<int>(sizeof(T)));
      continue;
    }
    const std::int64_t step = kAlongInner ? x.inner_stride : x.outer_stride;
    struct alignas(kChunkBytes) Elements {
      T at[kChunk<T>];
    } elements = {};
#pragma unroll
    for (int e = 0; e < kChunk<T>; ++e)
      if (e < valid) elements.at[e] = from[e * step];
    *reinterpret_cast<Elements*>(to) = elements;
  }
}

// The fragments of 16 rows (or columns) of an operand from `outer` on, at `inner` of the stage.
// Register i holds part kLeft ? i % 2 : i / 2 of them, and part kLeft ? i / 2 : i % 2 of the inner
// dimension: as the left operand of one instruction, or the right ones of two.
template <class T, int kTile, bool kAlongInner, bool kLeft>
static __device__ void load_fragments(const char* stage, int outer, int inner, unsigned (&to)[4]) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (sizeof(T) == 4 && !kAlongInner) {  // ldmatrix transposes 16-bit elements only
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int o = outer + (kLeft ? i % 2 : i / 2) * 8 + lane / 4;
      const int k = inner + (kLeft ? i / 2 : i % 2) * 4 + lane % 4;
      const int at = chunk_place<T, kTile, false>(k, o / kChunk<T>) + o % kChunk<T> * 4;
      to[i] = *reinterpret_cast<const unsigned*>(stage + at);
    }
  } else {
    const int matrix = lane / 8, row = lane % 8;
    const int outer_part = kLeft ? matrix % 2 : matrix / 2;
    const int inner_part = kLeft ? matrix / 2 : matrix % 2;
    const int at = kAlongInner ? chunk_place<T, kTile, true>(outer + outer_part * 8 + row,
                                                             inner / kChunk<T> + inner_part)
                               : chunk_place<T, kTile, false>(inner + inner_part * 8 + row,
                                                              outer / 8 + outer_part);
    load_matrices<!kAlongInner>(to, stage + at);
  }
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = to_tf32(to[i]);
  }
}

// What a warp sums: parts of 16 rows x 8 columns.
template <int kTile>
struct WarpTile {
  static constexpr int kRows = kTile / 2, kColumns = kTile / 4;
  static constexpr int kDown = kRows / 16, kAcross = kColumns / 8;
  float sum[kDown][kAcross][4];
  int row, column;  // of the block's tile

  __device__ WarpTile() : sum{} {
    const int warp = threadIdx.x / kWarp;
    row = warp / 4 * kRows;
    column = warp % 4 * kColumns;
  }

  template <class T, bool kXAlongInner, bool kOtherAlongInner>
  __device__ void multiply(const char* x_stage, const char* other_stage) {
#pragma unroll
    for (int k = 0; k < kStep<T>; k += kMmaInner<T>) {
      unsigned left[kDown][4];
#pragma unroll
      for (int i = 0; i < kDown; ++i)
        load_fragments<T, kTile, kXAlongInner, true>(x_stage, row + 16 * i, k, left[i]);
#pragma unroll
      for (int j = 0; j < kAcross; j += 2) {
        unsigned both[4];
        load_fragments<T, kTile, kOtherAlongInner, false>(other_stage, column + 8 * j, k, both);
        const unsigned right[2][2] = {{both[0], both[1]}, {both[2], both[3]}};
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
          multiply_fragments<T>(sum[i][j], left[i], right[0]);
          multiply_fragments<T>(sum[i][j + 1], left[i], right[1]);
        }
      }
    }
  }

  // Calls body(row, column, sum) for all its elements, counted within the block's tile.
  template <class Body>
  __device__ void for_each(const Body& body) const {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int i = 0; i < kDown; ++i)
#pragma unroll
      for (int j = 0; j < kAcross; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          body(row + 16 * i + lane / 4 + e / 2 * 8, column + 8 * j + lane % 4 * 2 + e % 2,
               sum[i][j][e]);
  }
};

// Whether chunks of an operand can be copied whole.
struct MmaAlignment {
  bool x, other;
};

// What a block multiplies. In shared memory, since the loop needs all registers for sums and
// fragments; one thread works it out.
template <class T>
struct MmaBlock {
  TilePlace place;
  Run run;
  MmaOperand<T> x, other;

  __device__ void begin(const Matmul& args, const Runs& runs, const MmaAlignment& aligned,
                        int tile) {
    place = tile_place((args.rows + tile - 1) / tile, (args.columns + tile - 1) / tile, tile, tile);
    run = run_of(args, runs, place.number);
    const Operands<T> m = operands_of<T>(args, run.batch);
    const auto of_tile = [=](std::int64_t left) {
      return static_cast<int>(min(left, static_cast<std::int64_t>(tile)));
    };
    x = {m.x + place.row * args.x_row_stride + run.first * args.x_column_stride,
         args.x_row_stride,
         args.x_column_stride,
         of_tile(args.rows - place.row),
         run.inner,
         aligned.x};
    other = {m.other + place.column * args.other_column_stride + run.first * args.other_row_stride,
             args.other_column_stride,
             args.other_row_stride,
             of_tile(args.columns - place.column),
             run.inner,
             aligned.other};
  }
};

template <class T, int kTile, bool kXAlongInner, bool kOtherAlongInner>
static __global__ void __launch_bounds__(kBlock, 2)
    mma_kernel(const Matmul args, const Runs runs, const MmaAlignment aligned) {
  constexpr int kStageBytes = kTile * kStepBytes;
  __shared__ MmaBlock<T> block;
  char* stages = dynamic_shared<char>();
  if (threadIdx.x == 0) block.begin(args, runs, aligned, kTile);
  __syncthreads();
  const TilePlace& place = block.place;
  const Run& run = block.run;
  const auto load = [&](int step) {
    char* stage = stages + step % kStages * 2 * kStageBytes;
    const std::int64_t inner = static_cast<std::int64_t>(step) * kStep<T>;
    load_stage<T, kTile, kXAlongInner>(block.x, inner, stage);
    load_stage<T, kTile, kOtherAlongInner>(block.other, inner, stage + kStageBytes);
  };
  const int steps = static_cast<int>((run.inner + kStep<T> - 1) / kStep<T>);
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    commit_copies();
  }
  WarpTile<kTile> warp;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // this step has arrived for all, and all have finished the one before
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    commit_copies();  // even of nothing: groups are counted
    const char* stage = stages + step % kStages * 2 * kStageBytes;
    warp.template multiply<T, kXAlongInner, kOtherAlongInner>(stage, stage + kStageBytes);
  }
  const Operands<T> m = operands_of<T>(args, run.batch);
  warp.for_each([&](int row, int column, float sum) {
    const std::int64_t to_row = place.row + row, to_column = place.column + column;
    if (to_row < args.rows && to_column < args.columns)
      store_sum(args, runs, m, place.number, to_row, to_column, sum);
  });
}

// --- launches ---

// Whether chunks along one dimension begin at multiples of 16 bytes in every row and batch.
template <class T>
static bool chunks_are_aligned(const void* data, std::int64_t along, std::int64_t across,
                               const std::int64_t* batch_strides, int batch_ndim) {
  bool aligned = along == 1 && across % kChunk<T> == 0 &&
                 reinterpret_cast<std::uintptr_t>(data) % kChunkBytes == 0;
  for (int d = 0; d < batch_ndim; ++d) aligned = aligned && batch_strides[d] % kChunk<T> == 0;
  return aligned;
}

template <class T, bool kXAlongInner, bool kOtherAlongInner>
static MmaAlignment alignment_of(const Matmul& args) {
  const std::int64_t x_along = kXAlongInner ? args.x_column_stride : args.x_row_stride;
  const std::int64_t x_across = kXAlongInner ? args.x_row_stride : args.x_column_stride;
  const std::int64_t other_along =
      kOtherAlongInner ? args.other_row_stride : args.other_column_stride;
  const std::int64_t other_across =
      kOtherAlongInner ? args.other_column_stride : args.other_row_stride;
  return {chunks_are_aligned<T>(args.x, x_along, x_across, args.x_batch_strides, args.batch_ndim),
          chunks_are_aligned<T>(args.other, other_along, other_across, args.other_batch_strides,
                                args.batch_ndim)};
}

// In which direction an operand of those strides is read: along the inner dimension unless its
// neighbours lie in the other one.
static inline bool is_along_inner(std::int64_t inner_stride, std::int64_t outer_stride) {
  return outer_stride != 1 || inner_stride == 1;
}

template <class T, int kTile, bool kXAlongInner, bool kOtherAlongInner>
static void launch_mma(const Matmul& args, const Runs& runs) {
  constexpr int kSharedBytes = kStages * 2 * kTile * kStepBytes;
  const auto kernel = mma_kernel<T, kTile, kXAlongInner, kOtherAlongInner>;
  if constexpr (kTile == 128)  // with its own variables more than the 48 KiB that all may have
    TILEGRAD_CUDA_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  const unsigned blocks = blocks_of(blocks_in_tiles(args, runs, kTile, kTile), 1);
  launch(kernel, {blocks, kBlock, kSharedBytes}, args, runs,
         alignment_of<T, kXAlongInner, kOtherAlongInner>(args));
}

// Transposed, 32-bit fragments are read one by one: two such operands of a large tile would not fit
// registers.
template <class T, int kTile>
static void multiply_in_tiles(const Matmul& args, const Runs& given) {
  const bool x_along_inner = is_along_inner(args.x_column_stride, args.x_row_stride);
  const bool other_along_inner = args.other_column_stride != 1;
  multiply_in_runs<T>(args, given, [&](const Runs& runs) {
    if (x_along_inner && other_along_inner) launch_mma<T, kTile, true, true>(args, runs);
    else if (x_along_inner) launch_mma<T, kTile, true, false>(args, runs);
    else if (other_along_inner) launch_mma<T, kTile, false, true>(args, runs);
    else launch_mma<T, sizeof(T) == 4 ? 64 : kTile, false, false>(args, runs);
  });
}

// A run of at least 2 KiB of each row or column.
template <class T>
static Runs tensor_core_runs(const Matmul& args, int tile) {
  return runs_of(args, tile, 2, 2048 / static_cast<int>(sizeof(T)));
}

// T: BFloat16, Half, or float for TF32. Small results in small tiles, so that more blocks share the
// work.
template <class T>
static void multiply_on_tensor_cores(const Matmul& args) {
  TILEGRAD_CHECK(args.inner / kStep<T> < 0x7fffffff, runtime,
                 "matmul: the inner dimension is too large for CUDA, got ", args.inner);
  const Runs runs = tensor_core_runs<T>(args, 128);
  if (takes_large_tiles(args, runs)) multiply_in_tiles<T, 128>(args, runs);
  else multiply_in_tiles<T, 64>(args, tensor_core_runs<T>(args, 64));
}

}  // namespace tilegrad::cuda
