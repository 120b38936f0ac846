// max and min along a dimension with indices; argmax and argmin.
#include "ops/arg_reduce.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

struct Extremes {
  Tensor values, indices;
};

// x as (outer, reduced, inner) around dimension `dim`; a 0-dimensional tensor counts as one
// element.
Extremes search(const char* op, bool largest, const Tensor& x, int dim, bool keepdim) {
  const bool scalar = x.ndim() == 0;
  TILEGRAD_CHECK(scalar || x.shape[dim] > 0, index, op, "(): Expected reduction dim ", dim,
                 " to have non-zero size.");
  const DType dtype = is_floating(x.dtype) ? x.dtype : DType::int64;
  const Tensor input = contiguous(to_dtype(x, dtype));
  ArgReduce args{.largest = largest,
                 .dtype = dtype,
                 .values = nullptr,  // set below, once their shape is known
                 .indices = nullptr,
                 .x = input.bytes(),
                 .outer = 1,
                 .reduced = scalar ? 1 : x.shape[dim],
                 .inner = 1};
  Dims shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d < dim) args.outer *= x.shape[d];
    if (d > dim) args.inner *= x.shape[d];
    if (d != dim) shape.push(x.shape[d]);
    else if (keepdim) shape.push(1);
  }
  Extremes y{empty(shape, dtype, x.device(), op), empty(shape, DType::int64, x.device(), op)};
  args.values = y.values.bytes();
  args.indices = y.indices.data<std::int64_t>();
  run(arg_reduce_kernel, x.device(), args, x.numel());
  y.values = to_dtype(y.values, x.dtype);
  return y;
}

py::tuple extremum_dim(const char* op, bool largest, const Tensor& x, std::int64_t dim,
                       bool keepdim) {
  Extremes y = search(op, largest, x, normalize_dim(dim, x.ndim(), op), keepdim);
  return py::make_tuple(std::move(y.values), std::move(y.indices));
}

Tensor arg_extremum(const char* op, bool largest, const Tensor& x, std::optional<std::int64_t> dim,
                    bool keepdim) {
  TILEGRAD_CHECK(x.dtype != DType::boolean, runtime, op, "(): does not support bool input");
  if (dim) return search(op, largest, x, normalize_dim(*dim, x.ndim(), op), keepdim).indices;
  TILEGRAD_CHECK(x.numel() > 0, index, op,
                 "(): Expected reduction dim to be specified for input.numel() == 0.");
  Tensor y = search(op, largest, reshape(x, {x.numel()}), 0, false).indices;
  if (!keepdim) return y;
  Dims ones;
  for (int d = 0; d < x.ndim(); ++d) ones.push(1);
  return reshape(y, ones);
}

}  // namespace

void bind_arg_reduce(py::module_& module) {
  module.def(
      "max_dim",
      [](const Tensor& x, std::int64_t dim, bool keepdim) {
        return extremum_dim("max", true, x, dim, keepdim);
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim"));
  module.def(
      "min_dim",
      [](const Tensor& x, std::int64_t dim, bool keepdim) {
        return extremum_dim("min", false, x, dim, keepdim);
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim"));
  module.def(
      "argmax",
      [](const Tensor& x, std::optional<std::int64_t> dim, bool keepdim) {
        return arg_extremum("argmax", true, x, dim, keepdim);
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim"));
  module.def(
      "argmin",
      [](const Tensor& x, std::optional<std::int64_t> dim, bool keepdim) {
        return arg_extremum("argmin", false, x, dim, keepdim);
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim"));
}

}  // namespace tilegrad
