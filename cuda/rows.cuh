// Kernels that take a row at a time: one warp for a short row, one block for a long one.
//
// A row is walked several times; after the first it lies in a cache near the threads, so memory
// sees it once.
#pragma once

#include "launch.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {

inline constexpr std::int64_t kShortRowOfWarp = 1024;  // elements: up to 32 for each lane

// How many loads of a row a thread has on their way. In double, where the functions are long, more
// would only spill registers.
template <class T>
inline constexpr int kUnroll = alignof(T) == alignof(double) ? 1 : 4;

// Folds lift(i) over the elements of a row: a group of kThreads threads shares them, or with 1 one
// thread takes all.
template <int kThreads, class T, class Lift, class Combine>
static __device__ T fold_row(std::int64_t length, T identity, const Lift& lift,
                             const Combine& combine) {
  const int first = kThreads == 1 ? 0 : threadIdx.x % kThreads;
  T result = identity;
#pragma unroll kUnroll < T>
  for (std::int64_t i = first; i < length; i += kThreads) result = combine(result, lift(i));
  if constexpr (kThreads == 1) return result;
  else return group_reduce<kThreads>(result, identity, combine);
}

template <int kThreads, class T, class Lift>
static __device__ T sum_row(std::int64_t length, const Lift& lift) {
  return fold_row<kThreads>(length, T{}, lift, Add{});
}

// Calls body(i) for the elements of a row that this thread has to write.
template <int kThreads, class Body>
static __device__ void write_row(std::int64_t length, const Body& body) {
  for (std::int64_t i = kThreads == 1 ? 0 : threadIdx.x % kThreads; i < length; i += kThreads)
    body(i);
}

// The row of this thread's group.
template <int kThreads>
static __device__ std::int64_t own_row() {
  return (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) / kThreads;
}

// Launches of_warp or of_block, the same kernel for groups of kWarp and of kBlock threads.
template <class... Arguments>
static void launch_rows(std::int64_t rows, std::int64_t length, void (*of_warp)(Arguments...),
                        void (*of_block)(Arguments...),
                        const std::type_identity_t<Arguments>&... arguments) {
  if (rows == 0) return;
  if (length <= kShortRowOfWarp)
    return launch(of_warp, {blocks_of(rows, kBlock / kWarp), kBlock}, arguments...);
  launch(of_block, {blocks_of(rows, 1), kBlock}, arguments...);
}

}  // namespace tilegrad::cuda
