// Grid sampling: argument rules.
#include "ops/grid_sample.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kLargestGridPlane = std::int64_t{1} << 31;  // offsets have 32 bits

void check_grid_sizes(const Tensor& x, const Tensor& grid) {
  TILEGRAD_CHECK(x.device() == grid.device(), runtime,
                 "grid_sampler(): expected input and grid to be on same device, but input is on ",
                 x.device().str(), " and grid is on ", grid.device().str());
  TILEGRAD_CHECK(x.dtype == grid.dtype, runtime,
                 "grid_sampler(): expected input and grid to have same dtype, but input has ",
                 info(x.dtype).name, " and grid has ", info(grid.dtype).name);
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented,
                 "grid_sampler(): not implemented for dtype ", info(x.dtype).name,
                 "; expected a floating dtype");
  const std::string sizes =
      "input with sizes " + x.shape.str() + " and grid with sizes " + grid.shape.str();
  TILEGRAD_CHECK((x.ndim() == 4 || x.ndim() == 5) && grid.ndim() == x.ndim(), runtime,
                 "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, "
                 "but got ",
                 sizes);
  TILEGRAD_CHECK(x.shape[0] == grid.shape[0], runtime,
                 "grid_sampler(): expected grid and input to have same batch size, but got ",
                 sizes);
  TILEGRAD_CHECK(grid.shape[x.ndim() - 1] == x.ndim() - 2, runtime,
                 "grid_sampler(): expected grid to have size ", x.ndim() - 2,
                 " in last dimension, but got grid with sizes ", grid.shape.str());
}

GridSample grid_sample_args(const Tensor& x, const Tensor& grid, int mode, int padding,
                            bool align_corners) {
  check_grid_sizes(x, grid);
  TILEGRAD_CHECK(
      mode >= 0 && mode <= 2, runtime,
      "grid_sampler(): argument 'interpolation_mode': expected 0 (bilinear), 1 (nearest) "
      "or 2 (bicubic), got ",
      mode);
  TILEGRAD_CHECK(padding >= 0 && padding <= 2, runtime,
                 "grid_sampler(): argument 'padding_mode': expected 0 (zeros), 1 (border) or 2 "
                 "(reflection), got ",
                 padding);
  const int ndim = x.ndim() - 2;
  TILEGRAD_CHECK(ndim == 2 || mode != static_cast<int>(GridMode::cubic), runtime,
                 "grid_sampler(): bicubic interpolation only supports 4D input");
  GridSample args{.dtype = x.dtype,
                  .ndim = ndim,
                  .mode = static_cast<GridMode>(mode),
                  .padding = static_cast<GridPadding>(padding),
                  .align_corners = align_corners,
                  .batch = x.shape[0],
                  .channels = x.shape[1],
                  .points = 1,
                  .in = {1, 1, 1}};
  std::int64_t plane = 1;
  for (int d = 0; d < ndim; ++d) {
    const std::int64_t size = x.shape[d + 2];
    TILEGRAD_CHECK(size > 0, runtime,
                   "grid_sampler(): expected input to have non-empty spatial dimensions, but input "
                   "has sizes ",
                   x.shape.str(), " with dimension ", d + 2, " being empty");
    TILEGRAD_CHECK(size < kLargestGridPlane / plane, not_implemented,
                   "grid_sampler(): expected fewer than 2**31 elements per channel, got ",
                   x.shape.str());
    plane *= size;
    args.in[d + 3 - ndim] = size;
    args.points *= grid.shape[d + 1];
  }
  return args;
}

Dims grid_output_shape(const Tensor& x, const Tensor& grid) {
  Dims shape{x.shape[0], x.shape[1]};
  for (int d = 1; d < grid.ndim() - 1; ++d) shape.push(grid.shape[d]);
  checked_numel(shape, x.dtype, "grid_sampler()");
  return shape;
}

Tensor grid_sample_forward(const Tensor& x, const Tensor& grid, int mode, int padding,
                           bool align_corners) {
  GridSample args = grid_sample_args(x, grid, mode, padding, align_corners);
  const Tensor dense = contiguous(x), dense_grid = contiguous(grid);
  Tensor y = empty(grid_output_shape(x, grid), x.dtype, x.device());
  args.x = dense.bytes();
  args.grid = dense_grid.bytes();
  args.y = y.bytes();
  if (y.numel() > 0) run(grid_sample_kernel, x.device(), args, 16 * y.numel());
  return y;
}

// (grad_input or None, grad_grid or None)
py::tuple grid_sample_grad(const Tensor& grad, const Tensor& x, const Tensor& grid, int mode,
                           int padding, bool align_corners, bool wants_input, bool wants_grid) {
  GridSample args = grid_sample_args(x, grid, mode, padding, align_corners);
  const Dims shape = grid_output_shape(x, grid);
  TILEGRAD_CHECK(grad.shape == shape && grad.dtype == x.dtype, runtime,
                 "grid_sample_backward: expected a gradient of shape ", shape.str(), " and dtype ",
                 info(x.dtype).name, ", got ", grad.shape.str(), " and ", info(grad.dtype).name);
  const Tensor dense = contiguous(x), dense_grid = contiguous(grid), dense_grad = contiguous(grad);
  py::object results[2] = {py::none(), py::none()};
  Tensor grad_x, grad_grid;
  const auto zeros = [&](const Dims& like) {
    Tensor made = empty(like, x.dtype, x.device());
    copy_into(made, scalar_tensor(Scalar{}, x.dtype, x.device()));
    return made;
  };
  if (wants_input) {
    grad_x = zeros(x.shape);
    args.grad_x = grad_x.bytes();
    results[0] = py::cast(grad_x);
  }
  if (wants_grid) {
    grad_grid = zeros(grid.shape);
    args.grad_grid = grad_grid.bytes();
    results[1] = py::cast(grad_grid);
  }
  args.x = dense.bytes();
  args.grid = dense_grid.bytes();
  args.grad_y = dense_grad.bytes();
  if (grad.numel() > 0) run(grid_sample_backward_kernel, x.device(), args, 32 * grad.numel());
  return py::make_tuple(results[0], results[1]);
}

}  // namespace

void bind_grid_sample(py::module_& module) {
  module.def("grid_sample", &grid_sample_forward, py::arg("input"), py::arg("grid"),
             py::arg("mode"), py::arg("padding"), py::arg("align_corners"));
  module.def("grid_sample_backward", &grid_sample_grad, py::arg("grad"), py::arg("input"),
             py::arg("grid"), py::arg("mode"), py::arg("padding"), py::arg("align_corners"),
             py::arg("wants_input"), py::arg("wants_grid"));
}

}  // namespace tilegrad
