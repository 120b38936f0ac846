// The packed matrix product behind matmul: micro-kernel, packing, the loop over tiles.
//
// After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): `other`
// is packed into panels of kTileColumns, `x` into panels of kTileRows, and the micro-kernel
// multiplies panel by panel with the tile's accumulators in registers. Included once per
// instruction set.
#pragma once

#include <algorithm>

#include "vec.h"

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

// y_tile (+)= x_panel @ other_panel. x_panel is (inner, kTileRows), other_panel (inner,
// kTileColumns), both packed. The loops over rows are unrolled completely: otherwise GCC keeps
// `sum` in memory.
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
static void multiply_edge_tile(std::int64_t inner, const T* x_panel, const T* other_panel,
                               T* y_tile, std::int64_t y_stride, std::int64_t rows,
                               std::int64_t columns, bool accumulate) {
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

static inline std::int64_t round_up(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

// Elements of scratch that multiply_packed needs.
template <class T>
static std::int64_t packed_size(std::int64_t rows, std::int64_t columns, std::int64_t inner) {
  return std::min(kBlockInner, inner) *
         (round_up(rows, kTileRows) + round_up(columns, kTileColumns<T>));
}

// y (+)= x @ other for one block that a single thread computes; y is (rows, columns) with rows
// `y_stride` apart. The operands come through pack_x(panel, k, depth) and pack_other(panel, k,
// depth), which write steps k to k + depth of the inner dimension as panels of kTileRows and
// kTileColumns. Every element of y is summed in the order of the inner dimension.
template <class T, class PackX, class PackOther>
static void multiply_packed(std::int64_t rows, std::int64_t columns, std::int64_t inner,
                            const PackX& pack_x, const PackOther& pack_other, T* y,
                            std::int64_t y_stride, bool accumulate, T* scratch) {
  T* x_packed = scratch;
  T* other_packed = scratch + std::min(kBlockInner, inner) * round_up(rows, kTileRows);
  if (inner == 0 && !accumulate)  // an empty sum
    for (std::int64_t i = 0; i < rows; ++i) std::fill_n(y + i * y_stride, columns, T{0});
  for (std::int64_t k = 0; k < inner; k += kBlockInner) {
    const std::int64_t depth = std::min(kBlockInner, inner - k);
    const bool add = accumulate || k > 0;
    pack_x(x_packed, k, depth);
    pack_other(other_packed, k, depth);
    for (std::int64_t j = 0; j < columns; j += kTileColumns<T>)
      for (std::int64_t i = 0; i < rows; i += kTileRows) {
        T* y_tile = y + i * y_stride + j;
        const T* x_panel = x_packed + i * depth;
        const T* other_panel = other_packed + j * depth;
        if (rows - i >= kTileRows && columns - j >= kTileColumns<T>)
          multiply_tile(depth, x_panel, other_panel, y_tile, y_stride, add);
        else
          multiply_edge_tile(depth, x_panel, other_panel, y_tile, y_stride,
                             std::min<std::int64_t>(rows - i, kTileRows),
                             std::min<std::int64_t>(columns - j, kTileColumns<T>), add);
      }
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
