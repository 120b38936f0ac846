// Contracts of complex arithmetic: products, quotients and absolute values. Complex numbers are
// pairs of parts side by side, the real one first; what is linear is done by the kernels for real
// ones.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// y[i] = x[i] * other[i], or the quotient.
struct ComplexProduct {
  DType part;  // float32 or float64
  bool divides;
  StridedLoop<3> loop;  // operands: y, x, other; y may be x or other itself
};

struct ComplexAbs {
  DType part;
  StridedLoop<2> loop;  // operands: y (of the parts' dtype), x
};

}  // namespace tilegrad

TILEGRAD_KERNEL(complex_product, ComplexProduct)
TILEGRAD_KERNEL(complex_abs, ComplexAbs)
