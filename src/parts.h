// Complex tensors as real ones: views of their parts, through which all that is linear is done.
#pragma once

#include "tensor.h"

namespace tilegrad {

// x (...) as real numbers (..., 2): the real part of each element, then the imaginary one.
Tensor as_real(const Tensor& x);
// The inverse. Throws for a shape or strides in which the parts are no pairs; `op` complains.
Tensor as_complex(const Tensor& x, const char* op);
// One of the parts (0: real, 1: imaginary), of the shape of x.
Tensor part_of_complex(const Tensor& x, int which);
// x (...) as (..., 2), each element shown twice: what goes with as_real of its neighbours.
Tensor shown_twice(const Tensor& x);

}  // namespace tilegrad
