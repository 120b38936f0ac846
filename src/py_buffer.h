// Python's buffer protocol, as slots of the tensor type.
#pragma once

#include "py_tensor.h"

namespace tilegrad {

int get_buffer(PyObject* self, Py_buffer* view, int flags);
void release_buffer(PyObject* self, Py_buffer* view);

}  // namespace tilegrad
