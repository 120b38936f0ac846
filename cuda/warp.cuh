// Reductions within a warp and a block, in a fixed order: the same bits on every run and card.
#pragma once

#include <cuda_runtime.h>

namespace tilegrad::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Two sums that are made in one pass.
template <class T>
struct Pair {
  T first, second;
};

// The value of the lane whose number differs in the bit `distance`.
template <class T>
static __device__ T exchanged(T value, int distance) {
  return __shfl_xor_sync(kAllLanes, value, distance);
}
template <class T>
static __device__ Pair<T> exchanged(Pair<T> value, int distance) {
  return {exchanged(value.first, distance), exchanged(value.second, distance)};
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
  template <class T>
  __device__ Pair<T> operator()(Pair<T> a, Pair<T> b) const {
    return {a.first + b.first, a.second + b.second};
  }
};
struct Larger {  // NaN wins, from either side
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

// combine(...) of all lanes' values, in every lane: pairs at distance 16, then 8, 4, 2, 1. Every
// lane of the warp must call it.
template <class T, class Combine>
static __device__ T warp_reduce(T value, const Combine& combine) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    // The lower lane's value first, so that all lanes get the same bits from any combine.
    const T other = exchanged(value, distance);
    value = threadIdx.x & distance ? combine(other, value) : combine(value, other);
  }
  return value;
}

// The same for a group of kThreads threads of a block: one warp, or all kThreads of the block, all
// of which must call it. Each warp reduces, then every warp reduces the warps' results. `neutral`
// leaves other values as they are.
template <int kThreads, class T, class Combine>
static __device__ T group_reduce(T value, T neutral, const Combine& combine) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kThreads % kWarp == 0 && kWarps <= kWarp);
  value = warp_reduce(value, combine);
  if constexpr (kWarps == 1) {
    return value;
  } else {
    __shared__ T of_warps[kWarps];
    __syncthreads();  // the call before this one may still be reading
    const int lane = threadIdx.x % kWarp;
    if (lane == 0) of_warps[threadIdx.x / kWarp] = value;
    __syncthreads();
    return warp_reduce(lane < kWarps ? of_warps[lane] : neutral, combine);
  }
}

template <int kThreads, class T>
static __device__ T group_sum(T value) {
  return group_reduce<kThreads>(value, T{}, Add{});
}

}  // namespace tilegrad::cuda
