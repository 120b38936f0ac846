// The gradients of a recurrent layer's weights, summed while the gradients of the gates are in
// cache: a task keeps those of some steps, with the operands that were multiplied, and adds their
// products to its sums before the next steps overwrite them. Included once per instruction set.
#pragma once

#include "gemm.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Rows of several steps, one after the other. Tiles read past the last column: there is room behind
// each row for the right operand, and some for the left one behind the last.
template <class T>
struct WalkRows {
  T* data = nullptr;
  Int columns = 0, stride = 0;

  T* row(Int i) const { return data + i * stride; }

  void put(Int i, const T* values) const { std::copy_n(values, columns, row(i)); }
};

// The odd number of cache lines keeps neighbouring rows out of each other's way in the cache.
template <class T>
static inline Int walk_stride(Int columns) {
  constexpr Int line = 64 / static_cast<Int>(sizeof(T));
  return (round_up(columns, std::max<Int>(kTileColumns<T>, line)) / line | 1) * line;
}

// y (+)= left^T @ right for `rows` columns of left and `columns` of right, no more than a tile.
template <class T>
static void add_gradient_tile(Int rows, Int columns, Int depth, const T* left, Int left_step,
                              const T* right, Int right_step, T* y, Int y_stride, bool accumulate) {
  constexpr Int width = kTileColumns<T>;
  if (rows == kTileRows && columns == width)
    return multiply_tile<kTileRows, 2>(depth, left, left_step, right, right_step, y, y_stride,
                                       accumulate);
  alignas(64) T tile[kTileRows * width];
  if (rows <= 4) multiply_tile<4, 2>(depth, left, left_step, right, right_step, tile, width, false);
  else if (kTileRows > 8 && rows <= 8)
    multiply_tile<8, 2>(depth, left, left_step, right, right_step, tile, width, false);
  else multiply_tile<kTileRows, 2>(depth, left, left_step, right, right_step, tile, width, false);
  for (Int i = 0; i < rows; ++i)
    for (Int j = 0; j < columns; ++j)
      y[i * y_stride + j] = (accumulate ? y[i * y_stride + j] : T{0}) + tile[i * width + j];
}

// y (left.columns, right.columns) (+)= left^T @ right over the first `depth` rows.
template <class T>
static void add_gradient(Int depth, const WalkRows<T>& left, const WalkRows<T>& right, T* y,
                         bool accumulate) {
  for (Int j = 0; j < right.columns; j += kTileColumns<T>)
    for (Int i = 0; i < left.columns; i += kTileRows)
      add_gradient_tile(std::min<Int>(kTileRows, left.columns - i),
                        std::min<Int>(kTileColumns<T>, right.columns - j), depth, left.data + i,
                        left.stride, right.data + j, right.stride, y + i * right.columns + j,
                        right.columns, accumulate);
}

// y (columns) (+)= the sums of the columns.
template <class T>
static void add_column_sums(Int depth, const WalkRows<T>& rows, T* __restrict y, bool accumulate) {
  if (!accumulate) std::fill_n(y, rows.columns, T{0});
  for (Int p = 0; p < depth; ++p) {
    const T* __restrict row = rows.row(p);
    for (Int j = 0; j < rows.columns; ++j) y[j] += row[j];
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
