// Contract of normalization over rows: y = (x - mean) * rstd * weight + bias (layer normalization),
// or y = x * rstd * weight (root mean square).
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// One struct serves both kernels. All arrays are contiguous and of one dtype, but of halves, which
// only CUDA takes, what is not (rows, size) is float32.
struct LayerNorm {
  DType dtype;              // float32 or float64; on CUDA also halves
  std::int64_t rows, size;  // size > 0
  bool centered = true;     // false: root mean square, where mean is null
  double eps = 0;
  const void* x = nullptr;       // (rows, size)
  const void* weight = nullptr;  // (size), or null: ones
  const void* bias = nullptr;    // (size), or null: zeros
  void* y = nullptr;             // (rows, size)
  void* mean = nullptr;          // (rows)
  void* rstd = nullptr;          // (rows): 1 / sqrt(variance + eps)

  // layer_norm_backward; each result may be null if it is not wanted.
  const void* grad_y = nullptr;
  void* grad_x = nullptr;
  void* grad_weight = nullptr;
  void* grad_bias = nullptr;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(layer_norm, LayerNorm)           // y, mean, rstd from x
TILEGRAD_KERNEL(layer_norm_backward, LayerNorm)  // grad_* from x, grad_y, mean, rstd
