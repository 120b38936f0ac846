// Operations on float16 and bfloat16 tensors.
//
// On the CPU no kernel but matmul's and those that only move elements knows the halves. A function
// of the module that is called with one computes in float32: its half arguments are converted, its
// float32 results are rounded to the half dtype, arguments that it wrote to are written back. So
// each result is rounded once, as PyTorch does on the CPU.
#pragma once

#include "bind.h"

namespace tilegrad {

// What becomes of the float32 results of a call with halves.
enum class HalfRule {
  promote,       // rounded to the promoted dtype of all arguments; where no other rule is given
  compare,       // the same, and numbers beside a half are rounded to it first
  follow_input,  // rounded to the dtype of the first argument, whatever that of weights is
  first_result,  // as follow_input the first result, the others, statistics for backward, not at
                 // all
  keep,          // stay float32: autocast on CUDA devices, see src/gate.cpp
};

// What statistics and sums of elements of this dtype are kept in: float32 of halves, which a
// function gets as they are where it has kernels for them (src/gate.h).
inline DType wide_dtype(DType dtype) { return is_half(dtype) ? DType::float32 : dtype; }

// The input that a backward function was given, in the gradient's dtype where that is float32 and
// the input a half: autocast keeps results of some functions in float32.
inline Tensor input_of_gradient(const Tensor& grad, const Tensor& x) {
  return is_half(x.dtype) && grad.dtype == DType::float32 ? to_dtype(x, DType::float32) : x;
}

// A function as Python calls it.
using Entry = PyObject* (*)(PyObject* self, PyObject* const* args, Py_ssize_t count,
                            PyObject* names);

// Calls `entry` with float32 in place of halves. `total` arguments, the first `count` of them by
// position; null with a Python error set if the call fails.
PyObject* call_in_float32(Entry entry, PyObject* self, PyObject* const* args, Py_ssize_t total,
                          Py_ssize_t count, PyObject* names, HalfRule rule);

}  // namespace tilegrad
