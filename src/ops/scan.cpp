// Running products, extremes and recurrences: dimension and dtype rules.
#include "ops/scan.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

// The sizes before, along and behind a dimension.
void set_scan_sizes(Scan& args, const Tensor& x, int at) {
  args.outer = args.inner = 1;
  args.length = x.ndim() == 0 ? 1 : x.shape[at];
  for (int d = 0; d < x.ndim(); ++d) {
    if (d < at) args.outer *= x.shape[d];
    if (d > at) args.inner *= x.shape[d];
  }
}

Tensor cumprod(const Tensor& x, std::int64_t dim, std::optional<DType> dtype) {
  const int at = normalize_dim(dim, x.ndim(), "cumprod");
  const DType result = dtype.value_or(is_floating(x.dtype) ? x.dtype : DType::int64);
  const DType computed = is_floating(result) ? result : DType::int64;
  const Tensor input = contiguous(to_dtype(to_dtype(x, result), computed));
  Tensor y = empty(x.shape, computed, x.device(), "cumprod");
  Scan args{.op = ScanOp::product, .dtype = computed, .y = y.bytes(), .x = input.bytes()};
  set_scan_sizes(args, x, at);
  if (y.numel() > 0) run(scan_kernel, x.device(), args, y.numel());
  return to_dtype(y, result);
}

std::pair<Tensor, Tensor> running_extreme(const char* op, ScanOp kind, const Tensor& x,
                                          std::int64_t dim) {
  const int at = normalize_dim(dim, x.ndim(), op);
  const Tensor input = contiguous(x);
  Tensor y = empty(x.shape, x.dtype, x.device(), op);
  Tensor place = empty(x.shape, DType::int64, x.device(), op);
  Scan args{.op = kind,
            .dtype = x.dtype,
            .y = y.bytes(),
            .place = place.data<std::int64_t>(),
            .x = input.bytes()};
  set_scan_sizes(args, x, at);
  if (y.numel() > 0) run(scan_kernel, x.device(), args, 2 * y.numel());
  return {std::move(y), std::move(place)};
}

std::pair<Tensor, Tensor> cummax(const Tensor& x, std::int64_t dim) {
  return running_extreme("cummax", ScanOp::maximum, x, dim);
}

std::pair<Tensor, Tensor> cummin(const Tensor& x, std::int64_t dim) {
  return running_extreme("cummin", ScanOp::minimum, x, dim);
}

Tensor logcumsumexp(const Tensor& x, std::int64_t dim) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented,
                 "logcumsumexp is not implemented for dtype ", info(x.dtype).name);
  const int at = normalize_dim(dim, x.ndim(), "logcumsumexp");
  const Tensor input = contiguous(x);
  Tensor y = empty(x.shape, x.dtype, x.device(), "logcumsumexp");
  Scan args{.op = ScanOp::log_sum_exp, .dtype = x.dtype, .y = y.bytes(), .x = input.bytes()};
  set_scan_sizes(args, x, at);
  if (y.numel() > 0) run(scan_kernel, x.device(), args, 20 * y.numel());
  return y;
}

Tensor linear_recurrence(const Tensor& x, const Tensor& factor, std::int64_t dim, bool reverse) {
  const int at = normalize_dim(dim, x.ndim(), "recurrence");
  TILEGRAD_CHECK(is_floating(x.dtype) && factor.dtype == x.dtype && factor.shape == x.shape,
                 runtime, "recurrence: expected two floating tensors of one dtype and shape, got ",
                 x.shape.str(), " and ", factor.shape.str());
  const Tensor input = contiguous(x), factors = contiguous(factor);
  Tensor y = empty(x.shape, x.dtype, x.device(), "recurrence");
  Scan args{.op = ScanOp::recurrence,
            .dtype = x.dtype,
            .reverse = reverse,
            .y = y.bytes(),
            .x = input.bytes(),
            .factor = factors.bytes()};
  set_scan_sizes(args, x, at);
  if (y.numel() > 0) run(scan_kernel, x.device(), args, 2 * y.numel());
  return y;
}

}  // namespace

void bind_scan(py::module_& module) {
  module.def("cumprod", &cumprod, py::arg("input"), py::arg("dim"), py::arg("dtype"));
  module.def("cummax", &cummax, py::arg("input"), py::arg("dim"));
  module.def("cummin", &cummin, py::arg("input"), py::arg("dim"));
  module.def("logcumsumexp", &logcumsumexp, py::arg("input"), py::arg("dim"));
  module.def("linear_recurrence", &linear_recurrence, py::arg("input"), py::arg("factor"),
             py::arg("dim"), py::arg("reverse"));
}

}  // namespace tilegrad
