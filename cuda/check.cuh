// CUDA_CHECK: every call of the CUDA runtime, and every launch, is followed by it. Never aborts.
#pragma once

#include <cuda_runtime.h>

#include "check.h"

namespace tilegrad::cuda {

// After some errors CUDA refuses everything that this process asks of the card.
static inline const char* consequence_of(cudaError_t result) {
  cudaGetLastError();  // an error that can be cleared must not show up in the next check
  switch (static_cast<int>(result)) {
    case 700:  // cudaErrorIllegalAddress
    case 710:  // cudaErrorAssert
    case 714:  // cudaErrorHardwareStackError
    case 715:  // cudaErrorIllegalInstruction
    case 716:  // cudaErrorMisalignedAddress
    case 717:  // cudaErrorInvalidAddressSpace
    case 718:  // cudaErrorInvalidPc
    case 719:  // cudaErrorLaunchFailure
      return ". A kernel failed while it ran: this process cannot use the card any longer";
    case 209:  // cudaErrorNoKernelImageForDevice
      return ". This build has no code for the card's architecture (tilegrad.show_config() says "
             "for "
             "which it has)";
    default:
      return "";
  }
}

}  // namespace tilegrad::cuda

// Throws a RuntimeError with CUDA's own name and explanation of the failure.
#define TILEGRAD_CUDA_CHECK(call)                                                                \
  do {                                                                                           \
    const cudaError_t tilegrad_cuda_result = (call);                                             \
    if (tilegrad_cuda_result != cudaSuccess) {                                                   \
      const char* tilegrad_consequence = ::tilegrad::cuda::consequence_of(tilegrad_cuda_result); \
      ::tilegrad::fail(::tilegrad::ErrorKind::runtime, "CUDA error in ", #call, ": ",            \
                       cudaGetErrorString(tilegrad_cuda_result), " (",                           \
                       cudaGetErrorName(tilegrad_cuda_result), ")", tilegrad_consequence);       \
    }                                                                                            \
  } while (false)
