// What all kernels of matmul share: the operands of one product of a batch, tiles, runs of the
// inner dimension (runs.cuh), and what follows the sum.
#pragma once

#include "divide.cuh"
#include "launch.cuh"
#include "ops/matmul.h"
#include "runs.cuh"
#include "scratch.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {

template <class T>
struct Operands {
  const T* x;
  const T* other;
  const T* residual;
  T* y;
};

// Blocks count run by run through all products of the batch.
struct Runs : Cut {
  std::int64_t batches;
  void* sums = nullptr;  // (count, batches, rows, columns) of Sum<T>, where there are several
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

// Where a block stands along the inner dimension.
struct Run {
  std::int64_t batch, first, inner;
};
static __device__ inline Run run_of(const Matmul& args, const Runs& runs, std::int64_t number) {
  if (runs.count == 1) return {number, 0, args.inner};
  const Divided run = divide(number, runs.batches);
  const std::int64_t first = run.quotient * runs.length;
  return {run.remainder, first, min(runs.length, args.inner - first)};
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

// The sum of one element of a tile: that of a run is kept, for add_runs_kernel, another finished.
template <class T>
static __device__ void store_sum(const Matmul& args, const Runs& runs, const Operands<T>& m,
                                 std::int64_t number, std::int64_t row, std::int64_t column,
                                 Sum<T> sum) {
  const std::int64_t at = row * args.columns + column;
  if (runs.count == 1) m.y[at] = finished(args, m, row, column, sum);
  else static_cast<Sum<T>*>(runs.sums)[number * args.rows * args.columns + at] = sum;
}

// Reads a run's sums once each and writes y: 4 bytes and an addition an element and run. Up to 32
// registers: 8 blocks of 256 threads on a multiprocessor.
template <class T>
static __global__ void __launch_bounds__(kBlock)
    add_runs_kernel(const Matmul args, const Runs runs) {
  const Operands<T> m = operands_of<T>(args, blockIdx.y);
  const std::int64_t size = args.rows * args.columns;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < size;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const Sum<T>* from = static_cast<const Sum<T>*>(runs.sums) + blockIdx.y * size + i;
    Sum<T> sum = *from;
#pragma unroll 4
    for (std::int64_t run = 1; run < runs.count; ++run) sum += from[run * runs.batches * size];
    const Divided place = divide(i, args.columns);
    m.y[i] = finished(args, m, place.quotient, place.remainder, sum);
  }
}

// The place of a block of tiles: rows count fastest within groups of kGroup of them, so that blocks
// which run at one time share rows of x and columns of the other operand in the second cache.
struct TilePlace {
  std::int64_t row, column;
  std::int64_t number;  // of the product, and of the run: see run_of
};
static __device__ inline TilePlace tile_place(std::int64_t row_tiles, std::int64_t column_tiles,
                                              int tile_rows, int tile_columns) {
  constexpr std::int64_t kGroup = 8;
  const std::int64_t tiles = row_tiles * column_tiles, block = blockIdx.x;
  const std::int64_t number = block / tiles, rest = block % tiles;
  const std::int64_t first = rest / (kGroup * column_tiles) * kGroup;
  const std::int64_t size = min(kGroup, row_tiles - first);
  const std::int64_t within = rest - first * column_tiles;
  return {(first + within % size) * tile_rows, within / size * tile_columns, number};
}

static inline std::int64_t tiles_along(std::int64_t size, int tile) {
  return (size + tile - 1) / tile;
}

// Of a product in square tiles of that size.
static inline Runs runs_of(const Matmul& args, int tile, int resident, std::int64_t shortest) {
  constexpr std::int64_t kStep = 64;  // whole stages, whatever the dtype
  const std::int64_t tiles =
      tiles_along(args.rows, tile) * tiles_along(args.columns, tile) * args.batch();
  return {cut_into_runs(tiles, args.inner, resident, shortest, kStep), args.batch()};
}

static inline std::int64_t blocks_in_tiles(const Matmul& args, const Runs& runs, int tile_rows,
                                           int tile_columns) {
  return tiles_along(args.rows, tile_rows) * tiles_along(args.columns, tile_columns) *
         runs.batches * runs.count;
}

// Whether there are enough tiles of 128 x 128 to keep a card busy.
static inline bool takes_large_tiles(const Matmul& args, const Runs& runs) {
  return args.rows > 64 && args.columns > 64 && blocks_in_tiles(args, runs, 128, 128) >= 64;
}

// launch_runs(runs), and what follows where there are several.
template <class T, class Launch>
static void multiply_in_runs(const Matmul& args, Runs runs, const Launch& launch_runs) {
  const std::int64_t size = args.rows * args.columns;
  const std::int64_t sums = runs.count == 1 ? 0 : runs.count * runs.batches * size;
  const Scratch memory(static_cast<std::size_t>(sums) * sizeof(Sum<T>));
  runs.sums = memory.data;
  launch_runs(runs);
  if (runs.count == 1) return;
  const dim3 blocks(blocks_for(size), static_cast<unsigned>(runs.batches));
  launch(add_runs_kernel<T>, {blocks, kBlock}, args, runs);
}

}  // namespace tilegrad::cuda
