// scan: dimension and dtype rules of cumprod, cummax, cummin and logcumsumexp.
#include "ops/scan.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

// (outer, length, inner) around dimension `at`.
template <class Args>
void scan_sizes(Args& args, const Dims& shape, int at) {
  args.outer = args.inner = 1;
  args.length = shape.n == 0 ? 1 : shape[at];
  for (int d = 0; d < shape.n; ++d) {
    if (d < at) args.outer *= shape[d];
    if (d > at) args.inner *= shape[d];
  }
}

Tensor scan_along(const char* op, ScanOp kind, const Tensor& x, std::int64_t dim, bool reverse,
                  Tensor* index) {
  const int at = normalize_dim(dim, x.ndim(), op);
  const DType computed = is_floating(x.dtype) ? x.dtype : DType::int64;
  const Tensor input = contiguous(to_dtype(x, computed));
  Tensor y = empty(x.shape, computed, x.device(), op);
  if (index != nullptr) *index = empty(x.shape, DType::int64, x.device(), op);
  Scan args{.op = kind,
            .dtype = computed,
            .reverse = reverse,
            .y = y.bytes(),
            .index = index == nullptr ? nullptr : index->data<std::int64_t>(),
            .x = input.bytes()};
  scan_sizes(args, x.shape, at);
  if (y.numel() > 0) run(scan_kernel, x.device(), args, 4 * y.numel());
  return y;
}

Tensor cumprod(const Tensor& x, std::int64_t dim, std::optional<DType> dtype) {
  const DType result = dtype.value_or(is_floating(x.dtype) ? x.dtype : DType::int64);
  return to_dtype(scan_along("cumprod", ScanOp::prod, to_dtype(x, result), dim, false, nullptr),
                  result);
}

py::tuple cumulative_extreme(const char* op, ScanOp kind, const Tensor& x, std::int64_t dim) {
  Tensor index;
  const Tensor y = scan_along(op, kind, x, dim, false, &index);
  return py::make_tuple(to_dtype(y, x.dtype), index);
}

Tensor log_cumulative_sum(const Tensor& x, std::int64_t dim, bool reverse) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, "logcumsumexp: not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating one");
  return scan_along("logcumsumexp", ScanOp::log_sum_exp, x, dim, reverse, nullptr);
}

Tensor cumprod_gradient(const Tensor& grad, const Tensor& x, std::int64_t dim) {
  const int at = normalize_dim(dim, x.ndim(), "cumprod_backward");
  TILEGRAD_CHECK(is_floating(x.dtype) && grad.dtype == x.dtype && grad.shape == x.shape, runtime,
                 "cumprod_backward: argument 'grad': expected shape ", x.shape.str(),
                 " and floating dtype ", info(x.dtype).name, ", got ", grad.shape.str(), " and ",
                 info(grad.dtype).name);
  const Tensor input = contiguous(x), slope = contiguous(grad);
  Tensor grad_x = empty(x.shape, x.dtype, x.device(), "cumprod_backward");
  CumprodBackward args{
      .dtype = x.dtype, .grad_x = grad_x.bytes(), .grad = slope.bytes(), .x = input.bytes()};
  scan_sizes(args, x.shape, at);
  if (grad_x.numel() > 0) run(cumprod_backward_kernel, x.device(), args, 4 * grad_x.numel());
  return grad_x;
}

}  // namespace

void bind_scan(py::module_& module) {
  module.def("cumprod", &cumprod, py::arg("input"), py::arg("dim"), py::arg("dtype"));
  module.def("cumprod_backward", &cumprod_gradient, py::arg("grad"), py::arg("input"),
             py::arg("dim"));
  module.def(
      "cummax",
      [](const Tensor& x, std::int64_t dim) {
        return cumulative_extreme("cummax", ScanOp::max, x, dim);
      },
      py::arg("input"), py::arg("dim"));
  module.def(
      "cummin",
      [](const Tensor& x, std::int64_t dim) {
        return cumulative_extreme("cummin", ScanOp::min, x, dim);
      },
      py::arg("input"), py::arg("dim"));
  module.def("logcumsumexp", &log_cumulative_sum, py::arg("input"), py::arg("dim"),
             py::arg("reverse"));
}

}  // namespace tilegrad
