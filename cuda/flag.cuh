// What kernels tell the host: numbers that are read back, and a flag for "something was wrong".
#pragma once

#include "launch.cuh"
#include "scratch.cuh"

namespace tilegrad::cuda {

// Copies device memory to the host, after the kernels that write it.
static inline void read_back(void* to, const void* from, std::size_t bytes) {
  int device = 0;
  TILEGRAD_CUDA_CHECK(cudaGetDevice(&device));
  copy(to, -1, from, device, bytes);
}

struct LowerFlag {
  int* flag;
  __device__ void operator()(std::int64_t) const { *flag = 0; }
};

// Lowered at first; a kernel raises it, and the host waits for the kernel to ask.
class Flag {
 public:
  Flag() : memory_(sizeof(int)) { for_each_index(1, LowerFlag{pointer()}); }
  int* pointer() const { return static_cast<int*>(memory_.data); }
  bool is_raised() const {
    int value = 0;
    read_back(&value, memory_.data, sizeof(value));
    return value != 0;
  }

 private:
  Scratch memory_;
};

static __device__ inline void raise_flag(int* flag) { atomicOr(flag, 1); }

}  // namespace tilegrad::cuda
