// Batch normalization: argument rules, layouts, running statistics.
#include "ops/batchnorm.h"

#include "bind.h"
#include "channels_last.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

using OptionalTensor = std::optional<Tensor>;

// The memory order that a call works in: the input's, which is kept.
struct BatchNormLayout {
  explicit BatchNormLayout(const Tensor& x) {
    TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, "batch_norm: not implemented for dtype ",
                   info(x.dtype).name, "; expected a floating dtype");
    TILEGRAD_CHECK(
        x.ndim() >= 2, runtime,
        "batch_norm: argument 'input': expected at least 2 dimensions (batch, channels, ...), "
        "got shape ",
        x.shape.str());
    channels_last = is_channels_last(x);
    if (channels_last) strides = channels_last_strides(x.shape);
    args = {.dtype = x.dtype, .batch = x.shape[0], .channels = x.shape[1], .length = 1};
    for (int d = 2; d < x.ndim(); ++d) (channels_last ? args.batch : args.length) *= x.shape[d];
  }

  Tensor make(const Tensor& x) const {
    Tensor made = empty_like(x);
    if (channels_last) made.strides = strides;
    return made;
  }
  // x in this order: itself or a copy.
  Tensor ordered(const Tensor& x) const {
    if (!channels_last) return contiguous(x);
    if (has_strides(x, strides)) return x;
    Tensor copy = make(x);
    copy_into(copy, x);
    return copy;
  }
  // The optional argument of the input's shape, in this order; undefined if it is None.
  Tensor ordered(const char* op, const char* name, const Tensor& x,
                 const OptionalTensor& value) const {
    if (!value) return {};
    if (is_half(x.dtype) != is_half(value->dtype))  // the gate sends only those on a card here
      return ordered(op, name, x, to_dtype(*value, x.dtype));
    TILEGRAD_CHECK(value->shape == x.shape && value->dtype == x.dtype, runtime, op, ": argument '",
                   name, "': expected shape ", x.shape.str(), " and dtype ", info(x.dtype).name,
                   ", got ", value->shape.str(), " and ", info(value->dtype).name);
    TILEGRAD_CHECK(value->device() == x.device(), runtime, op,
                   ": expected all tensors on one device, got ", x.device().str(), " and ",
                   value->device().str());
    return ordered(*value);
  }

  bool channels_last = false;
  Dims strides;
  BatchNorm args;
};

// The optional per-channel argument, checked and contiguous; undefined if it is None.
Tensor batch_norm_per_channel(const char* name, const Tensor& x, const OptionalTensor& value) {
  if (!value) return {};
  TILEGRAD_CHECK(value->ndim() == 1 && value->shape[0] == x.shape[1], runtime, "batch_norm: ", name,
                 " should contain ", x.shape[1], " elements not ", value->numel(), " (shape ",
                 value->shape.str(), ")");
  const DType wide = wide_dtype(x.dtype);
  TILEGRAD_CHECK(wide_dtype(value->dtype) == wide, runtime, "batch_norm: argument '", name,
                 "': expected the dtype of input, ", info(x.dtype).name, ", got ",
                 info(value->dtype).name, " (mixed dtype)");
  TILEGRAD_CHECK(value->device() == x.device(), runtime,
                 "batch_norm: expected all tensors on one device, got ", x.device().str(), " and ",
                 value->device().str());
  return contiguous(to_dtype(*value, wide));
}

void* batch_norm_bytes(const Tensor& x) { return x.defined() ? x.bytes() : nullptr; }

Tensor batch_norm_result(const Tensor& x) {
  return empty({x.shape[1]}, wide_dtype(x.dtype), x.device());
}

// Of a training batch: (y, mean, rstd). Updates the running statistics in place.
py::tuple batch_norm_train(const Tensor& x, const OptionalTensor& running_mean,
                           const OptionalTensor& running_var, const OptionalTensor& weight,
                           const OptionalTensor& bias, double momentum, double eps, bool relu,
                           const OptionalTensor& residual) {
  const BatchNormLayout layout(x);
  BatchNorm args = layout.args;
  const Tensor dense = layout.ordered(x),
               dense_residual = layout.ordered("batch_norm", "residual", x, residual),
               dense_weight = batch_norm_per_channel("weight", x, weight),
               dense_bias = batch_norm_per_channel("bias", x, bias),
               new_mean = batch_norm_per_channel("running_mean", x, running_mean),
               new_var = batch_norm_per_channel("running_var", x, running_var);
  Tensor y = layout.make(x), mean = batch_norm_result(x), rstd = batch_norm_result(x);
  if (running_mean) begin_write(*running_mean, "batch_norm");
  if (running_var) begin_write(*running_var, "batch_norm");
  args.eps = eps;
  args.momentum = momentum;
  args.relu = relu;
  args.x = dense.bytes();
  args.residual = batch_norm_bytes(dense_residual);
  args.weight = batch_norm_bytes(dense_weight);
  args.bias = batch_norm_bytes(dense_bias);
  args.y = y.bytes();
  args.mean = mean.bytes();
  args.rstd = rstd.bytes();
  args.running_mean = batch_norm_bytes(new_mean);
  args.running_var = batch_norm_bytes(new_var);
  if (x.numel() > 0) {
    run(batchnorm_train_kernel, x.device(), args, 2 * x.numel());
    if (running_mean && new_mean.bytes() != running_mean->bytes())
      copy_into(*running_mean, new_mean);
    if (running_var && new_var.bytes() != running_var->bytes()) copy_into(*running_var, new_var);
  } else {  // no values: no statistics, and the running ones stay
    const Tensor zero = scalar_tensor(Scalar{}, mean.dtype, x.device());
    copy_into(mean, zero);
    copy_into(rstd, zero);
  }
  return py::make_tuple(std::move(y), std::move(mean), std::move(rstd));
}

// 1 / sqrt(running_var + eps); of halves in float32, as only the output is rounded.
Tensor batch_norm_rstd(const Tensor& running_var, double eps) {
  const Tensor variance = contiguous(running_var);
  TILEGRAD_CHECK(variance.ndim() == 1, runtime,
                 "batch_norm: argument 'running_var': expected shape (channels), got ",
                 variance.shape.str());
  TILEGRAD_CHECK(variance.dtype == DType::float32 || variance.dtype == DType::float64,
                 not_implemented, "batch_norm: argument 'running_var': expected a floating dtype, ",
                 "got ", info(variance.dtype).name);
  Tensor rstd = empty(variance.shape, variance.dtype, variance.device());
  BatchNorm args{.dtype = variance.dtype, .batch = 1, .channels = variance.shape[0], .length = 1};
  args.eps = eps;
  args.running_var = variance.bytes();
  args.rstd = rstd.bytes();
  if (args.channels > 0) run(batchnorm_rstd_kernel, variance.device(), args, args.channels);
  return rstd;
}

Tensor batch_norm(const Tensor& x, const Tensor& mean, const Tensor& rstd,
                  const OptionalTensor& weight, const OptionalTensor& bias, bool relu,
                  const OptionalTensor& residual) {
  const BatchNormLayout layout(x);
  BatchNorm args = layout.args;
  const Tensor dense = layout.ordered(x),
               dense_residual = layout.ordered("batch_norm", "residual", x, residual),
               center = batch_norm_per_channel("running_mean", x, mean),
               scale = batch_norm_per_channel("running_var", x, rstd),
               dense_weight = batch_norm_per_channel("weight", x, weight),
               dense_bias = batch_norm_per_channel("bias", x, bias);
  Tensor y = layout.make(x);
  args.relu = relu;
  args.x = dense.bytes();
  args.residual = batch_norm_bytes(dense_residual);
  args.y = y.bytes();
  args.mean = center.bytes();
  args.rstd = scale.bytes();
  args.weight = batch_norm_bytes(dense_weight);
  args.bias = batch_norm_bytes(dense_bias);
  if (y.numel() > 0) run(batchnorm_forward_kernel, x.device(), args, x.numel());
  return y;
}

py::object batch_norm_or_none(Tensor&& x) {
  return x.defined() ? py::cast(std::move(x)) : py::object(py::none());
}

// (grad_input or None, grad_weight, grad_bias, grad_residual or None). With `output`, that of the
// forward pass, a ReLU followed.
py::tuple batch_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& mean,
                              const Tensor& rstd, const OptionalTensor& weight, bool training,
                              bool wants_grad_input, const OptionalTensor& output,
                              bool wants_grad_residual) {
  const BatchNormLayout layout(x);
  BatchNorm args = layout.args;
  const Tensor dense = layout.ordered(x),
               dense_grad = layout.ordered("batch_norm_backward", "grad", x, grad),
               dense_output = layout.ordered("batch_norm_backward", "output", x, output),
               center = batch_norm_per_channel("mean", x, mean),
               scale = batch_norm_per_channel("rstd", x, rstd),
               dense_weight = batch_norm_per_channel("weight", x, weight);
  Tensor grad_weight = batch_norm_result(x), grad_bias = batch_norm_result(x), grad_input,
         grad_residual;
  if (wants_grad_input) grad_input = layout.make(x);
  if (wants_grad_residual && output) grad_residual = layout.make(x);
  args.relu = output.has_value();
  args.x = dense.bytes();
  args.y = batch_norm_bytes(dense_output);
  args.grad_y = dense_grad.bytes();
  args.mean = center.bytes();
  args.rstd = scale.bytes();
  args.weight = batch_norm_bytes(dense_weight);
  args.grad_x = batch_norm_bytes(grad_input);
  args.grad_residual = batch_norm_bytes(grad_residual);
  args.grad_weight = grad_weight.bytes();
  args.grad_bias = grad_bias.bytes();
  args.training = training;
  if (args.channels > 0) {
    if (x.numel() == 0) args.length = 1, args.batch = 0;  // the sums are zeros
    run(batchnorm_backward_kernel, x.device(), args, 2 * x.numel());
  }
  if (weight && is_half(weight->dtype)) {
    grad_weight = to_dtype(grad_weight, weight->dtype);
    grad_bias = to_dtype(grad_bias, weight->dtype);
  }
  py::object last = wants_grad_residual && !output ? py::cast(grad)
                                                   : batch_norm_or_none(std::move(grad_residual));
  return py::make_tuple(batch_norm_or_none(std::move(grad_input)), std::move(grad_weight),
                        std::move(grad_bias), std::move(last));
}

}  // namespace

void bind_batchnorm(py::module_& module) {
  module.def("batch_norm_train", &batch_norm_train, py::arg("input"), py::arg("running_mean"),
             py::arg("running_var"), py::arg("weight"), py::arg("bias"), py::arg("momentum"),
             py::arg("eps"), py::arg("relu"), py::arg("residual"));
  module.def("batch_norm", &batch_norm, py::arg("input"), py::arg("mean"), py::arg("rstd"),
             py::arg("weight"), py::arg("bias"), py::arg("relu"), py::arg("residual"));
  module.def("batch_norm_rstd", &batch_norm_rstd, py::arg("running_var"), py::arg("eps"));
  module.def("batch_norm_backward", &batch_norm_backward, py::arg("grad"), py::arg("input"),
             py::arg("mean"), py::arg("rstd"), py::arg("weight"), py::arg("training"),
             py::arg("wants_grad_input"), py::arg("output"), py::arg("wants_grad_residual"));
  half_rule(HalfRule::first_result, {"batch_norm_train"});
  half_rule(HalfRule::follow_input, {"batch_norm"});
  takes_halves_on_cards({"batch_norm_train", "batch_norm", "batch_norm_backward"});
}

}  // namespace tilegrad
