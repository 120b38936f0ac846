// Elementwise kernels: y[i] = f(x[i], ...) over any strides, for every operation that is one
// function of one element of each operand.
//
// These are bound by memory, and a multiprocessor needs some tens of kilobytes on their way to keep
// it busy. So a thread of the dense kernel first reads kItems elements of every operand, then
// computes, then writes: 8 to 16 bytes of each operand in flight per thread, 2048 threads at 32
// registers or 1280 at 48, which is what strided operands and long functions take.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "launch.cuh"
#include "strided.h"

namespace tilegrad::cuda {

// Of two bytes it is 8: halves are computed in float32, and more of them would spill registers.
template <class T>
inline constexpr int kItems = sizeof(T) == 2 ? 4 : std::clamp<int>(16 / sizeof(T), 2, 8);

// Operands whose elements lie side by side; an input may also be one element for all.
template <class Y, class... X>
struct DenseOperands {
  static constexpr int kInputs = sizeof...(X);
  using Result = Y;
  Y* y;
  const void* x[kInputs + 1];
  bool broadcast[kInputs + 1];

  template <class F>
  __device__ Y apply(const F& f, std::int64_t i) const {
    return apply(f, i, std::index_sequence_for<X...>{});
  }
  template <class F, std::size_t... k>
  __device__ Y apply(const F& f, [[maybe_unused]] std::int64_t i, std::index_sequence<k...>) const {
    return f(static_cast<const X*>(x[k])[broadcast[k] ? 0 : i]...);
  }
};

// y may be an input itself: a thread reads its elements before it writes them.
template <class Operands, class F>
static __global__ void __launch_bounds__(kBlock)
    dense_kernel(std::int64_t size, const F f, const Operands operands) {
  using Y = typename Operands::Result;
  constexpr int items = kItems<Y>;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock * items;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kBlock * items + threadIdx.x;
       first < size; first += step) {
    Y results[items];
#pragma unroll
    for (int k = 0; k < items; ++k)
      if (first + k * kBlock < size) results[k] = operands.apply(f, first + k * kBlock);
#pragma unroll
    for (int k = 0; k < items; ++k)
      if (first + k * kBlock < size) operands.y[first + k * kBlock] = results[k];
  }
}

// Moves the pointers of all operands to element i. Divisions of 32-bit numbers are several times as
// fast as those of 64 bits, and most loops are shorter than 2^32.
template <class Index, int kOperands>
static __device__ void move_to(const StridedLoop<kOperands>& loop, Index i, char** pointers) {
  for (int d = 0; d < loop.ndim; ++d) {  // innermost first
    const Index size = static_cast<Index>(loop.shape[d]), index = i % size;
    i /= size;
#pragma unroll
    for (int k = 0; k < kOperands; ++k)
      pointers[k] += static_cast<std::int64_t>(index) * loop.strides[k][d];
  }
}

template <int kOperands>
static __device__ void pointers_at(const StridedLoop<kOperands>& loop, std::int64_t size,
                                   std::int64_t i, char** pointers) {
#pragma unroll
  for (int k = 0; k < kOperands; ++k) pointers[k] = loop.data[k];
  if (size <= 0xffffffffll) move_to(loop, static_cast<std::uint32_t>(i), pointers);
  else move_to(loop, static_cast<std::uint64_t>(i), pointers);
}

// Calls body(pointers) for every element, one pointer per operand.
template <int kOperands, class Body>
static __global__ void __launch_bounds__(kBlock)
    strided_kernel(const StridedLoop<kOperands> loop, std::int64_t size, const Body body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < size;
       i += step) {
    char* pointers[kOperands];
    pointers_at(loop, size, i, pointers);
    body(pointers);
  }
}

template <int kOperands, class Body>
static void for_each_element(const StridedLoop<kOperands>& loop, const Body& body) {
  const std::int64_t size = loop.size();
  if (size <= 0) return;
  launch(strided_kernel<kOperands, Body>, {blocks_for(size), kBlock}, loop, size, body);
}

// f on the elements that pointers point to.
template <class Y, class F, class... X>
struct ElementBody {
  F f;
  __device__ void operator()(char* const* pointers) const {
    apply(pointers, std::index_sequence_for<X...>{});
  }
  template <std::size_t... k>
  __device__ void apply(char* const* pointers, std::index_sequence<k...>) const {
    *reinterpret_cast<Y*>(pointers[0]) = f(*reinterpret_cast<const X*>(pointers[k + 1])...);
  }
};

// y[i] = f(x[i]...) where loop's operands are y, x...; F is a class with a __device__ operator().
template <class Y, class... X, class F, std::size_t... k>
static void map_elements(const StridedLoop<1 + sizeof...(X)>& loop, const F& f,
                         std::index_sequence<k...>) {
  const std::int64_t size = loop.size();
  if (size <= 0) return;
  const auto is_dense = [&](int operand, std::size_t bytes) {
    const std::int64_t stride = loop.inner_stride(operand);
    return stride == static_cast<std::int64_t>(bytes) || (operand > 0 && stride == 0);
  };
  const bool dense = size == 1 || (loop.ndim == 1 && is_dense(0, sizeof(Y)) &&
                                   (is_dense(static_cast<int>(k) + 1, sizeof(X)) && ...));
  if (!dense) return for_each_element(loop, ElementBody<Y, F, X...>{f});
  const DenseOperands<Y, X...> operands = {
      reinterpret_cast<Y*>(loop.data[0]),
      {loop.data[k + 1]..., nullptr},
      {loop.inner_stride(static_cast<int>(k) + 1) == 0 ..., false}};
  launch(dense_kernel<DenseOperands<Y, X...>, F>,
         {blocks_for((size + kItems<Y> - 1) / kItems<Y>), kBlock}, size, f, operands);
}

template <class Y, class... X, class F>
static void map_elements(const StridedLoop<1 + sizeof...(X)>& loop, const F& f) {
  map_elements<Y, X...>(loop, f, std::index_sequence_for<X...>{});
}

}  // namespace tilegrad::cuda
