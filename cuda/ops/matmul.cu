// Matrix multiplication: halves, and float32 where TF32 is allowed, on tensor cores, by warpgroups
// (wgmma_product.cuh) where the card has them and the product is large, else by warps
// (mma_product.cuh); large products of float32 in large tiles (float_product.cuh); all others here,
// with tiles in shared memory and a patch of the result in registers.
//
// A block computes a kTile x kTile tile of y. It walks the inner dimension in steps of kSmallDepth:
// all threads load that part of both operands into shared memory, then each multiplies its kPatch x
// kPatch patch. Every element of y is summed by one thread in one fixed order, so results are
// reproducible. Per step a block reads 2 * 64 * 16 elements and does 64 * 64 * 16 multiplications:
// 16 per element read.
#include "ops/matmul.h"

#include "float_product.cuh"
#include "warp.cuh"
#include "wgmma_product.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kSmallDepth = 16;
constexpr int kPatch = 4;
constexpr int kSide = kTile / kPatch;  // threads along each side of the tile: 16 x 16 = kBlock
static_assert(kSide * kSide == kBlock);

constexpr std::int64_t kMostBatches = 65535;  // gridDim.z

// Loads x[row : row + kTile, k : k + kSmallDepth] and other[k : k + kSmallDepth, column : column +
// kTile] into shared memory, zeros outside. Neighbouring threads read neighbouring addresses where
// the operand is contiguous along that dimension.
template <class T, class S>
__device__ void load_tiles(const Matmul& args, const Operands<T>& m, std::int64_t row,
                           std::int64_t column, std::int64_t k, S (&x_tile)[kSmallDepth][kTile + 1],
                           S (&other_tile)[kSmallDepth][kTile + 1]) {
  const bool x_rows_first = args.x_row_stride == 1;
  const bool other_columns_first = args.other_column_stride == 1;
  for (int n = threadIdx.x; n < kTile * kSmallDepth; n += kBlock) {
    const int i = x_rows_first ? n % kTile : n / kSmallDepth;
    const int p = x_rows_first ? n / kTile : n % kSmallDepth;
    const bool inside = row + i < args.rows && k + p < args.inner;
    x_tile[p][i] =
        inside ? static_cast<S>(m.x[(row + i) * args.x_row_stride + (k + p) * args.x_column_stride])
               : S{0};
  }
  for (int n = threadIdx.x; n < kTile * kSmallDepth; n += kBlock) {
    const int j = other_columns_first ? n % kTile : n / kSmallDepth;
    const int p = other_columns_first ? n / kTile : n % kSmallDepth;
    const bool inside = column + j < args.columns && k + p < args.inner;
    other_tile[p][j] = inside ? static_cast<S>(m.other[(k + p) * args.other_row_stride +
                                                       (column + j) * args.other_column_stride])
                              : S{0};
  }
}

// T is float, double or, for integers that wrap around, std::uint64_t.
// float: 64 registers or so, 8.1 KiB of shared memory: 4 blocks, 32 warps per multiprocessor.
template <class T>
__global__ void __launch_bounds__(kBlock)
    matmul_kernel_tiled(const Matmul args, std::int64_t first_batch) {
  using S = Sum<T>;
  __shared__ S
      x_tile[kSmallDepth][kTile + 1];  // one more column: no two rows share all their banks
  __shared__ S other_tile[kSmallDepth][kTile + 1];
  const Operands<T> m = operands_of<T>(args, first_batch + blockIdx.z);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int patch_row = threadIdx.x / kSide, patch_column = threadIdx.x % kSide;

  for (std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * kTile; column < args.columns;
       column += static_cast<std::int64_t>(gridDim.y) * kTile) {
    S sum[kPatch][kPatch] = {};
    for (std::int64_t k = 0; k < args.inner; k += kSmallDepth) {
      load_tiles(args, m, row, column, k, x_tile, other_tile);
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
#pragma unroll
    for (int i = 0; i < kPatch; ++i)
#pragma unroll
      for (int j = 0; j < kPatch; ++j) {
        const std::int64_t to_row = row + patch_row + i * kSide;
        const std::int64_t to_column = column + patch_column + j * kSide;
        if (to_row < args.rows && to_column < args.columns)
          m.y[to_row * args.columns + to_column] = finished(args, m, to_row, to_column, sum[i][j]);
      }
  }
}

// One warp per row: lane l adds elements l, l + 32, ...; then the lanes' sums are added in pairs.
// Reads every element once; neighbouring rows share cache lines where x is transposed.
template <class T>
__global__ void __launch_bounds__(kBlock) row_sums_kernel(const Matmul args) {
  const std::int64_t row = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) / kWarp;
  if (row >= args.rows) return;
  const T* x = static_cast<const T*>(args.x) + row * args.x_row_stride;
  T sum{0};
  for (std::int64_t p = threadIdx.x % kWarp; p < args.inner; p += kWarp)
    sum += x[p * args.x_column_stride];
  sum = warp_reduce(sum, Add{});
  if (threadIdx.x % kWarp == 0) static_cast<T*>(args.x_sums)[row] = sum;
}

template <class T>
void multiply(const Matmul& args) {
  const std::int64_t batches = args.batch();
  const auto tiles = [](std::int64_t size) { return (size + kTile - 1) / kTile; };
  TILEGRAD_CHECK(tiles(args.rows) <= 0x7fffffff, runtime, "matmul: too many rows for CUDA, got ",
                 args.rows);
  for (std::int64_t first = 0; first < batches; first += kMostBatches) {
    const dim3 grid(static_cast<unsigned>(tiles(args.rows)),
                    static_cast<unsigned>(std::min<std::int64_t>(tiles(args.columns), 65535)),
                    static_cast<unsigned>(std::min(batches - first, kMostBatches)));
    launch(matmul_kernel_tiled<T>, {grid, kBlock}, args, first);
  }
}

template <class T>
void multiply_rounded(const Matmul& args) {
  if (!multiply_by_warpgroups<T>(args)) multiply_on_tensor_cores<T>(args);
}

template <class T>
void sum_rows(const Matmul& args) {
  if (args.x_sums) launch(row_sums_kernel<T>, {blocks_of(args.rows, kBlock / kWarp), kBlock}, args);
}

}  // namespace

void matmul(const Matmul& args) {
  if (args.rows == 0 || args.columns == 0) return;
  switch (args.dtype) {
    case DType::float32:
      if (args.allow_tf32) multiply_rounded<float>(args);
      else if (takes_large_tiles(args)) multiply_floats(args);
      else multiply<float>(args);
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
