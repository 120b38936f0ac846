// Launching kernels, and turning a dtype into a type.
#pragma once

#include <algorithm>
#include <cstdint>

#include "check.cuh"
#include "dtype.h"
#include "runtime.h"
#include "strided.h"

namespace tilegrad::cuda {

inline constexpr int kBlock = 256;                    // threads
inline constexpr std::int64_t kMostBlocks = 1 << 16;  // more elements: each thread takes several

static inline unsigned blocks_for(std::int64_t size) {
  return static_cast<unsigned>(std::min((size + kBlock - 1) / kBlock, kMostBlocks));
}

// As many blocks as `count` things need that each block does `per_block` of.
static inline unsigned blocks_of(std::int64_t count, std::int64_t per_block) {
  const std::int64_t blocks = (count + per_block - 1) / per_block;
  TILEGRAD_CHECK(blocks <= 0x7fffffff, runtime, "CUDA: too many blocks, got ", blocks);
  return static_cast<unsigned>(blocks);
}

// Of the current card: 90 for 9.0.
static inline int compute_capability() {
  int device = 0, major = 0, minor = 0;
  TILEGRAD_CUDA_CHECK(cudaGetDevice(&device));
  TILEGRAD_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  TILEGRAD_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return 10 * major + minor;
}

struct Shape {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;  // what dynamic_shared() points to
};

// Launches a kernel on this thread's current stream. This is CUDA's function behind
// kernel<<<...>>>(...); being plain C++, it also compiles for the host, where tests/cuda/emulation
// runs the kernels.
template <class... Parameters, class... Arguments>
static void launch(void (*kernel)(Parameters...), const Shape& shape,
                   const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.blocks;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(current_stream());
  TILEGRAD_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, arguments...));
}

// The shared memory whose size the launch has chosen.
template <class T>
static __device__ T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char tilegrad_dynamic_shared[];
  return reinterpret_cast<T*>(tilegrad_dynamic_shared);
#else
  return static_cast<T*>(emulation::dynamic_shared());
#endif
}

// Calls body(i) for i in [0, size): one index per thread and step (a grid-stride loop). kBlocks:
// how many blocks a multiprocessor has to have room for. Without it, the compiler may spill a few
// registers for the sake of one block more. Bytes, operations and registers are the body's: the
// notes of the files that call it.
template <int kBlocks, class Body>
static __global__ void __launch_bounds__(kBlock, kBlocks)
    index_kernel(std::int64_t size, Body body) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < size;
       i += step)
    body(i);
}

template <int kBlocks = 0, class Body>
static void for_each_index(std::int64_t size, const Body& body) {
  if (size <= 0) return;
  launch(index_kernel<kBlocks, Body>, {blocks_for(size), kBlock}, size, body);
}

template <class T>
struct Type {
  using type = T;
};

// visit(dtype, [&](auto type) { using T = typename decltype(type)::type; ... }), as on the CPU.
// TILEGRAD_CUDA_COMMON_DTYPES leaves the rare ones out, for checks of what the compiler makes.
template <class Function>
static void visit(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::boolean:
      return function(Type<bool>{});
#if !defined(TILEGRAD_CUDA_COMMON_DTYPES)
    case DType::uint8:
      return function(Type<std::uint8_t>{});
    case DType::int8:
      return function(Type<std::int8_t>{});
    case DType::int16:
      return function(Type<std::int16_t>{});
    case DType::int32:
      return function(Type<std::int32_t>{});
    case DType::float64:
      return function(Type<double>{});
#endif
    case DType::int64:
      return function(Type<std::int64_t>{});
    default:
      return function(Type<float>{});
  }
}

template <class Function>
static void visit_floating(DType dtype, const Function& function) {
#if !defined(TILEGRAD_CUDA_COMMON_DTYPES)
  if (dtype == DType::float64) return function(Type<double>{});
#endif
  function(Type<float>{});
}

}  // namespace tilegrad::cuda
