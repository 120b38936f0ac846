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

// Rows whose elements fill 16 bytes, the part of a register in which shuffles cost the least.
template <class T>
static constexpr int kPieceRows = 16 / static_cast<int>(sizeof(T));

// `interleave` in each part of 16 bytes.
template <class T, int kHalf, int... kLane>
static inline Vec<T> interleave_pieces(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  constexpr int size = kPieceRows<T>;
  return __builtin_shufflevector(
      a, b, (kLane / size * size + kHalf * size / 2 + kLane % size / 2 + kLane % 2 * kLanes<T>)...);
}

// Part `kPart` of 16 bytes of a register. (GCC shuffles it to the front first, unless told not to.)
template <int kPart, class T>
static inline void store_piece(T* to, Vec<T> row) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) _mm_storeu_ps(to, _mm512_maskz_extractf32x4_ps(15, row, kPart));
  else _mm_storeu_pd(to, _mm512_maskz_extractf64x2_pd(3, row, kPart));
#else
  std::memcpy(to, reinterpret_cast<const char*>(&row) + 16 * kPart, 16);
#endif
}

template <class T, int... kPart>
static inline void store_pieces(Vec<T> row, T* to, std::int64_t to_stride,
                                std::integer_sequence<int, kPart...>) {
  (store_piece<kPart>(to + kPart * kPieceRows<T> * to_stride, row), ...);
}

// to[j * to_stride + i] = from[i * from_stride + j] for i < kPieceRows and j < kLanes; the rows
// from `valid` on are not read: they count as zeros. Fewer shuffles than in transpose_square, more
// stores.
template <class T>
static inline void transpose_pieces(const T* from, std::int64_t from_stride, T* to,
                                    std::int64_t to_stride, std::int64_t valid) {
  constexpr int size = kPieceRows<T>;
  using Lanes = std::make_integer_sequence<int, kLanes<T>>;
  Vec<T> rows[size], mixed[size];
#pragma GCC unroll 4
  for (int i = 0; i < size; ++i) rows[i] = i < valid ? load(from + i * from_stride) : Vec<T>{};
#pragma GCC unroll 2
  for (int round = 1; round < size; round *= 2) {
#pragma GCC unroll 2
    for (int i = 0; i < size / 2; ++i) {
      mixed[2 * i] = interleave_pieces<T, 0>(rows[i], rows[i + size / 2], Lanes{});
      mixed[2 * i + 1] = interleave_pieces<T, 1>(rows[i], rows[i + size / 2], Lanes{});
    }
#pragma GCC unroll 4
    for (int i = 0; i < size; ++i) rows[i] = mixed[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < size; ++i)
    store_pieces(rows[i], to + i * to_stride, to_stride,
                 std::make_integer_sequence<int, kLanes<T> / size>{});
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
