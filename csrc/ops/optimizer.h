// Contracts of the optimizer steps: one kernel call updates all parameters of a group.
#pragma once

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

// One parameter with its gradient and state; all contiguous, of one dtype and `size` elements.
struct OptimizerEntry {
  DType dtype;  // float32 or float64
  std::int64_t size;
  void* parameter;
  const void* grad;
  void* state[3];  // what they are is said in each step below; null if the options do without
  double step;     // how many steps this parameter has taken, this one included
};

// What every step knows.
struct OptimizerStep {
  const OptimizerEntry* entries;
  std::int64_t count;
  double lr;
  double weight_decay;
  bool maximize;  // ascend: the gradient's sign is reversed
};

// Gradient descent with momentum (Sutskever et al., 2013, for nesterov). State: momentum buffer.
struct SgdStep {
  OptimizerStep common;
  double momentum, dampening;
  bool nesterov;
};

// Adam (Kingma and Ba, 2015); AMSGrad (Reddi et al., 2018); with decoupled weight decay AdamW
// (Loshchilov and Hutter, 2019). State: mean, mean square, largest mean square (amsgrad).
struct AdamStep {
  OptimizerStep common;
  double beta1, beta2, eps;
  bool amsgrad, decoupled_weight_decay;
};

// RMSprop (Hinton, 2012); centered as in Graves, 2013. State: mean square, mean (centered),
// momentum buffer (momentum > 0).
struct RmspropStep {
  OptimizerStep common;
  double alpha, eps, momentum;
  bool centered;
};

}  // namespace tilegrad

TILEGRAD_CPU_KERNEL(sgd_step, SgdStep)
TILEGRAD_CPU_KERNEL(adam_step, AdamStep)
TILEGRAD_CPU_KERNEL(rmsprop_step, RmspropStep)
