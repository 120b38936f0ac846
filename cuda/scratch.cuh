// Memory that a kernel needs while it runs.
#pragma once

#include <cstddef>

#include "check.cuh"
#include "runtime.h"

namespace tilegrad::cuda {

// From the pool of the current device. It may be returned as soon as the kernels that use it are
// queued: whoever gets it next is queued behind them.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) {
    if (bytes == 0) return;
    TILEGRAD_CUDA_CHECK(cudaGetDevice(&device_));
    data = allocate(bytes, device_);
  }
  ~Scratch() { free(data, device_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data = nullptr;

 private:
  int device_ = 0;
};

}  // namespace tilegrad::cuda
