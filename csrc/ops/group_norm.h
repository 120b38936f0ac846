// Contract of group normalization: y = (x - mean) * rstd * weight + bias, with one mean and
// variance for each group of channels of each sample.
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// One struct serves both kernels. All arrays are contiguous and of one dtype, but of halves, which
// only CUDA takes, what is not (batch, channels, length) is float32; weight and bias may be null.
struct GroupNorm {
  DType dtype;                                   // float32 or float64; on CUDA also halves
  std::int64_t batch, channels, groups, length;  // groups divides channels; none is 0
  double eps = 0;
  const void* x = nullptr;       // (batch, channels, length)
  const void* weight = nullptr;  // (channels)
  const void* bias = nullptr;    // (channels)
  void* y = nullptr;             // (batch, channels, length)
  void* mean = nullptr;          // (batch, groups)
  void* rstd = nullptr;          // (batch, groups): 1 / sqrt(variance + eps)

  // group_norm_backward; grad_x may be null if it is not wanted.
  const void* grad_y = nullptr;
  void* grad_x = nullptr;
  void* grad_weight = nullptr;
  void* grad_bias = nullptr;

  [[gnu::always_inline]] std::int64_t together() const {
    return channels / groups;
  }  // channels of a group
};

}  // namespace tilegrad

TILEGRAD_KERNEL(group_norm, GroupNorm)           // y, mean, rstd from x
TILEGRAD_KERNEL(group_norm_backward, GroupNorm)  // grad_* from x, grad_y, mean, rstd
