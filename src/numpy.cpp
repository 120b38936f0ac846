// NumPy both ways without copies, and element access for item() and tolist().
#include <pybind11/complex.h>
#include <pybind11/numpy.h>

#include <complex>

#include "bind.h"
#include "half.h"

namespace tilegrad {
namespace {

DType dtype_of(const py::dtype& type) {
  TILEGRAD_CHECK(type.byteorder() != '>', type,
                 "from_numpy: arrays in the other byte order are not supported; convert with "
                 ".astype(array.dtype.newbyteorder('='))");
  const char kind = type.kind();
  for (int i = 0; i < kDTypeCount; ++i) {
    const DTypeInfo& row = kDTypes[i];
    const bool is_unsigned = static_cast<DType>(i) == DType::uint8;
    const char expected = row.category == DTypeCategory::boolean    ? 'b'
                          : row.category == DTypeCategory::floating ? 'f'
                          : row.category == DTypeCategory::complex  ? 'c'
                          : is_unsigned                             ? 'u'
                                                                    : 'i';
    // Of the two halves NumPy knows float16, which comes first.
    if (kind == expected && static_cast<std::size_t>(type.itemsize()) == row.size)
      return static_cast<DType>(i);
  }
  fail(ErrorKind::type, "can't convert np.ndarray of type ", std::string(py::str(type)),
       ". The only supported types are: float64, float32, float16, complex64, complex128, int64, "
       "int32, int16, int8, uint8, and bool.");
}

void release_array(void* owner) {
  if (!Py_IsInitialized()) return;  // the interpreter is gone, and the array with it
  py::gil_scoped_acquire gil;
  Py_DECREF(static_cast<PyObject*>(owner));
}

Tensor from_numpy(const py::array& array) {
  Tensor x;
  x.dtype = dtype_of(array.dtype());
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  std::int64_t reach = size;
  for (py::ssize_t d = 0; d < array.ndim(); ++d) {
    const std::int64_t stride = array.shape(d) > 1 ? array.strides(d) : size;
    TILEGRAD_CHECK(stride >= 0, value,
                   "from_numpy: arrays with negative strides are not supported; pass array.copy()");
    TILEGRAD_CHECK(
        stride % size == 0, value,
        "from_numpy: the strides must be multiples of the element size; pass array.copy()");
    x.shape.push(array.shape(d));
    x.strides.push(stride / size);
    if (array.shape(d) > 0) reach += (array.shape(d) - 1) * stride;
  }
  x.storage = StorageRef(new Storage);
  x.storage->data = const_cast<void*>(array.data());
  x.storage->bytes = array.size() ? static_cast<std::size_t>(reach) : 0;
  x.storage->writable = array.writeable();
  x.storage->owner = Py_NewRef(array.ptr());
  x.storage->release_owner = release_array;
  return x;
}

py::dtype numpy_dtype(DType dtype) {
  TILEGRAD_CHECK(dtype != DType::bfloat16, type,
                 "numpy: Got unsupported ScalarType BFloat16; convert with .float() first");
  return py::dtype(info(dtype).name);
}

// The array keeps the tensor object alive.
py::array to_numpy(py::object self) {
  const Tensor& x = as_py(self.ptr())->tensor;
  TILEGRAD_CHECK(x.device().is_cpu(), type, "can't convert ", x.device().str(),
                 " device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
                 "first.");
  std::vector<py::ssize_t> shape(x.shape.begin(), x.shape.end()), strides;
  for (std::int64_t stride : x.strides)
    strides.push_back(stride * static_cast<py::ssize_t>(size_of(x.dtype)));
  py::array array(numpy_dtype(x.dtype), shape, strides, x.bytes(), self);
  if (!x.storage->writable) array.attr("flags").attr("writeable") = false;
  return array;
}

py::object item(const Tensor& x) {
  TILEGRAD_CHECK(x.numel() == 1, runtime, "a Tensor with ", x.numel(),
                 " elements cannot be converted to Scalar");
  const Tensor host = on_host(x);
  const char* element = host.bytes();
  const auto get = [element]<class T>() {
    T value;
    std::memcpy(&value, element, sizeof(T));
    return value;
  };
  switch (x.dtype) {
    case DType::boolean:
      return py::bool_(get.operator()<std::uint8_t>() != 0);
    case DType::uint8:
      return py::int_(get.operator()<std::uint8_t>());
    case DType::int8:
      return py::int_(get.operator()<std::int8_t>());
    case DType::int16:
      return py::int_(get.operator()<std::int16_t>());
    case DType::int32:
      return py::int_(get.operator()<std::int32_t>());
    case DType::int64:
      return py::int_(get.operator()<std::int64_t>());
    case DType::float16:
      return py::float_(float(get.operator()<Half>()));
    case DType::bfloat16:
      return py::float_(float(get.operator()<BFloat16>()));
    case DType::float32:
      return py::float_(get.operator()<float>());
    case DType::complex64: {
      const auto number = get.operator()<std::complex<float>>();
      return py::cast(std::complex<double>(number));
    }
    case DType::complex128:
      return py::cast(get.operator()<std::complex<double>>());
    default:
      return py::float_(get.operator()<double>());
  }
}

}  // namespace

void bind_numpy(py::module_& module) {
  module.def("from_numpy", &from_numpy, py::arg("array"),
             "A tensor that shares the array's memory.");
  module.def("to_numpy", &to_numpy, py::arg("self"), "An array that shares the tensor's memory.");
  module.def("item", &item, py::arg("input"));
  module.def(
      "reinterpret",
      [](const Tensor& x, DType dtype) {
        TILEGRAD_CHECK(size_of(dtype) == size_of(x.dtype), runtime,
                       "reinterpret: expected a dtype of ", size_of(x.dtype), " bytes, got ",
                       info(dtype).name);
        Tensor y = x;
        y.dtype = dtype;
        return y;
      },
      py::arg("input"), py::arg("dtype"), "The same bytes as elements of another dtype.");
}

}  // namespace tilegrad
