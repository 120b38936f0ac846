// Matrix multiplication: blocked and packed after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008).
//
// The output is cut into blocks of kBlockRows x kBlockColumns, one parallel task each. A task walks
// the inner dimension in steps of kBlockInner: it packs that part of `other` into panels of
// kTileColumns, that part of `x` into panels of kTileRows, and lets the micro-kernel multiply panel by
// panel with the tile's accumulators in registers. Every output element is summed by one task in one
// fixed order, so results do not depend on the number of threads.
#include "matmul.h"

#include <algorithm>

#include "../host_memory.h"
#include "../vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Two vectors wide and as tall as registers allow: tile rows x 2 accumulators, 2 columns of `other`
// and one broadcast element of x must fit 32 (AVX-512, NEON) or 16 registers.
#if defined(__AVX512F__)
static constexpr int kTileRows = 12;
#elif defined(__aarch64__)
static constexpr int kTileRows = 8;
#elif defined(__AVX2__)
static constexpr int kTileRows = 6;
#else
static constexpr int kTileRows = 4;
#endif
template <class T>
static constexpr int kTileColumns = 2 * kLanes<T>;

static constexpr std::int64_t kBlockInner = 256;  // a panel of `other` stays in L1
static constexpr std::int64_t kBlockRows = 96;    // the packed block of x stays in L2
static constexpr std::int64_t kBlockColumns = 256;

template <class T>
struct MatrixPair {
  const T* x;
  const T* other;
  T* y;
};

// y_tile (+)= x_panel @ other_panel. x_panel is (inner, kTileRows), other_panel (inner, kTileColumns),
// both packed. The loops over rows are unrolled completely: otherwise GCC keeps `sum` in memory.
template <class T>
static void multiply_tile(std::int64_t inner, const T* x_panel, const T* other_panel, T* y_tile,
                          std::int64_t y_stride, bool accumulate) {
  Vec<T> sum[kTileRows][2];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) sum[i][0] = sum[i][1] = Vec<T>{};
  for (std::int64_t p = 0; p < inner; ++p) {
    const Vec<T> left = load(other_panel), right = load(other_panel + kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; ++i) {
      sum[i][0] += x_panel[i] * left;
      sum[i][1] += x_panel[i] * right;
    }
    x_panel += kTileRows;
    other_panel += kTileColumns<T>;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
    T* row = y_tile + i * y_stride;
    if (accumulate) {
      sum[i][0] += load(row);
      sum[i][1] += load(row + kLanes<T>);
    }
    store(row, sum[i][0]);
    store(row + kLanes<T>, sum[i][1]);
  }
}

// A tile at the edge is computed in full in a scratch tile, and its valid part is moved.
template <class T>
static void multiply_edge_tile(std::int64_t inner, const T* x_panel, const T* other_panel, T* y_tile,
                               std::int64_t y_stride, std::int64_t rows, std::int64_t columns,
                               bool accumulate) {
  alignas(64) T scratch[kTileRows * kTileColumns<T>];
  multiply_tile(inner, x_panel, other_panel, scratch, kTileColumns<T>, false);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      T& y = y_tile[i * y_stride + j];
      y = (accumulate ? y : T{0}) + scratch[i * kTileColumns<T> + j];
    }
}

// Packs `count` vectors of length `inner` side by side in panels of `width`, padded with zeros:
// panel[p][i] = source[i * across + p * along].
template <class T>
static void pack(T* panel, const T* source, std::int64_t count, std::int64_t inner,
                 std::int64_t across, std::int64_t along, int width) {
  for (std::int64_t first = 0; first < count; first += width) {
    const std::int64_t valid = std::min<std::int64_t>(width, count - first);
    const T* from = source + first * across;
    if (across == 1 && valid == width) {
      for (std::int64_t p = 0; p < inner; ++p, panel += width)
        std::memcpy(panel, from + p * along, static_cast<std::size_t>(width) * sizeof(T));
      continue;
    }
    for (std::int64_t i = 0; i < valid; ++i)
      for (std::int64_t p = 0; p < inner; ++p) panel[p * width + i] = from[i * across + p * along];
    for (std::int64_t i = valid; i < width; ++i)
      for (std::int64_t p = 0; p < inner; ++p) panel[p * width + i] = T{0};
    panel += inner * width;
  }
}

template <class T>
static void multiply_block(const Matmul& args, const MatrixPair<T>& m, std::int64_t row,
                           std::int64_t column) {
  const std::int64_t rows = std::min(kBlockRows, args.rows - row);
  const std::int64_t columns = std::min(kBlockColumns, args.columns - column);
  constexpr int tile_columns = kTileColumns<T>;
  const std::int64_t depth = std::min(kBlockInner, args.inner);
  const auto padded = [](std::int64_t size, std::int64_t step) {
    return (size + step - 1) / step * step;
  };
  T* x_packed = static_cast<T*>(thread_scratch(
      static_cast<std::size_t>(depth * (padded(rows, kTileRows) + padded(columns, tile_columns))) *
      sizeof(T)));
  T* other_packed = x_packed + depth * padded(rows, kTileRows);

  if (args.inner == 0)  // an empty sum
    for (std::int64_t i = row; i < row + rows; ++i)
      std::fill_n(m.y + i * args.columns + column, columns, T{0});
  for (std::int64_t k = 0; k < args.inner; k += kBlockInner) {
    const std::int64_t inner = std::min(kBlockInner, args.inner - k);
    pack(x_packed, m.x + row * args.x_row_stride + k * args.x_column_stride, rows, inner,
         args.x_row_stride, args.x_column_stride, kTileRows);
    pack(other_packed, m.other + k * args.other_row_stride + column * args.other_column_stride,
         columns, inner, args.other_column_stride, args.other_row_stride, tile_columns);
    for (std::int64_t j = 0; j < columns; j += tile_columns)
      for (std::int64_t i = 0; i < rows; i += kTileRows) {
        T* y_tile = m.y + (row + i) * args.columns + column + j;
        const T* x_panel = x_packed + i * inner;
        const T* other_panel = other_packed + j * inner;
        if (rows - i >= kTileRows && columns - j >= tile_columns)
          multiply_tile(inner, x_panel, other_panel, y_tile, args.columns, k > 0);
        else
          multiply_edge_tile(inner, x_panel, other_panel, y_tile, args.columns,
                             std::min<std::int64_t>(rows - i, kTileRows),
                             std::min<std::int64_t>(columns - j, tile_columns), k > 0);
      }
  }
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
                            std::min(args.columns, kBlockColumns) * std::max<std::int64_t>(args.inner, 1);
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
