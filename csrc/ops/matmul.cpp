// Matrix multiplication. The way through memory is chosen by shape alone:
//
//   few rows or columns  other is read once, in place (few_rows.h)
//   small                a thread packs all that it needs (gemm.h); a batch or its rows are shared
//                        among threads
//   large                all threads share one packed block of `other`; a task is a block of rows
//
// Every output element is summed by one task in one fixed order, so results do not depend on the
// number of threads.
#include "matmul.h"

#include <algorithm>

#include "../elementary.h"
#include "../few_rows.h"
#include "../gemm.h"
#include "../gemm_bf16.h"
#include "../host_memory.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The large product: the packed block of x stays in L2, that of `other` in L3.
static constexpr Int kBlockTiles = 8;  // of kTileRows rows
static constexpr Int kBlockColumns = 2048;
static constexpr Int kSmallWork = 1 << 21;  // multiplications below which nothing is shared
static constexpr Int kAloneWork = 1 << 19;  // and below which one thread does everything

template <class T>
static Product<T> product_of_batch(const Matmul& args, Int batch) {
  Int x_offset = 0, other_offset = 0, residual_offset = 0, rest = batch;
  for (int d = 0; d < args.batch_ndim; ++d) {
    const Int index = rest % args.batch_shape[d];
    rest /= args.batch_shape[d];
    x_offset += index * args.x_batch_strides[d];
    other_offset += index * args.other_batch_strides[d];
    residual_offset += index * args.residual_batch_strides[d];
  }
  return {args.rows,
          args.columns,
          args.inner,
          static_cast<const T*>(args.x) + x_offset,
          args.x_row_stride,
          args.x_column_stride,
          static_cast<const T*>(args.other) + other_offset,
          args.other_row_stride,
          args.other_column_stride,
          static_cast<T*>(args.y) + batch * args.rows * args.columns,
          args.columns,
          1,
          args.residual ? static_cast<const T*>(args.residual) + residual_offset : nullptr,
          args.residual_row_stride,
          args.residual_column_stride};
}

// What follows the product, on a block of y that is still in cache.
template <class T>
[[gnu::flatten]] static void finish(const Matmul& args, const Product<T>& m, Int row, Int rows,
                                    Int column, Int columns) {
  const T* bias = static_cast<const T*>(args.bias);
  if (!bias && !m.residual && args.activation == MatmulActivation::none) return;
  for (Int i = row; i < row + rows; ++i) {
    T* y = m.y + i * m.y_row + column;
    if (bias)
      for (Int j = 0; j < columns; ++j) y[j] += bias[column + j];
    if (m.residual) {
      const T* residual = m.residual + i * m.residual_row + column * m.residual_column;
      if (m.residual_column == 1)
        for (Int j = 0; j < columns; ++j) y[j] += residual[j];
      else
        for (Int j = 0; j < columns; ++j) y[j] += residual[j * m.residual_column];
    }
    if (args.activation == MatmulActivation::relu)
      for (Int j = 0; j < columns; ++j) y[j] = y[j] < T{0} ? T{0} : y[j];
    if (args.activation == MatmulActivation::gelu)
      for (Int j = 0; j < columns; ++j)
        y[j] = y[j] *
               (T{0.5} * (T{1} + error_function(y[j] * static_cast<T>(0.70710678118654752440))));
  }
}

// Row sums of packed x, for the bias gradient: sums[i] += sum over the steps of a panel. Four steps
// at a time have sums of their own, which are whole registers and do not wait for each other.
template <class T>
static void add_row_sums(const T* packed, Int rows, Int depth, T* sums, bool accumulate) {
  constexpr int together = 4 * kTileRows;
  for (Int first = 0; first < rows; first += kTileRows, packed += depth * kTileRows) {
    T sum[together] = {};
    Int p = 0;
    for (; p + 4 <= depth; p += 4)
      for (int i = 0; i < together; ++i) sum[i] += packed[p * kTileRows + i];
    for (int i = 0; i < (depth - p) * kTileRows; ++i) sum[i] += packed[p * kTileRows + i];
    for (int i = 0; i < std::min<Int>(kTileRows, rows - first); ++i) {
      const T total =
          (sum[i] + sum[i + kTileRows]) + (sum[i + 2 * kTileRows] + sum[i + 3 * kTileRows]);
      sums[first + i] = (accumulate ? sums[first + i] : T{0}) + total;
    }
  }
}

// Columns up to which packing x costs more than its rows, one by one in memory, cost a tile.
static constexpr Int kFewColumns = 256;

// Whether rows of x are multiplied where they lie.
template <class T>
static bool stays_in_rows(const Product<T>& m) {
  return m.x_step == 1 && (m.columns <= kFewColumns || m.rows * m.columns * m.inner <= kSmallWork);
}

// multiply_block without packing x.
template <class T>
static void multiply_block_in_place(const Product<T>& m, Int row, Int rows) {
  const Int block = even_depth<T>(m.inner);
  T* packed = static_cast<T*>(
      thread_scratch(static_cast<std::size_t>(packed_size<T>(0, m.columns, m.inner)) * sizeof(T)));
  for (Int k = 0; k < m.inner; k += block) {
    const Int depth = std::min(block, m.inner - k);
    pack_panels<kTileColumns<T>>(packed, m.other + k * m.other_step, m.columns, depth,
                                 m.other_column, m.other_step);
    multiply_tiles_in_place(rows, m.columns, depth, m.x + row * m.x_row + k, m.x_row, packed,
                            kTileColumns<T> * depth, m.y + row * m.y_row, m.y_row, k > 0);
  }
}

// Rows [row, row + rows) by a thread that shares nothing with others.
template <class T>
static void multiply_block(const Matmul& args, const Product<T>& m, Int row, Int rows) {
  T* sums = static_cast<T*>(args.x_sums);
  if (!sums && stays_in_rows(m)) {
    multiply_block_in_place(m, row, rows);
    return finish(args, m, row, rows, 0, m.columns);
  }
  T* scratch = static_cast<T*>(thread_scratch(
      static_cast<std::size_t>(packed_size<T>(rows, m.columns, m.inner)) * sizeof(T)));
  const auto pack_x = [&](T* panel, Int k, Int depth) {
    pack_panels<kTileRows>(panel, m.x + row * m.x_row + k * m.x_step, rows, depth, m.x_row,
                           m.x_step);
    if (sums) add_row_sums(panel, rows, depth, sums + row, k > 0);
  };
  const auto pack_other = [&](T* panel, Int k, Int depth) {
    pack_panels<kTileColumns<T>>(panel, m.other + k * m.other_step, m.columns, depth,
                                 m.other_column, m.other_step);
  };
  multiply_packed(rows, m.columns, m.inner, pack_x, pack_other, m.y + row * m.y_row, m.y_row, false,
                  scratch);
  finish(args, m, row, rows, 0, m.columns);
}

// Tiles divided evenly: part i of `parts` begins at tile i * tiles / parts.
struct Parts {
  Int tiles, parts, tile_size, size;

  Int begin(Int part) const { return part * tiles / parts * tile_size; }
  Int count(Int part) const { return std::min(begin(part + 1), size) - begin(part); }
};

// One block of rows for each thread, which all pack the whole of `other` rather than wait for
// each other.
template <class T>
static void multiply_small(const Matmul& args, const Product<T>& m) {
  if (m.rows * m.columns * m.inner < kAloneWork) return multiply_block(args, m, 0, m.rows);
  const Int tiles = (m.rows + kTileRows - 1) / kTileRows;
  const Parts parts{tiles, std::min<Int>(threads_at_hand(), (tiles + 1) / 2), kTileRows, m.rows};
  parallel_for(parts.parts, 1, [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i) multiply_block(args, m, parts.begin(i), parts.count(i));
  });
}

// One step of the large product: the columns [column, column + columns) and the inner elements
// [k, k + depth).
struct Step {
  Int column, columns, k, depth;
};

// `other` of this step, packed by all threads.
template <class T>
static void pack_shared(const Product<T>& m, const Step& step, T* packed) {
  constexpr int width = kTileColumns<T>;
  parallel_for((step.columns + width - 1) / width, kPackedTogether, [&](Int begin, Int end) {
    pack_panels<static_cast<int>(width)>(
        packed + begin * width * step.depth,
        m.other + step.k * m.other_step + (step.column + begin * width) * m.other_column,
        std::min(end * width, step.columns) - begin * width, step.depth, m.other_column,
        m.other_step);
  });
}

// A task multiplies a block of rows with a group of columns. With several threads there are
// equally many for each, and some more to even out; more groups of columns than one only serve
// products of few rows, at the price of packing the rows for each. This alone may depend on the
// number of threads, since it does not touch the order in which an element is summed.
struct Tasks {
  Parts rows, columns;

  Tasks(Int all_rows, Int all_columns, Int tile_columns) {
    const Int tiles = (all_rows + kTileRows - 1) / kTileRows;
    const Int panels = (all_columns + tile_columns - 1) / tile_columns;
    const Int threads = threads_at_hand();
    Int blocks = (tiles + kBlockTiles - 1) / kBlockTiles, groups = 1;
    if (threads > 1) {
      blocks = std::min(round_up(blocks, threads), tiles);
      groups = std::clamp<Int>(4 * threads / blocks, 1, std::max<Int>(1, panels / 4));
    }
    rows = {tiles, blocks, kTileRows, all_rows};
    columns = {panels, groups, tile_columns, all_columns};
  }
};

template <class T>
static void multiply_large(const Matmul& args, const Product<T>& m) {
  constexpr int width = kTileColumns<T>;
  const Int depth = even_depth<T>(m.inner);
  const Int shared_size = depth * round_up(std::min(kBlockColumns, m.columns), width);
  const std::size_t bytes =
      static_cast<std::size_t>(shared_size + depth * kBlockTiles * kTileRows + kPackSpill<T>) *
      sizeof(T);
  // Every thread asks for the same size, so that this thread keeps the shared block when it works
  // on a task of its own; a task's rows lie behind it.
  T* shared = static_cast<T*>(thread_scratch(bytes));
  T* sums = static_cast<T*>(args.x_sums);
  const bool in_place = !sums && stays_in_rows(m);
  for (Int column = 0; column < m.columns; column += kBlockColumns) {
    const Int columns = std::min(kBlockColumns, m.columns - column);
    const Tasks tasks(m.rows, columns, width);
    for (Int k = 0; k < m.inner; k += depth) {
      const Step step{column, columns, k, std::min(depth, m.inner - k)};
      pack_shared(m, step, shared);
      parallel_for(tasks.rows.parts * tasks.columns.parts, 1, [&](Int begin, Int end) {
        T* packed = static_cast<T*>(thread_scratch(bytes)) + shared_size;
        for (Int task = begin; task < end; ++task) {
          const Int block = task / tasks.columns.parts, group = task % tasks.columns.parts;
          const Int row = tasks.rows.begin(block), rows = tasks.rows.count(block);
          const Int first = tasks.columns.begin(group), count = tasks.columns.count(group);
          const T* x = m.x + row * m.x_row + k * m.x_step;
          const T* other = shared + first * step.depth;
          T* y = m.y + row * m.y_row + column + first;
          if (in_place) {
            multiply_tiles_in_place(rows, count, step.depth, x, m.x_row, other, width * step.depth,
                                    y, m.y_row, k > 0);
          } else {
            pack_panels<kTileRows>(packed, x, rows, step.depth, m.x_row, m.x_step);
            if (sums && column == 0 && first == 0)
              add_row_sums(packed, rows, step.depth, sums + row, k > 0);
            multiply_tiles(rows, count, step.depth, packed, other, y, m.y_row, k > 0);
          }
          if (k + step.depth == m.inner) finish(args, m, row, rows, column + first, count);
        }
      });
    }
  }
}

// Inner elements from which on adding the lanes up is a small part of an inner product.
template <class T>
static constexpr Int kLongRows = 8 * kLanes<T>;

// True if one of the ways of few_rows.h took it.
template <class T>
static bool multiply_few(const Product<T>& m) {
  const bool few_columns = m.columns <= 4 || (m.columns <= kFewRows && m.inner >= kLongRows<T>);
  if (few_columns && m.columns < m.rows && m.x_step == 1) {
    multiply_dots(m.transposed());
    return true;
  }
  if (m.rows <= kFewRows && m.other_step == 1 && m.inner > 1) {
    multiply_dots(m);
    return true;
  }
  const bool is_narrow = m.columns <= kTileColumns<T> && m.x_step == 1;
  const bool is_tiny = m.columns * m.inner <= kTileRows * kTileColumns<T>;
  if (is_narrow && is_tiny) {
    multiply_narrow(m);
    return true;
  }
  if (m.other_column == 1 && reads_in_place(m)) {
    multiply_in_place(m);
    return true;
  }
  if (is_narrow) {
    multiply_narrow(m);
    return true;
  }
  return false;
}

template <class T>
static void multiply_one(const Matmul& args, Int batch) {
  const Product<T> m = product_of_batch<T>(args, batch);
  if (args.x_sums == nullptr && multiply_few(m)) return finish(args, m, 0, m.rows, 0, m.columns);
  if (m.rows * m.columns * m.inner > kSmallWork) return multiply_large(args, m);
  multiply_small(args, m);
}

template <class T>
static void multiply(const Matmul& args) {
  const Int batch = args.batch();
  if (args.inner == 0) {  // empty sums
    std::fill_n(static_cast<T*>(args.y), batch * args.rows * args.columns, T{0});
    for (Int i = 0; i < batch; ++i)
      finish(args, product_of_batch<T>(args, i), 0, args.rows, 0, args.columns);
    return;
  }
  const Int work = args.rows * args.columns * args.inner, threads = num_threads();
  const bool evenly = batch % threads == 0 || batch > 8 * threads;  // whole products for each
  if (batch == 1 || (work > kSmallWork && !evenly)) {
    for (Int i = 0; i < batch; ++i) multiply_one<T>(args, i);
    return;
  }
  const Int grain = std::max<Int>(1, (1 << 17) / work);
  parallel_for(batch, grain, [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i) multiply_one<T>(args, i);
  });
}

// bfloat16: as above, but that the sums of a block are finished before they are rounded.
static void multiply_bf16(const Matmul& args) {
  const Int batch = args.batch();
  const Int work = std::max<Int>(1, args.rows * args.columns * args.inner);
  const Int grain = work > kSmallWork ? batch : std::max<Int>(1, (1 << 17) / work);
  parallel_for(batch, grain, [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i) multiply_one_bf16(args, product_of_batch<BFloat16>(args, i));
  });
}

// Integer products, in wrap-around arithmetic: plain loops.
[[maybe_unused]] static void multiply_integers(const Matmul& args) {
  parallel_for(args.batch() * args.rows, 16, [&](Int begin, Int end) {
    for (Int row = begin; row < end; ++row) {
      const auto m = product_of_batch<std::int64_t>(args, row / args.rows);
      const Int i = row % args.rows;
      for (Int j = 0; j < m.columns; ++j) {
        std::uint64_t sum = 0;
        for (Int p = 0; p < m.inner; ++p)
          sum += static_cast<std::uint64_t>(m.x[i * m.x_row + p * m.x_step]) *
                 static_cast<std::uint64_t>(m.other[p * m.other_step + j * m.other_column]);
        m.y[i * m.y_row + j] = static_cast<std::int64_t>(sum);
      }
    }
  });
}

void matmul(const Matmul& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(matmul, args, args.dtype);
#if defined(TILEGRAD_IS_FIRST_ISA)
  if (!is_floating(args.dtype)) return multiply_integers(args);
#endif
  if (args.dtype == DType::float32) return multiply<float>(args);
  if (args.dtype == DType::bfloat16) return multiply_bf16(args);
  multiply<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
