// Reductions over any dimensions along a fixed tree, for every operation that is a fold.
//
// The reduced elements of one output are cut into leaves of a fixed size; a leaf is folded by one
// group of threads, and the leaves of an output by another, in order. So the tree, and with it
// every rounding, depends on sizes and strides alone, not on the card. Two ways through memory:
//
//   rows     the reduced elements lie side by side: a warp or a block takes one output;
//   columns  the kept elements lie side by side: each of 32 lanes takes one output, and 8 warps
//            share the rows.
//
// Reads every element once, for one fold of it. 256 threads at up to 48 registers: 5 blocks, 1280
// threads of a multiprocessor, each with several independent loads on their way.
#pragma once

#include <algorithm>

#include "launch.cuh"
#include "ops/reduce.h"
#include "scratch.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {

// An operation is a class with
//   using Accumulator = ...;
//   Accumulator identity() const;
//   Accumulator lift(std::int64_t offset, std::int64_t output) const;   // one element
//   Accumulator operator()(Accumulator a, Accumulator b) const;         // combines
//   void store(std::int64_t output, Accumulator result) const;
// all of them __device__; `offset` counts elements from the beginning of what is reduced.

inline constexpr std::int64_t kRowLeaf = 16384;    // elements: 64 for each thread of a block
inline constexpr std::int64_t kColumnLeaf = 1024;  // rows: 128 for each warp
inline constexpr std::int64_t kShortRow = 1024;    // up to here a warp is enough
inline constexpr int kRowsOfWarps = kBlock / kWarp;

// Where an index (counted over all dimensions, the innermost fastest) lies, in elements.
template <class Index>
static __device__ std::int64_t walk_to(Index index, int ndim, const std::int64_t* shape,
                                       const std::int64_t* strides) {
  std::int64_t offset = 0;
  for (int d = 0; d < ndim; ++d) {
    const Index size = static_cast<Index>(shape[d]);
    offset += static_cast<std::int64_t>(index % size) * strides[d];
    index /= size;
  }
  return offset;
}
static __device__ inline std::int64_t place_of(std::int64_t index, int ndim,
                                               const std::int64_t* shape,
                                               const std::int64_t* strides) {
  if (ndim == 0) return 0;
  if (ndim == 1) return index * strides[0];
  if (index <= 0xffffffffll)  // divisions of 32 bits are several times as fast
    return walk_to(static_cast<std::uint32_t>(index), ndim, shape, strides);
  return walk_to(static_cast<std::uint64_t>(index), ndim, shape, strides);
}
static __device__ inline std::int64_t kept_place(const ReduceShape& s, std::int64_t output) {
  return place_of(output, s.kept_ndim, s.kept_shape, s.kept_strides);
}
static __device__ inline std::int64_t reduced_place(const ReduceShape& s, std::int64_t index) {
  return place_of(index, s.reduced_ndim, s.reduced_shape, s.reduced_strides);
}

// What a stage of a reduction knows. `partial` is null where an output has but one leaf.
template <class A>
struct Leaves {
  std::int64_t kept, reduced, count, size;  // count: leaves of an output, of `size` elements
  A* partial;                               // (kept, count)
};

template <class Op, class A>
static __device__ void finish_leaf(const Op& op, const Leaves<A>& leaves, std::int64_t output,
                                   std::int64_t leaf, A result) {
  if (leaves.partial) leaves.partial[output * leaves.count + leaf] = result;
  else op.store(output, result);
}

// Folds the reduced elements first, first + step, ... below end of the output that begins at
// `base`.
template <class Op>
static __device__ typename Op::Accumulator fold_strided(const Op& op, const ReduceShape& shape,
                                                        std::int64_t base, std::int64_t output,
                                                        std::int64_t first, std::int64_t end,
                                                        int step) {
  typename Op::Accumulator result = op.identity();
  if (shape.reduced_ndim <= 1) {
    const std::int64_t stride = shape.reduced_ndim == 0 ? 0 : shape.reduced_strides[0];
#pragma unroll 4
    for (std::int64_t i = first; i < end; i += step)
      result = op(result, op.lift(base + i * stride, output));
  } else {
#pragma unroll 1
    for (std::int64_t i = first; i < end; i += step)
      result = op(result, op.lift(base + reduced_place(shape, i), output));
  }
  return result;
}

// One group of kThreads threads (a warp or a block) folds one leaf of one output.
template <int kThreads, class Op>
static __global__ void __launch_bounds__(kBlock)
    rows_kernel(const Op op, const ReduceShape shape,
                const Leaves<typename Op::Accumulator> leaves) {
  using A = typename Op::Accumulator;
  const std::int64_t task =
      static_cast<std::int64_t>(blockIdx.x) * (kBlock / kThreads) + threadIdx.x / kThreads;
  if (task >= leaves.kept * leaves.count) return;  // a whole warp
  const std::int64_t output = task / leaves.count, leaf = task % leaves.count;
  const std::int64_t first = leaf * leaves.size;
  const std::int64_t end = min(first + leaves.size, leaves.reduced);
  const std::int64_t base = kept_place(shape, output);
  A result = fold_strided(op, shape, base, output, first + threadIdx.x % kThreads, end, kThreads);
  result = group_reduce<kThreads>(result, op.identity(), op);
  if (threadIdx.x % kThreads == 0) finish_leaf(op, leaves, output, leaf, result);
}

// 32 outputs side by side, one leaf of each: warp w takes rows w, w + 8, ...
template <class Op>
static __global__ void __launch_bounds__(kBlock)
    columns_kernel(const Op op, const ReduceShape shape,
                   const Leaves<typename Op::Accumulator> leaves) {
  using A = typename Op::Accumulator;
  __shared__ A of_warps[kRowsOfWarps][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::int64_t leaf = blockIdx.x % leaves.count;
  const std::int64_t output = blockIdx.x / leaves.count * kWarp + lane;
  A result = op.identity();
  if (output < leaves.kept) {
    const std::int64_t first = leaf * leaves.size;
    const std::int64_t end = min(first + leaves.size, leaves.reduced);
    result =
        fold_strided(op, shape, kept_place(shape, output), output, first + warp, end, kRowsOfWarps);
  }
  of_warps[warp][lane] = result;
  __syncthreads();
  if (warp != 0 || output >= leaves.kept) return;
  for (int other = 1; other < kRowsOfWarps; ++other) result = op(result, of_warps[other][lane]);
  finish_leaf(op, leaves, output, leaf, result);
}

// The second stage: folds the leaves, which lie side by side for each output.
template <class Op>
struct OfLeaves {
  using Accumulator = typename Op::Accumulator;
  Op op;
  const Accumulator* partial;
  __device__ Accumulator identity() const { return op.identity(); }
  __device__ Accumulator lift(std::int64_t offset, std::int64_t) const { return partial[offset]; }
  __device__ Accumulator operator()(Accumulator a, Accumulator b) const { return op(a, b); }
  __device__ void store(std::int64_t output, Accumulator a) const { op.store(output, a); }
};

// Folds all of `count` elements into one output.
static inline ReduceShape line_shape(std::int64_t count) {
  ReduceShape shape;
  shape.reduced_ndim = 1;
  shape.reduced_shape[0] = count;
  shape.reduced_strides[0] = 1;
  return shape;
}

// Ops whose outputs each fold a run of memory have no kernel for columns: they say so by
// `using Runs = void`.
template <class Op>
concept FoldsRuns = requires { typename Op::Runs; };

template <class Op>
static bool folds_columns(const ReduceShape& shape) {
  return !FoldsRuns<Op> && shape.kept_ndim > 0 && shape.kept_strides[0] != 0 &&
         (shape.reduced_ndim == 0 || shape.reduced_strides[0] == 0 ||
          shape.kept_strides[0] < shape.reduced_strides[0]);
}

template <class Op>
static void reduce_by(const Op& op, const ReduceShape& shape) {
  using A = typename Op::Accumulator;
  Leaves<A> leaves = {shape.kept(), shape.reduced(), 1, 0, nullptr};
  if (leaves.kept == 0) return;
  const bool columns = folds_columns<Op>(shape);
  leaves.size = columns ? kColumnLeaf : kRowLeaf;
  leaves.count = std::max<std::int64_t>(1, (leaves.reduced + leaves.size - 1) / leaves.size);
  const Scratch partial(
      leaves.count == 1 ? 0 : static_cast<std::size_t>(leaves.kept * leaves.count) * sizeof(A));
  leaves.partial = static_cast<A*>(partial.data);
  if (columns) {
    const std::int64_t blocks = (leaves.kept + kWarp - 1) / kWarp * leaves.count;
    if constexpr (!FoldsRuns<Op>)
      launch(columns_kernel<Op>, {blocks_of(blocks, 1), kBlock}, op, shape, leaves);
  } else if (std::min(leaves.reduced, leaves.size) <= kShortRow) {
    const std::int64_t tasks = leaves.kept * leaves.count;
    launch(rows_kernel<kWarp, Op>, {blocks_of(tasks, kRowsOfWarps), kBlock}, op, shape, leaves);
  } else {
    const std::int64_t tasks = leaves.kept * leaves.count;
    launch(rows_kernel<kBlock, Op>, {blocks_of(tasks, 1), kBlock}, op, shape, leaves);
  }
  if (leaves.count == 1) return;
  ReduceShape of_leaves = line_shape(leaves.count);
  of_leaves.kept_ndim = 1;
  of_leaves.kept_shape[0] = leaves.kept;
  of_leaves.kept_strides[0] = leaves.count;
  launch(rows_kernel<kWarp, OfLeaves<Op>>, {blocks_of(leaves.kept, kRowsOfWarps), kBlock},
         OfLeaves<Op>{op, leaves.partial}, of_leaves,
         Leaves<A>{leaves.kept, leaves.count, 1, leaves.count, nullptr});
}

}  // namespace tilegrad::cuda
