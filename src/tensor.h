// The tensor: a strided view of a shared storage. No Python and no gradients here; those sit above.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "check.h"
#include "dtype.h"
#include "strided.h"

namespace tilegrad {

enum class DeviceType : std::uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  std::int8_t index = 0;
  bool operator==(const Device&) const = default;
  bool is_cpu() const { return type == DeviceType::cpu; }
  std::string str() const;
};

// A short list of sizes or strides, stored inline: tensors are created too often for a heap list.
struct Dims {
  int n = 0;
  std::int64_t v[kMaxDims];

  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values) {
    for (std::int64_t value : values) v[n++] = value;
  }
  std::int64_t operator[](int i) const { return v[i]; }
  std::int64_t& operator[](int i) { return v[i]; }
  const std::int64_t* begin() const { return v; }
  const std::int64_t* end() const { return v + n; }
  void push(std::int64_t value) {
    TILEGRAD_CHECK(n < kMaxDims, value, "a tensor has at most ", kMaxDims, " dimensions");
    v[n++] = value;
  }
  bool operator==(const Dims& other) const {
    if (n != other.n) return false;
    for (int i = 0; i < n; ++i)
      if (v[i] != other.v[i]) return false;
    return true;
  }
  std::string str() const;  // "(2, 3)"
};

// Bytes on one device, shared by all views. Reference-counted; the count is atomic because storage
// may be released while another thread runs without the GIL.
struct Storage {
  std::atomic<std::int32_t> references{1};
  std::uint32_t version = 0;  // in-place writes so far; autograd compares it (GIL held)
  void* data = nullptr;
  std::size_t bytes = 0;
  std::size_t capacity = 0;  // of the allocator's block; 0 for foreign memory
  Device device;
  bool writable = true;
  void* owner = nullptr;  // foreign memory: freed with release_owner(owner)
  void (*release_owner)(void*) = nullptr;
};

class StorageRef {
 public:
  StorageRef() = default;
  explicit StorageRef(Storage* adopted) : storage_(adopted) {}
  StorageRef(const StorageRef& other) : storage_(other.storage_) {
    if (storage_) storage_->references.fetch_add(1, std::memory_order_relaxed);
  }
  StorageRef(StorageRef&& other) noexcept : storage_(std::exchange(other.storage_, nullptr)) {}
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~StorageRef() {
    if (storage_ && storage_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      destroy(storage_);
  }
  Storage* get() const { return storage_; }
  Storage* operator->() const { return storage_; }

 private:
  static void destroy(Storage* storage);
  Storage* storage_ = nullptr;
};

StorageRef allocate_storage(std::size_t bytes, Device device);

struct Tensor {
  StorageRef storage;
  std::int64_t offset = 0;  // of the first element, in elements
  DType dtype = DType::float32;
  Dims shape;
  Dims strides;  // in elements; never negative

  int ndim() const { return shape.n; }
  Device device() const { return storage->device; }
  bool defined() const { return storage.get() != nullptr; }
  std::int64_t numel() const {
    std::int64_t count = 1;
    for (std::int64_t size : shape) count *= size;
    return count;
  }
  char* bytes() const {
    return static_cast<char*>(storage->data) + offset * static_cast<std::int64_t>(size_of(dtype));
  }
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(bytes());
  }
  bool is_contiguous() const;  // row-major and dense; strides of size-1 dimensions do not matter
};

// Creation.
Dims contiguous_strides(const Dims& shape);
// The number of elements; throws if one is negative or the product or byte count overflows 64 bits.
std::int64_t checked_numel(const Dims& shape, DType dtype, const char* op);
Tensor empty(const Dims& shape, DType dtype, Device device, const char* op = "empty");
Tensor empty_like(const Tensor& x);             // contiguous
Tensor pinned(const Dims& shape, DType dtype);  // page-locked memory of the host (src/cuda.cpp)

// Views. Each shares the storage of its argument.
Tensor as_strided(const Tensor& x, const Dims& shape, const Dims& strides, std::int64_t offset);
Tensor expand(const Tensor& x, const Dims& shape, const char* op = "expand");
Tensor transpose(const Tensor& x, int dim0, int dim1);
// The strides that show x in `shape` without a copy; false if no such view exists.
bool view_strides(const Tensor& x, const Dims& shape, Dims& strides);
Tensor reshape(const Tensor& x, const Dims& shape);  // a view where possible, else a copy

// Copies (src/ops/copy.cpp).
Tensor contiguous(const Tensor& x);
Tensor to_dtype(const Tensor& x, DType dtype);  // x itself if it has that dtype
// x itself if it is there; has been copied when it returns, unless `non_blocking`.
Tensor to_device(const Tensor& x, Device device, bool non_blocking = false);
Tensor on_host(const Tensor& x);  // contiguous there: x itself or a copy, for which it waits
// Broadcasts and converts. Between devices it has been done when it returns, unless `non_blocking`.
void copy_into(const Tensor& destination, const Tensor& source, bool non_blocking = false);

// Shapes.
Dims broadcast_shapes(const Dims& a, const Dims& b, const char* op);
int normalize_dim(std::int64_t dim, int ndim, const char* op);  // -1 -> last; IndexError outside
// True if the two may share a byte (their address ranges intersect).
bool may_overlap(const Tensor& a, const Tensor& b);
// True if two indices of x name the same element (an expanded dimension): not writable in place.
bool has_internal_overlap(const Tensor& x);

}  // namespace tilegrad
