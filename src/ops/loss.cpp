// Elementwise losses: argument rules.
#include "ops/loss.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

// Without results; `x` and `target` are contiguous.
Loss loss_args(int kind, double parameter, const Tensor& x, const Tensor& target) {
  TILEGRAD_CHECK(kind >= 0 && kind <= static_cast<int>(LossKind::logit), value,
                 "loss: argument 'kind': expected a number from 0 to ",
                 static_cast<int>(LossKind::logit), ", got ", kind);
  TILEGRAD_CHECK(x.dtype == DType::float32 || x.dtype == DType::float64, not_implemented,
                 "loss: not implemented for dtype ", info(x.dtype).name,
                 "; expected a floating dtype");
  TILEGRAD_CHECK(target.shape == x.shape && target.dtype == x.dtype, runtime,
                 "loss: argument 'target': expected shape ", x.shape.str(), " and dtype ",
                 info(x.dtype).name, ", got ", target.shape.str(), " and ",
                 info(target.dtype).name);
  TILEGRAD_CHECK(target.device() == x.device(), runtime,
                 "loss: expected all tensors on one device, got ", x.device().str(), " and ",
                 target.device().str());
  return {.kind = static_cast<LossKind>(kind),
          .dtype = x.dtype,
          .parameter = parameter,
          .size = x.numel(),
          .x = x.bytes(),
          .target = target.bytes()};
}

Tensor loss(const Tensor& x, const Tensor& target, int kind, double parameter) {
  const Tensor dense = contiguous(x), dense_target = contiguous(target);
  Loss args = loss_args(kind, parameter, dense, dense_target);
  Tensor y = empty(x.shape, x.dtype, x.device(), "loss");
  args.y = y.bytes();
  if (args.size > 0) run(loss_kernel, x.device(), args, 4 * args.size);
  return y;
}

// `scale` times the sum of all losses.
Tensor loss_sum(const Tensor& x, const Tensor& target, int kind, double parameter, double scale) {
  const Tensor dense = contiguous(x), dense_target = contiguous(target);
  Loss args = loss_args(kind, parameter, dense, dense_target);
  Tensor y = empty({}, x.dtype, x.device(), "loss");
  args.y = y.bytes();
  args.scale = scale;
  const Scalar zero{.category = DTypeCategory::floating, .floating = 0 * scale};
  if (args.size > 0) run(loss_sum_kernel, x.device(), args, 4 * args.size);
  else copy_into(y, scalar_tensor(zero, x.dtype, x.device()));
  return y;
}

// The gradient for x of the losses or, with a 0-dimensional `grad`, of `scale` times their sum.
Tensor loss_backward(const Tensor& grad, const Tensor& x, const Tensor& target, int kind,
                     double parameter, double scale) {
  const Tensor dense = contiguous(x), dense_target = contiguous(target),
               dense_grad = contiguous(grad);
  Loss args = loss_args(kind, parameter, dense, dense_target);
  args.one_grad = grad.ndim() == 0;
  TILEGRAD_CHECK((args.one_grad || grad.shape == x.shape) && grad.dtype == x.dtype, runtime,
                 "loss_backward: argument 'grad': expected shape ", x.shape.str(), " and dtype ",
                 info(x.dtype).name, ", got ", grad.shape.str(), " and ", info(grad.dtype).name);
  TILEGRAD_CHECK(grad.device() == x.device(), runtime,
                 "loss_backward: expected all tensors on one device, got ", x.device().str(),
                 " and ", grad.device().str());
  Tensor grad_x = empty(x.shape, x.dtype, x.device(), "loss");
  args.scale = scale;
  args.grad = dense_grad.bytes();
  args.grad_x = grad_x.bytes();
  if (args.size > 0) run(loss_backward_kernel, x.device(), args, 4 * args.size);
  return grad_x;
}

}  // namespace

void bind_loss(py::module_& module) {
  module.def("loss", &loss, py::arg("input"), py::arg("target"), py::arg("kind"),
             py::arg("parameter"));
  module.def("loss_sum", &loss_sum, py::arg("input"), py::arg("target"), py::arg("kind"),
             py::arg("parameter"), py::arg("scale"));
  module.def("loss_backward", &loss_backward, py::arg("grad"), py::arg("input"), py::arg("target"),
             py::arg("kind"), py::arg("parameter"), py::arg("scale"));
}

}  // namespace tilegrad
