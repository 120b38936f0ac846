// The Python object around a tensor: _C.TensorBase, from which tilegrad.Tensor is derived in
// Python.
//
// Written against the C API instead of py::class_: an object of this type is created by every op,
// and pybind11's instance registry alone costs more than the rest of a small op together.
#pragma once

#include <pybind11/pybind11.h>

#include "tensor.h"

namespace tilegrad {

namespace py = pybind11;

struct PyTensor {
  PyObject_HEAD Tensor tensor;
  PyObject* dict;  // attributes that users set; created on demand
  PyObject* weakrefs;
  // Autograd's part. All references are owned or null.
  PyObject* grad;
  PyObject* grad_fn;           // the node that produced this tensor; null for leaves
  PyObject* base;              // the tensor that this one is a view of
  PyObject* hooks;             // dict of gradient hooks, kept by tilegrad.autograd
  std::uint32_t output_nr;     // which output of grad_fn
  std::uint32_t view_version;  // storage version when grad_fn was last right (views only)
  bool requires_grad;
  bool is_inference;
  bool is_untracked_view;  // a view made while recording was off: it never gets a history
};

extern PyTypeObject* tensor_base_type;
// tilegrad.Tensor once Python has registered it; ops create their results with it.
extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* object) { return PyObject_TypeCheck(object, tensor_base_type); }
inline PyTensor* as_py(PyObject* object) { return reinterpret_cast<PyTensor*>(object); }

// A new Python tensor; null with a Python error set if memory ran out.
PyObject* wrap(Tensor&& tensor);
// The same for a view of x: remembers its base, so that in-place writes reach x's gradient history.
py::object wrap_view(PyTensor* x, Tensor&& tensor);

// Shape as tilegrad.Size.
PyObject* size_object(const Dims& dims);

void bind_tensor(py::module_& module);

// A function of any signature for a PyMethodDef, whose flags tell Python how to call it.
template <class Function>
PyCFunction as_method(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// True while operations are recorded for differentiation (per thread).
extern thread_local bool grad_enabled;
extern thread_local bool inference_mode;

// True if nobody else can reach the memory of x and it has no gaps.
bool is_exclusive(const Tensor& x);

// For an in-place operation: throws unless every element of x can be written once, and counts the
// write. Call it before the first write.
void begin_write(const Tensor& x, const char* op);

}  // namespace tilegrad
