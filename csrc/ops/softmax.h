// Contract of softmax and log_softmax along one dimension, and of their gradients.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// All tensors are (outer, length, inner), contiguous, float32 or float64.
struct Softmax {
  bool log;
  DType dtype;
  void* y;
  const void* x;
  std::int64_t outer, length, inner;
};

struct SoftmaxBackward {
  bool log;
  DType dtype;
  void* grad_x;
  const void* grad;  // of y
  const void* y;
  std::int64_t outer, length, inner;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(softmax, Softmax)
TILEGRAD_KERNEL(softmax_backward, SoftmaxBackward)
