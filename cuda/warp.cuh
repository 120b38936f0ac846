// Reductions within a warp and a block, in a fixed order: the same bits on every run and card.
#pragma once

#include <cuda_runtime.h>

namespace tilegrad::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// combine(...) of all lanes' values, in every lane: pairs at distance 16, then 8, 4, 2, 1. Every
// lane of the warp must call it.
template <class T, class Combine>
static __device__ T warp_reduce(T value, const Combine& combine) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// NaN wins, from either side.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

template <class T>
static __device__ T warp_sum(T value) {
  return warp_reduce(value, Add{});
}

// The same for a block of kThreads threads, all of which must call it: each warp reduces, then
// every warp reduces the warps' results. `neutral` leaves other values as they are.
template <int kThreads, class T, class Combine>
static __device__ T block_reduce(T value, T neutral, const Combine& combine) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kThreads % kWarp == 0 && kWarps <= kWarp);
  if constexpr (kWarps == 1) {
    return warp_reduce(value, combine);
  } else {
    __shared__ T of_warps[kWarps];
    value = warp_reduce(value, combine);
    __syncthreads();  // a call before this one may still be reading
    if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = value;
    __syncthreads();
    const int lane = threadIdx.x % kWarp;
    return warp_reduce(lane < kWarps ? of_warps[lane] : neutral, combine);
  }
}

template <int kThreads, class T>
static __device__ T block_sum(T value) {
  return block_reduce<kThreads>(value, T{0}, Add{});
}

}  // namespace tilegrad::cuda
