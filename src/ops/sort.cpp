// sort: rows along one dimension, search in sorted rows, distinct values.
#include "ops/sort.h"

#include "bind.h"
#include "dispatch.h"
#include "indexing.h"

namespace tilegrad {
namespace {

// Exchanges dimension `dim` with the last one; its own inverse.
Tensor with_last(const Tensor& x, int dim) {
  return x.ndim() ? transpose(x, dim, x.ndim() - 1) : x;
}

py::tuple sort(const Tensor& x, std::int64_t dim, bool descending) {
  const int at = normalize_dim(dim, x.ndim(), "sort");
  const Tensor rows = contiguous(with_last(x, at));
  Tensor y = empty_like(rows), index = empty(rows.shape, DType::int64, x.device(), "sort");
  const std::int64_t count = y.numel();
  const std::int64_t size = x.ndim() ? x.shape[at] : 1;
  Sort args{.dtype = x.dtype,
            .x = rows.bytes(),
            .y = y.bytes(),
            .index = index.data<std::int64_t>(),
            .rows = size ? count / size : 0,
            .size = size,
            .descending = descending};
  if (count > 0) run(sort_kernel, x.device(), args, count * 16);
  return py::make_tuple(contiguous(with_last(y, at)), contiguous(with_last(index, at)));
}

Tensor search_sorted(const Tensor& boundaries, const Tensor& value, bool right) {
  TILEGRAD_CHECK(boundaries.ndim() > 0, runtime,
                 "searchsorted(): boundaries tensor should have positive dimension, but got 0");
  const bool shared = boundaries.ndim() == 1;
  const int last = boundaries.ndim() - 1;
  bool fits = shared || value.ndim() == boundaries.ndim();
  for (int d = 0; fits && !shared && d < last; ++d) fits = value.shape[d] == boundaries.shape[d];
  TILEGRAD_CHECK(
      fits, runtime,
      "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
      "of boundaries tensor and input value tensor must match, but we got boundaries "
      "tensor ",
      boundaries.shape.str(), " and input value tensor ", value.shape.str());
  TILEGRAD_CHECK(boundaries.device() == value.device(), runtime,
                 "searchsorted: expected all tensors on one device");
  const DType dtype = promote(boundaries.dtype, value.dtype);
  const Tensor sorted = contiguous(to_dtype(boundaries, dtype));
  const Tensor wanted = contiguous(to_dtype(value, dtype));
  Tensor place = empty(value.shape, DType::int64, value.device(), "searchsorted");
  const std::int64_t total = place.numel();
  const std::int64_t count = shared ? total : value.shape[last];
  SearchSorted args{.dtype = dtype,
                    .boundaries = sorted.bytes(),
                    .value = wanted.bytes(),
                    .place = place.data<std::int64_t>(),
                    .rows = count ? total / count : 0,
                    .size = boundaries.shape[last],
                    .count = count,
                    .shared = shared,
                    .right = right};
  if (total > 0) run(search_sorted_kernel, value.device(), args, total * 8);
  return place;
}

// (distinct values, group of each element, elements per group), from the flattened, sorted x.
py::tuple unique(const Tensor& sorted, const Tensor& index) {
  TILEGRAD_CHECK(sorted.ndim() == 1 && index.shape == sorted.shape && index.dtype == DType::int64 &&
                     sorted.is_contiguous() && index.is_contiguous() &&
                     index.device() == sorted.device(),
                 runtime, "unique: expected the two results of a sort");
  Tensor order = index;
  TILEGRAD_CHECK(indices_within(order, sorted.numel()), index,
                 "unique: expected the two results of a sort");
  Tensor y = empty_like(sorted), group = empty_like(index), counts = empty_like(index);
  std::int64_t groups = 0;
  Unique args{.dtype = sorted.dtype,
              .x = sorted.bytes(),
              .index = order.data<std::int64_t>(),
              .size = sorted.numel(),
              .y = y.bytes(),
              .group = group.data<std::int64_t>(),
              .counts = counts.data<std::int64_t>(),
              .groups = &groups};
  if (args.size > 0) run(unique_kernel, sorted.device(), args, args.size);
  const auto first = [groups](const Tensor& x) {  // a copy: the buffers may be far larger
    Tensor part = empty({groups}, x.dtype, x.device());
    copy_into(part, as_strided(x, {groups}, {1}, x.offset));
    return part;
  };
  return py::make_tuple(first(y), group, first(counts));
}

}  // namespace

void bind_sort(py::module_& module) {
  module.def("sort", &sort, py::arg("input"), py::arg("dim"), py::arg("descending"));
  module.def("search_sorted", &search_sorted, py::arg("boundaries"), py::arg("value"),
             py::arg("right"));
  module.def("unique", &unique, py::arg("sorted"), py::arg("index"));
}

}  // namespace tilegrad
