// Storage, creation, views and shape rules.
#include "tensor.h"

#include <algorithm>

#include "device.h"
#include "host_memory.h"

namespace tilegrad {

std::string Device::str() const {
  return is_cpu() ? "cpu" : "cuda:" + std::to_string(static_cast<int>(index));
}

std::string Dims::str() const {
  std::string text = "(";
  for (int i = 0; i < n; ++i) text += (i ? ", " : "") + std::to_string(v[i]);
  return text + (n == 1 ? ",)" : ")");
}

StorageRef allocate_storage(std::size_t bytes, Device device) {
  StorageRef storage(new Storage);
  storage->device = device;
  storage->bytes = bytes;
  if (device.is_cpu()) {
    const HostBlock block = host_allocate(bytes);
    storage->data = block.data;
    storage->capacity = block.capacity;
  } else {
    storage->data = device_allocate(bytes, device);
    storage->capacity = bytes;
  }
  return storage;
}

void StorageRef::destroy(Storage* storage) {
  if (storage->release_owner) {
    storage->release_owner(storage->owner);
  } else if (storage->device.is_cpu()) {
    host_free({storage->data, storage->capacity});
  } else {
    device_free(storage->data, storage->device);
  }
  delete storage;
}

bool Tensor::is_contiguous() const {
  std::int64_t expected = 1;
  bool dense = true;
  for (int d = ndim() - 1; d >= 0; --d) {
    if (shape[d] == 0) return true;  // whatever the strides of the other dimensions
    if (shape[d] == 1) continue;
    dense = dense && strides[d] == expected;
    expected *= shape[d];
  }
  return dense;
}

Dims contiguous_strides(const Dims& shape) {
  Dims strides;
  strides.n = shape.n;
  std::int64_t step = 1;
  for (int d = shape.n - 1; d >= 0; --d) {
    strides[d] = step;
    step *= std::max<std::int64_t>(shape[d], 1);
  }
  return strides;
}

std::int64_t checked_numel(const Dims& shape, DType dtype, const char* op) {
  std::int64_t count = 1;
  bool empty = false;
  for (std::int64_t size : shape) {
    TILEGRAD_CHECK(size >= 0, runtime, op, ": expected sizes of at least 0, got ", shape.str());
    empty |= size == 0;
  }
  for (std::int64_t size : shape) {  // zeros skipped: strides must fit for zero-size shapes too
    TILEGRAD_CHECK(size == 0 || !__builtin_mul_overflow(count, size, &count), runtime, op,
                   ": the number of elements of shape ", shape.str(), " overflows 64 bits");
  }
  std::int64_t bytes = 0;
  TILEGRAD_CHECK(!__builtin_mul_overflow(count, static_cast<std::int64_t>(size_of(dtype)), &bytes),
                 runtime, op, ": the byte size of shape ", shape.str(), " overflows 64 bits");
  return empty ? 0 : count;
}

Tensor empty(const Dims& shape, DType dtype, Device device, const char* op) {
  const std::int64_t count = checked_numel(shape, dtype, op);
  Tensor y;
  y.storage = allocate_storage(static_cast<std::size_t>(count) * size_of(dtype), device);
  y.dtype = dtype;
  y.shape = shape;
  y.strides = contiguous_strides(shape);
  return y;
}

Tensor empty_like(const Tensor& x) { return empty(x.shape, x.dtype, x.device()); }

Tensor as_strided(const Tensor& x, const Dims& shape, const Dims& strides, std::int64_t offset) {
  TILEGRAD_CHECK(shape.n == strides.n, runtime, "as_strided: size ", shape.str(), " and stride ",
                 strides.str(), " must have the same length");
  checked_numel(shape, x.dtype, "as_strided");
  std::int64_t last = offset;
  bool empty = false;
  for (int d = 0; d < shape.n; ++d) {
    TILEGRAD_CHECK(strides[d] >= 0, runtime, "as_strided: expected strides of at least 0, got ",
                   strides.str());
    empty |= shape[d] == 0;
    std::int64_t step = 0;
    if (shape[d] > 0)
      TILEGRAD_CHECK(!__builtin_mul_overflow(shape[d] - 1, strides[d], &step) &&
                         !__builtin_add_overflow(last, step, &last),
                     runtime, "as_strided: size ", shape.str(), " with stride ", strides.str(),
                     " overflows 64 bits");
  }
  const auto held = static_cast<std::int64_t>(x.storage->bytes / size_of(x.dtype));
  TILEGRAD_CHECK(offset >= 0 && (empty || last < held), runtime, "as_strided: size ", shape.str(),
                 ", stride ", strides.str(), " and storage offset ", offset,
                 " reach outside the storage of ", held, " elements");
  Tensor y = x;
  y.shape = shape;
  y.strides = strides;
  y.offset = offset;
  return y;
}

Tensor expand(const Tensor& x, const Dims& shape, const char* op) {
  TILEGRAD_CHECK(shape.n >= x.ndim(), runtime, op, ": the number of sizes in ", shape.str(),
                 " must be at least the number of dimensions of the tensor of shape ",
                 x.shape.str());
  Tensor y = x;
  y.shape = shape;
  y.strides.n = shape.n;
  const int lead = shape.n - x.ndim();
  for (int d = shape.n - 1; d >= 0; --d) {
    const bool added = d < lead;
    const std::int64_t size = added ? 1 : x.shape[d - lead];
    if (shape[d] == -1 && !added) y.shape[d] = size;
    TILEGRAD_CHECK(y.shape[d] >= 0 && (y.shape[d] == size || size == 1), runtime, op,
                   ": expected sizes to which ", x.shape.str(), " can be broadcast, got ",
                   shape.str());
    y.strides[d] = added || (size == 1 && y.shape[d] != 1) ? 0 : x.strides[d - lead];
  }
  return y;
}

Tensor transpose(const Tensor& x, int dim0, int dim1) {
  Tensor y = x;
  std::swap(y.shape[dim0], y.shape[dim1]);
  std::swap(y.strides[dim0], y.strides[dim1]);
  return y;
}

// Groups the old dimensions into runs that are contiguous in memory; each run must be split exactly
// by consecutive new dimensions.
bool view_strides(const Tensor& x, const Dims& shape, Dims& strides) {
  if (x.is_contiguous()) {
    strides = contiguous_strides(shape);
    return true;
  }
  strides.n = shape.n;
  int new_dim = shape.n - 1;
  std::int64_t run_size = 1, run_filled = 1;
  std::int64_t run_stride = x.ndim() ? x.strides[x.ndim() - 1] : 1;
  for (int d = x.ndim() - 1; d >= 0; --d) {
    run_size *= x.shape[d];
    const bool run_ends =
        d == 0 || (x.shape[d - 1] != 1 && x.strides[d - 1] != run_size * run_stride);
    if (!run_ends) continue;
    while (new_dim >= 0 && (run_filled < run_size || shape[new_dim] == 1)) {
      strides[new_dim] = run_filled * run_stride;
      run_filled *= shape[new_dim--];
    }
    if (run_filled != run_size) return false;
    if (d > 0) {
      run_stride = x.strides[d - 1];
      run_size = run_filled = 1;
    }
  }
  return new_dim < 0;
}

Tensor reshape(const Tensor& x, const Dims& shape) {
  Dims strides;
  Tensor y = view_strides(x, shape, strides) ? x : contiguous(x);
  if (!view_strides(y, shape, strides)) strides = contiguous_strides(shape);
  y.shape = shape;
  y.strides = strides;
  return y;
}

Dims broadcast_shapes(const Dims& a, const Dims& b, const char* op) {
  Dims shape;
  shape.n = std::max(a.n, b.n);
  for (int i = 1; i <= shape.n; ++i) {
    const std::int64_t x = i <= a.n ? a[a.n - i] : 1, y = i <= b.n ? b[b.n - i] : 1;
    TILEGRAD_CHECK(x == y || x == 1 || y == 1, runtime, op, ": the shapes ", a.str(), " and ",
                   b.str(), " cannot be broadcast together: they differ at dimension ",
                   shape.n - i);
    shape[shape.n - i] = x == 1 ? y : x;
  }
  return shape;
}

int normalize_dim(std::int64_t dim, int ndim, const char* op) {
  const int range = std::max(ndim, 1);  // a scalar accepts 0 and -1
  TILEGRAD_CHECK(dim >= -range && dim < range, index, op,
                 ": argument 'dim': expected a value in the range [", -range, ", ", range - 1,
                 "], got ", dim);
  return static_cast<int>(dim < 0 ? dim + range : dim);
}

bool may_overlap(const Tensor& a, const Tensor& b) {
  if (a.storage->data == nullptr || a.numel() == 0 || b.numel() == 0) return false;
  const auto end = [](const Tensor& x) {
    std::int64_t last = 0;
    for (int d = 0; d < x.ndim(); ++d) last += (x.shape[d] - 1) * x.strides[d];
    return x.bytes() + (last + 1) * static_cast<std::int64_t>(size_of(x.dtype));
  };
  return a.bytes() < end(b) && b.bytes() < end(a);
}

bool has_internal_overlap(const Tensor& x) {
  if (x.is_contiguous()) return false;
  // Sorted by stride, each dimension must step over everything that the smaller ones reach.
  int order[kMaxDims], count = 0;
  for (int d = 0; d < x.ndim(); ++d)
    if (x.shape[d] > 1) order[count++] = d;
  std::sort(order, order + count, [&](int a, int b) { return x.strides[a] < x.strides[b]; });
  std::int64_t reach = 0;
  for (int i = 0; i < count; ++i) {
    const int d = order[i];
    if (x.strides[d] <= reach) return true;
    reach += (x.shape[d] - 1) * x.strides[d];
  }
  return false;
}

}  // namespace tilegrad
