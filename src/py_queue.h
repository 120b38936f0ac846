// The gradients that a backward pass has yet to deliver: _C.GradientQueue.
#pragma once

#include "py_node.h"

namespace tilegrad {

void bind_queue(py::module_& module);

}  // namespace tilegrad
