// join: cat, stack, and their inverses split and unbind. Data moves through the copy kernel.
#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "ops/copy.h"
#include "parts.h"

namespace tilegrad {
namespace {

// Lists of 1-dimensional tensors without elements may be joined with anything, as in PyTorch.
bool is_legacy_empty(const Tensor& x) { return x.ndim() == 1 && x.shape[0] == 0; }

const Tensor& tensor_at(const char* op, const py::sequence& tensors, std::size_t i) {
  const py::object item = tensors[i];  // the sequence keeps it alive
  TILEGRAD_CHECK(is_tensor(item.ptr()), type, op,
                 "(): argument 'tensors': expected a sequence of "
                 "tensors, but found type ",
                 Py_TYPE(item.ptr())->tp_name, " at position ", i);
  return as_py(item.ptr())->tensor;
}

std::vector<Tensor> tensors_of(const char* op, const py::sequence& tensors) {
  std::vector<Tensor> list;
  for (std::size_t i = 0; i < tensors.size(); ++i) list.push_back(tensor_at(op, tensors, i));
  if (list.empty())
    fail(op == std::string("cat") ? ErrorKind::value : ErrorKind::runtime, op,
         " expects a non-empty list of tensors");
  for (const Tensor& x : list)
    TILEGRAD_CHECK(x.device() == list[0].device(), runtime, op,
                   ": expected all tensors on one device, got ", list[0].device().str(), " and ",
                   x.device().str());
  return list;
}

DType common_dtype(const std::vector<Tensor>& list) {
  ResultType type;
  for (const Tensor& x : list) type.add(x);
  return type.get();
}

Tensor part_of(const Tensor& x, int dim, std::int64_t start, std::int64_t length) {
  Tensor y = x;
  y.offset += start * x.strides[dim];
  y.shape[dim] = length;
  return y;
}

Tensor cat(const py::sequence& sequence, std::int64_t dim) {
  const std::vector<Tensor> list = tensors_of("cat", sequence);
  const Tensor* first = nullptr;  // decides the shape
  for (std::size_t i = 0; i < list.size(); ++i) {
    TILEGRAD_CHECK(list[i].ndim() > 0, runtime, "zero-dimensional tensor (at position ", i,
                   ") cannot be concatenated");
    if (first == nullptr && !is_legacy_empty(list[i])) first = &list[i];
  }
  if (first == nullptr) first = &list[0];
  const int at = normalize_dim(dim, first->ndim(), "cat");
  Dims shape = first->shape;
  shape[at] = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Tensor& x = list[i];
    if (is_legacy_empty(x)) continue;
    TILEGRAD_CHECK(x.ndim() == shape.n, runtime,
                   "cat: Tensors must have same number of dimensions: "
                   "got ",
                   shape.n, " and ", x.ndim());
    for (int d = 0; d < shape.n; ++d)
      TILEGRAD_CHECK(d == at || x.shape[d] == shape[d], runtime,
                     "cat: Sizes of tensors must match except in dimension ", at,
                     ". Expected size ", shape[d], " but got size ", x.shape[d],
                     " for tensor number ", i, " in the list.");
    TILEGRAD_CHECK(!__builtin_add_overflow(shape[at], x.shape[at], &shape[at]), runtime,
                   "cat: the size of dimension ", at, " overflows 64 bits");
  }
  Tensor y = empty(shape, common_dtype(list), first->device(), "cat");
  std::int64_t start = 0;
  for (const Tensor& x : list) {
    if (is_legacy_empty(x)) continue;
    copy_into(part_of(y, at, start, x.shape[at]), x);
    start += x.shape[at];
  }
  return y;
}

Tensor stack(const py::sequence& sequence, std::int64_t dim) {
  const std::vector<Tensor> list = tensors_of("stack", sequence);
  const Tensor& first = list[0];
  const int at = normalize_dim(dim, first.ndim() + 1, "stack");
  for (std::size_t i = 0; i < list.size(); ++i)
    TILEGRAD_CHECK(list[i].shape == first.shape, runtime,
                   "stack expects each tensor to be equal size, but got ", first.shape.str(),
                   " at entry 0 and ", list[i].shape.str(), " at entry ", i);
  Dims shape;
  for (int d = 0; d <= first.ndim(); ++d) {
    if (d == at) shape.push(static_cast<std::int64_t>(list.size()));
    if (d < first.ndim()) shape.push(first.shape[d]);
  }
  Tensor y = empty(shape, common_dtype(list), first.device(), "stack");
  Tensor entry = y;
  entry.shape = first.shape;
  for (int d = at; d < first.ndim(); ++d) entry.strides[d] = y.strides[d + 1];
  entry.strides.n = first.ndim();
  for (const Tensor& x : list) {
    copy_into(entry, x);
    entry.offset += y.strides[at];
  }
  return y;
}

py::tuple unbind(PyTensor* x, std::int64_t dim) {
  const Tensor& t = x->tensor;
  TILEGRAD_CHECK(t.ndim() > 0, index, "unbind: Dimension specified as ", dim,
                 " but tensor has no dimensions");
  const int at = normalize_dim(dim, t.ndim(), "unbind");
  Tensor entry = t;
  entry.shape.n = entry.strides.n = 0;
  for (int d = 0; d < t.ndim(); ++d) {
    if (d == at) continue;
    entry.shape.push(t.shape[d]);
    entry.strides.push(t.strides[d]);
  }
  py::tuple views(static_cast<std::size_t>(t.shape[at]));
  for (std::int64_t i = 0; i < t.shape[at]; ++i) {
    views[static_cast<std::size_t>(i)] = wrap_view(x, Tensor(entry));
    entry.offset += t.strides[at];
  }
  return views;
}

// Consecutive views of the given lengths along dim; together they are the whole dimension.
py::tuple split(PyTensor* x, const std::vector<std::int64_t>& lengths, std::int64_t dim) {
  const Tensor& t = x->tensor;
  TILEGRAD_CHECK(t.ndim() > 0, runtime, "split expects at least a 1-dimensional tensor");
  const int at = normalize_dim(dim, t.ndim(), "split");
  std::int64_t rest = t.shape[at];
  for (std::int64_t length : lengths) {
    TILEGRAD_CHECK(
        length >= 0 && length <= rest, runtime,
        "split_with_sizes expects split_sizes to have only non-negative entries that sum "
        "exactly to ",
        t.shape[at], " (input tensor's size at dimension ", at, ")");
    rest -= length;
  }
  TILEGRAD_CHECK(rest == 0, runtime, "split_with_sizes expects split_sizes to sum exactly to ",
                 t.shape[at], " (input tensor's size at dimension ", at, "), but ", rest,
                 " are left over");
  py::tuple views(lengths.size());
  std::int64_t start = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    views[i] = wrap_view(x, part_of(t, at, start, lengths[i]));
    start += lengths[i];
  }
  return views;
}

// The tensor whose slices along `dim` the parts already are, as split would cut it, or unbind if
// `unbound`: a view of their storage. None if they lie otherwise.
py::object rejoin(const py::sequence& sequence, std::int64_t dim, bool unbound) {
  const std::vector<Tensor> parts = tensors_of("rejoin", sequence);
  const Tensor& first = parts[0];
  const int at = normalize_dim(dim, first.ndim() + (unbound ? 1 : 0), "rejoin");
  // The distance of the slices decides the stride of a dimension that unbind removed.
  std::int64_t step = 1, place = first.offset, length = 0;
  if (!unbound) step = first.strides[at];
  else if (parts.size() > 1) step = parts[1].offset - first.offset;
  if (step <= 0) return py::none();
  for (const Tensor& part : parts) {
    Dims shape = part.shape;
    if (!unbound && shape.n == first.ndim()) shape[at] = first.shape[at];
    const std::int64_t slices = unbound ? 1 : part.shape[at];
    if (part.storage.get() != first.storage.get() || part.dtype != first.dtype ||
        shape != first.shape || part.strides != first.strides || part.offset != place)
      return py::none();
    place += slices * step;
    length += slices;
  }
  Dims shape, strides;
  for (int d = 0; d < first.ndim() + (unbound ? 1 : 0); ++d) {
    const int from = unbound && d > at ? d - 1 : d;
    shape.push(d == at ? length : first.shape[from]);
    strides.push(d == at ? step : first.strides[from]);
  }
  return py::cast(as_strided(first, shape, strides, first.offset));
}

// A copy with the order along `dims` reversed: the source is walked with negative strides, which no
// tensor outside this function has.
Tensor flip(const Tensor& x, const Dims& dims) {
  Tensor source = x;
  bool listed[kMaxDims] = {};
  for (std::int64_t dim : dims) {
    const int d = normalize_dim(dim, x.ndim(), "flip");
    TILEGRAD_CHECK(!listed[d], runtime, "flip: dim ", d,
                   " appears multiple times in the list of dims");
    listed[d] = true;
    if (x.ndim() == 0 || x.shape[d] == 0) continue;
    source.offset += (x.shape[d] - 1) * x.strides[d];
    source.strides[d] = -x.strides[d];
  }
  Tensor y = empty_like(x);
  if (y.numel() == 0) return y;
  const bool wide = y.dtype == DType::complex128;  // the kernel's elements have at most 8 bytes
  const Tensor to = wide ? as_real(y) : y, from = wide ? as_real(source) : source;
  Copy args{.to = to.dtype, .from = to.dtype, .loop = make_loop<2>(to.shape, {&to, &from})};
  run(copy_kernel, y.device(), args, y.numel());
  return y;
}

}  // namespace

void bind_join(py::module_& module) {
  module.def("cat", &cat, py::arg("sequence"), py::arg("dim"));
  module.def("stack", &stack, py::arg("sequence"), py::arg("dim"));
  module.def("unbind", &unbind, py::arg("input"), py::arg("dim"));
  module.def("split", &split, py::arg("input"), py::arg("lengths"), py::arg("dim"));
  module.def("rejoin", &rejoin, py::arg("parts"), py::arg("dim"), py::arg("unbound"));
  module.def("flip", &flip, py::arg("input"), py::arg("dims"));
  takes_every_dtype({"cat", "stack", "unbind", "split", "rejoin", "flip"});
}

}  // namespace tilegrad
