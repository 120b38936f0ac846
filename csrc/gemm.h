// The packed matrix product behind matmul: micro-kernels, packing, the loop over tiles.
//
// After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): `other`
// is packed into panels of kTileColumns, `x` into panels of kTileRows, and the micro-kernel
// multiplies panel by panel with the tile's accumulators in registers. Included once per
// instruction set.
#pragma once

#include <algorithm>

#include "transpose.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

using Int = std::int64_t;

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

// Steps that are packed at once: blocks of both operands stay in L2, a panel of x in L1.
#if defined(__AVX512F__)
template <class T>
static constexpr Int kBlockInner = 2048 / sizeof(T);
#else
template <class T>
static constexpr Int kBlockInner = 1024 / sizeof(T);
#endif

// y_tile (+)= x_panel @ other_panel for a tile of kRows rows and kVectors vectors. Element i of
// step p lies at x_panel[p * x_step + i], the vectors at other_panel[p * other_step]. The loops
// over rows are unrolled completely: otherwise GCC keeps `sum` in memory.
template <int kRows, int kVectors, class T>
[[gnu::noinline]] static void multiply_tile(Int inner, const T* x_panel, Int x_step,
                                            const T* other_panel, Int other_step, T* y_tile,
                                            Int y_stride, bool accumulate) {
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(y_tile + i * y_stride + v * kLanes<T>, 1);
      sum[i][v] = Vec<T>{};
    }
  for (Int p = 0; p < inner; ++p) {
    Vec<T> other[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) other[v] = load(other_panel + v * kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[i][v] += x_panel[i] * other[v];
    x_panel += x_step;
    other_panel += other_step;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* y = y_tile + i * y_stride + v * kLanes<T>;
      store(y, accumulate ? load(y) + sum[i][v] : sum[i][v]);
    }
}

// The tile with the fewest rows that holds `rows` of them.
template <int kVectors, class T>
static void multiply_rows(Int rows, Int inner, const T* x_panel, const T* other_panel,
                          Int other_step, T* y_tile, Int y_stride, bool accumulate) {
  if constexpr (kTileRows > 8)
    if (rows <= 8 && rows > 4)
      return multiply_tile<8, kVectors>(inner, x_panel, kTileRows, other_panel, other_step, y_tile,
                                        y_stride, accumulate);
  if constexpr (kTileRows > 4)
    if (rows <= 4)
      return multiply_tile<4, kVectors>(inner, x_panel, kTileRows, other_panel, other_step, y_tile,
                                        y_stride, accumulate);
  multiply_tile<kTileRows, kVectors>(inner, x_panel, kTileRows, other_panel, other_step, y_tile,
                                     y_stride, accumulate);
}

// y (+)= the first rows and columns of a tile in scratch memory.
template <class T>
static void move_tile(const T* tile, Int rows, Int columns, T* y_tile, Int y_stride,
                      bool accumulate) {
  for (Int i = 0; i < rows; ++i, tile += kTileColumns<T>, y_tile += y_stride)
    for (Int j = 0; j < columns; j += kLanes<T>) {
      T* y = y_tile + j;
      const Vec<T> sum = load(tile + j);
      if (const Int count = columns - j; count >= kLanes<T>)
        store(y, accumulate ? load(y) + sum : sum);
      else store_part(y, accumulate ? load_part(y, count) + sum : sum, count);
    }
}

// A tile of which `rows` x `columns` are wanted. x_panel is packed, (inner, kTileRows); the steps
// of other_panel are `other_step` apart. At an edge the tile is computed in scratch memory, as far
// as that is needed, and the valid part is moved.
template <class T>
static void multiply_panels(Int rows, Int columns, Int inner, const T* x_panel,
                            const T* other_panel, Int other_step, T* y_tile, Int y_stride,
                            bool accumulate) {
  constexpr int width = kTileColumns<T>;
  if (columns == width && (rows == kTileRows || rows == 8 || rows == 4))
    return multiply_rows<2>(rows, inner, x_panel, other_panel, other_step, y_tile, y_stride,
                            accumulate);
  alignas(64) T scratch[kTileRows * width];
  if (columns <= kLanes<T>)
    multiply_rows<1>(rows, inner, x_panel, other_panel, other_step, scratch, width, false);
  else multiply_rows<2>(rows, inner, x_panel, other_panel, other_step, scratch, width, false);
  move_tile(scratch, rows, columns, y_tile, y_stride, accumulate);
}

// The rows of a tile that reads x in place: the address of each occupies a register.
static constexpr int kRowsInPlace = kTileRows >= 8 ? 8 : 4;

// kRows rows of x as they lie, `x_row` apart, times a packed panel of `other`. Of the tile `rows` x
// `columns` are wanted; rows beyond the last are that one again. While they are multiplied, the
// rows behind them are fetched: each is too short for the processor to fetch ahead in it.
template <int kRows, int kVectors, class T>
[[gnu::noinline]] static void multiply_rows_in_place(Int rows, Int columns, Int inner,
                                                     const T* first, Int x_row,
                                                     const T* other_panel, T* y_tile, Int y_stride,
                                                     bool accumulate) {
  const T* x[kRows];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) x[i] = first + std::min<Int>(i, rows - 1) * x_row;
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Vec<T>{};
  constexpr Int line = 64 / sizeof(T);
  for (Int p = 0; p < inner;) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) __builtin_prefetch(x[i] + kRows * x_row + p);
    for (const Int end = std::min(p + line, inner); p < end; ++p, other_panel += kTileColumns<T>) {
      Vec<T> other[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) other[v] = load(other_panel + v * kLanes<T>);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[i][v] += x[i][p] * other[v];
    }
  }
  const bool whole = rows == kRows && columns == kVectors * kLanes<T>;
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* y = y_tile + i * y_stride + v * kLanes<T>;
      const Int count = std::min<Int>(columns - v * kLanes<T>, kLanes<T>);
      if (whole) store(y, accumulate ? load(y) + sum[i][v] : sum[i][v]);
      else if (i < rows)
        store_part(y, accumulate ? load_part(y, count) + sum[i][v] : sum[i][v], count);
    }
}

// The tile of kRowsInPlace rows, or of half as many, that holds `rows` of them.
template <class T>
static void multiply_in_place_tile(Int rows, Int columns, Int inner, const T* x, Int x_row,
                                   const T* other_panel, T* y_tile, Int y_stride, bool accumulate) {
  constexpr int all = kRowsInPlace, half = kRowsInPlace / 2;
  const bool narrow = columns <= kLanes<T>;
  const auto multiply =
      rows > half
          ? (narrow ? multiply_rows_in_place<all, 1, T> : multiply_rows_in_place<all, 2, T>)
          : (narrow ? multiply_rows_in_place<half, 1, T> : multiply_rows_in_place<half, 2, T>);
  multiply(rows, columns, inner, x, x_row, other_panel, y_tile, y_stride, accumulate);
}

// panel[p * kWidth + i] = from[i * stride + p] for i < valid and p < inner, 0 for other i. Where
// kWidth is no multiple of a piece's rows, the last piece begins within the one before.
template <int kWidth, class T>
static void pack_transposed(T* panel, const T* from, Int valid, Int inner, Int stride) {
  constexpr int lanes = kLanes<T>, size = kPieceRows<T>;
  Int p = 0;
  for (; p + lanes <= inner; p += lanes)
#pragma GCC unroll 1
    for (int piece = 0; piece < kWidth; piece += size) {
      const Int first = std::min(piece, kWidth - size);
      transpose_pieces(from + first * stride + p, stride, panel + p * kWidth + first, kWidth,
                       valid - first);
    }
  for (; p < inner; ++p)
    for (int i = 0; i < kWidth; ++i)
      panel[p * kWidth + i] = i < valid ? from[i * stride + p] : T{0};
}

// Elements that packing may write past its panels.
template <class T>
static constexpr Int kPackSpill = kLanes<T>;

// Vectors whose elements of one step are neighbours, to kPanels panels at once: rows that lie a
// power of two apart share the sets of the caches, so each is read in long runs.
template <int kWidth, int kPanels, class T>
static void pack_neighbours(T* panels, const T* from, Int inner, Int along) {
  for (Int p = 0; p < inner; ++p)
#pragma GCC unroll 4
    for (int i = 0; i < kPanels; ++i)
      std::memcpy(panels + (i * inner + p) * kWidth, from + p * along + i * kWidth,
                  kWidth * sizeof(T));
}

// Panels that pack_neighbours fills at once: the unit to share packing among threads.
static constexpr int kPackedTogether = 4;

// Packs `count` vectors of length `inner` side by side in panels of kWidth, padded with zeros:
// panel[p][i] = source[i * across + p * along].
template <int kWidth, class T>
static void pack_panels(T* panel, const T* source, Int count, Int inner, Int across, Int along) {
  Int first = 0;
  for (constexpr Int together = kPackedTogether * kWidth; across == 1 && first + together <= count;
       first += together, panel += inner * together)
    pack_neighbours<kWidth, kPackedTogether>(panel, source + first, inner, along);
  for (; first < count; first += kWidth, panel += inner * kWidth) {
    const Int valid = std::min<Int>(kWidth, count - first);
    const T* from = source + first * across;
    if (across == 1 && valid == kWidth) {
      pack_neighbours<kWidth, 1>(panel, from, inner, along);
    } else if (across == 1 && kWidth % kLanes<T> == 0) {
      for (Int p = 0; p < inner; ++p)
        for (int i = 0; i < kWidth; i += kLanes<T>)
          store(panel + p * kWidth + i,
                load_part(from + p * along + i, std::clamp<Int>(valid - i, 0, kLanes<T>)));
    } else if (along == 1) {
      pack_transposed<kWidth>(panel, from, valid, inner, across);
    } else {
      for (Int p = 0; p < inner; ++p)
        for (Int i = 0; i < kWidth; ++i)
          panel[p * kWidth + i] = i < valid ? from[i * across + p * along] : T{0};
    }
  }
}

// The same for a width that is one of the two of a tile.
template <class T>
static void pack(T* panel, const T* source, Int count, Int inner, Int across, Int along,
                 int width) {
  if (width == kTileRows) return pack_panels<kTileRows>(panel, source, count, inner, across, along);
  pack_panels<kTileColumns<T>>(panel, source, count, inner, across, along);
}

static inline Int round_up(Int size, Int step) { return (size + step - 1) / step * step; }

// Steps that are packed at once where `inner` is more than a block: equally many each time.
template <class T>
static Int even_depth(Int inner) {
  const Int blocks = std::max<Int>(1, (inner + kBlockInner<T> - 1) / kBlockInner<T>);
  return std::min(round_up((inner + blocks - 1) / blocks, kLanes<T>), inner);
}

// Elements of scratch that multiply_packed needs.
template <class T>
static Int packed_size(Int rows, Int columns, Int inner) {
  return even_depth<T>(inner) * (round_up(rows, kTileRows) + round_up(columns, kTileColumns<T>)) +
         kPackSpill<T>;
}

// Columns of `other` whose panels stay in L2 while all rows pass by.
static constexpr Int kGroupColumns = 256;

// y (+)= x @ other of packed blocks: all tiles of (rows, columns), `depth` steps. A panel of x
// stays in L1 while a group of panels of `other` passes by in L2, and y is written along its rows,
// which the processor fetches ahead.
template <class T>
static void multiply_tiles(Int rows, Int columns, Int depth, const T* x_packed,
                           const T* other_packed, T* y, Int y_stride, bool accumulate) {
  for (Int group = 0; group < columns; group += kGroupColumns)
    for (Int i = 0; i < rows; i += kTileRows)
      for (Int j = group; j < std::min(group + kGroupColumns, columns); j += kTileColumns<T>)
        multiply_panels(std::min<Int>(rows - i, kTileRows),
                        std::min<Int>(columns - j, kTileColumns<T>), depth, x_packed + i * depth,
                        other_packed + j * depth, kTileColumns<T>, y + i * y_stride + j, y_stride,
                        accumulate);
}

// As multiply_tiles, for x that is not packed and panels of `other` that begin `panel_stride`
// apart.
template <class T>
static void multiply_tiles_in_place(Int rows, Int columns, Int depth, const T* x, Int x_row,
                                    const T* other_packed, Int panel_stride, T* y, Int y_stride,
                                    bool accumulate) {
  constexpr int width = kTileColumns<T>;
  for (Int i = 0; i < rows; i += kRowsInPlace)
    for (Int j = 0; j < columns; j += width)
      multiply_in_place_tile(std::min<Int>(rows - i, kRowsInPlace),
                             std::min<Int>(columns - j, width), depth, x + i * x_row, x_row,
                             other_packed + j / width * panel_stride, y + i * y_stride + j,
                             y_stride, accumulate);
}

// y (+)= x @ other for one block that a single thread computes; y is (rows, columns) with rows
// `y_stride` apart. The operands come through pack_x(panel, k, depth) and pack_other(panel, k,
// depth), which write steps k to k + depth of the inner dimension as panels of kTileRows and
// kTileColumns. Every element of y is summed in the order of the inner dimension.
template <class T, class PackX, class PackOther>
static void multiply_packed(Int rows, Int columns, Int inner, const PackX& pack_x,
                            const PackOther& pack_other, T* y, Int y_stride, bool accumulate,
                            T* scratch) {
  T* other_packed = scratch;
  const Int block = even_depth<T>(inner);
  T* x_packed = scratch + block * round_up(columns, kTileColumns<T>);
  if (inner == 0 && !accumulate)  // an empty sum
    for (Int i = 0; i < rows; ++i) std::fill_n(y + i * y_stride, columns, T{0});
  for (Int k = 0; k < inner; k += block) {
    const Int depth = std::min(block, inner - k);
    pack_x(x_packed, k, depth);
    pack_other(other_packed, k, depth);
    multiply_tiles(rows, columns, depth, x_packed, other_packed, y, y_stride, accumulate || k > 0);
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
