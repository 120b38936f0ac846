// Matrix multiplication with tiles in shared memory and a patch of the result in registers.
//
// A block computes a kTile x kTile tile of y. It walks the inner dimension in steps of kDepth: all
// threads load that part of both operands into shared memory, then each multiplies its kPatch x
// kPatch patch. Every element of y is summed by one thread in one fixed order, so results are
// reproducible.
#include "ops/matmul.h"

#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kPatch = 4;
constexpr int kSide = kTile / kPatch;  // threads along each side of the tile: 16 x 16 = kBlock
static_assert(kSide * kSide == kBlock);

constexpr std::int64_t kMostBatches = 65535;  // gridDim.z

template <class T>
struct Operands {
  const T* x;
  const T* other;
  T* y;
};

// The operands of product number `batch`, as on the CPU: innermost batch dimension first.
template <class T>
__device__ Operands<T> operands_of(const Matmul& args, std::int64_t batch) {
  std::int64_t x_offset = 0, other_offset = 0, rest = batch;
  for (int d = 0; d < args.batch_ndim; ++d) {
    const std::int64_t index = rest % args.batch_shape[d];
    rest /= args.batch_shape[d];
    x_offset += index * args.x_batch_strides[d];
    other_offset += index * args.other_batch_strides[d];
  }
  return {static_cast<const T*>(args.x) + x_offset,
          static_cast<const T*>(args.other) + other_offset,
          static_cast<T*>(args.y) + batch * args.rows * args.columns};
}

// Loads x[row : row + kTile, k : k + kDepth] and other[k : k + kDepth, column : column + kTile]
// into shared memory, zeros outside. Neighbouring threads read neighbouring addresses where the
// operand is contiguous along that dimension.
template <class T>
__device__ void load_tiles(const Matmul& args, const Operands<T>& m, std::int64_t row,
                           std::int64_t column, std::int64_t k, T (&x_tile)[kDepth][kTile + 1],
                           T (&other_tile)[kDepth][kTile + 1]) {
  const bool x_rows_first = args.x_row_stride == 1;
  const bool other_columns_first = args.other_column_stride == 1;
  for (int n = threadIdx.x; n < kTile * kDepth; n += kBlock) {
    const int i = x_rows_first ? n % kTile : n / kDepth;
    const int p = x_rows_first ? n / kTile : n % kDepth;
    const bool inside = row + i < args.rows && k + p < args.inner;
    x_tile[p][i] =
        inside ? m.x[(row + i) * args.x_row_stride + (k + p) * args.x_column_stride] : T{0};
  }
  for (int n = threadIdx.x; n < kTile * kDepth; n += kBlock) {
    const int j = other_columns_first ? n % kTile : n / kDepth;
    const int p = other_columns_first ? n / kTile : n % kDepth;
    const bool inside = column + j < args.columns && k + p < args.inner;
    other_tile[p][j] =
        inside ? m.other[(k + p) * args.other_row_stride + (column + j) * args.other_column_stride]
               : T{0};
  }
}

// T is float, double or, for integers that wrap around, std::uint64_t.
template <class T>
__global__ void __launch_bounds__(kBlock)
    matmul_kernel_tiled(const Matmul args, std::int64_t first_batch) {
  __shared__ T x_tile[kDepth][kTile + 1];  // one more column: no two rows share all their banks
  __shared__ T other_tile[kDepth][kTile + 1];
  const Operands<T> m = operands_of<T>(args, first_batch + blockIdx.z);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int patch_row = threadIdx.x / kSide, patch_column = threadIdx.x % kSide;

  for (std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * kTile; column < args.columns;
       column += static_cast<std::int64_t>(gridDim.y) * kTile) {
    T sum[kPatch][kPatch] = {};
    for (std::int64_t k = 0; k < args.inner; k += kDepth) {
      load_tiles(args, m, row, column, k, x_tile, other_tile);
      __syncthreads();
#pragma unroll
      for (int p = 0; p < kDepth; ++p) {
        T left[kPatch], right[kPatch];
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
    const T* bias = static_cast<const T*>(args.bias);
#pragma unroll
    for (int i = 0; i < kPatch; ++i)
#pragma unroll
      for (int j = 0; j < kPatch; ++j) {
        const std::int64_t to_row = row + patch_row + i * kSide;
        const std::int64_t to_column = column + patch_column + j * kSide;
        if (to_row < args.rows && to_column < args.columns)
          m.y[to_row * args.columns + to_column] = sum[i][j] + (bias ? bias[to_column] : T{0});
      }
  }
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
    matmul_kernel_tiled<T><<<grid, kBlock>>>(args, first);
    TILEGRAD_CUDA_CHECK(cudaGetLastError());
  }
}

}  // namespace

void matmul(const Matmul& args) {
  if (args.rows == 0 || args.columns == 0) return;
  if (args.dtype == DType::float32) return multiply<float>(args);
  if (args.dtype == DType::float64) return multiply<double>(args);
  multiply<std::uint64_t>(args);
}

}  // namespace tilegrad::cuda
