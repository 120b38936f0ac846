// dtype and device objects, number conversions, and the translation of errors to exceptions.
#include "bind.h"

#include <algorithm>
#include <string>

#include "../cuda/runtime.h"
#include "default_dtype.h"
#include "device.h"

namespace tilegrad {
namespace {

// One object per dtype, created once: `x.dtype is tilegrad.float32` holds, as in PyTorch.
struct DTypeHandle {
  DType dtype;
};
PyObject* dtype_objects[kDTypeCount];
PyTypeObject* dtype_class = nullptr;
PyObject* out_of_memory_error = nullptr;

PyObject* exception_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::value:
      return PyExc_ValueError;
    case ErrorKind::type:
      return PyExc_TypeError;
    case ErrorKind::index:
      return PyExc_IndexError;
    case ErrorKind::memory:
      return PyExc_MemoryError;
    case ErrorKind::not_implemented:
      return PyExc_NotImplementedError;
    case ErrorKind::out_of_memory:
      return out_of_memory_error;
    case ErrorKind::runtime:
      break;
  }
  return PyExc_RuntimeError;
}

void bind_dtypes(py::module_& module) {
  py::class_<DTypeHandle> type(module, "dtype",
                               "An element type, such as tilegrad.float32. Compare with `is`.");
  type.def_property_readonly(
          "itemsize", [](DTypeHandle d) { return size_of(d.dtype); }, "Bytes per element.")
      .def_property_readonly(
          "is_floating_point", [](DTypeHandle d) { return is_floating(d.dtype); },
          "Whether it is float16, bfloat16, float32 or float64.")
      .def_property_readonly(
          "is_complex", [](DTypeHandle d) { return is_complex(d.dtype); },
          "Whether it is complex64 or complex128.")
      .def_property_readonly(
          "is_signed",
          [](DTypeHandle d) { return d.dtype != DType::uint8 && d.dtype != DType::boolean; },
          "Whether it holds negative numbers.")
      .def_property_readonly(
          "name", [](DTypeHandle d) { return info(d.dtype).name; }, "Its name, such as 'float32'.")
      .def("__repr__", [](DTypeHandle d) { return std::string("tilegrad.") + info(d.dtype).name; })
      .def("__reduce__", [](DTypeHandle d) {
        return py::make_tuple(py::module_::import("tilegrad._C").attr("_dtype_by_name"),
                              py::make_tuple(info(d.dtype).name));
      });
  dtype_class = reinterpret_cast<PyTypeObject*>(type.ptr());
  for (int i = 0; i < kDTypeCount; ++i) {
    py::object object = py::cast(DTypeHandle{static_cast<DType>(i)});
    module.attr(i == 0 ? "boolean" : kDTypes[i].name) = object;
    dtype_objects[i] = object.release().ptr();
  }
  module.def("_dtype_by_name", [](const std::string& name) {
    for (int i = 0; i < kDTypeCount; ++i)
      if (name == kDTypes[i].name) return static_cast<DType>(i);
    fail(ErrorKind::value, "dtype: unknown name '", name, "'");
  });
  module.def(
      "promote_types", &promote, py::arg("type1"), py::arg("type2"),
      "The smallest dtype that holds both (bool < integers < floating < complex). Raises TypeError "
      "for "
      "arguments that are no dtypes.");
  module.def("get_default_dtype", &declared_default_dtype,
             "The dtype of Python floats: float32 unless set_default_dtype changed it.");
  module.def("set_default_dtype", &set_default_dtype, py::arg("d"),
             "Makes the floating dtype d that of Python floats. Raises TypeError for others.");
}

// device(1): a CUDA device, which must be there, as in PyTorch.
Device numbered_device(const py::int_& index) {
  if (PyBool_Check(index.ptr())) throw py::type_error("device: expected a string or an index");
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  TILEGRAD_CHECK(number >= 0 && overflow == 0, runtime,
                 "device: expected an index of at least 0, got ", std::string(py::str(index)));
  cuda::require_device(static_cast<int>(std::min(number, 999LL)), "device");
  return {DeviceType::cuda, static_cast<std::int8_t>(number)};
}

void bind_device(py::module_& module) {
  py::class_<Device>(module, "device", "Where a tensor lives: device('cpu'), device('cuda', 0).")
      .def(py::init([](const Device& device) { return device; }))
      .def(py::init([](const std::string& text) { return parse_device(text); }), py::arg("type"))
      .def(py::init([](const std::string& type, int index) {
             return parse_device(type + ":" + std::to_string(index));
           }),
           py::arg("type"), py::arg("index"))
      .def(py::init(&numbered_device), py::arg("index"))
      .def_property_readonly(
          "type", [](Device d) { return d.is_cpu() ? "cpu" : "cuda"; }, "'cpu' or 'cuda'.")
      .def_property_readonly(
          "index",
          [](Device d) -> std::optional<int> {
            if (d.is_cpu()) return std::nullopt;
            return d.index;
          },
          "The number of the CUDA device; None for the CPU.")
      .def("__str__", &Device::str)
      .def("__repr__",
           [](Device d) {
             return d.is_cpu() ? std::string("device(type='cpu')")
                               : "device(type='cuda', index=" + std::to_string(d.index) + ")";
           })
      .def("__eq__",
           [](Device d, py::handle other) {
             return py::isinstance<Device>(other) && other.cast<Device>() == d;
           })
      .def("__hash__",
           [](Device d) { return static_cast<int>(d.type) * 256 + static_cast<int>(d.index); })
      .def("__reduce__", [](Device d) {
        return py::make_tuple(py::type::of<Device>(), py::make_tuple(d.str()));
      });
  py::implicitly_convertible<std::string, Device>();
}

}  // namespace

PyObject* dtype_object(DType dtype) { return Py_NewRef(dtype_objects[static_cast<int>(dtype)]); }

bool is_dtype(PyObject* object) { return Py_TYPE(object) == dtype_class; }

bool load_dtype(PyObject* object, DType& dtype) {
  if (Py_TYPE(object) == dtype_class) {
    for (int i = 0; i < kDTypeCount; ++i)
      if (dtype_objects[i] == object) {
        dtype = static_cast<DType>(i);
        return true;
      }
    return false;
  }
  if (object == reinterpret_cast<PyObject*>(&PyFloat_Type)) dtype = DType::float64;
  else if (object == reinterpret_cast<PyObject*>(&PyLong_Type)) dtype = DType::int64;
  else if (object == reinterpret_cast<PyObject*>(&PyBool_Type)) dtype = DType::boolean;
  else if (object == reinterpret_cast<PyObject*>(&PyComplex_Type))
    dtype = complex_dtype(default_dtype());
  else return false;
  return true;
}

bool is_complex_number(PyObject* object) {
  return PyComplex_Check(object) ||
         std::strncmp(Py_TYPE(object)->tp_name, "numpy.complex", 13) == 0;  // complex64 is none
}

bool load_scalar(PyObject* object, Scalar& value) {
  if (PyFloat_Check(object)) {  // numpy.float64 is one too
    value.category = DTypeCategory::floating;
    value.floating = PyFloat_AS_DOUBLE(object);
    return true;
  }
  if (PyBool_Check(object)) {
    value.category = DTypeCategory::boolean;
    value.integer = object == Py_True;
    return true;
  }
  if (PyLong_Check(object) || (PyIndex_Check(object) && !is_tensor(object))) {
    PyObject* whole = PyNumber_Index(object);
    if (whole == nullptr) {  // an array with more than one element
      PyErr_Clear();
      return false;
    }
    value.category = DTypeCategory::integer;
    value.integer = PyLong_AsLongLong(whole);
    Py_DECREF(whole);
    if (value.integer == -1 && PyErr_Occurred()) throw py::error_already_set();  // OverflowError
    return true;
  }
  if (is_complex_number(object)) {
    const Py_complex number = PyComplex_AsCComplex(object);
    if (PyErr_Occurred()) throw py::error_already_set();
    value.category = DTypeCategory::complex;
    value.floating = number.real;
    value.imaginary = number.imag;
    return true;
  }
  // NumPy scalars other than float64: numbers with __float__ that are neither arrays nor tensors.
  PyTypeObject* type = Py_TYPE(object);
  if (std::strncmp(type->tp_name, "numpy.", 6) == 0 && type->tp_as_number &&
      type->tp_as_number->nb_float && std::strcmp(type->tp_name, "numpy.ndarray") != 0) {
    const bool boolean = std::strcmp(type->tp_name, "numpy.bool") == 0;
    const double number = PyFloat_AsDouble(object);
    if (PyErr_Occurred()) throw py::error_already_set();
    value.category = boolean ? DTypeCategory::boolean : DTypeCategory::floating;
    value.integer = number != 0;
    value.floating = number;
    return true;
  }
  return false;
}

static bool push_size(PyObject* item, Dims& dims) {
  if (PyFloat_Check(item) || !PyIndex_Check(item)) return false;
  PyObject* whole = PyNumber_Index(item);
  if (whole == nullptr) throw py::error_already_set();
  const long long size = PyLong_AsLongLong(whole);
  Py_DECREF(whole);
  if (size == -1 && PyErr_Occurred()) throw py::error_already_set();
  dims.push(size);
  return true;
}

bool load_dims(PyObject* object, Dims& dims) {
  dims.n = 0;
  if (!PyTuple_Check(object) && !PyList_Check(object)) return push_size(object, dims);
  PyObject** items = PySequence_Fast_ITEMS(object);
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  for (Py_ssize_t i = 0; i < count; ++i)
    if (!push_size(items[i], dims)) return false;
  return true;
}

void set_python_error(const Error& error) {
  PyErr_SetString(exception_of(error.kind), error.what());
}

void bind_types(py::module_& module) {
  out_of_memory_error =
      PyErr_NewExceptionWithDoc("tilegrad.OutOfMemoryError", "A CUDA device has not enough memory.",
                                PyExc_RuntimeError, nullptr);
  if (out_of_memory_error == nullptr) throw py::error_already_set();
  module.attr("OutOfMemoryError") = py::handle(out_of_memory_error);
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      set_python_error(error);
    }
  });
  bind_dtypes(module);
  bind_device(module);
}

}  // namespace tilegrad
