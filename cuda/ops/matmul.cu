// Matrix multiplication with tiles in shared memory and a patch of the result in registers.
//
// A block computes a kTile x kTile tile of y. It walks the inner dimension in steps of kDepth: all
// threads load that part of both operands into shared memory, then each multiplies its kPatch x
// kPatch patch. Every element of y is summed by one thread in one fixed order, so results are
// reproducible. Per step a block reads 2 * 64 * 16 elements and does 64 * 64 * 16 multiplications:
// 16 per element read.
#include "ops/matmul.h"

#include "half.h"
#include "launch.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kPatch = 4;
constexpr int kSide = kTile / kPatch;  // threads along each side of the tile: 16 x 16 = kBlock
static_assert(kSide * kSide == kBlock);

constexpr std::int64_t kMostBatches = 65535;  // gridDim.z

// What elements of T are summed in.
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

template <class T>
struct Operands {
  const T* x;
  const T* other;
  const T* residual;
  T* y;
};

// The operands of product number `batch`, as on the CPU: innermost batch dimension first.
template <class T>
__device__ Operands<T> operands_of(const Matmul& args, std::int64_t batch) {
  std::int64_t x_offset = 0, other_offset = 0, residual_offset = 0, rest = batch;
  for (int d = 0; d < args.batch_ndim; ++d) {
    const std::int64_t index = rest % args.batch_shape[d];
    rest /= args.batch_shape[d];
    x_offset += index * args.x_batch_strides[d];
    other_offset += index * args.other_batch_strides[d];
    residual_offset += index * args.residual_batch_strides[d];
  }
  return {static_cast<const T*>(args.x) + x_offset,
          static_cast<const T*>(args.other) + other_offset,
          args.residual ? static_cast<const T*>(args.residual) + residual_offset : nullptr,
          static_cast<T*>(args.y) + batch * args.rows * args.columns};
}

// Loads x[row : row + kTile, k : k + kDepth] and other[k : k + kDepth, column : column + kTile]
// into shared memory, zeros outside. Neighbouring threads read neighbouring addresses where the
// operand is contiguous along that dimension.
template <class T, class S>
__device__ void load_tiles(const Matmul& args, const Operands<T>& m, std::int64_t row,
                           std::int64_t column, std::int64_t k, S (&x_tile)[kDepth][kTile + 1],
                           S (&other_tile)[kDepth][kTile + 1]) {
  const bool x_rows_first = args.x_row_stride == 1;
  const bool other_columns_first = args.other_column_stride == 1;
  for (int n = threadIdx.x; n < kTile * kDepth; n += kBlock) {
    const int i = x_rows_first ? n % kTile : n / kDepth;
    const int p = x_rows_first ? n / kTile : n % kDepth;
    const bool inside = row + i < args.rows && k + p < args.inner;
    x_tile[p][i] =
        inside ? static_cast<S>(m.x[(row + i) * args.x_row_stride + (k + p) * args.x_column_stride])
               : S{0};
  }
  for (int n = threadIdx.x; n < kTile * kDepth; n += kBlock) {
    const int j = other_columns_first ? n % kTile : n / kDepth;
    const int p = other_columns_first ? n / kTile : n % kDepth;
    const bool inside = column + j < args.columns && k + p < args.inner;
    other_tile[p][j] = inside ? static_cast<S>(m.other[(k + p) * args.other_row_stride +
                                                       (column + j) * args.other_column_stride])
                              : S{0};
  }
}

// activation(sum + bias + residual) for one element of y.
template <class T>
__device__ T finished(const Matmul& args, const Operands<T>& m, std::int64_t row,
                      std::int64_t column, Sum<T> sum) {
  if (args.bias) sum += static_cast<const Sum<T>*>(args.bias)[column];
  if (m.residual)
    sum += static_cast<Sum<T>>(
        m.residual[row * args.residual_row_stride + column * args.residual_column_stride]);
  if constexpr (std::is_floating_point_v<Sum<T>>) {
    if (args.activation == MatmulActivation::relu) sum = sum > 0 || sum != sum ? sum : Sum<T>{0};
    if (args.activation == MatmulActivation::gelu)
      sum = sum * Sum<T>(0.5) * erfc(-sum * Sum<T>(0.70710678118654752440));
  }
  return static_cast<T>(sum);
}

// T is float, double, BFloat16 or, for integers that wrap around, std::uint64_t.
// float: 64 registers or so, 8.1 KiB of shared memory: 4 blocks, 32 warps per multiprocessor.
template <class T>
__global__ void __launch_bounds__(kBlock)
    matmul_kernel_tiled(const Matmul args, std::int64_t first_batch) {
  using S = Sum<T>;
  __shared__ S x_tile[kDepth][kTile + 1];  // one more column: no two rows share all their banks
  __shared__ S other_tile[kDepth][kTile + 1];
  const Operands<T> m = operands_of<T>(args, first_batch + blockIdx.z);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int patch_row = threadIdx.x / kSide, patch_column = threadIdx.x % kSide;

  for (std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * kTile; column < args.columns;
       column += static_cast<std::int64_t>(gridDim.y) * kTile) {
    S sum[kPatch][kPatch] = {};
    for (std::int64_t k = 0; k < args.inner; k += kDepth) {
      load_tiles(args, m, row, column, k, x_tile, other_tile);
      __syncthreads();
#pragma unroll
      for (int p = 0; p < kDepth; ++p) {
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
  if constexpr (!std::is_same_v<T, BFloat16>)
    if (args.x_sums)
      launch(row_sums_kernel<T>, {blocks_of(args.rows, kBlock / kWarp), kBlock}, args);
}

}  // namespace

void matmul(const Matmul& args) {
  if (args.rows == 0 || args.columns == 0) return;
  if (args.dtype == DType::float32) return multiply<float>(args);
  if (args.dtype == DType::float64) return multiply<double>(args);
  if (args.dtype == DType::bfloat16) return multiply<BFloat16>(args);
  multiply<std::uint64_t>(args);
}

}  // namespace tilegrad::cuda
