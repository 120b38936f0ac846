// Normalization over rows: argument rules.
#include "ops/layer_norm.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

using OptionalTensor = std::optional<Tensor>;

// x as (rows, size), where `shape` are its last dimensions.
LayerNorm layer_norm_args(const char* op, const Tensor& x, const Dims& shape, bool centered) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, op, ": not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating dtype");
  TILEGRAD_CHECK(shape.n > 0, runtime, op,
                 ": Expected normalized_shape to be at least 1-dimensional, got ", shape.str());
  bool fits = x.ndim() >= shape.n;
  for (int d = 0; fits && d < shape.n; ++d) fits = x.shape[x.ndim() - shape.n + d] == shape[d];
  TILEGRAD_CHECK(fits, runtime, op, ": Given normalized_shape=", shape.str(),
                 ", expected input with shape (*, ...) that ends with it, but got input of size ",
                 x.shape.str());
  LayerNorm args{.dtype = x.dtype, .rows = 1, .size = 1, .centered = centered};
  for (int d = 0; d < x.ndim(); ++d) (d < x.ndim() - shape.n ? args.rows : args.size) *= x.shape[d];
  return args;
}

// weight or bias, checked and contiguous; undefined if it is None.
Tensor layer_norm_factor(const char* op, const char* name, const Tensor& x, const Dims& shape,
                         const OptionalTensor& value) {
  if (!value) return {};
  TILEGRAD_CHECK(value->shape == shape, runtime, op, ": Expected ", name,
                 " to be of same shape as normalized_shape, but got ", name, " of shape ",
                 value->shape.str(), " and normalized_shape = ", shape.str());
  const DType wide = wide_dtype(x.dtype);
  TILEGRAD_CHECK(wide_dtype(value->dtype) == wide, runtime, op, ": argument '", name,
                 "': expected the dtype of input, ", info(x.dtype).name, ", got ",
                 info(value->dtype).name, " (mixed dtype)");
  TILEGRAD_CHECK(value->device() == x.device(), runtime, op,
                 ": expected all tensors on one device, got ", x.device().str(), " and ",
                 value->device().str());
  return contiguous(to_dtype(*value, wide));
}

void* layer_norm_bytes(const Tensor& x) { return x.defined() ? x.bytes() : nullptr; }

// (y, mean, rstd); without `centered` the root mean square, and mean is None.
py::tuple layer_norm_forward(const Tensor& x, const Dims& shape, const OptionalTensor& weight,
                             const OptionalTensor& bias, double eps, bool centered) {
  const char* op = centered ? "layer_norm" : "rms_norm";
  LayerNorm args = layer_norm_args(op, x, shape, centered);
  const Tensor dense = contiguous(x),
               dense_weight = layer_norm_factor(op, "weight", x, shape, weight),
               dense_bias = layer_norm_factor(op, "bias", x, shape, bias);
  const DType wide = wide_dtype(x.dtype);
  Tensor y = empty_like(x), rstd = empty({args.rows}, wide, x.device()), mean;
  if (centered) mean = empty({args.rows}, wide, x.device());
  args.eps = eps;
  args.x = dense.bytes();
  args.weight = layer_norm_bytes(dense_weight);
  args.bias = layer_norm_bytes(dense_bias);
  args.y = y.bytes();
  args.mean = layer_norm_bytes(mean);
  args.rstd = rstd.bytes();
  if (x.numel() > 0) run(layer_norm_kernel, x.device(), args, 2 * x.numel());
  py::object second = py::none();
  if (centered) second = py::cast(std::move(mean));
  return py::make_tuple(std::move(y), std::move(second), std::move(rstd));
}

// The gradients of input, weight and bias, None where they are not wanted.
py::tuple layer_norm_grad(const Tensor& grad, const Tensor& input, const Dims& shape,
                          const OptionalTensor& mean, const Tensor& rstd,
                          const OptionalTensor& weight, bool wants_input, bool wants_weight,
                          bool wants_bias) {
  const char* op = "layer_norm_backward";
  const Tensor x = input_of_gradient(grad, input);
  LayerNorm args = layer_norm_args(op, x, shape, mean.has_value());
  const DType wide = wide_dtype(x.dtype);
  TILEGRAD_CHECK(grad.shape == x.shape && grad.dtype == x.dtype, runtime, op,
                 ": expected a gradient of shape ", x.shape.str(), " and dtype ",
                 info(x.dtype).name, ", got ", grad.shape.str(), " and ", info(grad.dtype).name);
  for (const Tensor* value : {mean ? &*mean : &rstd, &rstd})
    TILEGRAD_CHECK(value->shape == Dims{args.rows} && value->dtype == wide, runtime, op,
                   ": expected statistics of shape ", Dims{args.rows}.str(), ", got ",
                   value->shape.str());
  const Tensor dense = contiguous(x), dense_grad = contiguous(grad), dense_rstd = contiguous(rstd),
               dense_mean = mean ? contiguous(*mean) : Tensor{},
               dense_weight = layer_norm_factor(op, "weight", x, shape, weight);
  Tensor results[3];
  const bool wanted[] = {wants_input, wants_weight, wants_bias};
  for (int i = 0; i < 3; ++i)
    if (wanted[i])
      results[i] = i == 0 ? empty(x.shape, x.dtype, x.device()) : empty(shape, wide, x.device());
  args.x = dense.bytes();
  args.grad_y = dense_grad.bytes();
  args.mean = layer_norm_bytes(dense_mean);
  args.rstd = dense_rstd.bytes();
  args.weight = layer_norm_bytes(dense_weight);
  args.grad_x = layer_norm_bytes(results[0]);
  args.grad_weight = layer_norm_bytes(results[1]);
  args.grad_bias = layer_norm_bytes(results[2]);
  if (args.size > 0) run(layer_norm_backward_kernel, x.device(), args, 2 * x.numel() + args.size);
  py::tuple made(3);
  for (int i = 0; i < 3; ++i)
    made[static_cast<std::size_t>(i)] =
        wanted[i] ? py::cast(std::move(results[i])) : py::object(py::none());
  return made;
}

}  // namespace

void bind_layer_norm(py::module_& module) {
  module.def("layer_norm", &layer_norm_forward, py::arg("input"), py::arg("normalized_shape"),
             py::arg("weight"), py::arg("bias"), py::arg("eps"), py::arg("centered"));
  module.def("layer_norm_backward", &layer_norm_grad, py::arg("grad"), py::arg("input"),
             py::arg("normalized_shape"), py::arg("mean"), py::arg("rstd"), py::arg("weight"),
             py::arg("wants_input"), py::arg("wants_weight"), py::arg("wants_bias"));
  half_rule(HalfRule::first_result, {"layer_norm", "layer_norm_backward"});
  takes_halves_on_cards({"layer_norm", "layer_norm_backward"});
}

}  // namespace tilegrad
