// Views: new sizes and strides over the same storage. Every result remembers its base.
#include "bind.h"
#include "gate.h"

namespace tilegrad {
namespace {

// Replaces one -1 in `shape` by the size that fits `count` elements.
Dims infer_shape(Dims shape, std::int64_t count, const char* op) {
  int unknown = -1;
  std::int64_t known = 1;
  for (int d = 0; d < shape.n; ++d) {
    if (shape[d] == -1) {
      TILEGRAD_CHECK(unknown < 0, runtime, op, ": only one dimension can be inferred, got ",
                     shape.str());
      unknown = d;
      continue;
    }
    TILEGRAD_CHECK(shape[d] >= 0, runtime, op, ": invalid shape dimension ", shape[d], " in ",
                   shape.str());
    TILEGRAD_CHECK(!__builtin_mul_overflow(known, shape[d], &known), runtime, op,
                   ": the number of elements of shape ", shape.str(), " overflows 64 bits");
  }
  if (unknown >= 0 && known > 0 && count % known == 0) {
    shape[unknown] = count / known;
    return shape;
  }
  TILEGRAD_CHECK(unknown < 0 || known > 0, runtime, op, ": cannot infer the -1 in ", shape.str(),
                 " for a tensor without elements");
  TILEGRAD_CHECK(unknown < 0 && known == count, runtime, op, ": shape '", shape.str(),
                 "' is invalid for input of size ", count);
  return shape;
}

py::object view(PyTensor* x, const Dims& shape) {
  Tensor y = x->tensor;
  y.shape = infer_shape(shape, x->tensor.numel(), "view");
  TILEGRAD_CHECK(view_strides(x->tensor, y.shape, y.strides), runtime, "view: size ", y.shape.str(),
                 " is not compatible with input tensor's size ", x->tensor.shape.str(),
                 " and stride ", x->tensor.strides.str(),
                 " (at least one dimension spans across two contiguous subspaces). Use "
                 ".reshape(...) instead.");
  return wrap_view(x, std::move(y));
}

// A view where possible; None tells the caller to copy first.
py::object try_view(PyTensor* x, const Dims& shape) {
  Tensor y = x->tensor;
  y.shape = infer_shape(shape, x->tensor.numel(), "reshape");
  if (!view_strides(x->tensor, y.shape, y.strides)) return py::none();
  return wrap_view(x, std::move(y));
}

py::object permute(PyTensor* x, const Dims& order) {
  const Tensor& t = x->tensor;
  TILEGRAD_CHECK(order.n == t.ndim(), runtime, "permute: argument 'dims': expected ", t.ndim(),
                 " dimensions for a tensor of shape ", t.shape.str(), ", got ", order.str());
  Tensor y = t;
  bool used[kMaxDims] = {};
  for (int d = 0; d < order.n; ++d) {
    const int from = normalize_dim(order[d], t.ndim(), "permute");
    TILEGRAD_CHECK(!used[from], runtime, "permute: argument 'dims': duplicate dimension in ",
                   order.str());
    used[from] = true;
    y.shape[d] = t.shape[from];
    y.strides[d] = t.strides[from];
  }
  return wrap_view(x, std::move(y));
}

py::object transpose_dims(PyTensor* x, std::int64_t dim0, std::int64_t dim1) {
  const int ndim = x->tensor.ndim();
  const int a = normalize_dim(dim0, ndim, "transpose"), b = normalize_dim(dim1, ndim, "transpose");
  return wrap_view(x, ndim ? transpose(x->tensor, a, b) : Tensor(x->tensor));
}

py::object expand_to(PyTensor* x, const Dims& shape) {
  return wrap_view(x, expand(x->tensor, shape));
}

py::object unsqueeze(PyTensor* x, std::int64_t dim) {
  const int at = normalize_dim(dim, x->tensor.ndim() + 1, "unsqueeze");
  Tensor y = x->tensor;
  TILEGRAD_CHECK(y.ndim() < kMaxDims, value, "unsqueeze: a tensor has at most ", kMaxDims,
                 " dimensions");
  const std::int64_t stride = at < y.ndim() ? y.shape[at] * y.strides[at] : 1;
  for (int d = y.shape.n++; d > at; --d) {
    y.shape[d] = y.shape[d - 1];
    y.strides[d] = y.strides[d - 1];
  }
  ++y.strides.n;
  y.shape[at] = 1;
  y.strides[at] = stride;
  return wrap_view(x, std::move(y));
}

// Drops the dimensions of size 1 that are listed (all of them if `dims` is absent).
py::object squeeze(PyTensor* x, const std::optional<Dims>& dims) {
  const Tensor& t = x->tensor;
  bool listed[kMaxDims] = {};
  if (dims)
    for (std::int64_t dim : *dims) listed[normalize_dim(dim, t.ndim(), "squeeze")] = true;
  Tensor y = t;
  y.shape.n = y.strides.n = 0;
  for (int d = 0; d < t.ndim(); ++d) {
    if (t.shape[d] == 1 && (!dims || listed[d])) continue;
    y.shape.push(t.shape[d]);
    y.strides.push(t.strides[d]);
  }
  return wrap_view(x, std::move(y));
}

// x[..., start : start + length * step : step, ...] along dim; bounds are checked by the caller's
// rules.
py::object slice(PyTensor* x, std::int64_t dim, std::int64_t start, std::int64_t length,
                 std::int64_t step) {
  const int d = normalize_dim(dim, x->tensor.ndim(), "slice");
  Tensor y = x->tensor;
  const std::int64_t size = y.shape[d];
  TILEGRAD_CHECK(step > 0, value, "slice: expected a step greater than zero, got ", step);
  TILEGRAD_CHECK(start >= 0 && length >= 0 && start <= size &&
                     (length == 0 || (length - 1) <= (size - 1 - start) / step),
                 index, "slice: ", length, " elements from ", start, " in steps of ", step,
                 " reach outside dimension ", d, " of size ", size);
  y.offset += start * y.strides[d];
  y.shape[d] = length;
  y.strides[d] *= step;
  return wrap_view(x, std::move(y));
}

py::object select(PyTensor* x, std::int64_t dim, std::int64_t index) {
  const Tensor& t = x->tensor;
  TILEGRAD_CHECK(t.ndim() > 0, index, "select: a 0-dim tensor has no dimension to select from");
  const int d = normalize_dim(dim, t.ndim(), "select");
  TILEGRAD_CHECK(index >= -t.shape[d] && index < t.shape[d], index, "index ", index,
                 " is out of bounds for dimension ", d, " with size ", t.shape[d]);
  Tensor y = t;
  y.offset += (index < 0 ? index + t.shape[d] : index) * t.strides[d];
  y.shape.n = y.strides.n = 0;
  for (int k = 0; k < t.ndim(); ++k) {
    if (k == d) continue;
    y.shape.push(t.shape[k]);
    y.strides.push(t.strides[k]);
  }
  return wrap_view(x, std::move(y));
}

// The diagonal of the plane (dim0, dim1), as the last dimension.
py::object diagonal(PyTensor* x, std::int64_t offset, std::int64_t dim0, std::int64_t dim1) {
  const Tensor& t = x->tensor;
  const int a = normalize_dim(dim0, t.ndim(), "diagonal"),
            b = normalize_dim(dim1, t.ndim(), "diagonal");
  TILEGRAD_CHECK(a != b && t.ndim() >= 2, runtime,
                 "diagonal: expected two different dimensions, got ", dim0, " and ", dim1);
  Tensor y = t;
  y.shape.n = y.strides.n = 0;
  for (int d = 0; d < t.ndim(); ++d) {
    if (d == a || d == b) continue;
    y.shape.push(t.shape[d]);
    y.strides.push(t.strides[d]);
  }
  const std::int64_t rows = offset < 0 ? t.shape[a] + offset : t.shape[a];
  const std::int64_t columns = offset > 0 ? t.shape[b] - offset : t.shape[b];
  const std::int64_t length = std::max<std::int64_t>(0, std::min(rows, columns));
  if (length > 0) y.offset += offset < 0 ? -offset * t.strides[a] : offset * t.strides[b];
  y.shape.push(length);
  y.strides.push(t.strides[a] + t.strides[b]);
  return wrap_view(x, std::move(y));
}

}  // namespace

void bind_view(py::module_& module) {
  module.def("view", &view, py::arg("input"), py::arg("shape"));
  module.def("try_view", &try_view, py::arg("input"), py::arg("shape"));
  module.def("permute", &permute, py::arg("input"), py::arg("order"));
  module.def("transpose", &transpose_dims, py::arg("input"), py::arg("dim0"), py::arg("dim1"));
  module.def("expand", &expand_to, py::arg("input"), py::arg("shape"));
  module.def("unsqueeze", &unsqueeze, py::arg("input"), py::arg("dim"));
  module.def("squeeze", &squeeze, py::arg("input"), py::arg("dims"));
  module.def("slice", &slice, py::arg("input"), py::arg("dim"), py::arg("start"), py::arg("length"),
             py::arg("step"));
  module.def("select", &select, py::arg("input"), py::arg("dim"), py::arg("index"));
  module.def("diagonal", &diagonal, py::arg("input"), py::arg("offset"), py::arg("dim0"),
             py::arg("dim1"));
  module.def(
      "as_strided",
      [](PyTensor* x, const Dims& shape, const Dims& strides, std::optional<std::int64_t> offset) {
        return wrap_view(x,
                         as_strided(x->tensor, shape, strides, offset.value_or(x->tensor.offset)));
      },
      py::arg("input"), py::arg("shape"), py::arg("strides"), py::arg("offset"));
  // The same storage and version counter, no history.
  module.def("detach", [](const Tensor& x) { return Tensor(x); }, py::arg("input"));
  module.def("stride", [](const Tensor& x) { return x.strides; }, py::arg("input"));
  module.def("storage_offset", [](const Tensor& x) { return x.offset; }, py::arg("input"));
  module.def("is_contiguous", [](const Tensor& x) { return x.is_contiguous(); }, py::arg("input"));
  module.def("numel", [](const Tensor& x) { return x.numel(); }, py::arg("input"));
  module.def(
      "data_ptr", [](const Tensor& x) { return reinterpret_cast<std::uintptr_t>(x.bytes()); },
      py::arg("input"));
  module.def("has_overlap", &has_internal_overlap);
  module.def(
      "shares_storage",
      [](const Tensor& x, const Tensor& y) { return x.storage.get() == y.storage.get(); },
      py::arg("src"), py::arg("input"));
  takes_every_dtype({"view", "try_view", "permute", "transpose", "expand", "unsqueeze", "squeeze",
                     "slice", "select", "diagonal", "as_strided", "detach", "stride",
                     "storage_offset", "is_contiguous", "numel", "data_ptr", "has_overlap",
                     "shares_storage"});
}

}  // namespace tilegrad
