// topk: the best k along a dimension, and the element at one position of the sorted order.
#include "ops/topk.h"

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

// Exchanges dimension `dim` with the last one; its own inverse.
Tensor topk_with_last(const Tensor& x, int dim) {
  return x.ndim() ? transpose(x, dim, x.ndim() - 1) : x;
}

// The shape of rows of which `count` elements each are kept.
Dims topk_kept_shape(const Tensor& rows, std::int64_t count) {
  Dims shape = rows.shape;
  if (shape.n) shape[shape.n - 1] = count;
  return shape;
}

std::int64_t topk_row_count(const Tensor& rows) {
  std::int64_t count = 1;
  for (int d = 0; d + 1 < rows.ndim(); ++d) count *= rows.shape[d];
  return count;
}

py::tuple topk(const Tensor& x, std::int64_t k, std::int64_t dim, bool largest) {
  const int at = normalize_dim(dim, x.ndim(), "topk");
  const std::int64_t size = x.ndim() ? x.shape[at] : 1;
  TILEGRAD_CHECK(k >= (x.ndim() ? 0 : 1) && k <= size, runtime,
                 "topk: selected index k out of range: got ", k, " for a dimension of size ", size);
  const Tensor rows = contiguous(topk_with_last(x, at));
  Tensor y = empty(topk_kept_shape(rows, k), x.dtype, x.device(), "topk");
  Tensor index = empty(y.shape, DType::int64, x.device(), "topk");
  const TopK args{.dtype = x.dtype,
                  .x = rows.bytes(),
                  .y = y.bytes(),
                  .index = index.data<std::int64_t>(),
                  .rows = topk_row_count(rows),
                  .size = size,
                  .k = k,
                  .largest = largest};
  if (y.numel() > 0) run(topk_kernel, x.device(), args, rows.numel() * 4);
  return py::make_tuple(contiguous(topk_with_last(y, at)), contiguous(topk_with_last(index, at)));
}

// Of every row along `dim` the element at `position` in ascending order; `dim` becomes 1.
py::tuple select_at(const Tensor& x, std::int64_t position, std::int64_t dim, bool nan_wins) {
  const int at = normalize_dim(dim, x.ndim(), "select_at");
  const std::int64_t size = x.ndim() ? x.shape[at] : 1;
  TILEGRAD_CHECK(position >= 0 && position < size, runtime, "select_at: position ", position,
                 " is out of range for a dimension of size ", size);
  const Tensor rows = contiguous(topk_with_last(x, at));
  Tensor y = empty(topk_kept_shape(rows, 1), x.dtype, x.device(), "select_at");
  Tensor index = empty(y.shape, DType::int64, x.device(), "select_at");
  const SelectAt args{.dtype = x.dtype,
                      .x = rows.bytes(),
                      .y = y.bytes(),
                      .index = index.data<std::int64_t>(),
                      .rows = topk_row_count(rows),
                      .size = size,
                      .position = position,
                      .nan_wins = nan_wins};
  if (y.numel() > 0) run(select_at_kernel, x.device(), args, rows.numel() * 4);
  return py::make_tuple(contiguous(topk_with_last(y, at)), contiguous(topk_with_last(index, at)));
}

}  // namespace

void bind_topk(py::module_& module) {
  module.def("topk", &topk, py::arg("input"), py::arg("k"), py::arg("dim"), py::arg("largest"));
  module.def("select_at", &select_at, py::arg("input"), py::arg("position"), py::arg("dim"),
             py::arg("nan_wins"));
}

}  // namespace tilegrad
