// Conversions between Python and C++ arguments, so that bindings read like plain C++.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "py_tensor.h"
#include "scalar.h"

namespace tilegrad {

PyObject* dtype_object(DType dtype);  // new reference to tilegrad.<dtype>
bool is_dtype(PyObject* object);      // one of tilegrad.float32 and its relatives
bool load_dtype(PyObject* object, DType& dtype);
bool is_complex_number(PyObject* object);           // of Python or NumPy
bool load_scalar(PyObject* object, Scalar& value);  // Python and NumPy numbers
bool load_dims(PyObject* object, Dims& dims);       // a sequence of integers, or one integer

void set_python_error(const Error& error);  // makes it the exception of its kind

void bind_types(py::module_& module);  // dtype, device, errors

}  // namespace tilegrad

namespace pybind11::detail {

// A tensor argument is borrowed from its Python object; a tensor result becomes a tilegrad.Tensor.
template <>
struct type_caster<tilegrad::Tensor> {
  static constexpr auto name = const_name("Tensor");
  bool load(handle source, bool) {
    if (!tilegrad::is_tensor(source.ptr())) return false;
    value = &tilegrad::as_py(source.ptr())->tensor;
    return true;
  }
  static handle cast(tilegrad::Tensor&& tensor, return_value_policy, handle) {
    return tilegrad::wrap(std::move(tensor));
  }
  static handle cast(const tilegrad::Tensor& tensor, return_value_policy, handle) {
    return tilegrad::wrap(tilegrad::Tensor(tensor));
  }
  template <class>
  using cast_op_type = const tilegrad::Tensor&;
  operator const tilegrad::Tensor&() const { return *value; }

 private:
  const tilegrad::Tensor* value = nullptr;
};

// The Python object itself, for bindings that need its place in the graph.
template <>
struct type_caster<tilegrad::PyTensor> {
  static constexpr auto name = const_name("Tensor");
  bool load(handle source, bool) {
    if (!tilegrad::is_tensor(source.ptr())) return false;
    value = tilegrad::as_py(source.ptr());
    return true;
  }
  template <class>
  using cast_op_type = tilegrad::PyTensor*;
  operator tilegrad::PyTensor*() const { return value; }

 private:
  tilegrad::PyTensor* value = nullptr;
};

template <>
struct type_caster<tilegrad::Operand> {
  PYBIND11_TYPE_CASTER(tilegrad::Operand, const_name("Tensor | float"));
  bool load(handle source, bool) {
    if (tilegrad::is_tensor(source.ptr())) {
      value.tensor = &tilegrad::as_py(source.ptr())->tensor;
      return true;
    }
    return tilegrad::load_scalar(source.ptr(), value.scalar);
  }
};

template <>
struct type_caster<tilegrad::Scalar> {
  PYBIND11_TYPE_CASTER(tilegrad::Scalar, const_name("float"));
  bool load(handle source, bool) { return tilegrad::load_scalar(source.ptr(), value); }
};

template <>
struct type_caster<tilegrad::Dims> {
  PYBIND11_TYPE_CASTER(tilegrad::Dims, const_name("Sequence[int]"));
  bool load(handle source, bool) { return tilegrad::load_dims(source.ptr(), value); }
  static handle cast(const tilegrad::Dims& dims, return_value_policy, handle) {
    return tilegrad::size_object(dims);
  }
};

template <>
struct type_caster<tilegrad::DType> {
  PYBIND11_TYPE_CASTER(tilegrad::DType, const_name("dtype"));
  bool load(handle source, bool) { return tilegrad::load_dtype(source.ptr(), value); }
  static handle cast(tilegrad::DType dtype, return_value_policy, handle) {
    return tilegrad::dtype_object(dtype);
  }
};

}  // namespace pybind11::detail
