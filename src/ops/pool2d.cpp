// Pooling: window rules, output sizes, checked indices.
#include "ops/pool2d.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 31;  // keeps areas in 64 bits

struct Windows {
  Dims kernel, stride, padding, dilation;  // one number stands for both directions
  bool ceil_mode;
};

Dims pair(const char* op, const char* name, const Dims& value, std::int64_t smallest) {
  TILEGRAD_CHECK(value.n == 1 || value.n == 2, runtime, op, ": ", name,
                 " must either be a single int, or a tuple of two ints, got ", value.str());
  const Dims result = value.n == 2 ? value : Dims{value[0], value[0]};
  for (const std::int64_t size : result)
    TILEGRAD_CHECK(size >= smallest && size < kLargest, runtime, op, ": argument '", name,
                   "': ", smallest == 0 ? "must be non-negative" : "should be greater than zero",
                   " and below 2**31, got ", result.str());
  return result;
}

PoolAxis make_axis(const char* op, const Windows& windows, int d, std::int64_t in) {
  const Dims kernel = pair(op, "kernel_size", windows.kernel, 1);
  PoolAxis axis{.in = in,
                .out = 0,
                .kernel = kernel[d],
                .stride = windows.stride.n ? pair(op, "stride", windows.stride, 1)[d] : kernel[d],
                .pad = pair(op, "padding", windows.padding, 0)[d],
                .dilation = pair(op, "dilation", windows.dilation, 1)[d]};
  TILEGRAD_CHECK(axis.kernel == 1 || axis.dilation < kLargest / axis.kernel, runtime, op,
                 ": a kernel of size ", axis.kernel, " with dilation ", axis.dilation,
                 " overflows");
  const std::int64_t span = axis.dilation * (axis.kernel - 1);
  TILEGRAD_CHECK(axis.pad <= (span + 1) / 2, runtime, op,
                 ": pad should be at most half of effective kernel size, but got pad=", axis.pad,
                 ", kernel_size=", axis.kernel, " and dilation=", axis.dilation);
  const std::int64_t steps = in + 2 * axis.pad - span - 1;  // from the first window to the last
  if (steps >= 0 || windows.ceil_mode) {
    axis.out = (steps + (windows.ceil_mode ? axis.stride - 1 : 0)) / axis.stride + 1;
    if (steps < 0 && steps <= -axis.stride) axis.out = 0;
    // The last window must start inside the input or in the padding before it.
    if (windows.ceil_mode && (axis.out - 1) * axis.stride >= in + axis.pad) --axis.out;
  }
  TILEGRAD_CHECK(axis.out >= 1, runtime, op, ": Given input size ", in, " in direction ", d,
                 ", calculated output size: ", axis.out, ". Output size is too small");
  return axis;
}

void check_input(const char* op, const Dims& x, DType dtype, bool may_be_empty) {
  TILEGRAD_CHECK(is_floating(dtype), not_implemented, op, ": not implemented for dtype ",
                 info(dtype).name, "; expected a floating dtype");
  bool valid = x.n == 3 || x.n == 4;
  for (int d = x.n == 4 ? 1 : 0; valid && !may_be_empty && d < x.n; ++d) valid = x[d] > 0;
  TILEGRAD_CHECK(valid, runtime, op,
                 ": Expected 3D or 4D (batch mode) tensor with optional 0 dim "
                 "batch size for input, but got: ",
                 x.str());
}

Pool2d make_args(const Dims& x, DType dtype, const PoolAxis& vertical, const PoolAxis& horizontal) {
  return {.dtype = dtype,
          .planes = x.n == 4 ? x[0] * x[1] : x[0],
          .vertical = vertical,
          .horizontal = horizontal};
}

Pool2d window_args(const char* op, const Dims& x, DType dtype, const Windows& windows) {
  check_input(op, x, dtype, false);
  return make_args(x, dtype, make_axis(op, windows, 0, x[x.n - 2]),
                   make_axis(op, windows, 1, x[x.n - 1]));
}

Pool2d adaptive_args(const char* op, const Dims& x, DType dtype, const Dims& size) {
  TILEGRAD_CHECK(size.n == 2, runtime, op, ": output_size must be 2 sizes, got ", size.str());
  for (const std::int64_t out : size)
    TILEGRAD_CHECK(out >= 0 && out < kLargest, runtime, op,
                   ": elements of output_size must be "
                   "greater than or equal to 0 and below 2**31, but received ",
                   size.str());
  const auto axis = [&](int d) {
    const std::int64_t in = x[x.n - 2 + d];
    std::int64_t product = 0;
    TILEGRAD_CHECK(!__builtin_mul_overflow(in, size[d], &product), runtime, op, ": output size ",
                   size[d], " overflows for an input of size ", in);
    return PoolAxis{.in = in, .out = size[d], .adaptive = true};
  };
  return make_args(x, dtype, axis(0), axis(1));
}

Dims output_shape(const Dims& x, const Pool2d& args) {
  Dims shape = x;
  shape[x.n - 2] = args.vertical.out;
  shape[x.n - 1] = args.horizontal.out;
  return shape;
}

std::int64_t work(const Tensor& a, const Tensor& b) { return a.numel() + b.numel(); }

py::tuple max_pool(const char* op, const Tensor& x, Pool2d args) {
  const Tensor dense = contiguous(x);
  Tensor y = empty(output_shape(x.shape, args), x.dtype, x.device(), op);
  Tensor indices = empty(y.shape, DType::int64, x.device(), op);
  args.x = dense.bytes();
  args.y = y.bytes();
  args.indices = indices.data<std::int64_t>();
  if (y.numel() > 0) run(max_pool2d_kernel, x.device(), args, work(x, y));
  return py::make_tuple(std::move(y), std::move(indices));
}

// The gradient of a maximum goes to the place where it was found (scatter), and the derivative of
// that fetches from there (gather). `input_shape` is the shape of x; indices have that of y.
Pool2d index_args(const char* op, const Dims& input_shape, const Tensor& value,
                  const Dims& value_shape, const Tensor& indices) {
  check_input(op, input_shape, value.dtype, true);
  checked_numel(input_shape, value.dtype, op);
  TILEGRAD_CHECK(indices.dtype == DType::int64 && indices.ndim() == input_shape.n, runtime, op,
                 ": argument 'indices': expected int64 indices with ", input_shape.n,
                 " dimensions, got ", info(indices.dtype).name, " of shape ", indices.shape.str());
  for (int d = 0; d + 2 < input_shape.n; ++d)
    TILEGRAD_CHECK(indices.shape[d] == input_shape[d], runtime, op, ": indices of shape ",
                   indices.shape.str(), " do not fit an input of shape ", input_shape.str());
  TILEGRAD_CHECK(value.shape == value_shape, runtime, op, ": expected a tensor of shape ",
                 value_shape.str(), ", got ", value.shape.str());
  const int n = input_shape.n;
  Pool2d args =
      make_args(input_shape, value.dtype, {.in = input_shape[n - 2], .out = indices.shape[n - 2]},
                {.in = input_shape[n - 1], .out = indices.shape[n - 1]});
  args.indices = indices.data<std::int64_t>();
  for (std::int64_t i = 0, count = indices.numel(); i < count; ++i)
    TILEGRAD_CHECK(args.indices[i] >= 0 && args.indices[i] < args.in_size(), index, op, ": index ",
                   args.indices[i], " is out of range for planes of ", args.in_size(), " elements");
  return args;
}

Tensor scatter(const Tensor& grad, const Tensor& indices, const Dims& input_shape) {
  const Tensor dense = contiguous(grad), places = contiguous(indices);
  Pool2d args = index_args("max_pool2d_backward", input_shape, dense, places.shape, places);
  Tensor x = empty(input_shape, grad.dtype, grad.device(), "max_pool2d_backward");
  args.x = x.bytes();
  args.y = dense.bytes();
  if (x.numel() > 0) run(pool2d_scatter_kernel, grad.device(), args, work(x, grad));
  return x;
}

Tensor gather_maxima(const Tensor& x, const Tensor& indices) {
  const Tensor dense = contiguous(x), places = contiguous(indices);
  Pool2d args = index_args("max_pool2d_gather", x.shape, dense, x.shape, places);
  Tensor y = empty(indices.shape, x.dtype, x.device(), "max_pool2d_gather");
  args.x = dense.bytes();
  args.y = y.bytes();
  if (y.numel() > 0) run(pool2d_gather_kernel, x.device(), args, work(x, y));
  return y;
}

Tensor average(const char* op, const Tensor& x, Pool2d args) {
  const Tensor dense = contiguous(x);
  Tensor y = empty(output_shape(x.shape, args), x.dtype, x.device(), op);
  args.x = dense.bytes();
  args.y = y.bytes();
  if (y.numel() > 0) run(avg_pool2d_kernel, x.device(), args, work(x, y));
  return y;
}

Tensor average_grad(const char* op, const Tensor& grad, const Dims& input_shape, Pool2d args) {
  const Dims expected = output_shape(input_shape, args);
  TILEGRAD_CHECK(grad.shape == expected, runtime, op, ": argument 'grad_output': expected shape ",
                 expected.str(), ", got ", grad.shape.str());
  const Tensor dense = contiguous(grad);
  Tensor x = empty(input_shape, grad.dtype, grad.device(), op);
  args.x = x.bytes();
  args.y = dense.bytes();
  if (x.numel() > 0) run(avg_pool2d_grad_kernel, grad.device(), args, work(x, grad));
  return x;
}

Pool2d average_args(const char* op, const Dims& x, DType dtype, const Windows& windows,
                    bool count_include_pad, std::optional<std::int64_t> divisor) {
  TILEGRAD_CHECK(!divisor || *divisor != 0, runtime, op,
                 ": argument 'divisor_override': divisor must be not zero");
  Pool2d args = window_args(op, x, dtype, windows);
  args.count_include_pad = count_include_pad;
  args.divisor = divisor.value_or(0);
  return args;
}

Pool2d adaptive_average_args(const char* op, const Dims& x, DType dtype, const Dims& size) {
  check_input(op, x, dtype, true);
  return adaptive_args(op, x, dtype, size);
}

}  // namespace

void bind_pool2d(py::module_& module) {
  using Divisor = std::optional<std::int64_t>;
  module.def(
      "max_pool2d",
      [](const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding,
         const Dims& dilation, bool ceil_mode) {
        return max_pool("max_pool2d", x,
                        window_args("max_pool2d", x.shape, x.dtype,
                                    {kernel, stride, padding, dilation, ceil_mode}));
      },
      py::arg("input"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("ceil_mode"));
  module.def(
      "adaptive_max_pool2d",
      [](const Tensor& x, const Dims& size) {
        check_input("adaptive_max_pool2d", x.shape, x.dtype, false);
        return max_pool("adaptive_max_pool2d", x,
                        adaptive_args("adaptive_max_pool2d", x.shape, x.dtype, size));
      },
      py::arg("input"), py::arg("size"));
  module.def("max_pool2d_backward", &scatter, py::arg("grad"), py::arg("indices"),
             py::arg("input_shape"));
  module.def("max_pool2d_gather", &gather_maxima, py::arg("input"), py::arg("indices"));
  module.def(
      "avg_pool2d",
      [](const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding,
         bool ceil_mode, bool include, Divisor divisor) {
        return average("avg_pool2d", x,
                       average_args("avg_pool2d", x.shape, x.dtype,
                                    {kernel, stride, padding, {1}, ceil_mode}, include, divisor));
      },
      py::arg("input"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
      py::arg("ceil_mode"), py::arg("include"), py::arg("divisor"));
  module.def(
      "avg_pool2d_backward",
      [](const Tensor& grad, const Dims& shape, const Dims& kernel, const Dims& stride,
         const Dims& padding, bool ceil_mode, bool include, Divisor divisor) {
        return average_grad(
            "avg_pool2d_backward", grad, shape,
            average_args("avg_pool2d_backward", shape, grad.dtype,
                         {kernel, stride, padding, {1}, ceil_mode}, include, divisor));
      },
      py::arg("grad"), py::arg("shape"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
      py::arg("ceil_mode"), py::arg("include"), py::arg("divisor"));
  module.def(
      "adaptive_avg_pool2d",
      [](const Tensor& x, const Dims& size) {
        return average("adaptive_avg_pool2d", x,
                       adaptive_average_args("adaptive_avg_pool2d", x.shape, x.dtype, size));
      },
      py::arg("input"), py::arg("size"));
  module.def(
      "adaptive_avg_pool2d_backward",
      [](const Tensor& grad, const Dims& shape, const Dims& size) {
        return average_grad(
            "adaptive_avg_pool2d_backward", grad, shape,
            adaptive_average_args("adaptive_avg_pool2d_backward", shape, grad.dtype, size));
      },
      py::arg("grad"), py::arg("shape"), py::arg("size"));
}

}  // namespace tilegrad
