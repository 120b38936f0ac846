// Contracts of the losses that compare element by element: y[i] = f(x[i], target[i]), their sum,
// and grad_x[i] = grad * f'(x[i], target[i]).
#pragma once

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

enum class LossKind : std::uint8_t {  // d is x - target, p the parameter
  squared,                            // d * d
  absolute,                           // |d|
  smooth_l1,                          // |d| < p ? d * d / (2 * p) : |d| - p / 2
  huber,                              // |d| <= p ? d * d / 2 : p * (|d| - p / 2)
  probability,                        // -(target * log(x) + (1 - target) * log(1 - x))
  logit,                              // the same of sigmoid(x)
};

// All arrays are contiguous and of one dtype.
struct Loss {
  LossKind kind;
  DType dtype;  // float32 or float64
  double parameter;
  std::int64_t size;
  const void* x;
  const void* target;
  void* y = nullptr;           // loss: (size); loss_sum: one element, `scale` times the sum
  double scale = 1;            // loss_sum, and loss_backward with `one_grad`
  const void* grad = nullptr;  // loss_backward: (size), or one element
  bool one_grad = false;
  void* grad_x = nullptr;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(loss, Loss)
TILEGRAD_KERNEL(loss_sum, Loss)
TILEGRAD_KERNEL(loss_backward, Loss)
