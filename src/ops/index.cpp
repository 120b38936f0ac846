// index: keys of x[...], reads through index tensors, nonzero.
#include "ops/index.h"

#include <algorithm>
#include <vector>

#include "../cuda/runtime.h"
#include "dispatch.h"
#include "gate.h"
#include "indexing.h"
#include "loop.h"
#include "parts.h"

namespace tilegrad {
namespace {

// --- basic keys ---------------------------------------------------------------------------------

bool is_plain_bound(PyObject* bound) { return bound == Py_None || PyLong_CheckExact(bound); }

// How many dimensions of x a basic key item consumes; -1 for anything but a basic item. A slice
// with unusual bounds counts as such: Python turns it into plain numbers first.
int consumed_by(PyObject* item) {
  if (PyLong_CheckExact(item)) return 1;
  if (PySlice_Check(item)) {
    const auto* slice = reinterpret_cast<PySliceObject*>(item);
    const bool plain =
        is_plain_bound(slice->start) && is_plain_bound(slice->stop) && is_plain_bound(slice->step);
    return plain ? 1 : -1;
  }
  return item == Py_None || item == Py_Ellipsis ? 0 : -1;
}

void push_dim(Tensor& y, std::int64_t size, std::int64_t stride) {
  y.shape.push(size);
  y.strides.push(stride);
}

void take_element(const Tensor& x, int dim, PyObject* item, Tensor& y) {
  int overflow = 0;
  const long long at = PyLong_AsLongLongAndOverflow(item, &overflow);
  const std::int64_t size = x.shape[dim];
  TILEGRAD_CHECK(!overflow && at >= -size && at < size, index, "index ",
                 overflow ? std::string(py::str(item)) : std::to_string(at),
                 " is out of bounds for dimension ", dim, " with size ", size);
  y.offset += (at < 0 ? at + size : at) * x.strides[dim];
}

void take_slice(const Tensor& x, int dim, PyObject* item, Tensor& y) {
  Py_ssize_t start = 0, stop = 0, step = 0;
  const bool unpacked = PySlice_Unpack(item, &start, &stop, &step) == 0;
  if (!unpacked) PyErr_Clear();  // plain bounds: only a step of zero fails
  TILEGRAD_CHECK(unpacked && step > 0, value, "slice step must be positive");
  const std::int64_t length = PySlice_AdjustIndices(x.shape[dim], &start, &stop, step);
  y.offset += start * x.strides[dim];
  push_dim(y, length, length > 1 ? x.strides[dim] * step : x.strides[dim]);
}

}  // namespace

bool basic_view(const Tensor& x, PyObject* key, Tensor& y) {
  PyObject* const* items = &key;
  Py_ssize_t count = 1;
  if (PyTuple_Check(key)) {
    items = &PyTuple_GET_ITEM(key, 0);
    count = PyTuple_GET_SIZE(key);
  }
  int consumed = 0, ellipses = 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    const int dims = consumed_by(items[i]);
    if (dims < 0) return false;
    consumed += dims;
    ellipses += items[i] == Py_Ellipsis;
  }
  const int ndim = x.ndim();
  TILEGRAD_CHECK(consumed == 0 || ndim > 0 || PyTuple_Check(key), index,
                 PySlice_Check(key) ? "slice() cannot be applied to a 0-dim tensor."
                                    : "invalid index of a 0-dim tensor. Use `tensor.item()` to "
                                      "convert a 0-dim tensor to a number");
  TILEGRAD_CHECK(consumed <= ndim, index, "too many indices for tensor of dimension ", ndim);
  y.storage = x.storage;
  y.dtype = x.dtype;
  y.offset = x.offset;
  int dim = 0, open = ellipses > 0 ? ndim - consumed : 0;  // dimensions for the first Ellipsis
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (PyLong_CheckExact(items[i])) take_element(x, dim++, items[i], y);
    else if (PySlice_Check(items[i])) take_slice(x, dim, items[i], y), ++dim;
    else if (items[i] == Py_None) push_dim(y, 1, dim < ndim ? x.shape[dim] * x.strides[dim] : 1);
    else
      for (; open > 0; --open, ++dim) push_dim(y, x.shape[dim], x.strides[dim]);
  }
  for (; dim < ndim; ++dim) push_dim(y, x.shape[dim], x.strides[dim]);
  return true;
}

// --- index tensors ------------------------------------------------------------------------------

namespace {

// The first index out of range, for the message.
[[noreturn]] void complain(const Tensor& x, const DimIndex* indices, int count,
                           const IndexRules& rules) {
  for (int k = 0; k < count; ++k) {
    const std::int64_t size = x.shape[indices[k].dim];
    if (size == 0 && indices[k].index->numel() > 0)
      fail(rules.error, rules.op, ": index is out of bounds for dimension ", indices[k].dim,
           " with size 0");
    const Tensor index = to_device(contiguous(*indices[k].index), Device{});
    for (std::int64_t i = 0, n = index.numel(); i < n; ++i) {
      const std::int64_t at = index.data<std::int64_t>()[i];
      if (at < (rules.wrap ? -size : 0) || at >= size)
        fail(rules.error, rules.op, ": index ", at, " is out of bounds for dimension ",
             indices[k].dim, " with size ", size);
    }
  }
  fail(rules.error, rules.op, ": index out of range");
}

// The true positions of a mask, one int64 row per dimension: (ndim, count).
Tensor true_positions(const Tensor& mask) {
  const Tensor x = contiguous(to_dtype(mask, DType::boolean));
  std::int64_t count = 0;
  run(count_nonzero_elements_kernel, x.device(),
      CountNonzero{.x = x.data<bool>(), .size = x.numel(), .count = &count}, x.numel());
  Tensor y = empty({x.ndim(), count}, DType::int64, x.device(), "nonzero");
  Nonzero args{.x = x.data<bool>(),
               .ndim = x.ndim(),
               .shape = {},
               .count = count,
               .coordinates = y.data<std::int64_t>()};
  std::copy(x.shape.begin(), x.shape.end(), args.shape);
  if (count > 0) run(nonzero_kernel, x.device(), args, x.numel());
  return y;
}

Tensor row_of(const Tensor& matrix, int row) {
  return as_strided(matrix, {matrix.shape[1]}, {1}, matrix.offset + row * matrix.strides[0]);
}

struct IndexList {
  std::vector<Tensor> tensors;  // int64
  std::vector<int> dims;
  Dims shape;  // broadcast of all
};

void add_mask(const Tensor& x, const Tensor& mask, int position, int dim, IndexList& list) {
  for (int d = 0; d < mask.ndim(); ++d)
    TILEGRAD_CHECK(dim + d < x.ndim() && mask.shape[d] == x.shape[dim + d], index,
                   "The shape of the mask ", mask.shape.str(), " at index ", d,
                   " does not match the shape of the indexed tensor ", x.shape.str(), " at index ",
                   dim + d, " (index ", position, " of the key)");
  const Tensor positions = true_positions(mask);
  for (int d = 0; d < mask.ndim(); ++d) {
    list.tensors.push_back(row_of(positions, d));
    list.dims.push_back(dim + d);
  }
}

// One int64 tensor per indexed dimension, masks expanded, shapes not yet broadcast.
IndexList collect(const char* op, const Tensor& x, const py::sequence& indices) {
  IndexList list;
  int dim = 0, position = 0;
  for (const py::handle item : indices) {
    if (item.is_none()) {
      ++dim;
      ++position;
      continue;
    }
    TILEGRAD_CHECK(is_tensor(item.ptr()), type, op, ": expected index tensors or None, got ",
                   Py_TYPE(item.ptr())->tp_name);
    const Tensor& index = as_py(item.ptr())->tensor;
    TILEGRAD_CHECK(index.device() == x.device(), runtime, op,
                   ": indices should be on the same device as the indexed tensor, got ",
                   index.device().str(), " and ", x.device().str());
    if (index.dtype == DType::boolean || index.dtype == DType::uint8) {
      add_mask(x, index, position, dim, list);
      dim += index.ndim();
    } else {
      TILEGRAD_CHECK(index.dtype == DType::int64 || index.dtype == DType::int32, index,
                     "tensors used as indices must be long, int, byte or bool tensors, got ",
                     info(index.dtype).name);
      list.tensors.push_back(to_dtype(index, DType::int64));
      list.dims.push_back(dim++);
    }
    ++position;
  }
  TILEGRAD_CHECK(dim <= x.ndim(), index, "too many indices for tensor of dimension ", x.ndim(),
                 " (got ", dim, ")");
  return list;
}

void broadcast(IndexList& list) {
  for (const Tensor& index : list.tensors) {
    try {
      list.shape = broadcast_shapes(list.shape, index.shape, "index");
    } catch (const Error&) {
      std::string shapes;
      for (const Tensor& each : list.tensors)
        shapes += (shapes.empty() ? "" : ", ") + each.shape.str();
      fail(ErrorKind::index,
           "shape mismatch: indexing tensors could not be broadcast together with shapes ", shapes);
    }
  }
  for (Tensor& index : list.tensors) index = expand(index, list.shape, "index");
}

// Appends the dimensions of `offsets` (or, without it, dimension `dim` of x) to the view.
void push_offsets(IndexedView& view, const Tensor& offsets) {
  for (int d = 0; d < offsets.ndim(); ++d) {
    push_dim(view.x, offsets.shape[d], 0);
    push_dim(view.offsets, offsets.shape[d], offsets.strides[d]);
  }
}
void push_own(IndexedView& view, const Tensor& x, int dim) {
  push_dim(view.x, x.shape[dim], x.strides[dim]);
  push_dim(view.offsets, x.shape[dim], 0);
}

IndexedView start_view(const Tensor& x, const Tensor& offsets) {
  IndexedView view{x, offsets, 1};
  view.x.shape.n = view.x.strides.n = view.offsets.shape.n = view.offsets.strides.n = 0;
  return view;
}

}  // namespace

Tensor checked_offsets(const Tensor& x, const DimIndex* indices, int count, const Dims& shape,
                       const IndexRules& rules) {
  Tensor offsets = empty(shape, DType::int64, x.device(), rules.op);
  std::atomic<bool> out_of_range{false};
  IndexOffsets args{.offsets = offsets.data<std::int64_t>(),
                    .size = offsets.numel(),
                    .count = count,
                    .index = {},
                    .sizes = {},
                    .strides = {},
                    .wrap = rules.wrap,
                    .out_of_range = &out_of_range};
  std::vector<Tensor> kept;  // contiguous copies live until the kernel has run
  kept.reserve(static_cast<std::size_t>(count));
  for (int k = 0; k < count; ++k) {
    kept.push_back(contiguous(*indices[k].index));
    args.index[k] = kept.back().data<std::int64_t>();
    args.sizes[k] = x.shape[indices[k].dim];
    args.strides[k] = x.strides[indices[k].dim] * static_cast<std::int64_t>(size_of(x.dtype));
  }
  // A captured kernel puts 0 where an index is out of range: there must be an element 0.
  if (args.size > 0 && std::count(args.sizes, args.sizes + count, 0) > 0) out_of_range = true;
  else run(index_offsets_kernel, x.device(), args, args.size * (count + 1));
  if (out_of_range) complain(x, indices, count, rules);
  return offsets;
}

bool indices_within(Tensor& index, std::int64_t size, bool wrap) {
  if (index.numel() == 0 || size <= 0) return index.numel() == 0;
  const bool captured = !wrap && !index.device().is_cpu() && cuda::is_capturing();
  const Tensor checked = captured ? empty_like(index) : Tensor{};
  std::atomic<bool> out_of_range{false};
  const IndexOffsets args{.offsets = captured ? checked.data<std::int64_t>() : nullptr,
                          .size = index.numel(),
                          .count = 1,
                          .index = {index.data<std::int64_t>()},
                          .sizes = {size},
                          .strides = {1},
                          .wrap = wrap,
                          .out_of_range = &out_of_range};
  run(index_offsets_kernel, index.device(), args, args.size);
  if (captured) index = checked;
  return !out_of_range;
}

IndexedView indexed_view(const char* op, const Tensor& x, const py::sequence& indices) {
  IndexList list = collect(op, x, indices);
  broadcast(list);
  const auto count = static_cast<int>(list.dims.size());
  DimIndex pairs[kMaxDims];
  bool indexed[kMaxDims] = {};
  for (int k = 0; k < count; ++k) {
    pairs[k] = {&list.tensors[static_cast<std::size_t>(k)], list.dims[static_cast<std::size_t>(k)]};
    indexed[pairs[k].dim] = true;
  }
  const Tensor offsets = checked_offsets(x, pairs, count, list.shape, {op, true, ErrorKind::index});
  const bool adjacent = count == 0 || list.dims.back() - list.dims.front() == count - 1;
  const int at = adjacent && count > 0 ? list.dims.front() : 0;
  IndexedView view = start_view(x, offsets);
  for (int d = 0; d < at; ++d) push_own(view, x, d);
  push_offsets(view, offsets);
  for (int d = at; d < x.ndim(); ++d)
    if (!indexed[d]) push_own(view, x, d);
  return view;
}

IndexedView indexed_along(const Tensor& x, int dim, const Tensor& index, const IndexRules& rules) {
  const DimIndex pair{&index, dim};
  if (x.ndim() == 0) {  // acts as one element along dimension 0
    const Tensor row = as_strided(x, {1}, {1}, x.offset);
    const Tensor offsets = checked_offsets(row, &pair, 1, {}, rules);
    return {x, offsets, 1};
  }
  const Tensor offsets = checked_offsets(x, &pair, 1, {index.numel()}, rules);
  IndexedView view = start_view(x, offsets);
  for (int d = 0; d < x.ndim(); ++d)
    if (d == dim) push_offsets(view, offsets);
    else push_own(view, x, d);
  return view;
}

IndexedView gathered_view(const Tensor& x, int dim, const Tensor& index) {
  const Tensor self = x.ndim() == 0 ? as_strided(x, {1}, {1}, x.offset) : x;
  const Tensor wide = to_dtype(index, DType::int64);
  // The index itself serves as offsets: as long as the result, it is not worth a copy.
  IndexedView view{self, wide, 1};
  if (self.ndim() > 0) view.scale = self.strides[dim] * static_cast<std::int64_t>(size_of(x.dtype));
  view.x.shape = index.shape;
  view.x.strides.n = index.ndim();
  if (index.ndim() > 0) view.x.strides[dim] = 0;
  return view;
}

void check_gathered(const char* op, const Tensor& x, int dim, IndexedView& view) {
  const Tensor self = x.ndim() == 0 ? as_strided(x, {1}, {1}, x.offset) : x;
  const Tensor given = contiguous(view.offsets);
  Tensor index = given;
  if (!indices_within(index, self.shape[dim])) complain_of_gathered(op, self, dim, view);
  if (index.bytes() != given.bytes()) view.offsets = index;
}

void complain_of_gathered(const char* op, const Tensor& x, int dim, const IndexedView& view) {
  const DimIndex index{&view.offsets, dim};
  complain(x, &index, 1, {op, false, ErrorKind::runtime});
}

void check_index(const char* op, const Tensor& x, const Tensor& index) {
  TILEGRAD_CHECK(index.dtype == DType::int64 || index.dtype == DType::int32, runtime, op,
                 "(): Expected dtype int32/int64 for index, got ", info(index.dtype).name);
  TILEGRAD_CHECK(index.device() == x.device(), runtime, op,
                 "(): Expected all tensors to be on the same device, got ", x.device().str(),
                 " and index on ", index.device().str());
}

namespace {

// With `out_of_range`, indices outside [0, size) raise it.
Tensor read(const IndexedView& view, std::int64_t size = 0,
            std::atomic<bool>* out_of_range = nullptr) {
  Tensor y = empty(view.x.shape, view.x.dtype, view.x.device(), "index");
  const std::int64_t count = y.numel();
  if (count == 0) return y;
  const bool wide = y.dtype == DType::complex128;  // the kernel's elements have at most 8 bytes
  const Tensor to = wide ? as_real(y) : y, from = wide ? as_real(view.x) : view.x;
  const Tensor offsets = wide ? shown_twice(view.offsets) : view.offsets;
  IndexGet args{.element_size = static_cast<std::int64_t>(size_of(to.dtype)),
                .scale = view.scale,
                .size = size,
                .out_of_range = out_of_range,
                .loop = make_loop<3>(to.shape, {&to, &from, &offsets})};
  run(index_get_kernel, y.device(), args, count);
  return y;
}

Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const int at = normalize_dim(dim, x.ndim(), "index_select");
  check_index("index_select", x, index);
  TILEGRAD_CHECK(index.ndim() <= 1, index, "index_select(): Index is supposed to be a vector, got ",
                 "shape ", index.shape.str());
  TILEGRAD_CHECK(x.ndim() > 0 || index.numel() == 1, index,
                 "index_select(): expected one index into a scalar, got ", index.numel());
  return read(indexed_along(x, at, to_dtype(index, DType::int64),
                            {"index_select", false, ErrorKind::index}));
}

Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const int at = normalize_dim(dim, x.ndim(), "gather");
  check_index("gather", x, index);
  if (index.numel() == 0) return empty(index.shape, x.dtype, x.device());
  TILEGRAD_CHECK(std::max(x.ndim(), 1) == std::max(index.ndim(), 1), runtime,
                 "Index tensor must have the same number of dimensions as input tensor, got ",
                 index.shape.str(), " and ", x.shape.str());
  for (int d = 0; d < std::min(x.ndim(), index.ndim()); ++d)
    TILEGRAD_CHECK(d == at || index.shape[d] <= x.shape[d], runtime,
                   "Size does not match at dimension ", d, " expected index ", index.shape.str(),
                   " to be no larger than self ", x.shape.str(), " apart from dimension ", at);
  const Tensor self = x.ndim() == 0 ? as_strided(x, {1}, {1}, x.offset) : x;
  const IndexedView view = gathered_view(self, at, index);
  std::atomic<bool> out_of_range{self.shape[at] == 0};
  const Tensor y = out_of_range ? Tensor{} : read(view, self.shape[at], &out_of_range);
  if (out_of_range) complain_of_gathered("gather", self, at, view);
  return y;
}

}  // namespace

void bind_index(py::module_& module) {
  // None stands for a key that needs index tensors.
  module.def(
      "basic_index",
      [](PyTensor* x, py::handle key) -> py::object {
        Tensor y;
        if (!basic_view(x->tensor, key.ptr(), y)) return py::none();
        return wrap_view(x, std::move(y));
      },
      py::arg("input"), py::arg("key"));
  module.def(
      "index",
      [](const Tensor& x, const py::sequence& indices) {
        return read(indexed_view("index", x, indices));
      },
      py::arg("input"), py::arg("indices"));
  module.def("index_select", &index_select, py::arg("input"), py::arg("dim"), py::arg("index"));
  module.def("gather", &gather, py::arg("input"), py::arg("dim"), py::arg("index"));
  module.def(
      "nonzero", [](const Tensor& x) { return transpose(true_positions(x), 0, 1); },
      py::arg("input"));
  takes_every_dtype({"basic_index", "index", "index_select", "gather"});
}

}  // namespace tilegrad
