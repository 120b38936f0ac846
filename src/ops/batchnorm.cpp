// Batch normalization: argument rules, layouts, running statistics.
#include "ops/batchnorm.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

using Optional = std::optional<Tensor>;

// x as (batch, channels, length).
BatchNorm make_args(const Tensor& x) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, "batch_norm: not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating dtype");
  TILEGRAD_CHECK(
      x.ndim() >= 2, runtime,
      "batch_norm: argument 'input': expected at least 2 dimensions (batch, channels, ...), "
      "got shape ",
      x.shape.str());
  BatchNorm args{.dtype = x.dtype, .batch = x.shape[0], .channels = x.shape[1], .length = 1};
  for (int d = 2; d < x.ndim(); ++d) args.length *= x.shape[d];
  return args;
}

// The optional per-channel argument, checked and contiguous; undefined if it is None.
Tensor per_channel(const char* name, const Tensor& x, const Optional& value) {
  if (!value) return {};
  TILEGRAD_CHECK(value->ndim() == 1 && value->shape[0] == x.shape[1], runtime, "batch_norm: ", name,
                 " should contain ", x.shape[1], " elements not ", value->numel(), " (shape ",
                 value->shape.str(), ")");
  TILEGRAD_CHECK(value->dtype == x.dtype, runtime, "batch_norm: argument '", name,
                 "': expected the dtype of input, ", info(x.dtype).name, ", got ",
                 info(value->dtype).name, " (mixed dtype)");
  TILEGRAD_CHECK(value->device() == x.device(), runtime,
                 "batch_norm: expected all tensors on one device, got ", x.device().str(), " and ",
                 value->device().str());
  return contiguous(*value);
}

void* bytes_of(const Tensor& x) { return x.defined() ? x.bytes() : nullptr; }

Tensor per_channel_result(const Tensor& x) { return empty({x.shape[1]}, x.dtype, x.device()); }

// Of a training batch: (mean, rstd). Updates the running statistics in place.
py::tuple statistics(const Tensor& x, const Optional& running_mean, const Optional& running_var,
                     double momentum, double eps) {
  BatchNorm args = make_args(x);
  const Tensor dense = contiguous(x);
  Tensor mean = per_channel_result(x), rstd = per_channel_result(x);
  const Tensor new_mean = per_channel("running_mean", x, running_mean);
  const Tensor new_var = per_channel("running_var", x, running_var);
  if (running_mean) begin_write(*running_mean, "batch_norm");
  if (running_var) begin_write(*running_var, "batch_norm");
  args.eps = eps;
  args.momentum = momentum;
  args.x = dense.bytes();
  args.mean = mean.bytes();
  args.rstd = rstd.bytes();
  args.running_mean = bytes_of(new_mean);
  args.running_var = bytes_of(new_var);
  if (x.numel() > 0) {
    run(batchnorm_statistics_kernel, x.device(), args, x.numel());
    if (running_mean && new_mean.bytes() != running_mean->bytes())
      copy_into(*running_mean, new_mean);
    if (running_var && new_var.bytes() != running_var->bytes()) copy_into(*running_var, new_var);
  } else {  // no values: no statistics, and the running ones stay
    const Tensor zero = scalar_tensor(Scalar{}, x.dtype, x.device());
    copy_into(mean, zero);
    copy_into(rstd, zero);
  }
  return py::make_tuple(std::move(mean), std::move(rstd));
}

Tensor batch_norm(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Optional& weight,
                  const Optional& bias) {
  BatchNorm args = make_args(x);
  const Tensor dense = contiguous(x), center = per_channel("running_mean", x, mean),
               scale = per_channel("running_var", x, rstd),
               dense_weight = per_channel("weight", x, weight),
               dense_bias = per_channel("bias", x, bias);
  Tensor y = empty_like(x);
  args.x = dense.bytes();
  args.y = y.bytes();
  args.mean = center.bytes();
  args.rstd = scale.bytes();
  args.weight = bytes_of(dense_weight);
  args.bias = bytes_of(dense_bias);
  if (y.numel() > 0) run(batchnorm_forward_kernel, x.device(), args, x.numel());
  return y;
}

// (grad_input or None, grad_weight, grad_bias)
py::tuple batch_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& mean,
                              const Tensor& rstd, const Optional& weight, bool training,
                              bool wants_grad_input) {
  BatchNorm args = make_args(x);
  TILEGRAD_CHECK(grad.shape == x.shape && grad.dtype == x.dtype, runtime,
                 "batch_norm_backward: expected a gradient of shape ", x.shape.str(), " and dtype ",
                 info(x.dtype).name, ", got ", grad.shape.str(), " and ", info(grad.dtype).name);
  const Tensor dense = contiguous(x), dense_grad = contiguous(grad),
               center = per_channel("mean", x, mean), scale = per_channel("rstd", x, rstd),
               dense_weight = per_channel("weight", x, weight);
  Tensor grad_weight = per_channel_result(x), grad_bias = per_channel_result(x), grad_input;
  if (wants_grad_input) grad_input = empty_like(x);
  args.x = dense.bytes();
  args.grad_y = dense_grad.bytes();
  args.mean = center.bytes();
  args.rstd = scale.bytes();
  args.weight = bytes_of(dense_weight);
  args.grad_x = bytes_of(grad_input);
  args.grad_weight = grad_weight.bytes();
  args.grad_bias = grad_bias.bytes();
  args.training = training;
  run(batchnorm_backward_kernel, x.device(), args, 2 * x.numel());
  py::object first = py::none();
  if (wants_grad_input) first = py::cast(std::move(grad_input));
  return py::make_tuple(std::move(first), std::move(grad_weight), std::move(grad_bias));
}

}  // namespace

void bind_batchnorm(py::module_& module) {
  module.def("batch_norm_statistics", &statistics, py::arg("input"), py::arg("running_mean"),
             py::arg("running_var"), py::arg("momentum"), py::arg("eps"));
  module.def("batch_norm", &batch_norm, py::arg("input"), py::arg("mean"), py::arg("rstd"),
             py::arg("weight"), py::arg("bias"));
  module.def("batch_norm_backward", &batch_norm_backward, py::arg("grad"), py::arg("input"),
             py::arg("mean"), py::arg("rstd"), py::arg("weight"), py::arg("training"),
             py::arg("wants_grad_input"));
}

}  // namespace tilegrad
