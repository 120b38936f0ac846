// Matrix multiplication: halves, and float32 where TF32 is allowed, on tensor cores, by warpgroups
// (wgmma_product.cuh) where the card has them and the product is large, else by warps
// (mma_product.cuh); large products of float32 in large tiles (float_product.cuh); all others here,
// with tiles in shared memory and a patch of the result in registers.
//
// A block computes a kTile x kTile tile of y, or a run of its sums (runs.cuh). It walks the
// inner dimension in steps of kSmallDepth: all threads load that part of both operands into shared
// memory, then each multiplies its kPatch x kPatch patch. Every element is summed by one thread in
// one fixed order, so results are reproducible. Per step a block reads 2 * 64 * 16 elements, 8
// KiB of floats, and does 64 * 64 * 16 multiplications: 16 per element read. For the other ways see
// there; by warpgroups, with 97 to 193 KiB of shared memory: Up to 160 registers, 1 block of 288
// threads on a multiprocessor.
#include "ops/matmul.h"

#include "float_product.cuh"
#include "wgmma_product.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kSmallDepth = 16;
constexpr int kPatch = 4;
constexpr int kSide = kTile / kPatch;  // threads along each side of the tile: 16 x 16 = kBlock
static_assert(kSide * kSide == kBlock);

constexpr std::int64_t kMostBatches = 65535;  // gridDim.z

// A block's parts of both operands: x[row : row + kTile] and other[:, column : column + kTile].
// Neighbouring threads read neighbouring addresses where the operand is contiguous along that
// dimension.
template <class T>
struct Tiles {
  const T *x, *other;
  int rows, columns;  // that there are, at most kTile

  __device__ Tiles(const Matmul& args, const Operands<T>& m, std::int64_t row, std::int64_t column)
      : x(m.x + row * args.x_row_stride),
        other(m.other + column * args.other_column_stride),
        rows(static_cast<int>(min(args.rows - row, std::int64_t{kTile}))),
        columns(static_cast<int>(min(args.columns - column, std::int64_t{kTile}))) {}

  // Brings [k, k + kSmallDepth) of the inner dimension, zeros outside.
  template <class S>
  __device__ void load(const Matmul& args, std::int64_t k, std::int64_t end,
                       S (&x_tile)[kSmallDepth][kTile + 1],
                       S (&other_tile)[kSmallDepth][kTile + 1]) const {
    const int depth = static_cast<int>(min(end - k, std::int64_t{kSmallDepth}));
    load_one(x, args.x_row_stride, args.x_column_stride, rows, depth, k, x_tile);
    load_one(other, args.other_column_stride, args.other_row_stride, columns, depth, k, other_tile);
  }

  template <class S>
  static __device__ void load_one(const T* from, std::int64_t outer_stride,
                                  std::int64_t inner_stride, int outer, int depth, std::int64_t k,
                                  S (&tile)[kSmallDepth][kTile + 1]) {
    const bool outer_first = outer_stride == 1;
    from += k * inner_stride;
#pragma unroll
    for (int step = 0; step < kTile * kSmallDepth / kBlock; ++step) {
      const int n = static_cast<int>(threadIdx.x) + step * kBlock;
      const int i = outer_first ? n % kTile : n / kSmallDepth;
      const int p = outer_first ? n / kTile : n % kSmallDepth;
      const bool inside = i < outer && p < depth;
      tile[p][i] = inside ? static_cast<S>(from[i * outer_stride + p * inner_stride]) : S{0};
    }
  }
};

// In code for 10.0 and later 64 registers are too few, and so are 80.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kTiledBlocks = 2;
#else
constexpr int kTiledBlocks = 4;
#endif

// T is float, double or, for integers that wrap around, std::uint64_t.
// float: 64 registers or so, 8.1 KiB of shared memory: 4 blocks, 32 warps per multiprocessor; from
// 10.0 on up to 128 registers, 2 blocks.
template <class T>
__global__ void __launch_bounds__(kBlock, sizeof(T) == 4 ? kTiledBlocks : 1)
    matmul_kernel_tiled(const Matmul args, const Runs runs, std::int64_t first_number) {
  using S = Sum<T>;
  __shared__ S
      x_tile[kSmallDepth][kTile + 1];  // one more column: no two rows share all their banks
  __shared__ S other_tile[kSmallDepth][kTile + 1];
  __shared__ Run run;  // not in registers: it is needed again at the end
  const std::int64_t number = first_number + blockIdx.z;
  if (threadIdx.x == 0) run = run_of(args, runs, number);
  __syncthreads();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int patch_row = threadIdx.x / kSide, patch_column = threadIdx.x % kSide;

  for (std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * kTile; column < args.columns;
       column += static_cast<std::int64_t>(gridDim.y) * kTile) {
    S sum[kPatch][kPatch] = {};
    const Tiles<T> tiles(args, operands_of<T>(args, run.batch), row, column);
    const std::int64_t end = run.first + run.inner;
    for (std::int64_t k = run.first; k < end; k += kSmallDepth) {
      tiles.load(args, k, end, x_tile, other_tile);
      __syncthreads();
#pragma unroll
      for (int p = 0; p < kSmallDepth; ++p) {
        S left[kPatch], right[kPatch];
#pragma unroll
        for (int i = 0; i < kPatch; ++i) {
          left[i] = x_tile[p][patch_row + i * kSide];
          right[i] = other_tile[p][patch_column + i * kSide];
        }
#pragma unroll
        for (int i = 0; i < kPatch; ++i)
#pragma unroll
          for (int j = 0; j < kPatch; ++j) sum[i][j] += left[i] * right[j];
      }
      __syncthreads();
    }
    const Operands<T> m = operands_of<T>(args, run.batch);
#pragma unroll
    for (int i = 0; i < kPatch; ++i)
#pragma unroll
      for (int j = 0; j < kPatch; ++j) {
        const std::int64_t to_row = row + patch_row + i * kSide;
        const std::int64_t to_column = column + patch_column + j * kSide;
        if (to_row < args.rows && to_column < args.columns)
          store_sum<T>(args, runs, m, number, to_row, to_column, sum[i][j]);
      }
  }
}

template <class T>
void multiply(const Matmul& args) {
  const std::int64_t down = tiles_along(args.rows, kTile),
                     across = tiles_along(args.columns, kTile);
  TILEGRAD_CHECK(down <= 0x7fffffff, runtime, "matmul: too many rows for CUDA, got ", args.rows);
  multiply_in_runs<T>(args, runs_of(args, kTile, 4, 256), [&](const Runs& runs) {
    const std::int64_t count = runs.batches * runs.count;
    for (std::int64_t first = 0; first < count; first += kMostBatches) {
      const dim3 grid(static_cast<unsigned>(down),
                      static_cast<unsigned>(std::min<std::int64_t>(across, 65535)),
                      static_cast<unsigned>(std::min(count - first, kMostBatches)));
      launch(matmul_kernel_tiled<T>, {grid, kBlock}, args, runs, first);
    }
  });
}

template <class T>
void multiply_rounded(const Matmul& args) {
  if (!multiply_by_warpgroups<T>(args)) multiply_on_tensor_cores<T>(args);
}

void multiply_floats(const Matmul& args) {
  const Runs runs = float_runs(args);
  if (takes_large_tiles(args, runs)) multiply_in_float_tiles(args, runs);
  else multiply<float>(args);
}

template <class T>
void sum_rows(const Matmul& args) {
  if (args.x_sums == nullptr) return;
  ReduceShape shape;
  shape.kept_ndim = shape.reduced_ndim = 1;
  shape.kept_shape[0] = args.rows;
  shape.kept_strides[0] = args.x_row_stride;
  shape.reduced_shape[0] = args.inner;
  shape.reduced_strides[0] = args.x_column_stride;
  reduce_by(SumTo<T, T>{{}, static_cast<const T*>(args.x), static_cast<T*>(args.x_sums)}, shape);
}

}  // namespace

void matmul(const Matmul& args) {
  if (args.rows == 0 || args.columns == 0) return;
  switch (args.dtype) {
    case DType::float32:
      if (args.allow_tf32) multiply_rounded<float>(args);
      else multiply_floats(args);
      return sum_rows<float>(args);
    case DType::float64:
      multiply<double>(args);
      return sum_rows<double>(args);
    case DType::bfloat16:
      return multiply_rounded<BFloat16>(args);
    case DType::float16:
      return multiply_rounded<Half>(args);
    default:
      multiply<std::uint64_t>(args);
  }
}

}  // namespace tilegrad::cuda
