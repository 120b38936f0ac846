// Pooling: window rules, output sizes, checked indices.
#include "ops/pool.h"

#include "bind.h"
#include "channels_last.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kLargestPool = std::int64_t{1} << 31;  // keeps areas in 64 bits
constexpr std::int64_t kPoolTaps = 255;                       // as csrc/pool_rows.h

// The windows as Python passes them, in one tuple, checked: (name of the op, number of directions,
// kernel_size or output_size, stride, padding, dilation, ceil_mode, adaptive, count_include_pad,
// divisor_override).
struct PoolWindows {
  explicit PoolWindows(const py::tuple& t)
      : op(t[0].cast<std::string>()),
        ndim(t[1].cast<int>()),
        ceil_mode(t[6].cast<bool>()),
        adaptive(t[7].cast<bool>()),
        include_pad(t[8].cast<bool>()) {
    kernel = sizes(t[2], adaptive ? "output_size" : "kernel_size", adaptive ? 0 : 1);
    if (adaptive) return;
    const bool default_stride =
        t[3].is_none() || (py::isinstance<py::sequence>(t[3]) && py::len(t[3]) == 0);
    stride = default_stride ? kernel : sizes(t[3], "stride", 1);
    padding = sizes(t[4], "padding", 0);
    dilation = sizes(t[5], "dilation", 1);
    if (t[9].is_none()) return;
    divisor = t[9].cast<std::int64_t>();
    TILEGRAD_CHECK(divisor != 0, runtime, op,
                   ": argument 'divisor_override': divisor must be not zero");
  }

  Dims sizes(const py::handle& value, const char* name, std::int64_t smallest) const {
    static const char* const kWords[] = {"", "one int", "two ints", "three ints"};
    Dims result;
    if (!load_dims(value.ptr(), result))
      throw py::type_error(op + ": argument '" + name + "': expected an integer or a tuple of " +
                           kWords[ndim] + ", got " + py::repr(value).cast<std::string>());
    TILEGRAD_CHECK(result.n == 1 || result.n == ndim, runtime, op, ": ", name,
                   " must either be a single int, or a tuple of ", kWords[ndim], ", got ",
                   result.str());
    while (result.n < ndim) result.push(result[0]);
    for (const std::int64_t size : result)
      TILEGRAD_CHECK(size >= smallest && size < kLargestPool, runtime, op, ": argument '", name,
                     "': ", smallest == 0 ? "must be non-negative" : "should be greater than zero",
                     " and below 2**31, got ", result.str());
    return result;
  }

  PoolAxis axis(int d, std::int64_t in) const {
    if (adaptive) return adaptive_axis(d, in);
    PoolAxis axis{.in = in,
                  .out = 0,
                  .kernel = kernel[d],
                  .stride = stride[d],
                  .pad = padding[d],
                  .dilation = dilation[d]};
    TILEGRAD_CHECK(axis.kernel == 1 || axis.dilation < kLargestPool / axis.kernel, runtime, op,
                   ": a kernel of size ", axis.kernel, " with dilation ", axis.dilation,
                   " overflows");
    TILEGRAD_CHECK(axis.pad <= axis.span() / 2, runtime, op,
                   ": pad should be at most half of effective kernel size, but got pad=", axis.pad,
                   ", kernel_size=", axis.kernel, " and dilation=", axis.dilation);
    const std::int64_t steps = in + 2 * axis.pad - axis.span();  // first to last window
    if (steps >= 0 || ceil_mode) {
      axis.out = (steps + (ceil_mode ? axis.stride - 1 : 0)) / axis.stride + 1;
      if (steps < 0 && steps <= -axis.stride) axis.out = 0;
      // The last window must start inside the input or in the padding before it.
      if (ceil_mode && (axis.out - 1) * axis.stride >= in + axis.pad) --axis.out;
    }
    TILEGRAD_CHECK(axis.out >= 1, runtime, op, ": Given input size ", in, " in direction ", d,
                   ", calculated output size: ", axis.out, ". Output size is too small");
    return axis;
  }

  // Windows of one size where it divides the input, else adaptive ones.
  PoolAxis adaptive_axis(int d, std::int64_t in) const {
    const std::int64_t out = kernel[d];
    std::int64_t product = 0;
    TILEGRAD_CHECK(!__builtin_mul_overflow(in, out, &product), runtime, op, ": output size ", out,
                   " overflows for an input of size ", in);
    if (in > 0 && out > 0 && in % out == 0)
      return {.in = in, .out = out, .kernel = in / out, .stride = in / out};
    return {.in = in, .out = out, .adaptive = true};
  }

  void check_input(const Dims& x, DType dtype, bool may_be_empty) const {
    TILEGRAD_CHECK(is_floating(dtype), not_implemented, op, ": not implemented for dtype ",
                   info(dtype).name, "; expected a floating dtype");
    bool valid = x.n == ndim + 1 || x.n == ndim + 2;
    for (int d = x.n == ndim + 2 ? 1 : 0; valid && !may_be_empty && d < x.n; ++d) valid = x[d] > 0;
    TILEGRAD_CHECK(
        valid, runtime, op, ": Expected ", ndim + 1, "D or ", ndim + 2,
        "D (batch mode) tensor with optional 0 dim batch size for input, but got: ", x.str());
  }

  Pool args(const Dims& x, DType dtype, bool may_be_empty) const {
    check_input(x, dtype, may_be_empty);
    Pool pool{.dtype = dtype, .planes = 1, .depth = {}, .height = {}, .width = {}};
    const int first = x.n - ndim;
    for (int d = 0; d < first; ++d) pool.planes *= x[d];
    PoolAxis* const axes[] = {&pool.depth, &pool.height, &pool.width};
    for (int d = 0; d < ndim; ++d) *axes[3 - ndim + d] = axis(d, x[first + d]);
    const bool any_adaptive = pool.depth.adaptive || pool.height.adaptive || pool.width.adaptive;
    if (any_adaptive) {  // the kernels ask the width
      for (PoolAxis* axis : axes) *axis = {.in = axis->in, .out = axis->out, .adaptive = true};
    }
    pool.count_include_pad = include_pad;
    pool.divisor = divisor;
    return pool;
  }

  std::string op;
  int ndim;
  Dims kernel, stride, padding, dilation;
  bool ceil_mode, adaptive, include_pad;
  std::int64_t divisor = 0;
};

Dims pool_shape(const PoolWindows& windows, const Dims& x, const Pool& args) {
  const std::int64_t out[] = {args.depth.out, args.height.out, args.width.out};
  Dims shape = x;
  for (int d = 0; d < windows.ndim; ++d) shape[x.n - windows.ndim + d] = out[3 - windows.ndim + d];
  return shape;
}

bool pool_has_taps(const Pool& args) {
  return !args.width.adaptive && args.depth.kernel <= kPoolTaps &&
         args.height.kernel <= kPoolTaps && args.width.kernel <= kPoolTaps &&
         args.window_size() <= kPoolTaps;
}

// Channels-last images are read in place, and their results lie alike: so the arguments, and a
// result of that shape.
void pool_channels_last(const PoolWindows& windows, const Dims& x, Pool& args) {
  args.channels = x[x.n - windows.ndim - 1];
  args.planes = x[0];
}
bool pool_is_channels_last(const PoolWindows& windows, const Tensor& x) {
  return windows.ndim > 1 && x.ndim() == windows.ndim + 2 && is_channels_last(x);
}
Tensor pool_result(const PoolWindows& windows, const Pool& args, const Dims& shape, DType dtype,
                   const Device& device) {
  Tensor made = empty(shape, dtype, device, windows.op.c_str());
  if (args.channels) made.strides = channels_last_strides(shape);
  return made;
}
// x in the order of the arguments.
Tensor pool_ordered(const Pool& args, const Tensor& x) {
  if (!args.channels) return contiguous(x);
  const Dims strides = channels_last_strides(x.shape);
  if (has_strides(x, strides)) return x;
  Tensor copy = empty_like(x);
  copy.strides = strides;
  copy_into(copy, x);
  return copy;
}

std::int64_t pool_work(const Tensor& a, const Tensor& b) { return a.numel() + b.numel(); }

// (y, where each maximum lies): uint8 numbers of taps, or None if they are not wanted; int64
// indices for windows with more taps than a byte counts, and for adaptive ones.
py::tuple max_pool(const Tensor& x, const py::tuple& window_tuple, bool wants_places) {
  const PoolWindows windows(window_tuple);
  Pool args = windows.args(x.shape, x.dtype, false);
  if (pool_is_channels_last(windows, x) && pool_has_taps(args))
    pool_channels_last(windows, x.shape, args);
  const Tensor dense = pool_ordered(args, x);
  const Dims shape = pool_shape(windows, x.shape, args);
  checked_numel(shape, DType::int64, windows.op.c_str());
  Tensor y = pool_result(windows, args, shape, x.dtype, x.device()), places;
  args.x = dense.bytes();
  args.y = y.bytes();
  if (!pool_has_taps(args)) {
    places = empty(shape, DType::int64, x.device(), windows.op.c_str());
    args.indices = places.data<std::int64_t>();
  } else if (wants_places) {
    places = pool_result(windows, args, shape, DType::uint8, x.device());
    args.taps = places.data<std::uint8_t>();
  }
  if (y.numel() > 0) run(max_pool_kernel, x.device(), args, pool_work(x, y));
  py::object second = py::none();
  if (places.defined()) second = py::cast(std::move(places));
  return py::make_tuple(std::move(y), std::move(second));
}

// The arguments for maxima of an input of that shape whose places are told as max_pool tells them;
// kernels pass over places outside the input.
Pool places_args(const PoolWindows& windows, const Dims& input_shape, DType dtype,
                 const Tensor& places) {
  checked_numel(input_shape, dtype, windows.op.c_str());
  Pool args = windows.args(input_shape, dtype, false);
  const Dims shape = pool_shape(windows, input_shape, args);
  const bool taps = pool_has_taps(args);
  TILEGRAD_CHECK(places.dtype == (taps ? DType::uint8 : DType::int64) && places.shape == shape,
                 runtime, windows.op, ": expected ",
                 taps ? "uint8 numbers of taps" : "int64 indices", " of shape ", shape.str(),
                 ", got ", info(places.dtype).name, " of shape ", places.shape.str());
  return args;
}

Tensor max_pool_backward(const Tensor& grad, const Tensor& places, const Dims& input_shape,
                         const py::tuple& window_tuple) {
  const PoolWindows windows(window_tuple);
  Pool args = places_args(windows, input_shape, grad.dtype, places);
  TILEGRAD_CHECK(grad.shape == places.shape, runtime, windows.op, ": expected a gradient of shape ",
                 places.shape.str(), ", got ", grad.shape.str());
  const bool taps = pool_has_taps(args);
  if (taps && pool_is_channels_last(windows, places))
    pool_channels_last(windows, input_shape, args);
  const Tensor dense = pool_ordered(args, grad), dense_places = pool_ordered(args, places);
  Tensor x = pool_result(windows, args, input_shape, grad.dtype, grad.device());
  args.x = x.bytes();
  args.y = dense.bytes();
  if (taps) args.taps = dense_places.data<std::uint8_t>();
  else args.indices = dense_places.data<std::int64_t>();
  if (x.numel() > 0) run(max_pool_grad_kernel, grad.device(), args, pool_work(x, grad));
  return x;
}

// Where in their planes the maxima lie, from the numbers of their taps, which there must be.
Tensor pool_indices_of(const Tensor& taps, const Dims& input_shape, const py::tuple& window_tuple) {
  const PoolWindows windows(window_tuple);
  Pool args = places_args(windows, input_shape, DType::float32, taps);
  TILEGRAD_CHECK(taps.dtype == DType::uint8, runtime, windows.op,
                 ": expected uint8 numbers of taps, got ", info(taps.dtype).name);
  const Tensor dense = contiguous(taps);
  Tensor indices = empty(taps.shape, DType::int64, taps.device(), windows.op.c_str());
  args.taps = dense.data<std::uint8_t>();
  args.indices = indices.data<std::int64_t>();
  if (taps.numel() > 0) run(max_pool_indices_kernel, taps.device(), args, taps.numel());
  return indices;
}

Tensor avg_pool(const Tensor& x, const py::tuple& window_tuple) {
  const PoolWindows windows(window_tuple);
  Pool args = windows.args(x.shape, x.dtype, windows.adaptive);
  if (pool_is_channels_last(windows, x)) pool_channels_last(windows, x.shape, args);
  const Tensor dense = pool_ordered(args, x);
  Tensor y = pool_result(windows, args, pool_shape(windows, x.shape, args), x.dtype, x.device());
  args.x = dense.bytes();
  args.y = y.bytes();
  if (y.numel() > 0) run(avg_pool_kernel, x.device(), args, pool_work(x, y));
  return y;
}

Tensor avg_pool_backward(const Tensor& grad, const Dims& input_shape,
                         const py::tuple& window_tuple) {
  const PoolWindows windows(window_tuple);
  checked_numel(input_shape, grad.dtype, windows.op.c_str());
  Pool args = windows.args(input_shape, grad.dtype, windows.adaptive);
  const Dims expected = pool_shape(windows, input_shape, args);
  TILEGRAD_CHECK(grad.shape == expected, runtime, windows.op,
                 ": argument 'grad_output': expected shape ", expected.str(), ", got ",
                 grad.shape.str());
  if (pool_is_channels_last(windows, grad)) pool_channels_last(windows, input_shape, args);
  const Tensor dense = pool_ordered(args, grad);
  Tensor x = pool_result(windows, args, input_shape, grad.dtype, grad.device());
  args.x = x.bytes();
  args.y = dense.bytes();
  if (x.numel() > 0) run(avg_pool_grad_kernel, grad.device(), args, pool_work(x, grad));
  return x;
}

}  // namespace

void bind_pool(py::module_& module) {
  module.def("max_pool", &max_pool, py::arg("input"), py::arg("windows"), py::arg("wants_places"));
  module.def("max_pool_backward", &max_pool_backward, py::arg("grad"), py::arg("places"),
             py::arg("input_shape"), py::arg("windows"));
  module.def("max_pool_indices", &pool_indices_of, py::arg("taps"), py::arg("input_shape"),
             py::arg("windows"));
  module.def("avg_pool", &avg_pool, py::arg("input"), py::arg("windows"));
  module.def("avg_pool_backward", &avg_pool_backward, py::arg("grad"), py::arg("input_shape"),
             py::arg("windows"));
  takes_alike_halves_on_cards(1,
                              {"max_pool", "max_pool_backward", "avg_pool", "avg_pool_backward"});
}

}  // namespace tilegrad
