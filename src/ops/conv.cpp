// Convolutions of other ranks and transposed ones: argument rules and output sizes. conv2d's
// kernels do the work, python/tilegrad/ops/conv.py brings the arrays into their shape.
#include <string>
#include <variant>

#include "bind.h"
#include "tensor.h"

namespace tilegrad {
namespace {

using ConvPadding = std::variant<std::string, Dims>;  // 'same', 'valid' or sizes

constexpr std::int64_t kConvLargest = std::int64_t{1} << 40;  // keeps every sum in 64 bits

// What the convolutions check alike; `op` and the number of spatial dimensions name them.
struct ConvCheck {
  const std::string& op;
  int rank;
  bool transposed;

  // One number stands for every direction.
  Dims sizes(const char* name, const Dims& value) const {
    TILEGRAD_CHECK(value.n == 1 || value.n == rank, runtime, op, ": expected ", name,
                   " to be a single integer value or a list of ", rank,
                   " values to match the convolution dimensions, but got ", name, "=", value.str());
    Dims all;
    for (int d = 0; d < rank; ++d) all.push(value[value.n == 1 ? 0 : d]);
    return all;
  }

  Dims positive(const char* name, const Dims& value) const {
    const Dims all = sizes(name, value);
    for (std::int64_t size : all)
      TILEGRAD_CHECK(size > 0, runtime, op, ": non-positive ", name, " is not supported: ", name,
                     " should be greater than zero, but got ", all.str());
    return all;
  }

  Dims not_negative(const char* name, const Dims& value) const {
    const Dims all = sizes(name, value);
    for (std::int64_t size : all) {
      TILEGRAD_CHECK(size >= 0, runtime, op, ": negative ", name, " is not supported, got ",
                     all.str());
      TILEGRAD_CHECK(size < kConvLargest, runtime, op, ": expected ", name, " to be at most ",
                     kConvLargest - 1, ", got ", size);
    }
    return all;
  }

  void dtypes(const Tensor& x, const char* name, const Tensor& other) const {
    TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, op, ": expected a floating dtype, got ",
                   info(x.dtype).name);
    TILEGRAD_CHECK(x.dtype == other.dtype, runtime, op, ": argument '", name,
                   "': expected scalar type ", info(x.dtype).name, " but found ",
                   info(other.dtype).name);
    TILEGRAD_CHECK(x.device() == other.device(), runtime, op,
                   ": expected all tensors on one device, got ", x.device().str(), " and ",
                   other.device().str());
  }

  void tensors(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
               std::int64_t groups) const {
    dtypes(x, "weight", weight);
    TILEGRAD_CHECK(groups > 0, runtime, op, ": non-positive groups is not supported, got ", groups);
    TILEGRAD_CHECK(x.ndim() == rank + 2, runtime, op, ": Expected ", rank + 1, "D (unbatched) or ",
                   rank + 2, "D (batched) input to ", op,
                   ", but got input of size: ", x.shape.str());
    TILEGRAD_CHECK(weight.ndim() == rank + 2, runtime, op,
                   ": argument 'weight': expected weight with ", rank + 2,
                   " dimensions, but got weight of size ", weight.shape.str());
    TILEGRAD_CHECK(weight.shape[0] >= groups, runtime, op, ": Given groups=", groups,
                   ", expected weight to be at least ", groups,
                   " at dimension 0, but got weight of size ", weight.shape.str());
    TILEGRAD_CHECK(weight.shape[0] % groups == 0, runtime, op, ": Given groups=", groups,
                   ", expected weight to be divisible by ", groups,
                   " at dimension 0, but got weight of size ", weight.shape.str());
    const std::int64_t channels = transposed ? weight.shape[0] : weight.shape[1] * groups;
    TILEGRAD_CHECK(x.shape[1] == channels, runtime, op, ": Given groups=", groups,
                   ", weight of size ", weight.shape.str(), ", expected input", x.shape.str(),
                   " to have ", channels, " channels, but got ", x.shape[1], " channels instead");
    for (int d = 0; d < rank; ++d) {
      TILEGRAD_CHECK(
          x.shape[2 + d] > 0, runtime, op,
          ": Only zero batch or zero channel inputs are supported, but got input shape: ",
          x.shape.str());
      TILEGRAD_CHECK(weight.shape[2 + d] > 0, runtime, op,
                     ": argument 'weight': kernel size should be greater than zero, but got "
                     "weight of size ",
                     weight.shape.str());
    }
    if (!bias) return;
    dtypes(x, "bias", *bias);
    const std::int64_t filters = transposed ? weight.shape[1] * groups : weight.shape[0];
    TILEGRAD_CHECK(bias->ndim() == 1 && bias->shape[0] == filters, runtime, op,
                   ": Given weight of size ", weight.shape.str(),
                   ", expected bias to be 1-dimensional with ", filters,
                   " elements, but got bias of size ", bias->shape.str());
  }

  // The input positions that a kernel covers, less one.
  std::int64_t span(std::int64_t kernel, std::int64_t dilation) const {
    TILEGRAD_CHECK(kernel == 1 || (dilation < kConvLargest / kernel && kernel < kConvLargest),
                   runtime, op, ": argument 'dilation': a kernel of size ", kernel,
                   " with dilation ", dilation, " overflows");
    return kernel == 1 ? 0 : dilation * (kernel - 1);
  }
};

// (stride, padding or 'same', dilation, output sizes), all with one number per direction.
py::tuple conv_sizes(const std::string& op, int rank, const Tensor& x, const Tensor& weight,
                     const std::optional<Tensor>& bias, const Dims& strides,
                     const ConvPadding& padding, const Dims& dilations, std::int64_t groups) {
  const ConvCheck check{op, rank, false};
  check.tensors(x, weight, bias, groups);
  const Dims stride = check.positive("stride", strides);
  const Dims dilation = check.positive("dilation", dilations);
  const auto* text = std::get_if<std::string>(&padding);
  TILEGRAD_CHECK(!text || *text == "same" || *text == "valid", runtime, op,
                 ": Invalid padding string: '", *text, "': expected 'same' or 'valid'");
  const Dims pad = check.not_negative("padding", text ? Dims{0} : std::get<Dims>(padding));
  Dims out;
  for (int d = 0; d < rank; ++d) {
    const std::int64_t span = check.span(weight.shape[2 + d], dilation[d]);
    const bool same = text && *text == "same";
    TILEGRAD_CHECK(!same || stride[d] == 1, runtime, op,
                   ": padding='same' is not supported for strided convolutions");
    const std::int64_t padded = x.shape[2 + d] + (same ? span : 2 * pad[d]);
    TILEGRAD_CHECK(padded > span, runtime, op,
                   ": Calculated padded input size per channel: ", padded, " in direction ", d,
                   ". Kernel size: ", span + 1,
                   " (with dilation). Kernel size can't be greater than actual input size");
    out.push((padded - span - 1) / stride[d] + 1);
  }
  if (text && *text == "same") return py::make_tuple(stride, "same", dilation, out);
  return py::make_tuple(stride, pad, dilation, out);
}

// (stride, padding, dilation, output sizes, zeros to append to the input). Where output_padding
// reaches the stride, as a larger dilation allows, the last outputs belong to inputs that are not
// there.
py::tuple conv_transpose_sizes(const std::string& op, int rank, const Tensor& x,
                               const Tensor& weight, const std::optional<Tensor>& bias,
                               const Dims& strides, const Dims& paddings,
                               const Dims& output_paddings, const Dims& dilations,
                               std::int64_t groups) {
  const ConvCheck check{op, rank, true};
  check.tensors(x, weight, bias, groups);
  TILEGRAD_CHECK(weight.shape[1] > 0, runtime, op,
                 ": argument 'weight': expected a non-empty weight, but got weight of size ",
                 weight.shape.str());
  const Dims stride = check.positive("stride", strides);
  const Dims pad = check.not_negative("padding", paddings);
  const Dims output_pad = check.not_negative("output_padding", output_paddings);
  const Dims dilation = check.positive("dilation", dilations);
  Dims out, missing;
  for (int d = 0; d < rank; ++d) {
    TILEGRAD_CHECK(output_pad[d] < stride[d] || output_pad[d] < dilation[d], runtime, op,
                   ": output padding must be smaller than either stride or dilation, but got "
                   "output_padding=",
                   output_pad.str(), ", stride=", stride.str(), ", dilation=", dilation.str());
    const std::int64_t steps = x.shape[2 + d] - 1;
    TILEGRAD_CHECK(stride[d] < kConvLargest && (steps == 0 || stride[d] < kConvLargest / steps),
                   runtime, op, ": argument 'stride': an input of size ", steps + 1,
                   " with stride ", stride[d], " overflows");
    const std::int64_t size = steps * stride[d] - 2 * pad[d] +
                              check.span(weight.shape[2 + d], dilation[d]) + output_pad[d] + 1;
    TILEGRAD_CHECK(size > 0, runtime, op, ": Given input size per channel: ", x.shape[2 + d],
                   " in direction ", d, ". Calculated output size per channel: ", size,
                   ". Output size is too small");
    out.push(size);
    missing.push(output_pad[d] / stride[d]);
  }
  return py::make_tuple(stride, pad, dilation, out, missing);
}

}  // namespace

void bind_conv(py::module_& module) {
  module.def("conv_sizes", &conv_sizes, py::arg("op"), py::arg("rank"), py::arg("input"),
             py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
             py::arg("dilation"), py::arg("groups"));
  module.def("conv_transpose_sizes", &conv_transpose_sizes, py::arg("op"), py::arg("rank"),
             py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"),
             py::arg("padding"), py::arg("output_padding"), py::arg("dilation"), py::arg("groups"));
}

}  // namespace tilegrad
