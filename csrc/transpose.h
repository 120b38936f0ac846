// Transposition of small matrices in registers. Included once per instruction set.
#pragma once

#include <utility>

#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// a0 b0 a1 b1 ... from the lower (kHalf = 0) or upper (kHalf = 1) halves of two vectors.
template <class T, int kHalf, int... kLane>
static inline Vec<T> interleave(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  constexpr int lanes = kLanes<T>;
  return __builtin_shufflevector(a, b, (kHalf * lanes / 2 + kLane / 2 + (kLane % 2) * lanes)...);
}

// to[j][i] = from[i][j] for a square of kLanes x kLanes, rows `from_stride` and `to_stride` apart;
// the rows from `valid` on are not read: they count as zeros.
//
// One round interleaves row i with row i + half. In the flat index (row bits, column bits) of an
// element that is a rotation by one bit, so after log2(kLanes) rounds row and column have changed
// places.
template <class T>
static inline void transpose_square(const T* from, std::int64_t from_stride, T* to,
                                    std::int64_t to_stride, int valid = kLanes<T>) {
  constexpr int lanes = kLanes<T>;
  using Lanes = std::make_integer_sequence<int, lanes>;
  Vec<T> rows[lanes], mixed[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) rows[i] = i < valid ? load(from + i * from_stride) : Vec<T>{};
#pragma GCC unroll 4
  for (int round = 1; round < lanes; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      mixed[2 * i] = interleave<T, 0>(rows[i], rows[i + lanes / 2], Lanes{});
      mixed[2 * i + 1] = interleave<T, 1>(rows[i], rows[i + lanes / 2], Lanes{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = mixed[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) store(to + i * to_stride, rows[i]);
}

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows and j < columns.
template <class T>
static void transpose(const T* from, std::int64_t from_stride, std::int64_t rows,
                      std::int64_t columns, T* to, std::int64_t to_stride) {
  constexpr std::int64_t lanes = kLanes<T>;
  const std::int64_t full_rows = rows / lanes * lanes, full_columns = columns / lanes * lanes;
  for (std::int64_t i = 0; i < full_rows; i += lanes)
    for (std::int64_t j = 0; j < full_columns; j += lanes)
      transpose_square(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = i < full_rows ? full_columns : 0; j < columns; ++j)
      to[j * to_stride + i] = from[i * from_stride + j];
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
