// What kernels tell the host: numbers that are read back, and a flag for "something was wrong".
// In a captured graph the host cannot wait for the answer: the flag is that of all graphs, which is
// looked at later (report_faults), and is_raised() is false. So a kernel that raises one must do
// nothing else that is wrong: no access out of bounds.
#pragma once

#include "launch.cuh"
#include "scratch.cuh"
#include "state.h"

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
  Flag() : captured_(is_capturing()), memory_(captured_ ? 0 : sizeof(int)) {
    if (!captured_) for_each_index(1, LowerFlag{pointer()});
  }
  int* pointer() const { return captured_ ? fault_of_captured() : static_cast<int*>(memory_.data); }
  bool is_raised() const {
    if (captured_) return false;
    int value = 0;
    read_back(&value, memory_.data, sizeof(value));
    return value != 0;
  }

 private:
  const bool captured_;
  Scratch memory_;
};

static __device__ inline void raise_flag(int* flag, Fault fault = Fault::index) {
  atomicOr(flag, static_cast<int>(fault));
}

}  // namespace tilegrad::cuda
