// Matrix multiplication: the output is cut into blocks of kBlockRows x kBlockColumns, one parallel
// task each, and multiply_packed computes a block. Every output element is summed by one task in
// one fixed order, so results do not depend on the number of threads.
#include "matmul.h"

#include <algorithm>

#include "../gemm.h"
#include "../host_memory.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kBlockRows = 96;  // the packed block of x stays in L2
static constexpr std::int64_t kBlockColumns = 256;

template <class T>
struct MatrixPair {
  const T* x;
  const T* other;
  T* y;
};

template <class T>
static void multiply_block(const Matmul& args, const MatrixPair<T>& m, std::int64_t row,
                           std::int64_t column) {
  const std::int64_t rows = std::min(kBlockRows, args.rows - row);
  const std::int64_t columns = std::min(kBlockColumns, args.columns - column);
  T* scratch = static_cast<T*>(thread_scratch(
      static_cast<std::size_t>(packed_size<T>(rows, columns, args.inner)) * sizeof(T)));
  const auto pack_x = [&](T* panel, std::int64_t k, std::int64_t depth) {
    pack(panel, m.x + row * args.x_row_stride + k * args.x_column_stride, rows, depth,
         args.x_row_stride, args.x_column_stride, kTileRows);
  };
  const auto pack_other = [&](T* panel, std::int64_t k, std::int64_t depth) {
    pack(panel, m.other + k * args.other_row_stride + column * args.other_column_stride, columns,
         depth, args.other_column_stride, args.other_row_stride, kTileColumns<T>);
  };
  multiply_packed(rows, columns, args.inner, pack_x, pack_other, m.y + row * args.columns + column,
                  args.columns, false, scratch);
  if (const T* bias = static_cast<const T*>(args.bias))
    for (std::int64_t i = row; i < row + rows; ++i)
      for (std::int64_t j = column; j < column + columns; ++j) m.y[i * args.columns + j] += bias[j];
}

// Integer products, in wrap-around arithmetic: plain loops.
static void multiply_block(const Matmul& args, const MatrixPair<std::int64_t>& m, std::int64_t row,
                           std::int64_t column) {
  for (std::int64_t i = row; i < std::min(row + kBlockRows, args.rows); ++i)
    for (std::int64_t j = column; j < std::min(column + kBlockColumns, args.columns); ++j) {
      std::uint64_t sum = 0;
      for (std::int64_t p = 0; p < args.inner; ++p)
        sum += static_cast<std::uint64_t>(m.x[i * args.x_row_stride + p * args.x_column_stride]) *
               static_cast<std::uint64_t>(
                   m.other[p * args.other_row_stride + j * args.other_column_stride]);
      m.y[i * args.columns + j] = static_cast<std::int64_t>(sum);
    }
}

template <class T>
static MatrixPair<T> matrices_of_batch(const Matmul& args, std::int64_t batch) {
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

template <class T>
static void multiply(const Matmul& args) {
  const std::int64_t row_blocks = (args.rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t column_blocks = (args.columns + kBlockColumns - 1) / kBlockColumns;
  const std::int64_t blocks = row_blocks * column_blocks;
  // Small batched products are grouped so that a task is worth handing to a thread.
  const std::int64_t work = std::min(args.rows, kBlockRows) *
                            std::min(args.columns, kBlockColumns) *
                            std::max<std::int64_t>(args.inner, 1);
  const std::int64_t grain = std::max<std::int64_t>(1, (std::int64_t{1} << 17) / work);
  parallel_for(args.batch() * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const MatrixPair<T> m = matrices_of_batch<T>(args, task / blocks);
      const std::int64_t block = task % blocks;
      multiply_block(args, m, block / column_blocks * kBlockRows,
                     block % column_blocks * kBlockColumns);
    }
  });
}

void matmul(const Matmul& args) {
  if (args.dtype == DType::float32) return multiply<float>(args);
  if (args.dtype == DType::float64) return multiply<double>(args);
  multiply<std::int64_t>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
