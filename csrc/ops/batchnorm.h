// Contract of batch normalization: y = (x - mean) * rstd * weight + bias, per channel, and what is
// fused with it: y = relu(... + residual).
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// One struct serves all kernels. All arrays are contiguous and of one dtype, but of halves, which
// only CUDA takes, what has one element per channel is float32; weight and bias may be null. x, y
// and what goes with them are (batch, channels, length), everything else has one element per
// channel. Channels-last tensors come with length 1 and every pixel in `batch`.
struct BatchNorm {
  DType dtype;  // float32 or float64; on CUDA also halves
  std::int64_t batch, channels, length;
  double eps = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;
  const void* residual = nullptr;  // added before the ReLU, unless null
  bool relu = false;
  void* y = nullptr;
  void* mean = nullptr;
  void* rstd = nullptr;  // 1 / sqrt(variance + eps)

  // batchnorm_train: blended into, with the unbiased variance, unless null. batchnorm_rstd: read.
  void* running_mean = nullptr;
  void* running_var = nullptr;
  double momentum = 0;  // the share of the new value

  // batchnorm_backward. grad_x and grad_residual may be null if they are not wanted; with relu, y
  // tells where it let values pass.
  const void* grad_y = nullptr;
  void* grad_x = nullptr;
  void* grad_residual = nullptr;  // with relu only: else it is grad_y itself
  void* grad_weight = nullptr;
  void* grad_bias = nullptr;
  bool training = false;  // mean and rstd came from x, so they carry gradient too
};

}  // namespace tilegrad

TILEGRAD_KERNEL(batchnorm_train, BatchNorm)     // mean, rstd, running_* and y from x
TILEGRAD_KERNEL(batchnorm_rstd, BatchNorm)      // rstd from running_var and eps
TILEGRAD_KERNEL(batchnorm_forward, BatchNorm)   // y from x, mean, rstd
TILEGRAD_KERNEL(batchnorm_backward, BatchNorm)  // grad_* from x, grad_y, mean, rstd
