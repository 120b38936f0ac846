// Contracts of the optimizer steps: one kernel call updates all parameters of a group.
#pragma once

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

// A number in the memory of a card, float32 or float64, which the host does not read: the steps of
// a captured CUDA graph count on, and follow a learning rate that is written there.
struct CardNumber {
  void* data = nullptr;  // null: there is none
  DType dtype = DType::float32;
};

// One parameter with its gradient and state; all contiguous, of one dtype and `size` elements.
struct OptimizerEntry {
  DType dtype;  // float32 or float64
  std::int64_t size;
  void* parameter;
  const void* grad;
  void* state[3];      // what they are is said in each step below; null if the options do without
  double step;         // how many steps this parameter has taken, this one included
  double scalar[2];    // numbers of this parameter alone; said in each step below
  CardNumber counter;  // of all entries or of none: the step before; CUDA counts it up, `step` is 0
  CardNumber own[2];   // with a counter, in place of scalar: said in each step below
};

// What every step knows.
struct OptimizerStep {
  const OptimizerEntry* entries;
  std::int64_t count;
  double lr;
  double weight_decay;
  bool maximize;            // ascend: the gradient's sign is reversed
  CardNumber card_lr = {};  // with counters: the learning rate, in place of lr
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
// momentum buffer (momentum > 0). Keras adds eps under the root, PyTorch behind it.
struct RmspropStep {
  OptimizerStep common;
  double alpha, eps, momentum;
  bool centered, eps_in_root;
};

// Adagrad (Duchi et al., 2011): the rate lr / (1 + (step - 1) * lr_decay) over the root of the sum
// of squares. State: that sum. eps is as in RMSprop.
struct AdagradStep {
  OptimizerStep common;
  double lr_decay, eps;
  bool eps_in_root;
};

// Adadelta (Zeiler, 2012). State: mean square of gradients, mean square of updates.
struct AdadeltaStep {
  OptimizerStep common;
  double rho, eps;
};

// Adamax (Kingma and Ba, 2015, section 7.1). State: mean, decaying largest magnitude.
struct AdamaxStep {
  OptimizerStep common;
  double beta1, beta2, eps;
};

// NAdam (Dozat, 2016). State: mean, mean square. Scalars: the factors of the gradient and of its
// mean, which follow from the schedule beta1 * (1 - 0.96^(step * momentum_decay) / 2) of momenta.
// Own: the product of all momenta so far; CUDA continues it and works out the factors.
struct NadamStep {
  OptimizerStep common;
  double beta1, beta2, eps;
  bool decoupled_weight_decay;
  double momentum_decay = 0;  // with counters
};

// RAdam (Liu et al., 2020). State: mean, mean square.
struct RadamStep {
  OptimizerStep common;
  double beta1, beta2, eps;
  bool decoupled_weight_decay;
};

// Resilient propagation (Riedmiller and Braun, 1993). State: the gradient before, step sizes.
struct RpropStep {
  OptimizerStep common;
  double shrink, grow, smallest, largest;
};

// Averaged stochastic gradient descent (Polyak and Juditsky, 1992). State: the average. Scalars:
// eta, the rate of this step, and mu, the share of the new parameter in the average. Own: the same;
// CUDA then stores those of the next step, lr / (1 + lambd * lr * step)^alpha and
// 1 / max(1, step - t0).
struct AsgdStep {
  OptimizerStep common;
  double lambd;
  double alpha = 0, t0 = 0;  // with counters
};

}  // namespace tilegrad

TILEGRAD_KERNEL(sgd_step, SgdStep)
TILEGRAD_KERNEL(adam_step, AdamStep)
TILEGRAD_KERNEL(rmsprop_step, RmspropStep)
TILEGRAD_KERNEL(adagrad_step, AdagradStep)
TILEGRAD_KERNEL(adadelta_step, AdadeltaStep)
TILEGRAD_KERNEL(adamax_step, AdamaxStep)
TILEGRAD_KERNEL(nadam_step, NadamStep)
TILEGRAD_KERNEL(radam_step, RadamStep)
TILEGRAD_KERNEL(rprop_step, RpropStep)
TILEGRAD_KERNEL(asgd_step, AsgdStep)
