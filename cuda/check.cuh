// CUDA_CHECK: every call of the CUDA runtime, and every launch, is followed by it. Never aborts.
#pragma once

#include <cuda_runtime.h>

#include "check.h"

// Throws a RuntimeError with CUDA's own name and explanation of the failure.
#define TILEGRAD_CUDA_CHECK(call)                                                               \
  do {                                                                                          \
    const cudaError_t tilegrad_cuda_result = (call);                                            \
    if (tilegrad_cuda_result != cudaSuccess) {                                                  \
      cudaGetLastError(); /* an error that can be cleared must not show up in the next check */ \
      ::tilegrad::fail(::tilegrad::ErrorKind::runtime, "CUDA error in ", #call, ": ",           \
                       cudaGetErrorString(tilegrad_cuda_result), " (",                          \
                       cudaGetErrorName(tilegrad_cuda_result), ")");                            \
    }                                                                                           \
  } while (false)
