// DLPack both ways: a tensor as a capsule, a capsule as a tensor; the memory is shared.
//
// A capsule is renamed by whoever takes its tensor over, and the deleter is called once, by the
// last owner: the capsule itself if nobody took it. Neither side may assume the other's allocator.
#include "dlpack.h"

#include "bind.h"

namespace tilegrad {
namespace {

using dlpack::DLTensor;
using dlpack::Managed;
using dlpack::ManagedVersioned;

template <class M>
constexpr const char* capsule_name = "dltensor";
template <>
constexpr const char* capsule_name<ManagedVersioned> = "dltensor_versioned";
template <class M>
constexpr const char* used_capsule_name = "used_dltensor";
template <>
constexpr const char* used_capsule_name<ManagedVersioned> = "used_dltensor_versioned";

// --- export -------------------------------------------------------------------------------------

// What an exported tensor keeps alive. It holds no Python object, so no lock is needed to free it.
template <class M>
struct Exported {
  M managed;
  Tensor tensor;
};

dlpack::DLType dlpack_type(DType dtype) {
  const auto bits = static_cast<std::uint8_t>(8 * size_of(dtype));
  if (dtype == DType::boolean) return {dlpack::kBool, bits, 1};
  if (dtype == DType::bfloat16) return {dlpack::kBfloat, bits, 1};
  if (is_floating(dtype)) return {dlpack::kFloat, bits, 1};
  if (is_complex(dtype)) return {dlpack::kComplex, bits, 1};
  return {dtype == DType::uint8 ? dlpack::kUint : dlpack::kInt, bits, 1};
}

template <class M>
void release_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, capsule_name<M>)) return;  // taken over
  auto* managed = static_cast<M*>(PyCapsule_GetPointer(capsule, capsule_name<M>));
  if (managed->deleter) managed->deleter(managed);
}

template <class M>
py::object make_capsule(const Tensor& x, std::uint64_t flags) {
  auto* exported = new Exported<M>{M{}, x};
  Tensor& tensor = exported->tensor;
  M& managed = exported->managed;
  managed.tensor.data = tensor.bytes();
  managed.tensor.device = {x.device().is_cpu() ? dlpack::kCpu : dlpack::kCuda,
                           x.device().is_cpu() ? 0 : x.device().index};
  managed.tensor.ndim = tensor.ndim();
  managed.tensor.dtype = dlpack_type(x.dtype);
  managed.tensor.shape = tensor.shape.v;
  managed.tensor.strides = tensor.strides.v;
  managed.context = exported;
  managed.deleter = [](M* self) { delete static_cast<Exported<M>*>(self->context); };
  if constexpr (std::is_same_v<M, ManagedVersioned>) {
    managed.major = 1;
    managed.minor = 0;
    managed.flags = flags | (x.storage->writable ? 0 : dlpack::kReadOnly);
  }
  PyObject* capsule = PyCapsule_New(&managed, capsule_name<M>, release_capsule<M>);
  if (capsule == nullptr) {
    delete exported;
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(capsule);
}

py::object to_dlpack(const Tensor& x, bool versioned, bool is_copied) {
  if (versioned) return make_capsule<ManagedVersioned>(x, is_copied ? dlpack::kIsCopied : 0);
  TILEGRAD_CHECK(x.storage->writable, runtime,
                 "__dlpack__: the tensor is read-only, which versions of DLPack before 1.0 cannot "
                 "say; ask for max_version=(1, 0)");
  return make_capsule<Managed>(x, 0);
}

// --- import -------------------------------------------------------------------------------------

DType tensor_dtype(const dlpack::DLType& type) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const dlpack::DLType ours = dlpack_type(static_cast<DType>(i));
    if (type.lanes == 1 && type.code == ours.code && type.bits == ours.bits)
      return static_cast<DType>(i);
  }
  fail(ErrorKind::type, "from_dlpack: there is no dtype for elements of type code ",
       static_cast<int>(type.code), " with ", static_cast<int>(type.bits), " bits in ", type.lanes,
       " lanes");
}

Device tensor_device(const dlpack::DLDevice& device) {
  if (device.kind == dlpack::kCpu || device.kind == dlpack::kCudaHost) return Device{};
  TILEGRAD_CHECK(device.kind == dlpack::kCuda, runtime, "from_dlpack: unsupported device type ",
                 device.kind);
  return Device{DeviceType::cuda, static_cast<std::int8_t>(device.index)};
}

Tensor shown_tensor(const DLTensor& given) {
  Tensor x;
  x.dtype = tensor_dtype(given.dtype);
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  for (int d = 0; d < given.ndim; ++d) x.shape.push(given.shape[d]);
  const std::int64_t count = checked_numel(x.shape, x.dtype, "from_dlpack");
  x.strides = contiguous_strides(x.shape);
  std::int64_t reach = 1;
  for (int d = 0; given.strides && d < given.ndim; ++d) {
    if (x.shape[d] == 1) continue;  // any stride is allowed there
    x.strides[d] = given.strides[d];
    TILEGRAD_CHECK(x.strides[d] >= 0, value,
                   "from_dlpack: negative strides are not supported; copy the array first");
    if (count) reach += (x.shape[d] - 1) * x.strides[d];
  }
  x.storage = StorageRef(new Storage);
  x.storage->device = tensor_device(given.device);
  x.storage->data = static_cast<char*>(given.data) + given.byte_offset;
  x.storage->bytes = count ? static_cast<std::size_t>(reach * size) : 0;
  const std::size_t alignment = is_complex(x.dtype) ? size_of(x.dtype) / 2 : size_of(x.dtype);
  TILEGRAD_CHECK(reinterpret_cast<std::uintptr_t>(x.storage->data) % alignment == 0, value,
                 "from_dlpack: the data is not aligned to the size of its elements");
  return x;
}

template <class M>
Tensor take_over(PyObject* capsule) {
  auto* managed = static_cast<M*>(PyCapsule_GetPointer(capsule, capsule_name<M>));
  if constexpr (std::is_same_v<M, ManagedVersioned>)
    TILEGRAD_CHECK(managed->major == 1, runtime, "from_dlpack: expected DLPack version 1, got ",
                   managed->major, ".", managed->minor);
  Tensor x = shown_tensor(managed->tensor);  // throws before anything is taken over
  if constexpr (std::is_same_v<M, ManagedVersioned>)
    x.storage->writable = !(managed->flags & dlpack::kReadOnly);
  x.storage->owner = managed;
  x.storage->release_owner = [](void* owner) {
    auto* self = static_cast<M*>(owner);
    if (self->deleter) self->deleter(self);
  };
  PyCapsule_SetName(capsule, used_capsule_name<M>);
  return x;
}

Tensor from_dlpack(const py::object& capsule) {
  if (PyCapsule_IsValid(capsule.ptr(), capsule_name<ManagedVersioned>))
    return take_over<ManagedVersioned>(capsule.ptr());
  if (PyCapsule_IsValid(capsule.ptr(), capsule_name<Managed>))
    return take_over<Managed>(capsule.ptr());
  const bool is_used = PyCapsule_IsValid(capsule.ptr(), used_capsule_name<Managed>) ||
                       PyCapsule_IsValid(capsule.ptr(), used_capsule_name<ManagedVersioned>);
  TILEGRAD_CHECK(!is_used, runtime,
                 "from_dlpack received an invalid capsule: its tensor was already taken");
  fail(ErrorKind::type, "from_dlpack: expected a DLPack capsule, got ",
       Py_TYPE(capsule.ptr())->tp_name);
}

}  // namespace

void bind_dlpack(py::module_& module) {
  module.def("to_dlpack", &to_dlpack, py::arg("input"), py::arg("versioned"), py::arg("is_copied"),
             "A capsule that shares the tensor's memory.");
  module.def("from_dlpack", &from_dlpack, py::arg("capsule"),
             "A tensor that takes over the capsule's memory.");
}

}  // namespace tilegrad
