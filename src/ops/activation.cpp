// activation: dtype rules and bindings of the activation functions and their backward kernels.
#include "ops/activation.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "order.h"

namespace tilegrad {
namespace {

// sigmoid and tanh are ordinary functions that accept integers; the others want a floating dtype.
DType result_dtype(ActivationOp op, const char* name, DType dtype) {
  if (is_floating(dtype)) return dtype;
  TILEGRAD_CHECK(op == ActivationOp::sigmoid || op == ActivationOp::tanh, not_implemented, name,
                 ": not implemented for dtype ", info(dtype).name, "; expected a floating dtype");
  return default_dtype();
}

void compute(ActivationOp op, const Tensor& y, const Tensor& x, double a, double b, double c) {
  const Activation args{
      .op = op, .dtype = y.dtype, .a = a, .b = b, .c = c, .loop = make_loop<2>(y.shape, {&y, &x})};
  run(activation_forward_kernel, y.device(), args, 4 * y.numel());
}

Tensor activation(ActivationOp op, const char* name, const Tensor& x, double a, double b,
                  double c) {
  const DType dtype = result_dtype(op, name, x.dtype);
  Tensor y = empty(x.shape, dtype, x.device(), name);
  take_order(y, {&x});
  if (x.dtype == dtype) compute(op, y, x, a, b, c);
  else compute(op, y, to_dtype(x, dtype), a, b, c);
  return y;
}

void in_place(ActivationOp op, const char* name, const Tensor& x, double a, double b, double c) {
  const DType dtype = result_dtype(op, name, x.dtype);
  TILEGRAD_CHECK(dtype == x.dtype, runtime, name, "_: result type ", info(dtype).name,
                 " can't be cast to the desired output type ", info(x.dtype).name);
  begin_write(x, name);
  compute(op, x, x, a, b, c);
}

Tensor activation_backward(ActivationOp op, const char* name, const Tensor& grad,
                           const Tensor& value, double a, double b, double c) {
  TILEGRAD_CHECK(grad.dtype == value.dtype && is_floating(grad.dtype), runtime, name,
                 "_backward: expected both tensors to have one floating dtype, got ",
                 info(grad.dtype).name, " and ", info(value.dtype).name);
  TILEGRAD_CHECK(grad.shape == value.shape, runtime, name,
                 "_backward: argument 'grad': expected shape ", value.shape.str(), ", got ",
                 grad.shape.str());
  TILEGRAD_CHECK(grad.device() == value.device(), runtime, name,
                 "_backward: expected both tensors on one device, got ", grad.device().str(),
                 " and ", value.device().str());
  Tensor grad_x = empty(value.shape, value.dtype, value.device(), name);
  take_order(grad_x, {&grad, &value});
  const ActivationBackward args{.op = op,
                                .dtype = value.dtype,
                                .a = a,
                                .b = b,
                                .c = c,
                                .loop = make_loop<3>(value.shape, {&grad_x, &grad, &value})};
  run(activation_backward_kernel, value.device(), args, 4 * value.numel());
  return grad_x;
}

}  // namespace

void bind_activation(py::module_& module) {
  const auto a = py::arg("a") = 0.0, b = py::arg("b") = 0.0, c = py::arg("c") = 0.0;
#define TILEGRAD_BIND(name)                                                          \
  module.def(                                                                        \
      #name,                                                                         \
      [](const Tensor& x, double a, double b, double c) {                            \
        return activation(ActivationOp::name, #name, x, a, b, c);                    \
      },                                                                             \
      py::arg("input"), a, b, c);                                                    \
  module.def(                                                                        \
      #name "_",                                                                     \
      [](const Tensor& x, double a, double b, double c) {                            \
        in_place(ActivationOp::name, #name, x, a, b, c);                             \
      },                                                                             \
      py::arg("input"), a, b, c);                                                    \
  module.def(                                                                        \
      #name "_backward",                                                             \
      [](const Tensor& grad, const Tensor& value, double a, double b, double c) {    \
        return activation_backward(ActivationOp::name, #name, grad, value, a, b, c); \
      },                                                                             \
      py::arg("grad"), py::arg("value"), a, b, c);                                   \
  takes_alike_halves_on_cards(1, {#name, #name "_", #name "_backward"});
  TILEGRAD_BIND(relu)
  TILEGRAD_BIND(sigmoid)
  TILEGRAD_BIND(tanh)
  TILEGRAD_BIND(gelu)
  TILEGRAD_BIND(gelu_tanh)
  TILEGRAD_BIND(silu)
  TILEGRAD_BIND(leaky_relu)
  TILEGRAD_BIND(elu)
  TILEGRAD_BIND(softplus)
  TILEGRAD_BIND(log_sigmoid)
  TILEGRAD_BIND(clamp)
  TILEGRAD_BIND(hardtanh)
  TILEGRAD_BIND(hardsigmoid)
  TILEGRAD_BIND(hardswish)
#undef TILEGRAD_BIND
}

}  // namespace tilegrad
