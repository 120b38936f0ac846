// Matrix products with few rows, which are bound by the time to read `other`: it is read once,
// where it lies. Included once per instruction set.
#pragma once

#include "gemm.h"
#include "host_memory.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// One product y = x @ other, x (rows, inner), other (inner, columns). Strides count elements.
template <class T>
struct Product {
  Int rows, columns, inner;
  const T* x;
  Int x_row, x_step;  // strides
  const T* other;
  Int other_step, other_column;
  T* y;
  Int y_row, y_column;
  const T* residual = nullptr;  // added to y at the end: (rows, columns), or null
  Int residual_row = 0, residual_column = 0;

  // y^T = other^T @ x^T, without the residual
  Product transposed() const {
    return {columns, rows,   inner, other, other_column, other_step,
            x,       x_step, x_row, y,     y_column,     y_row};
  }
};

static constexpr Int kFewRows = 16;

// Elementary steps that are worth handing to a thread.
static constexpr Int kFewRowsGrain = 1 << 16;

static inline Int columns_per_task(Int rows, Int inner, Int step) {
  return round_up(std::max<Int>(1, kFewRowsGrain / std::max<Int>(1, rows * inner)), step);
}

// Lane i of the result is the sum of the lanes of vector i, for kLanes vectors: half as many after
// each round, in which two share a register.
template <class T>
static inline Vec<T> sums_of_lanes(Vec<T>* vectors) {
  using Lanes = std::make_integer_sequence<int, kLanes<T>>;
#pragma GCC unroll 4
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      vectors[i] = interleave<T, 0>(vectors[i], vectors[i + half], Lanes{}) +
                   interleave<T, 1>(vectors[i], vectors[i + half], Lanes{});
  return vectors[0];
}

// A block of inner products shares its loads: as many rows and columns as accumulators fit the
// registers. All rows are cut into blocks of one height, which leaves few of them empty.
#if defined(__AVX512F__) || defined(__aarch64__)
static constexpr int kDotRows = 5;
static constexpr int kDotColumns[] = {0, 4, 8, 5, 4, 3};  // beside so many rows
#else
static constexpr int kDotRows = 4;
static constexpr int kDotColumns[] = {0, 4, 4, 3, 2};
#endif

static constexpr Int kShortColumn = 2048;  // bytes

// Keeps a loaded value in its register: the compiler would load it again for each use.
template <class V>
static inline void keep_in_register([[maybe_unused]] V& value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value));
#endif
}

// Inner products of up to kRows rows of x with some columns of `other`, both contiguous along the
// inner dimension. Rows and columns beyond the last are that one again, and not written. Where
// columns are too short for the processor to look ahead, those after the next are asked for.
template <int kRows, class T>
[[gnu::noinline]] static void dot_block(const Product<T>& m, Int row, Int column) {
  constexpr int columns = kDotColumns[kRows], count = kRows * columns;
  const T *x[kRows], *other[columns];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) x[i] = m.x + std::min(row + i, m.rows - 1) * m.x_row;
#pragma GCC unroll 8
  for (int j = 0; j < columns; ++j)
    other[j] = m.other + std::min(column + j, m.columns - 1) * m.other_column;
  const bool is_short = m.inner * static_cast<Int>(sizeof(T)) <= kShortColumn;
  const Int ahead = is_short ? 2 * columns * m.other_column : 0;
  Vec<T> sum[(count + kLanes<T> - 1) / kLanes<T> * kLanes<T>];
#pragma GCC unroll 16
  for (Vec<T>& value : sum) value = Vec<T>{};
  Int p = 0;
  for (; p + kLanes<T> <= m.inner; p += kLanes<T>) {
    Vec<T> left[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      left[i] = load(x[i] + p);
      keep_in_register(left[i]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      const Vec<T> right = load(other[j] + p);
      if (row == 0) __builtin_prefetch(other[j] + ahead + p);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) sum[j * kRows + i] += left[i] * right;
    }
  }
  T total[std::size(sum)];
#pragma GCC unroll 4
  for (int i = 0; i < count; i += kLanes<T>) store(total + i, sums_of_lanes<T>(sum + i));
  for (int i = 0; p < m.inner && i < count; ++i)
    for (Int rest = p; rest < m.inner; ++rest)
      total[i] += x[i % kRows][rest] * other[i / kRows][rest];
  T* y = m.y + row * m.y_row + column * m.y_column;
  if (m.y_row == 1 && row + kRows <= m.rows && column + columns <= m.columns) {
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j)
      std::memcpy(y + j * m.y_column, total + j * kRows, kRows * sizeof(T));
    return;
  }
  for (int j = 0; j < columns && column + j < m.columns; ++j)
    for (int i = 0; i < kRows && row + i < m.rows; ++i)
      y[i * m.y_row + j * m.y_column] = total[j * kRows + i];
}

// The columns [begin, end) of all rows, in blocks of kRows.
template <int kRows, class T>
static void multiply_dot_columns(const Product<T>& m, Int begin, Int end) {
  for (Int j = begin; j < end; j += kDotColumns[kRows])
    for (Int i = 0; i < m.rows; i += kRows) dot_block<kRows>(m, i, j);
}

// Few rows times columns that are contiguous along the inner dimension, such as a layer's weights.
template <class T>
static void multiply_dots(Product<T> m) {
  if (m.x_step != 1) {
    T* rows =
        static_cast<T*>(thread_scratch(static_cast<std::size_t>(m.rows * m.inner) * sizeof(T)));
    for (Int i = 0; i < m.rows; ++i)
      for (Int p = 0; p < m.inner; ++p) rows[i * m.inner + p] = m.x[i * m.x_row + p * m.x_step];
    m.x = rows;
    m.x_row = m.inner;
    m.x_step = 1;
  }
  const Int blocks = (m.rows + kDotRows - 1) / kDotRows, height = (m.rows + blocks - 1) / blocks;
  const Int step = columns_per_task(m.rows, m.inner, kDotColumns[height]);
  parallel_for((m.columns + step - 1) / step, 1, [&](Int begin, Int end) {
    begin *= step, end = std::min(end * step, m.columns);
    if (height == 1) multiply_dot_columns<1>(m, begin, end);
    if (height == 2) multiply_dot_columns<2>(m, begin, end);
    if (height == 3) multiply_dot_columns<3>(m, begin, end);
    if (height == 4) multiply_dot_columns<4>(m, begin, end);
    if (height == 5) multiply_dot_columns<kDotRows>(m, begin, end);
  });
}

// Rows of `other` that are read side by side, in runs that are long enough for the processor to
// fetch ahead. Going down all rows column by column would meet a new page with each, and rows a
// power of two apart share the sets of the caches. (Measured: 32 rows or runs of 512 are slower.)
static constexpr Int kSideBySide = 8;
static constexpr Int kLongRun = 1024;

// Whether row-major `other` is read where it lies: once for a tile of rows, or for two if it is
// wide and stays in the nearest caches; then packing it would cost more.
template <class T>
static bool reads_in_place(const Product<T>& m) {
  constexpr Int near = 1 << 16;  // bytes
  const bool is_near = m.inner * m.columns * Int{sizeof(T)} <= near;
  return m.rows <= kTileRows ||
         (m.rows <= 2 * kTileRows && m.columns > 2 * kTileColumns<T> && is_near);
}

// Few rows times row-major `other`: x is packed, and tiles read `other` in place.
template <class T>
static void multiply_in_place(const Product<T>& m) {
  constexpr Int width = kTileColumns<T>;
  const Int packed_rows = round_up(m.rows, kTileRows);
  T* packed = static_cast<T*>(thread_scratch(
      static_cast<std::size_t>((packed_rows + width) * m.inner + kPackSpill<T>) * sizeof(T)));
  T* last = packed + packed_rows * m.inner;
  pack_panels<kTileRows>(packed, m.x, m.rows, m.inner, m.x_row, m.x_step);
  const Int full = m.columns / width * width;
  if (full < m.columns)  // the last columns are padded: a tile must not read past them
    pack_panels<static_cast<int>(width)>(last, m.other + full, m.columns - full, m.inner, 1,
                                         m.other_step);
  Int together = m.rows == 1 ? kSideBySide : 2 * kSideBySide;  // more of y moves each time
  if (m.rows > kTileRows) together = m.inner;
  const Int columns = std::max(columns_per_task(m.rows, m.inner, width), kLongRun);
  parallel_for(m.columns, columns, [&](Int begin, Int end) {
    for (Int p = 0; p < m.inner; p += together)
      for (Int j = begin; j < end; j += width) {
        const bool inside = j < full;
        const T* other = inside ? m.other + p * m.other_step + j : last + p * width;
        const Int step = inside ? m.other_step : width, depth = std::min(together, m.inner - p);
        if (inside && m.rows == 1) {
          multiply_tile<1, 2>(depth, packed + p * kTileRows, kTileRows, other, step, m.y + j,
                              m.y_row, p > 0);
          continue;
        }
        for (Int i = 0; i < m.rows; i += kTileRows)
          multiply_panels(std::min<Int>(m.rows - i, kTileRows), std::min<Int>(m.columns - j, width),
                          depth, packed + i * m.inner + p * kTileRows, other, step,
                          m.y + i * m.y_row + j, m.y_row, p > 0);
      }
  });
}

// Many rows and no more columns than a tile has: each row of x is used once, so that packing it
// would cost more than it saves.
template <class T>
static void multiply_narrow(const Product<T>& m) {
  constexpr int width = kTileColumns<T>;
  T* panel = static_cast<T*>(
      thread_scratch(static_cast<std::size_t>(width * m.inner + kPackSpill<T>) * sizeof(T)));
  pack_panels<width>(panel, m.other, m.columns, m.inner, m.other_column, m.other_step);
  parallel_for(m.rows, columns_per_task(width, m.inner, kRowsInPlace), [&](Int begin, Int end) {
    for (Int row = begin; row < end; row += kRowsInPlace) {
      const Int rows = std::min<Int>(kRowsInPlace, end - row);
      const T* x = m.x + row * m.x_row;
      T* y = m.y + row * m.y_row;
      if (m.y_column == 1) {
        multiply_in_place_tile(rows, m.columns, m.inner, x, m.x_row, panel, y, m.y_row, false);
        continue;
      }
      alignas(64) T tile[kRowsInPlace * width];
      multiply_in_place_tile<T>(rows, width, m.inner, x, m.x_row, panel, tile, width, false);
      for (Int i = 0; i < rows; ++i)
        for (Int j = 0; j < m.columns; ++j) y[i * m.y_row + j * m.y_column] = tile[i * width + j];
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
