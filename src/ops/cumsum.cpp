// cumsum: dimension and dtype rules.
#include "ops/cumsum.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

Tensor cumsum(const Tensor& x, std::int64_t dim, std::optional<DType> dtype, bool reverse) {
  const int at = normalize_dim(dim, x.ndim(), "cumsum");
  const DType result = dtype.value_or(is_floating(x.dtype) ? x.dtype : DType::int64);
  const DType computed = is_floating(result) ? result : DType::int64;
  const Tensor input = contiguous(to_dtype(to_dtype(x, result), computed));
  Tensor y = empty(x.shape, computed, x.device(), "cumsum");
  Cumsum args{.dtype = computed,
              .reverse = reverse,
              .y = y.bytes(),
              .x = input.bytes(),
              .outer = 1,
              .length = x.ndim() == 0 ? 1 : x.shape[at],
              .inner = 1};
  for (int d = 0; d < x.ndim(); ++d) {
    if (d < at) args.outer *= x.shape[d];
    if (d > at) args.inner *= x.shape[d];
  }
  if (y.numel() > 0) run(cumsum_kernel, x.device(), args, y.numel());
  return to_dtype(y, result);
}

}  // namespace

void bind_cumsum(py::module_& module) {
  module.def("cumsum", &cumsum, py::arg("input"), py::arg("dim"), py::arg("dtype"),
             py::arg("reverse"));
}

}  // namespace tilegrad
