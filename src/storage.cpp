// A tensor's storage from outside: its bytes, views of them, and moving it to other memory.
//
// What checkpoints, DLPack's consumers and shared memory need; everything that comes from a file is
// checked here against the bytes that are really there.
#include "bind.h"

namespace tilegrad {
namespace {

// All bytes of the storage as a uint8 tensor that shares them.
Tensor storage_bytes(const Tensor& x) {
  Tensor bytes;
  bytes.storage = x.storage;
  bytes.dtype = DType::uint8;
  bytes.shape = {static_cast<std::int64_t>(x.storage->bytes)};
  bytes.strides = {1};
  return bytes;
}

// A window on the storage of `bytes`, all in elements of `dtype`.
Tensor storage_view(const Tensor& bytes, DType dtype, const Dims& shape, const Dims& strides,
                    std::int64_t offset) {
  Tensor whole = storage_bytes(bytes);
  whole.dtype = dtype;
  const auto held = static_cast<std::int64_t>(whole.storage->bytes / size_of(dtype));
  whole.shape = {held};
  const auto address = reinterpret_cast<std::uintptr_t>(whole.storage->data);
  const std::size_t alignment = is_complex(dtype) ? size_of(dtype) / 2 : size_of(dtype);
  TILEGRAD_CHECK(address % alignment == 0, runtime, "storage_view: the storage lies at ", address,
                 ", which is not a multiple of the size of ", info(dtype).name);
  TILEGRAD_CHECK(offset <= held, runtime, "storage_view: offset ", offset,
                 " lies outside the storage of ", held, " elements");
  Tensor view = as_strided(whole, shape, strides, offset);
  constexpr std::int64_t far = std::int64_t{1} << 40;
  for (int d = 0; d < view.ndim(); ++d)  // never stepped along, but multiplied with sizes
    if (view.shape[d] <= 1 && view.strides[d] > far) view.strides[d] = 1;
  return view;
}

void release_storage(void* owner) { delete static_cast<StorageRef*>(owner); }

// Moves the storage of x, under all its views, to the memory of `bytes`, which must be as large.
void move_storage(const Tensor& x, const Tensor& bytes) {
  Storage* moved = x.storage.get();
  TILEGRAD_CHECK(moved != bytes.storage.get(), value, "move_storage: both have one storage");
  TILEGRAD_CHECK(moved->device.is_cpu() && bytes.storage->device.is_cpu(), runtime,
                 "move_storage: expected storages on the CPU");
  TILEGRAD_CHECK(bytes.storage->bytes >= moved->bytes, value, "move_storage: expected ",
                 moved->bytes, " bytes, got ", bytes.storage->bytes);
  if (moved->bytes) std::memcpy(bytes.storage->data, moved->data, moved->bytes);
  Storage* old = new Storage;  // dies at the end with the memory that is no longer used
  old->data = moved->data;
  old->bytes = moved->bytes;
  old->capacity = moved->capacity;
  old->owner = moved->owner;
  old->release_owner = moved->release_owner;
  const StorageRef release(old);
  moved->data = bytes.storage->data;
  moved->capacity = 0;
  moved->writable = bytes.storage->writable;
  moved->owner = new StorageRef(bytes.storage);
  moved->release_owner = release_storage;
}

}  // namespace

void bind_storage(py::module_& module) {
  module.def("storage_bytes", &storage_bytes, py::arg("input"),
             "All bytes of the tensor's storage as a uint8 tensor that shares them.");
  module.def("storage_view", &storage_view, py::arg("bytes"), py::arg("dtype"), py::arg("size"),
             py::arg("stride"), py::arg("storage_offset"),
             "A tensor on the storage of `bytes`; sizes, strides and offset in elements.");
  module.def("move_storage", &move_storage, py::arg("input"), py::arg("bytes"),
             "Moves the storage of `input`, with its content, to the memory of `bytes`.");
  module.def(
      "storage_pointer",
      [](const Tensor& x) { return reinterpret_cast<std::uintptr_t>(x.storage->data); },
      py::arg("input"), "The address of the tensor's storage.");
}

}  // namespace tilegrad
