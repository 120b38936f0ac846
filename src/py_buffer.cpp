// Python's buffer protocol: memoryview(tensor), bytes(tensor), hashlib, sockets, files.
#include "py_buffer.h"

namespace tilegrad {
namespace {

// What a view of a tensor's memory keeps alive, whatever becomes of the tensor object.
struct BufferView {
  Tensor tensor;
  Py_ssize_t strides[kMaxDims];  // in bytes
};

const char* buffer_format(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return "?";
    case DType::uint8:
      return "B";
    case DType::int8:
      return "b";
    case DType::int16:
      return "h";
    case DType::int32:
      return "i";
    case DType::int64:
      return sizeof(long) == 8 ? "l" : "q";
    case DType::float16:
      return "e";
    case DType::float32:
      return "f";
    case DType::float64:
      return "d";
    case DType::complex64:
      return "Zf";
    case DType::complex128:
      return "Zd";
    default:
      return nullptr;  // bfloat16: the protocol has no letter for it
  }
}

// Why the tensor cannot be shown, or null.
const char* buffer_obstacle(const PyTensor* x, int flags) {
  const Tensor& tensor = x->tensor;
  if (!tensor.device().is_cpu()) return "the tensor is not on the CPU; copy it with cpu()";
  if (x->requires_grad) return "the tensor requires grad; use detach()";
  if (buffer_format(tensor.dtype) == nullptr) return "bfloat16 has no buffer format; use float()";
  if ((flags & PyBUF_WRITABLE) && !tensor.storage->writable) return "the tensor is read-only";
  const bool strided = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
  const bool row_major = !strided || (flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS ||
                         (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS;
  if (row_major && !tensor.is_contiguous()) return "the tensor is not contiguous";
  if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && tensor.ndim() > 1)
    return "the tensor is not in column-major order";
  return nullptr;
}

}  // namespace

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const PyTensor* x = as_py(self);
  view->obj = nullptr;
  if (const char* obstacle = buffer_obstacle(x, flags)) {
    PyErr_Format(PyExc_BufferError, "memoryview: %s", obstacle);
    return -1;
  }
  auto* shown = new BufferView{x->tensor, {}};
  const Tensor& tensor = shown->tensor;
  const auto size = static_cast<Py_ssize_t>(size_of(tensor.dtype));
  for (int d = 0; d < tensor.ndim(); ++d) shown->strides[d] = tensor.strides[d] * size;
  static_assert(sizeof(Py_ssize_t) == sizeof(std::int64_t));
  auto* shape = reinterpret_cast<Py_ssize_t*>(const_cast<std::int64_t*>(tensor.shape.v));
  view->buf = tensor.bytes();
  view->len = tensor.numel() * size;
  view->itemsize = size;
  view->readonly = !tensor.storage->writable;
  view->ndim = tensor.ndim();
  view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(buffer_format(tensor.dtype)) : nullptr;
  view->shape = (flags & PyBUF_ND) ? shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? shown->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = shown;
  view->obj = Py_NewRef(self);
  return 0;
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<BufferView*>(view->internal); }

}  // namespace tilegrad
