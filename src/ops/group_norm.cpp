// Group normalization: argument rules.
#include "ops/group_norm.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

using OptionalTensor = std::optional<Tensor>;

GroupNorm group_norm_args(const Tensor& x, std::int64_t groups) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, "group_norm: not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating dtype");
  TILEGRAD_CHECK(x.ndim() >= 2, runtime,
                 "group_norm: Expected at least 2 dimensions for input tensor but received ",
                 x.ndim());
  TILEGRAD_CHECK(groups > 0, runtime, "group_norm: Expected num groups to be greater than 0, got ",
                 groups);
  TILEGRAD_CHECK(x.shape[1] % groups == 0, runtime,
                 "group_norm: Expected number of channels in input to be divisible by num_groups, "
                 "but got input of shape ",
                 x.shape.str(), " and num_groups=", groups);
  GroupNorm args{
      .dtype = x.dtype, .batch = x.shape[0], .channels = x.shape[1], .groups = groups, .length = 1};
  for (int d = 2; d < x.ndim(); ++d) args.length *= x.shape[d];
  return args;
}

// weight or bias, checked and contiguous; undefined if it is None.
Tensor group_norm_factor(const char* name, const Tensor& x, const OptionalTensor& value) {
  if (!value) return {};
  TILEGRAD_CHECK(value->ndim() == 1 && value->shape[0] == x.shape[1], runtime,
                 "group_norm: Expected ", name,
                 " to be a vector of size equal to the number of channels in input, but got ", name,
                 " of shape ", value->shape.str(), " and input of shape ", x.shape.str());
  const DType wide = wide_dtype(x.dtype);
  TILEGRAD_CHECK(wide_dtype(value->dtype) == wide, runtime, "group_norm: argument '", name,
                 "': expected the dtype of input, ", info(x.dtype).name, ", got ",
                 info(value->dtype).name, " (mixed dtype)");
  TILEGRAD_CHECK(value->device() == x.device(), runtime,
                 "group_norm: expected all tensors on one device, got ", x.device().str(), " and ",
                 value->device().str());
  return contiguous(to_dtype(*value, wide));
}

void* group_norm_bytes(const Tensor& x) { return x.defined() ? x.bytes() : nullptr; }

Tensor group_norm_zeros(std::int64_t size, const Tensor& like) {
  const DType wide = wide_dtype(like.dtype);
  Tensor made = empty({size}, wide, like.device());
  copy_into(made, scalar_tensor(Scalar{}, wide, like.device()));
  return made;
}

// (y, mean, rstd)
py::tuple group_norm_forward(const Tensor& x, std::int64_t groups, const OptionalTensor& weight,
                             const OptionalTensor& bias, double eps) {
  GroupNorm args = group_norm_args(x, groups);
  const Tensor dense = contiguous(x), dense_weight = group_norm_factor("weight", x, weight),
               dense_bias = group_norm_factor("bias", x, bias);
  const Dims statistics{args.batch, groups};
  checked_numel(statistics, x.dtype, "group_norm");
  const DType wide = wide_dtype(x.dtype);
  Tensor y = empty_like(x), mean = empty(statistics, wide, x.device()),
         rstd = empty(statistics, wide, x.device());
  args.eps = eps;
  args.x = dense.bytes();
  args.weight = group_norm_bytes(dense_weight);
  args.bias = group_norm_bytes(dense_bias);
  args.y = y.bytes();
  args.mean = mean.bytes();
  args.rstd = rstd.bytes();
  if (x.numel() > 0) run(group_norm_kernel, x.device(), args, 2 * x.numel());
  return py::make_tuple(std::move(y), std::move(mean), std::move(rstd));
}

// (grad_input or None, grad_weight, grad_bias)
py::tuple group_norm_grad(const Tensor& grad, const Tensor& input, std::int64_t groups,
                          const Tensor& mean, const Tensor& rstd, const OptionalTensor& weight,
                          bool wants_input) {
  const Tensor x = input_of_gradient(grad, input);
  GroupNorm args = group_norm_args(x, groups);
  TILEGRAD_CHECK(grad.shape == x.shape && grad.dtype == x.dtype, runtime,
                 "group_norm_backward: expected a gradient of shape ", x.shape.str(), " and dtype ",
                 info(x.dtype).name, ", got ", grad.shape.str(), " and ", info(grad.dtype).name);
  for (const Tensor* value : {&mean, &rstd})
    TILEGRAD_CHECK(
        value->shape == (Dims{args.batch, groups}) && value->dtype == wide_dtype(x.dtype), runtime,
        "group_norm_backward: expected statistics of shape ", Dims({args.batch, groups}).str(),
        ", got ", value->shape.str());
  const Tensor dense = contiguous(x), dense_grad = contiguous(grad), dense_mean = contiguous(mean),
               dense_rstd = contiguous(rstd), dense_weight = group_norm_factor("weight", x, weight);
  Tensor grad_weight = group_norm_zeros(args.channels, x),
         grad_bias = group_norm_zeros(args.channels, x), grad_input;
  if (wants_input) grad_input = empty_like(x);
  args.x = dense.bytes();
  args.grad_y = dense_grad.bytes();
  args.mean = dense_mean.bytes();
  args.rstd = dense_rstd.bytes();
  args.weight = group_norm_bytes(dense_weight);
  args.grad_x = group_norm_bytes(grad_input);
  args.grad_weight = grad_weight.bytes();
  args.grad_bias = grad_bias.bytes();
  if (x.numel() > 0) run(group_norm_backward_kernel, x.device(), args, 2 * x.numel());
  py::object first = py::none();
  if (wants_input) first = py::cast(std::move(grad_input));
  return py::make_tuple(std::move(first), std::move(grad_weight), std::move(grad_bias));
}

}  // namespace

void bind_group_norm(py::module_& module) {
  module.def("group_norm", &group_norm_forward, py::arg("input"), py::arg("groups"),
             py::arg("weight"), py::arg("bias"), py::arg("eps"));
  module.def("group_norm_backward", &group_norm_grad, py::arg("grad"), py::arg("input"),
             py::arg("groups"), py::arg("mean"), py::arg("rstd"), py::arg("weight"),
             py::arg("wants_input"));
  half_rule(HalfRule::first_result, {"group_norm", "group_norm_backward"});
  takes_halves_on_cards({"group_norm", "group_norm_backward"});
}

}  // namespace tilegrad
