// The small matrix products of a recurrent layer: a few rows times weights that are packed once for
// a whole sequence. Included once per instruction set.
//
// Unlike the product of gemm.h, the left operand is new in every step and small, so it is read
// where it lies, element by element, while the weights stay packed in panels.
#pragma once

#include "gemm.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Rows and vectors of the largest tile: its accumulators, the rows' broadcast elements and a vector
// of weights fit 32 (AVX-512, NEON) or 16 registers.
#if defined(__AVX512F__) || defined(__aarch64__)
static constexpr int kWalkRows = 6;
#else
static constexpr int kWalkRows = 3;
#endif
static constexpr int kWalkVectors = 4;

// Where the sums of a product start: null for zero, y itself to add to it, or a bias with stride 0.
template <class T>
struct WalkStart {
  const T* values = nullptr;
  Int stride = 0;

  WalkStart at(Int row, Int column) const {
    return values ? WalkStart{values + row * stride + column, stride} : *this;
  }
};

// y = start + x @ panel for a tile of kRows x kVectors vectors; panel is (inner, kVectors *
// kLanes).
template <int kRows, int kVectors, class T>
[[gnu::noinline]] static void walk_tile(Int inner, const T* x, Int x_stride, const T* panel,
                                        WalkStart<T> start, T* y, Int y_stride) {
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sum[i][v] = start.values ? load(start.values + i * start.stride + v * kLanes<T>) : Vec<T>{};
  const T* rows[kRows];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) rows[i] = x + i * x_stride;
  for (Int p = 0; p < inner; ++p, panel += kVectors * kLanes<T>) {
    T element[kRows];
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) element[i] = rows[i][p];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> weights = load(panel + v * kLanes<T>);
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) sum[i][v] += element[i] * weights;
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(y + i * y_stride + v * kLanes<T>, sum[i][v]);
}

// The rows of the next tile when `rows` are left. The last two share theirs: a tile of one or two
// rows would wait for the loads of its panel.
static inline Int walk_rows(Int rows) {
  if (rows <= kWalkRows) return rows;
  return rows < 2 * kWalkRows ? (rows + 1) / 2 : kWalkRows;
}

// All rows of one panel.
template <int kVectors, class T>
static void walk_panel(Int rows, Int inner, const T* x, Int x_stride, const T* panel,
                       WalkStart<T> start, T* y, Int y_stride) {
  for (Int i = 0; i < rows;) {
    const auto take = [&](auto count) {
      walk_tile<count(), kVectors>(inner, x + i * x_stride, x_stride, panel, start.at(i, 0),
                                   y + i * y_stride, y_stride);
      i += count();
    };
    switch (walk_rows(rows - i)) {
#if defined(__AVX512F__) || defined(__aarch64__)
      case 6:
        take(std::integral_constant<int, 6>{});
        break;
      case 5:
        take(std::integral_constant<int, 5>{});
        break;
      case 4:
        take(std::integral_constant<int, 4>{});
        break;
#endif
      case 3:
        take(std::integral_constant<int, 3>{});
        break;
      case 2:
        take(std::integral_constant<int, 2>{});
        break;
      default:
        take(std::integral_constant<int, 1>{});
    }
  }
}

// Packed weights (inner, columns).
template <class T>
struct WalkWeights {
  Int inner, columns;
  const T* panels;
};

// Calls panel(vectors, first column, columns) from left to right: panels of 4 vectors, for the rest
// of 2 and 1, the last of which may be partly empty.
template <class T, class Panel>
static inline void for_each_walk_panel(Int columns, const Panel& panel) {
  constexpr Int lanes = kLanes<T>;
  Int j = 0;
  for (; j + kWalkVectors * lanes <= columns; j += kWalkVectors * lanes)
    panel(std::integral_constant<int, kWalkVectors>{}, j, kWalkVectors * lanes);
  for (; j + lanes < columns; j += 2 * lanes)
    panel(std::integral_constant<int, 2>{}, j, std::min(columns - j, 2 * lanes));
  if (j < columns) panel(std::integral_constant<int, 1>{}, j, columns - j);
}

// weights[p][j] = source[j * across + p * along]; `panels` moves to the end of what was written.
template <class T>
static WalkWeights<T> pack_walk(T*& panels, const T* source, Int columns, Int inner, Int across,
                                Int along) {
  const WalkWeights<T> packed{inner, columns, panels};
  for_each_walk_panel<T>(columns, [&](auto vectors, Int first, Int count) {
    constexpr int width = vectors() * kLanes<T>;
    pack_panels<width>(panels, source + first * across, count, inner, across, along);
    panels += width * inner;
  });
  return packed;
}

// `columns` of y that do not fill a panel: computed in scratch memory and moved.
template <int kVectors, class T>
static void walk_edge(Int rows, Int columns, Int inner, const T* x, Int x_stride, const T* panel,
                      WalkStart<T> start, T* y, Int y_stride) {
  constexpr int width = kVectors * kLanes<T>;
  alignas(64) T tile[kWalkRows * width];
  for (Int i = 0; i < rows; i += kWalkRows) {
    const Int count = std::min<Int>(kWalkRows, rows - i);
    walk_panel<kVectors>(count, inner, x + i * x_stride, x_stride, panel, WalkStart<T>{}, tile,
                         Int{width});
    for (Int r = 0; r < count; ++r)
      for (Int j = 0; j < columns; ++j) {
        const T sum = tile[r * width + j];
        y[(i + r) * y_stride + j] =
            start.values ? start.values[(i + r) * start.stride + j] + sum : sum;
      }
  }
}

// y = start + x @ weights for a few rows. Every element is summed in the order of the inner
// dimension.
template <class T>
static void walk_product(Int rows, const T* x, Int x_stride, const WalkWeights<T>& weights,
                         WalkStart<T> start, T* y, Int y_stride) {
  const T* panel = weights.panels;
  const Int inner = weights.inner;
  for_each_walk_panel<T>(weights.columns, [&](auto vectors, Int first, Int count) {
    constexpr int width = vectors() * kLanes<T>;
    if (count == width)
      walk_panel<vectors()>(rows, inner, x, x_stride, panel, start.at(0, first), y + first,
                            y_stride);
    else
      walk_edge<vectors()>(rows, count, inner, x, x_stride, panel, start.at(0, first), y + first,
                           y_stride);
    panel += width * inner;
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
