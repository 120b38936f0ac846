// Contracts of the activation functions: y[i] = f(x[i]), and grad_x[i] = grad[i] * f'(value[i]).
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// The backward kernels of relu, sigmoid and tanh read the output, the others the input.
enum class ActivationOp : std::uint8_t {
  relu,     // max(x, 0)
  sigmoid,  // 1 / (1 + exp(-x))
  tanh,
  gelu,         // x * (1 + erf(x / sqrt(2))) / 2
  gelu_tanh,    // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2
  silu,         // x * sigmoid(x)
  leaky_relu,   // x > 0 ? x : a * x
  elu,          // x > 0 ? b * x : a * b * (exp(c * x) - 1)
  softplus,     // a * x > b ? x : log(1 + exp(a * x)) / a
  log_sigmoid,  // log(sigmoid(x))
  clamp,        // min(max(x, a), b)
  hardtanh,     // the same, but flat at a and b too
  hardsigmoid,  // min(max(x + 3, 0), 6) / 6
  hardswish,    // x * hardsigmoid(x)
};

struct Activation {
  ActivationOp op;
  DType dtype;          // float32 or float64; on CUDA also halves
  double a, b, c;       // parameters, as above
  StridedLoop<2> loop;  // operands: y, x; y may be x itself
};

struct ActivationBackward {
  ActivationOp op;
  DType dtype;
  double a, b, c;
  StridedLoop<3> loop;  // operands: grad_x, grad, value
};

}  // namespace tilegrad

TILEGRAD_KERNEL(activation_forward, Activation)
TILEGRAD_KERNEL(activation_backward, ActivationBackward)
