// Copies between two orders of memory, of elements of 1, 2, 4 or 8 bytes. Included once per
// instruction set.
//
// Where source and destination are dense along the same dimension, rows are copied. Where they are
// dense along different ones, planes of these two dimensions are transposed in tiles as wide and as
// high as a cache line: every line of the source is then read once and every line of the
// destination written once, whatever lies between rows. (Rows that are a power of two apart
// compete for the same few places in a cache, so no line can be relied on to stay.)
#pragma once

#include <algorithm>
#include <utility>

#include "past_caches.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kLine = 64;

// How many elements of T a square of registers has per side, at most 16: more would not fit.
template <class T>
inline constexpr int kSide =
    TILEGRAD_VECTOR_BYTES / sizeof(T) < 16 ? TILEGRAD_VECTOR_BYTES / static_cast<int>(sizeof(T))
                                           : 16;

template <class T>
struct SideOf {
  typedef T type __attribute__((vector_size(kSide<T> * sizeof(T))));
};

template <class T, int kHalf, int... kLane>
static inline typename SideOf<T>::type mix(typename SideOf<T>::type a, typename SideOf<T>::type b,
                                           std::integer_sequence<int, kLane...>) {
  constexpr int side = kSide<T>;
  return __builtin_shufflevector(a, b, (kHalf * side / 2 + kLane / 2 + (kLane % 2) * side)...);
}

// to[j][i] = from[i][j] for a square of registers; strides in bytes. The rounds are those of
// transpose_square in csrc/transpose.h.
template <class T, bool kPast>
static inline void flip_square(const char* from, std::int64_t from_stride, char* to,
                               std::int64_t to_stride) {
  constexpr int side = kSide<T>;
  using Row = typename SideOf<T>::type;
  using Lanes = std::make_integer_sequence<int, side>;
  Row rows[side], mixed[side];
#pragma GCC unroll 16
  for (int i = 0; i < side; ++i) std::memcpy(&rows[i], from + i * from_stride, sizeof(Row));
#pragma GCC unroll 4
  for (int round = 1; round < side; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < side / 2; ++i) {
      mixed[2 * i] = mix<T, 0>(rows[i], rows[i + side / 2], Lanes{});
      mixed[2 * i + 1] = mix<T, 1>(rows[i], rows[i + side / 2], Lanes{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < side; ++i) rows[i] = mixed[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < side; ++i) {
    char* line = to + i * to_stride;
    if constexpr (kPast) copy_line_past_caches(line, reinterpret_cast<const char*>(&rows[i]));
    else std::memcpy(line, &rows[i], sizeof(Row));
  }
}

// One tile: 64 / sizeof(T) rows of a cache line each.
template <class T, bool kPast>
[[gnu::noinline]] static void flip_tile(const char* from, std::int64_t from_stride, char* to,
                                        std::int64_t to_stride) {
  constexpr std::int64_t bytes = kSide<T> * sizeof(T), tile = kLine / sizeof(T);
  if constexpr (bytes == kLine) return flip_square<T, kPast>(from, from_stride, to, to_stride);
  alignas(kLine) char lines[tile * kLine];
  for (std::int64_t i = 0; i < tile; i += kSide<T>)
    for (std::int64_t j = 0; j < tile; j += kSide<T>)
      flip_square<T, false>(from + i * from_stride + j * static_cast<std::int64_t>(sizeof(T)),
                            from_stride,
                            lines + j * kLine + i * static_cast<std::int64_t>(sizeof(T)), kLine);
  for (std::int64_t j = 0; j < tile; ++j) {
    if constexpr (kPast) copy_line_past_caches(to + j * to_stride, lines + j * kLine);
    else std::memcpy(to + j * to_stride, lines + j * kLine, kLine);
  }
}

// to[j][i] = from[i][j] for `rows` i and `columns` j. The destination is filled line by line.
template <class T, bool kPast>
static void flip_block(const char* from, std::int64_t from_stride, char* to, std::int64_t to_stride,
                       std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t size = sizeof(T), tile = kLine / size;
  const std::int64_t whole_rows = rows / tile * tile, whole_columns = columns / tile * tile;
  for (std::int64_t j = 0; j < whole_columns; j += tile)
    for (std::int64_t i = 0; i < whole_rows; i += tile)
      flip_tile<T, kPast>(from + i * from_stride + j * size, from_stride,
                          to + j * to_stride + i * size, to_stride);
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i)
      std::memcpy(to + j * to_stride + i * size, from + i * from_stride + j * size, sizeof(T));
}

// The dimension along which operand k is dense, or -1.
static inline int dense_dimension(const StridedLoop<2>& loop, int k, std::int64_t size) {
  for (int d = 0; d < loop.ndim; ++d)
    if (loop.strides[k][d] == size) return d;
  return -1;
}

// Moves both pointers to the index-th combination of all dimensions but two.
static inline void seek(const StridedLoop<2>& loop, std::int64_t index, int a, int b, char*& y,
                        const char*& x) {
  for (int d = 0; d < loop.ndim; ++d) {
    if (d == a || d == b) continue;
    const std::int64_t at = index % loop.shape[d];
    index /= loop.shape[d];
    y += at * loop.strides[0][d];
    x += at * loop.strides[1][d];
  }
}

// Whether results are written past the caches: large ones whose lines are whole.
static inline bool lines_are_whole(const StridedLoop<2>& loop, int dense) {
  std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(loop.data[0]);
  for (int d = 0; d < loop.ndim; ++d)
    if (d != dense) bits |= static_cast<std::uintptr_t>(loop.strides[0][d]);
  return bits % kLine == 0;
}

// Planes of dimension a, along which y is dense, and dimension b, along which x is.
template <class T>
static void flip_planes(const StridedLoop<2>& loop, int a, int b, bool past) {
  constexpr std::int64_t kBlock = 128;
  const std::int64_t rows = loop.shape[a], columns = loop.shape[b];
  const std::int64_t down = (rows + kBlock - 1) / kBlock, across = (columns + kBlock - 1) / kBlock;
  const std::int64_t work = std::min(rows, kBlock) * std::min(columns, kBlock);
  past = past && lines_are_whole(loop, a);
  parallel_for(loop.size() / (rows * columns) * down * across,
               std::max<std::int64_t>(1, kGrain / work), [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t i = task % down * kBlock, j = task / down % across * kBlock;
                   char* y = loop.data[0] + i * loop.strides[0][a] + j * loop.strides[0][b];
                   const char* x = loop.data[1] + i * loop.strides[1][a] + j * loop.strides[1][b];
                   seek(loop, task / down / across, a, b, y, x);
                   const auto flip = past ? flip_block<T, true> : flip_block<T, false>;
                   flip(x, loop.strides[1][a], y, loop.strides[0][b], std::min(kBlock, rows - i),
                        std::min(kBlock, columns - j));
                 }
                 if (past) finish_past_caches();
               });
}

// A few bytes, inlined: rows are too often too short for a call.
static inline void copy_row_bytes(char* y, const char* x, std::int64_t bytes) {
  constexpr std::int64_t step = TILEGRAD_VECTOR_BYTES;
  struct Piece {
    char bytes[step];
  };
  if (bytes < step) {
    for (std::int64_t i = 0; i < bytes; ++i) y[i] = x[i];
    return;
  }
  Piece last;  // read before anything is written; it overlaps the piece before
  std::memcpy(&last, x + bytes - step, step);
  for (std::int64_t i = 0; i + step <= bytes; i += step) {
    Piece piece;
    std::memcpy(&piece, x + i, step);
    std::memcpy(y + i, &piece, step);
  }
  std::memcpy(y + bytes - step, &last, step);
}

// Rows along dimension a, in which both are dense; neighbours along dimension b.
static inline void copy_rows(const StridedLoop<2>& loop, int a, int b, std::int64_t bytes,
                             bool past) {
  const std::int64_t rows = loop.shape[b], planes = loop.size() / (loop.shape[a] * rows);
  const std::int64_t y_step = loop.strides[0][b], x_step = loop.strides[1][b];
  const std::int64_t chunk = std::max<std::int64_t>(1, 4 * kGrain / bytes);
  const std::int64_t pieces = (rows + chunk - 1) / chunk;
  past = past && bytes % kLine == 0 && lines_are_whole(loop, a);
  parallel_for(planes * pieces, std::max<std::int64_t>(1, chunk / rows),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % pieces * chunk;
                   char* y = loop.data[0] + first * y_step;
                   const char* x = loop.data[1] + first * x_step;
                   seek(loop, task / pieces, a, b, y, x);
                   for (std::int64_t n = std::min(chunk, rows - first); n > 0; --n) {
                     if (past) {
                       for (std::int64_t i = 0; i < bytes; i += kLine)
                         copy_line_past_caches(y + i, x + i);
                     } else {
                       copy_row_bytes(y, x, bytes);
                     }
                     y += y_step;
                     x += x_step;
                   }
                 }
                 if (past) finish_past_caches();
               });
}

// One run of bytes.
static inline void copy_run(char* y, const char* x, std::int64_t bytes, bool past) {
  parallel_for(bytes, 4 * kGrain, [&](std::int64_t begin, std::int64_t end) {
    if (!past) return static_cast<void>(std::memcpy(y + begin, x + begin, end - begin));
    copy_past_caches(y + begin, x + begin, end - begin);
    finish_past_caches();
  });
}

// Copies y = x of one element size; false if no dimension is dense in both or in each.
template <class T>
static bool copy_dense(const StridedLoop<2>& loop) {
  constexpr std::int64_t size = sizeof(T), kSmallPlane = 64;
  const int a = dense_dimension(loop, 0, size), b = dense_dimension(loop, 1, size);
  if (a < 0 || b < 0 || loop.size() == 0) return false;
  const bool past = loop.size() * size >= kLargeResult;
  if (loop.ndim == 1) return copy_run(loop.data[0], loop.data[1], loop.shape[0] * size, past), true;
  if (a == b) {
    constexpr std::int64_t kManyRows = 8;  // neighbours in memory, if they are so many; else
    int next = a == 0 ? 1 : 0;
    if (loop.shape[next] < kManyRows)
      for (int d = 0; d < loop.ndim; ++d)  // the dimension of most rows
        if (d != a && loop.shape[d] > loop.shape[next]) next = d;
    return copy_rows(loop, a, next, loop.shape[a] * size, past), true;
  }
  if (loop.shape[a] * loop.shape[b] < kSmallPlane) return false;
  return flip_planes<T>(loop, a, b, past), true;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
