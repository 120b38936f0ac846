// Large products of float32 matrices without tensor cores: exact float32, as PyTorch's default.
//
// A block of 256 threads computes a 128 x 128 tile of y, or a run of its sums, and each thread an
// 8 x 8 patch in registers (GatherPatch). The inner dimension comes in steps of 8: each thread
// brings one chunk of four elements of either operand, 16 bytes at once where addresses allow it,
// and while a step is multiplied from one half of shared memory the next is on its way to
// registers. Every element of a run is summed in order, as in the small tiles of matmul.cu.
//
// A step reads 8 KiB and multiplies 131072 pairs: 16 per byte from the caches. 17 KiB of shared
// memory, up to 128 registers: 2 blocks, 16 warps per multiprocessor with 64 independent sums each.
#pragma once

#include "gather_product.cuh"
#include "mma_product.cuh"

namespace tilegrad::cuda {

inline constexpr int kDepth = 8;  // of the inner dimension, at a time

inline constexpr int kFloatTile = 128;
using FloatTile = GatherTile<float, kFloatTile, kFloatTile, 8, 8>;
using FloatStage = float[kDepth][kFloatTile + 4];

// A thread's chunk of a stage of an operand: four of the inner dimension, or four of the outer one.
// `from` moves along, since addresses computed anew would take the registers of sums.
template <bool kAlongInner>
struct FloatChunk {
  Four<float> chunk;
  const float* from;
  int outer_left;  // rows or columns from the chunk's first on, at most 4

  static __device__ int outer() {
    return kAlongInner ? threadIdx.x / 2 : threadIdx.x % (kFloatTile / 4) * 4;
  }
  static __device__ int depth() {
    return kAlongInner ? threadIdx.x % 2 * 4 : threadIdx.x / (kFloatTile / 4);
  }

  // data: of the block's first row or column; so many follow.
  __device__ void begin(const float* data, std::int64_t outer_stride, std::int64_t inner_stride,
                        std::int64_t count) {
    from = data + outer() * outer_stride + depth() * inner_stride;
    outer_left = static_cast<int>(max(std::int64_t{0}, min(count - outer(), std::int64_t{4})));
  }

  // inner_left: of the inner dimension from this step on.
  __device__ void load(int inner_left, std::int64_t outer_stride, std::int64_t inner_stride,
                       bool aligned) {
    const int left = min(inner_left, kDepth) - depth();
    const int along = kAlongInner ? (outer_left > 0 ? left : 0) : (left > 0 ? outer_left : 0);
    if (aligned && along >= 4) {
      chunk = *reinterpret_cast<const Four<float>*>(from);
    } else {
      const std::int64_t step = kAlongInner ? inner_stride : outer_stride;
#pragma unroll
      for (int e = 0; e < 4; ++e) chunk.at[e] = e < along ? from[e * step] : 0.0f;
    }
    from += kDepth * inner_stride;
  }

  __device__ void store(FloatStage& stage) const {
    if constexpr (kAlongInner) {
#pragma unroll
      for (int e = 0; e < 4; ++e) stage[depth() + e][outer()] = chunk.at[e];
    } else {
      *reinterpret_cast<Four<float>*>(&stage[depth()][outer()]) = chunk;
    }
  }
};

struct FloatShared {
  alignas(16) FloatStage x[2], other[2];
  TilePlace place;  // not in registers: they are needed again at the end
  Run run;
};

template <bool kXAlongInner, bool kOtherAlongInner>
static __global__ void __launch_bounds__(kBlock, 2)
    float_kernel(const Matmul args, const Runs runs, const MmaAlignment aligned) {
  __shared__ FloatShared shared;
  if (threadIdx.x == 0) {
    shared.place = tile_place((args.rows + kFloatTile - 1) / kFloatTile,
                              (args.columns + kFloatTile - 1) / kFloatTile, kFloatTile, kFloatTile);
    shared.run = run_of(args, runs, shared.place.number);
  }
  __syncthreads();
  const TilePlace& place = shared.place;
  FloatChunk<kXAlongInner> x;
  FloatChunk<kOtherAlongInner> other;
  {
    const Operands<float> m = operands_of<float>(args, shared.run.batch);
    const std::int64_t first = shared.run.first;
    x.begin(m.x + place.row * args.x_row_stride + first * args.x_column_stride, args.x_row_stride,
            args.x_column_stride, args.rows - place.row);
    other.begin(m.other + place.column * args.other_column_stride + first * args.other_row_stride,
                args.other_column_stride, args.other_row_stride, args.columns - place.column);
  }
  const auto load = [&](int left) {
    x.load(left, args.x_row_stride, args.x_column_stride, aligned.x);
    other.load(left, args.other_column_stride, args.other_row_stride, aligned.other);
  };
  const auto store = [&](int half) {
    x.store(shared.x[half]);
    other.store(shared.other[half]);
  };
  GatherPatch<float, FloatTile> patch;
  const int inner = static_cast<int>(shared.run.inner);
  load(inner);
  store(0);
  __syncthreads();
  int half = 0;
#pragma unroll 1
  for (int left = inner; left > 0; left -= kDepth, half ^= 1) {
    const bool more = left > kDepth;
    if (more) load(left - kDepth);
    patch.multiply(shared.x[half], shared.other[half]);
    if (more) store(half ^ 1);
    __syncthreads();
  }
  const Operands<float> m = operands_of<float>(args, shared.run.batch);
#pragma unroll
  for (int i = 0; i < FloatTile::kPatchRows; ++i)
#pragma unroll
    for (int j = 0; j < FloatTile::kPatchColumns; ++j) {
      const std::int64_t row = place.row + patch.row_of(i);
      const std::int64_t column = place.column + patch.column_of(j);
      if (row < args.rows && column < args.columns)
        store_sum(args, runs, m, place.number, row, column, patch.sum[i][j]);
    }
}

static inline Runs float_runs(const Matmul& args) { return runs_of(args, kFloatTile, 2, 256); }

template <bool kXAlongInner, bool kOtherAlongInner>
static void launch_float(const Matmul& args, const Runs& runs) {
  launch(float_kernel<kXAlongInner, kOtherAlongInner>,
         {blocks_of(blocks_in_tiles(args, runs, kFloatTile, kFloatTile), 1), kBlock}, args, runs,
         alignment_of<float, kXAlongInner, kOtherAlongInner>(args));
}

static void multiply_in_float_tiles(const Matmul& args, const Runs& given) {
  TILEGRAD_CHECK(args.inner <= 0x7fffffff, runtime,
                 "matmul: the inner dimension is too large for CUDA, got ", args.inner);
  const bool x_along_inner = is_along_inner(args.x_column_stride, args.x_row_stride);
  const bool other_along_inner = args.other_column_stride != 1;
  multiply_in_runs<float>(args, given, [&](const Runs& runs) {
    if (x_along_inner && other_along_inner) launch_float<true, true>(args, runs);
    else if (x_along_inner) launch_float<true, false>(args, runs);
    else if (other_along_inner) launch_float<false, true>(args, runs);
    else launch_float<false, false>(args, runs);
  });
}

}  // namespace tilegrad::cuda
