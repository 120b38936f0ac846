// Launching kernels, and walking strided operands on the device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "check.cuh"
#include "dtype.h"
#include "strided.h"

namespace tilegrad::cuda {

inline constexpr int kBlock = 256;                    // threads
inline constexpr std::int64_t kMostBlocks = 1 << 16;  // more elements: each thread takes several

static inline unsigned blocks_for(std::int64_t size) {
  return static_cast<unsigned>(std::min((size + kBlock - 1) / kBlock, kMostBlocks));
}

// Calls body(i) for i in [0, size): one index per thread and step (a grid-stride loop).
template <class Body>
static __global__ void __launch_bounds__(kBlock) index_kernel(std::int64_t size, Body body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < size;
       i += step)
    body(i);
}

template <class Body>
static void for_each_index(std::int64_t size, const Body& body) {
  if (size <= 0) return;
  index_kernel<<<blocks_for(size), kBlock>>>(size, body);
  TILEGRAD_CUDA_CHECK(cudaGetLastError());
}

// Calls body(pointers) for every element of the loop, one pointer per operand. The branch is the
// same for all threads; one dimension, as contiguous operands arrive, needs no division.
template <int kOperands, class Body>
static __global__ void __launch_bounds__(kBlock)
    element_kernel(const StridedLoop<kOperands> loop, std::int64_t size, const Body body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < size;
       i += step) {
    char* pointers[kOperands];
#pragma unroll
    for (int k = 0; k < kOperands; ++k)
      pointers[k] = loop.data[k] + (loop.ndim == 1 ? i * loop.strides[k][0] : 0);
    if (loop.ndim > 1) {
      std::int64_t rest = i;  // position, dimension by dimension, innermost first
      for (int d = 0; d < loop.ndim; ++d) {
        const std::int64_t index = rest % loop.shape[d];
        rest /= loop.shape[d];
#pragma unroll
        for (int k = 0; k < kOperands; ++k) pointers[k] += index * loop.strides[k][d];
      }
    }
    body(pointers);
  }
}

template <int kOperands, class Body>
static void for_each_element(const StridedLoop<kOperands>& loop, const Body& body) {
  const std::int64_t size = loop.size();
  if (size <= 0) return;
  element_kernel<<<blocks_for(size), kBlock>>>(loop, size, body);
  TILEGRAD_CUDA_CHECK(cudaGetLastError());
}

template <class T>
struct Type {
  using type = T;
};

// visit(dtype, [&](auto type) { using T = typename decltype(type)::type; ... }), as on the CPU.
template <class Function>
static void visit(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::boolean:
      return function(Type<bool>{});
    case DType::uint8:
      return function(Type<std::uint8_t>{});
    case DType::int8:
      return function(Type<std::int8_t>{});
    case DType::int16:
      return function(Type<std::int16_t>{});
    case DType::int32:
      return function(Type<std::int32_t>{});
    case DType::int64:
      return function(Type<std::int64_t>{});
    case DType::float64:
      return function(Type<double>{});
    default:
      return function(Type<float>{});
  }
}

}  // namespace tilegrad::cuda
