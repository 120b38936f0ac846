// scatter: writes through keys and index tensors. Everything is checked before the first write.
#include "ops/scatter.h"

#include "dispatch.h"
#include "gate.h"
#include "indexing.h"
#include "loop.h"
#include "parts.h"

namespace tilegrad {
namespace {

void check_source(const char* op, const Tensor& x, const Tensor& source) {
  TILEGRAD_CHECK(source.dtype == x.dtype, runtime, op,
                 ": requires the source and destination dtypes match, got ", info(x.dtype).name,
                 " for the destination and ", info(source.dtype).name, " for the source");
  TILEGRAD_CHECK(source.device() == x.device(), runtime, op,
                 ": expected all tensors on one device, got ", x.device().str(), " and ",
                 source.device().str());
}

// `source` has the view's shape or broadcasts to it.
void write(const char* op, const Tensor& x, const IndexedView& view, const Tensor& source,
           ScatterMode mode) {
  begin_write(x, op);
  if (view.x.numel() == 0) return;
  Tensor from = source, to = view.x, offsets = view.offsets;
  if (may_overlap(x, source)) {
    from = empty_like(source);
    copy_into(from, source);
  }
  if (is_complex(x.dtype)) {
    TILEGRAD_CHECK(mode == ScatterMode::assign || mode == ScatterMode::add, not_implemented, op,
                   ": this reduction is not implemented for dtype ", info(x.dtype).name);
    from = as_real(from);
    to = as_real(to);
    offsets = shown_twice(offsets);
  }
  std::int64_t last = 0;  // of x itself: the view has no strides where it is indexed
  for (int d = 0; d < x.ndim(); ++d) last += (x.shape[d] - 1) * x.strides[d];
  Scatter args{.mode = mode,
               .dtype = to.dtype,
               .scale = view.scale,
               .span = (last + 1) * static_cast<std::int64_t>(size_of(x.dtype)),
               .loop = make_loop<3>(to.shape, {&to, &from, &offsets})};
  run(scatter_kernel, x.device(), args, view.x.numel());
}

// Drops leading dimensions of size 1 beyond `ndim`: an assignment ignores them.
Tensor without_leading_ones(const Tensor& x, int ndim) {
  Tensor y = x;
  while (y.ndim() > ndim && y.shape[0] == 1) {
    for (int d = 0; d + 1 < y.ndim(); ++d) {
      y.shape[d] = y.shape[d + 1];
      y.strides[d] = y.strides[d + 1];
    }
    --y.shape.n;
    --y.strides.n;
  }
  return y;
}

void index_put(const Tensor& x, const py::sequence& indices, const Tensor& values,
               bool accumulate) {
  check_source("index_put_", x, values);
  const IndexedView view = indexed_view("index_put_", x, indices);
  const Tensor source = without_leading_ones(values, view.x.ndim());
  bool fits = source.ndim() <= view.x.ndim();
  for (int i = 1; fits && i <= source.ndim(); ++i) {
    const std::int64_t size = source.shape[source.ndim() - i];
    fits = size == 1 || size == view.x.shape[view.x.ndim() - i];
  }
  TILEGRAD_CHECK(fits, runtime, "shape mismatch: value tensor of shape ", values.shape.str(),
                 " cannot be broadcast to indexing result of shape ", view.x.shape.str());
  write("index_put_", x, view, source, accumulate ? ScatterMode::add : ScatterMode::assign);
}

// x[key] = value for a basic key; false if the key needs index tensors.
bool basic_assign(const Tensor& x, py::handle key, const Operand& value) {
  Tensor y;
  if (!basic_view(x, key.ptr(), y)) return false;
  Tensor source =
      value.is_tensor() ? *value.tensor : scalar_tensor(value.scalar, x.dtype, x.device());
  source = expand(without_leading_ones(source, y.ndim()), y.shape, "setitem");
  begin_write(y, "setitem");
  copy_into(y, source);
  return true;
}

// index_add_, index_copy_: slices of `source` go to positions `index` along `dim`.
void index_write(const char* op, const Tensor& x, std::int64_t dim, const Tensor& index,
                 const Tensor& source, ScatterMode mode) {
  const int at = normalize_dim(dim, x.ndim(), op);
  check_index(op, x, index);
  check_source(op, x, source);
  TILEGRAD_CHECK(index.ndim() <= 1, index, op, ": Index is supposed to be a vector, got shape ",
                 index.shape.str());
  const std::int64_t along = source.ndim() == 0 ? 1 : at < source.ndim() ? source.shape[at] : -1;
  const ErrorKind kind = mode == ScatterMode::add ? ErrorKind::runtime : ErrorKind::index;
  if (along != index.numel())
    fail(kind, op, ": Number of indices (", index.numel(),
         ") should be equal to source.size(dim): (", along, "), for dim: ", at);
  const IndexedView view = indexed_along(x, at, to_dtype(index, DType::int64), {op, false, kind});
  TILEGRAD_CHECK(source.numel() == view.x.numel() &&
                     (source.shape == view.x.shape || source.ndim() == 0 || x.ndim() == 0),
                 runtime, op, ": expected a source of shape ", view.x.shape.str(), ", got ",
                 source.shape.str());
  write(op, x, view, reshape(source, view.x.shape), mode);
}

void scatter_write(const Tensor& x, std::int64_t dim, const Tensor& index, const Operand& source,
                   ScatterMode mode) {
  const char* op = mode == ScatterMode::add ? "scatter_add_" : "scatter_";
  const int at = normalize_dim(dim, x.ndim(), op);
  check_index(op, x, index);
  Tensor from =
      source.is_tensor() ? *source.tensor : scalar_tensor(source.scalar, x.dtype, x.device());
  check_source(op, x, from);
  const int ndim = std::max(index.ndim(), 1);
  const auto size_at = [](const Tensor& t, int d) { return t.ndim() == 0 ? 1 : t.shape[d]; };
  TILEGRAD_CHECK(index.numel() == 0 || (ndim == std::max(x.ndim(), 1) &&
                                        (!source.is_tensor() || ndim == std::max(from.ndim(), 1))),
                 runtime, op,
                 ": Index tensor must have the same number of dimensions as self and "
                 "src tensor, got ",
                 index.shape.str(), ", ", x.shape.str(), " and ", from.shape.str());
  if (index.numel() == 0) return begin_write(x, op);
  for (int d = 0; d < ndim; ++d)
    TILEGRAD_CHECK((d == at || size_at(index, d) <= size_at(x, d)) &&
                       (!source.is_tensor() || size_at(index, d) <= size_at(from, d)),
                   runtime, op, ": Expected index ", index.shape.str(),
                   " to be no larger than self ", x.shape.str(), " apart from dimension ", at,
                   " and to be no larger than src ", from.shape.str());
  if (source.is_tensor()) {  // the corner of src that index covers
    from.shape = index.shape;
    from.strides.n = index.ndim();
  }
  IndexedView view = gathered_view(x, at, index);
  check_gathered(op, x, at, view);
  if (may_overlap(x, view.offsets)) {
    Tensor copy = empty_like(view.offsets);
    copy_into(copy, view.offsets);
    view.offsets = copy;
  }
  write(op, x, view, from, mode);
}

ScatterMode mode_of(const std::string& reduce) {
  if (reduce == "assign") return ScatterMode::assign;
  if (reduce == "add" || reduce == "sum" || reduce == "mean") return ScatterMode::add;
  if (reduce == "multiply" || reduce == "prod") return ScatterMode::multiply;
  if (reduce == "amax") return ScatterMode::maximum;
  if (reduce == "amin") return ScatterMode::minimum;
  fail(ErrorKind::runtime, "scatter: argument 'reduce': unknown reduction '", reduce, "'");
}

}  // namespace

void bind_scatter(py::module_& module) {
  module.def("basic_assign", &basic_assign, py::arg("input"), py::arg("key"), py::arg("value"));
  module.def("index_put_", &index_put, py::arg("input"), py::arg("indices"), py::arg("values"),
             py::arg("accumulate"));
  module.def(
      "index_add_",
      [](const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
        index_write("index_add_", x, dim, index, source, ScatterMode::add);
      },
      py::arg("input"), py::arg("dim"), py::arg("index"), py::arg("source"));
  module.def(
      "index_copy_",
      [](const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
        index_write("index_copy_", x, dim, index, source, ScatterMode::assign);
      },
      py::arg("input"), py::arg("dim"), py::arg("index"), py::arg("source"));
  module.def(
      "scatter_",
      [](const Tensor& x, std::int64_t dim, const Tensor& index, const Operand& source,
         const std::string& reduce) { scatter_write(x, dim, index, source, mode_of(reduce)); },
      py::arg("input"), py::arg("dim"), py::arg("index"), py::arg("source"), py::arg("reduce"));
  takes_every_dtype({"basic_assign"});
  takes_complex({"index_put_", "index_add_", "index_copy_", "scatter_"});
}

}  // namespace tilegrad
