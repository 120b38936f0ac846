// conv2d and its gradients: argument rules, output sizes, workspace.
#include "ops/conv2d.h"

#include <algorithm>
#include <string>
#include <variant>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "ops/depthwise.h"

namespace tilegrad {
namespace {

// Both guarded by the GIL: tilegrad.backends.winograd and tilegrad.backends.cudnn.allow_tf32.
bool winograd_allowed = true;
bool convolutions_in_tf32 = false;

// The options as the caller wrote them: one number stands for both directions.
struct Options {
  Dims stride;
  std::variant<std::string, Dims> padding;  // 'same', 'valid' or sizes
  Dims dilation;
  std::int64_t groups;
};

Dims pair(const char* name, const Dims& value) {
  TILEGRAD_CHECK(value.n == 1 || value.n == 2, runtime, "conv2d: expected ", name,
                 " to be a single integer value or a list of 2 values to match the convolution "
                 "dimensions, but got ",
                 name, "=", value.str());
  return value.n == 2 ? value : Dims{value[0], value[0]};
}

Dims positive_pair(const char* name, const Dims& value) {
  const Dims result = pair(name, value);
  TILEGRAD_CHECK(result[0] > 0 && result[1] > 0, runtime, "conv2d: non-positive ", name,
                 " is not supported: ", name, " should be greater than zero, but got ",
                 result.str());
  return result;
}

// Sizes along one direction, after every check.
struct Axis {
  std::int64_t out, stride, pad, dilation;
};

// 'same' pads so that the output is as large as the input, an odd zero going to the end.
Axis make_axis(const Options& options, int d, std::int64_t in, std::int64_t kernel) {
  Axis axis{0, positive_pair("stride", options.stride)[d], 0,
            positive_pair("dilation", options.dilation)[d]};
  constexpr std::int64_t largest = std::int64_t{1} << 40;  // keeps every sum below in 64 bits
  TILEGRAD_CHECK(kernel > 0, runtime,
                 "conv2d: argument 'weight': kernel size should be greater "
                 "than zero, but got ",
                 kernel, " in direction ", d);
  TILEGRAD_CHECK(kernel == 1 || (axis.dilation < largest / kernel && kernel < largest), runtime,
                 "conv2d: argument 'dilation': a kernel of size ", kernel, " with dilation ",
                 axis.dilation, " overflows");
  if (kernel == 1) axis.dilation = 1;  // without effect
  const std::int64_t span = axis.dilation * (kernel - 1);
  std::int64_t pad_end = 0;
  if (const auto* text = std::get_if<std::string>(&options.padding)) {
    TILEGRAD_CHECK(*text == "same" || *text == "valid", runtime,
                   "conv2d: Invalid padding string: '", *text, "': expected 'same' or 'valid'");
    TILEGRAD_CHECK(*text == "valid" || axis.stride == 1, runtime,
                   "conv2d: padding='same' is not supported for strided convolutions");
    if (*text == "same") axis.pad = span / 2, pad_end = span - axis.pad;
  } else {
    axis.pad = pad_end = pair("padding", std::get<Dims>(options.padding))[d];
    TILEGRAD_CHECK(axis.pad >= 0, runtime, "conv2d: negative padding is not supported, got ",
                   axis.pad);
    TILEGRAD_CHECK(axis.pad < largest, runtime, "conv2d: expected padding to be at most ",
                   largest - 1, ", got ", axis.pad);
  }
  const std::int64_t padded = in + axis.pad + pad_end;
  TILEGRAD_CHECK(padded > span, runtime,
                 "conv2d: Calculated padded input size per channel: ", padded, " in direction ", d,
                 ". Kernel size: ", span + 1,
                 " (with dilation). Kernel size can't be greater than actual input size");
  axis.out = (padded - span - 1) / axis.stride + 1;
  axis.stride = std::min(axis.stride, padded);  // a longer step has no effect
  return axis;
}

void check_channels(const Dims& x, const Dims& weight, std::int64_t groups) {
  TILEGRAD_CHECK(groups > 0, runtime, "conv2d: non-positive groups is not supported, got ", groups);
  TILEGRAD_CHECK(
      x.n == 4, runtime,
      "conv2d: Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of "
      "size: ",
      x.str());
  TILEGRAD_CHECK(weight.n == 4, runtime,
                 "conv2d: argument 'weight': expected 4 dimensions "
                 "(out_channels, in_channels / groups, height, width), got shape ",
                 weight.str());
  TILEGRAD_CHECK(weight[0] >= groups, runtime, "conv2d: Given groups=", groups,
                 ", expected weight to be at least ", groups,
                 " at dimension 0, but got weight of size ", weight.str());
  TILEGRAD_CHECK(weight[0] % groups == 0, runtime, "conv2d: Given groups=", groups,
                 ", expected weight to be divisible by ", groups,
                 " at dimension 0, but got weight of size ", weight.str());
  TILEGRAD_CHECK(x[1] % groups == 0 && x[1] / groups == weight[1], runtime,
                 "conv2d: Given groups=", groups, ", weight of size ", weight.str(),
                 ", expected input", x.str(), " to have ", weight[1], " * ", groups,
                 " channels, but got ", x[1], " channels instead");
  TILEGRAD_CHECK(x[2] > 0 && x[3] > 0, runtime,
                 "conv2d: Only zero batch or zero channel inputs are "
                 "supported, but got input shape: ",
                 x.str());
}

// Everything about the convolution of an x of that shape with a weight of that shape but the
// arrays.
Conv2d make_args(const Dims& x, const Dims& weight, DType dtype, const Options& options) {
  check_channels(x, weight, options.groups);
  checked_numel(x, dtype, "conv2d");
  checked_numel(weight, dtype, "conv2d");
  const Axis y_axis = make_axis(options, 0, x[2], weight[2]);
  const Axis x_axis = make_axis(options, 1, x[3], weight[3]);
  return {.dtype = dtype,
          .batch = x[0],
          .groups = options.groups,
          .in_channels = weight[1],
          .out_channels = weight[1] > 0 ? weight[0] / options.groups : 0,  // as in PyTorch
          .in_height = x[2],
          .in_width = x[3],
          .kernel_height = weight[2],
          .kernel_width = weight[3],
          .out_height = y_axis.out,
          .out_width = x_axis.out,
          .stride_y = y_axis.stride,
          .stride_x = x_axis.stride,
          .pad_y = y_axis.pad,
          .pad_x = x_axis.pad,
          .dilation_y = y_axis.dilation,
          .dilation_x = x_axis.dilation,
          .winograd = winograd_allowed && dtype == DType::float32,
          .allow_tf32 = convolutions_in_tf32};
}

Dims output_shape(const Conv2d& args) {
  return {args.batch, args.groups * args.out_channels, args.out_height, args.out_width};
}

std::int64_t work(const Conv2d& args) {
  const double steps = static_cast<double>(args.batch * args.groups * args.out_channels) *
                       static_cast<double>(args.pixels()) * static_cast<double>(args.taps()) / 16;
  return steps < 1e18 ? static_cast<std::int64_t>(steps) : std::int64_t{1} << 60;
}

void check_pair(const char* op, const Tensor& a, const char* name, const Tensor& b) {
  TILEGRAD_CHECK(is_floating(a.dtype), not_implemented, op, ": expected a floating dtype, got ",
                 info(a.dtype).name);
  TILEGRAD_CHECK(a.dtype == b.dtype, runtime, op, ": argument '", name, "': expected scalar type ",
                 info(a.dtype).name, " but found ", info(b.dtype).name);
  TILEGRAD_CHECK(a.device() == b.device(), runtime, op,
                 ": expected all tensors on one device, got ", a.device().str(), " and ",
                 b.device().str());
}

void check_output_gradient(const char* op, const Conv2d& args, const Tensor& grad) {
  TILEGRAD_CHECK(grad.shape == output_shape(args), runtime, op,
                 ": argument 'grad_output': expected shape ", output_shape(args).str(), ", got ",
                 grad.shape.str());
}

void zero(const Tensor& x) { copy_into(x, scalar_tensor(Scalar{}, x.dtype, x.device())); }

// Memory that the kernel works in; args.workspace points to it.
Tensor make_workspace(Conv2d& args, std::int64_t elements, const Tensor& like) {
  Tensor workspace = empty({elements}, like.dtype, like.device(), "conv2d");
  args.workspace = workspace.bytes();
  return workspace;
}

// What may follow a convolution: relu(batch_norm(y) + residual), each part of which may be missing.
// All contiguous; the statistics, weight and bias of the normalization have one element per channel
// and are undefined without it, the last two also on their own.
struct Following {
  Tensor mean, rstd, weight, bias;
  Tensor residual;
  bool relu = false;
};

// A convolution whose arguments were checked.
struct Convolution {
  Convolution(const Tensor& input, const Tensor& filters, const std::optional<Tensor>& biases,
              const Options& options)
      : args(checked_args(input, filters, options)) {
    if (biases) {
      check_pair("conv2d", input, "bias", *biases);
      TILEGRAD_CHECK(biases->ndim() == 1 && biases->shape[0] == filters.shape[0], runtime,
                     "conv2d: Given weight of size ", filters.shape.str(),
                     ", expected bias to be 1-dimensional with ", filters.shape[0],
                     " elements, but got bias of size ", biases->shape.str());
      bias = per_channel(*biases);
    }
    x = contiguous(input), weight = contiguous(filters);
  }

  // Beside halves, what there is one of per channel is float32.
  static Tensor per_channel(const Tensor& values) {
    return contiguous(is_half(values.dtype) ? to_dtype(values, DType::float32) : values);
  }

  // Halves of the channels that depthwise's kernels take, which know none.
  bool needs_float32() const { return is_half(args.dtype) && is_depthwise(args); }
  Convolution in_float32() const {
    Convolution wide = *this;
    wide.args.dtype = DType::float32;
    wide.x = to_dtype(x, DType::float32), wide.weight = to_dtype(weight, DType::float32);
    return wide;
  }

  static Conv2d checked_args(const Tensor& input, const Tensor& filters, const Options& options) {
    check_pair("conv2d", input, "weight", filters);
    return make_args(input.shape, filters.shape, input.dtype, options);
  }

  Tensor compute(const Following& following) const {
    if (needs_float32()) {
      Following wide = following;
      if (wide.residual.defined()) wide.residual = to_dtype(wide.residual, DType::float32);
      return to_dtype(in_float32().compute(wide), args.dtype);
    }
    Conv2d call = args;
    Tensor y = empty(output_shape(call), x.dtype, x.device(), "conv2d");
    call.x = x.bytes(), call.weight = weight.bytes(), call.y = y.bytes();
    if (bias.defined()) call.bias = bias.bytes();
    if (following.mean.defined()) call.mean = following.mean.bytes();
    if (following.rstd.defined()) call.rstd = following.rstd.bytes();
    if (following.weight.defined()) call.norm_weight = following.weight.bytes();
    if (following.bias.defined()) call.norm_bias = following.bias.bytes();
    if (following.residual.defined()) call.residual = following.residual.bytes();
    call.relu = following.relu;
    const Tensor workspace = make_workspace(call, call.workspace_of_conv2d(), x);
    if (y.numel() > 0)
      run(is_depthwise(call) ? depthwise_kernel : conv2d_kernel, x.device(), call, work(call));
    return y;
  }

  Conv2d args;
  Tensor x, weight, bias;  // contiguous
};

// A checked part of what follows a convolution with these filters.
Tensor following_channels(const char* name, const std::optional<Tensor>& values,
                          const Tensor& filters) {
  if (!values) return {};
  check_pair("conv2d", filters, name, *values);
  TILEGRAD_CHECK(values->ndim() == 1 && values->shape[0] == filters.shape[0], runtime,
                 "conv2d: argument '", name, "': expected shape (", filters.shape[0], "), got ",
                 values->shape.str());
  return Convolution::per_channel(*values);
}

Tensor following_residual(const std::optional<Tensor>& residual, const Convolution& convolution) {
  if (!residual) return {};
  check_pair("conv2d", convolution.weight, "residual", *residual);
  const Dims shape = output_shape(convolution.args);
  TILEGRAD_CHECK(residual->shape == shape, runtime, "conv2d: argument 'residual': expected shape ",
                 shape.str(), ", got ", residual->shape.str());
  return contiguous(*residual);
}

Tensor conv2d_grad_input(const Tensor& grad, const Tensor& weight, const Dims& input_shape,
                         const Options& options) {
  check_pair("conv2d_grad_input", grad, "weight", weight);
  Conv2d args = make_args(input_shape, weight.shape, grad.dtype, options);
  check_output_gradient("conv2d_grad_input", args, grad);
  if (is_half(grad.dtype) && is_depthwise(args))
    return to_dtype(conv2d_grad_input(to_dtype(grad, DType::float32),
                                      to_dtype(weight, DType::float32), input_shape, options),
                    grad.dtype);
  const Tensor dense_grad = contiguous(grad), dense_weight = contiguous(weight);
  Tensor grad_input = empty(input_shape, grad.dtype, grad.device(), "conv2d_grad_input");
  args.x = grad_input.bytes();
  args.weight = dense_weight.bytes();
  args.y = dense_grad.bytes();
  const Tensor workspace = make_workspace(args, args.workspace_of_grad_input(), grad);
  if (grad_input.numel() > 0)
    run(is_depthwise(args) ? depthwise_grad_input_kernel : conv2d_grad_input_kernel, grad.device(),
        args, work(args));
  return grad_input;
}

// Into how many runs of images the sum over the batch is cut: enough for the threads of a large
// machine, unless the weight alone gives work to them. Depends on sizes only.
std::int64_t parts_of(const Conv2d& args, std::int64_t weight_size) {
  constexpr std::int64_t tasks = 16, elements_per_task = 96 * 256, smallest = 1 << 16;
  const std::int64_t blocks = std::max(args.groups, weight_size / elements_per_task);
  const std::int64_t enough = work(args) / smallest + 1;  // a part must be worth its sum
  return std::clamp<std::int64_t>(std::min(tasks / std::max<std::int64_t>(blocks, 1), enough), 1,
                                  args.batch);
}

// Also the gradient of the biases, in the same pass, if `grad_bias` is not null.
Tensor conv2d_grad_weight(const Tensor& grad, const Tensor& x, const Dims& weight_shape,
                          const Options& options, Tensor* grad_bias = nullptr) {
  check_pair("conv2d_grad_weight", grad, "input", x);
  Conv2d args = make_args(x.shape, weight_shape, grad.dtype, options);
  check_output_gradient("conv2d_grad_weight", args, grad);
  if (is_half(grad.dtype) && is_depthwise(args)) {
    const Tensor wide =
        conv2d_grad_weight(to_dtype(grad, DType::float32), to_dtype(x, DType::float32),
                           weight_shape, options, grad_bias);
    if (grad_bias) *grad_bias = to_dtype(*grad_bias, grad.dtype);
    return to_dtype(wide, grad.dtype);
  }
  const Tensor dense_grad = contiguous(grad), dense_x = contiguous(x);
  Tensor grad_weight = empty(weight_shape, grad.dtype, grad.device(), "conv2d_grad_weight");
  if (grad_bias)
    *grad_bias = empty({weight_shape[0]}, is_half(grad.dtype) ? DType::float32 : grad.dtype,
                       grad.device(), "conv2d_grad_weight");
  if (grad_weight.numel() == 0 || args.batch == 0) {
    zero(grad_weight);
    if (grad_bias) zero(*grad_bias), *grad_bias = to_dtype(*grad_bias, grad.dtype);
    return grad_weight;
  }
  if (grad_bias) args.bias_gradient = grad_bias->bytes();
  args.parts = parts_of(args, grad_weight.numel());
  const Tensor workspace = make_workspace(args, args.workspace_of_grad_weight(), grad);
  args.x = dense_x.bytes();
  args.weight = grad_weight.bytes();
  args.y = dense_grad.bytes();
  run(is_depthwise(args) ? depthwise_grad_weight_kernel : conv2d_grad_weight_kernel, grad.device(),
      args, work(args));
  if (grad_bias) *grad_bias = to_dtype(*grad_bias, grad.dtype);
  return grad_weight;
}

using Padding = std::variant<std::string, Dims>;

}  // namespace

void bind_conv2d(py::module_& module) {
  module.def("get_winograd", [] { return winograd_allowed; });
  module.def("set_winograd", [](bool allowed) { winograd_allowed = allowed; }, py::arg("allowed"));
  module.def("get_convolutions_in_tf32", [] { return convolutions_in_tf32; });
  module.def(
      "set_convolutions_in_tf32", [](bool allowed) { convolutions_in_tf32 = allowed; },
      py::arg("allowed"));
  module.def(
      "conv2d",
      [](const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
         const Dims& stride, const Padding& padding, const Dims& dilation, std::int64_t groups) {
        return Convolution(x, weight, bias, {stride, padding, dilation, groups}).compute({});
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"));
  module.def(
      "conv2d_inference",
      [](const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
         const Dims& stride, const Padding& padding, const Dims& dilation, std::int64_t groups,
         const std::optional<Tensor>& mean, const std::optional<Tensor>& rstd,
         const std::optional<Tensor>& norm_weight, const std::optional<Tensor>& norm_bias,
         const std::optional<Tensor>& residual, bool relu) {
        TILEGRAD_CHECK(mean.has_value() == rstd.has_value(), runtime,
                       "conv2d: expected both of 'mean' and 'rstd', or neither");
        const Convolution convolution(x, weight, bias, {stride, padding, dilation, groups});
        return convolution.compute({following_channels("mean", mean, weight),
                                    following_channels("rstd", rstd, weight),
                                    following_channels("norm_weight", norm_weight, weight),
                                    following_channels("norm_bias", norm_bias, weight),
                                    following_residual(residual, convolution), relu});
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"), py::arg("mean"), py::arg("rstd"),
      py::arg("norm_weight"), py::arg("norm_bias"), py::arg("residual"), py::arg("relu"));
  module.def(
      "conv2d_grad_input",
      [](const Tensor& grad, const Tensor& weight, const Dims& input_shape, const Dims& stride,
         const Padding& padding, const Dims& dilation, std::int64_t groups) {
        return conv2d_grad_input(grad, weight, input_shape, {stride, padding, dilation, groups});
      },
      py::arg("grad"), py::arg("weight"), py::arg("input_shape"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("groups"));
  module.def(
      "conv2d_grad_weight",
      [](const Tensor& grad, const Tensor& x, const Dims& weight_shape, const Dims& stride,
         const Padding& padding, const Dims& dilation, std::int64_t groups) {
        return conv2d_grad_weight(grad, x, weight_shape, {stride, padding, dilation, groups});
      },
      py::arg("grad"), py::arg("input"), py::arg("weight_shape"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("groups"));
  module.def(
      "conv2d_grad_weight_bias",
      [](const Tensor& grad, const Tensor& x, const Dims& weight_shape, const Dims& stride,
         const Padding& padding, const Dims& dilation, std::int64_t groups) {
        const Options options{stride, padding, dilation, groups};
        Tensor grad_bias;
        Tensor grad_weight = conv2d_grad_weight(grad, x, weight_shape, options, &grad_bias);
        return py::make_tuple(grad_weight, grad_bias);
      },
      py::arg("grad"), py::arg("input"), py::arg("weight_shape"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("groups"));
  takes_halves_on_cards({"conv2d", "conv2d_inference", "conv2d_grad_input", "conv2d_grad_weight",
                         "conv2d_grad_weight_bias"});
}

}  // namespace tilegrad
