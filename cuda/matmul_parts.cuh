// What all kernels of matmul share: the operands of one product of a batch, tiles, and what follows
// the sum.
#pragma once

#include "launch.cuh"
#include "ops/matmul.h"
#include "sums.cuh"

namespace tilegrad::cuda {

template <class T>
struct Operands {
  const T* x;
  const T* other;
  const T* residual;
  T* y;
};

// The operands of product number `batch`, as on the CPU: innermost batch dimension first.
template <class T>
static __device__ Operands<T> operands_of(const Matmul& args, std::int64_t batch) {
  std::int64_t x_offset = 0, other_offset = 0, residual_offset = 0, rest = batch;
  for (int d = 0; d < args.batch_ndim; ++d) {
    const std::int64_t index = rest % args.batch_shape[d];
    rest /= args.batch_shape[d];
    x_offset += index * args.x_batch_strides[d];
    other_offset += index * args.other_batch_strides[d];
    residual_offset += index * args.residual_batch_strides[d];
  }
  return {static_cast<const T*>(args.x) + x_offset,
          static_cast<const T*>(args.other) + other_offset,
          args.residual ? static_cast<const T*>(args.residual) + residual_offset : nullptr,
          static_cast<T*>(args.y) + batch * args.rows * args.columns};
}

// activation(sum + bias + residual) for one element of y.
template <class T>
static __device__ T finished(const Matmul& args, const Operands<T>& m, std::int64_t row,
                             std::int64_t column, Sum<T> sum) {
  if (args.bias) sum += static_cast<const Sum<T>*>(args.bias)[column];
  if (m.residual)
    sum += static_cast<Sum<T>>(
        m.residual[row * args.residual_row_stride + column * args.residual_column_stride]);
  if constexpr (std::is_floating_point_v<Sum<T>>) {
    if (args.activation == MatmulActivation::relu) sum = sum > 0 || sum != sum ? sum : Sum<T>{0};
    if (args.activation == MatmulActivation::gelu)
      sum = sum * Sum<T>(0.5) * erfc(-sum * Sum<T>(0.70710678118654752440));
  }
  return static_cast<T>(sum);
}

// The place of a block of tiles: rows count fastest within groups of kGroup of them, so that blocks
// which run at one time share rows of x and columns of the other operand in the second cache.
struct TilePlace {
  std::int64_t row, column, batch;
};
static __device__ inline TilePlace tile_place(std::int64_t row_tiles, std::int64_t column_tiles,
                                              int tile_rows, int tile_columns) {
  constexpr std::int64_t kGroup = 8;
  const std::int64_t tiles = row_tiles * column_tiles, number = blockIdx.x;
  const std::int64_t batch = number / tiles, rest = number % tiles;
  const std::int64_t first = rest / (kGroup * column_tiles) * kGroup;
  const std::int64_t size = min(kGroup, row_tiles - first);
  const std::int64_t within = rest - first * column_tiles;
  return {(first + within % size) * tile_rows, within / size * tile_columns, batch};
}

static inline std::int64_t tiles_along(std::int64_t size, int tile) {
  return (size + tile - 1) / tile;
}

}  // namespace tilegrad::cuda
