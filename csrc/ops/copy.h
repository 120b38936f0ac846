// Contract of copy: y[i] = (type of y) x[i] over any strides.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

struct Copy {
  DType to, from;
  StridedLoop<2> loop;  // operands: y, x
};

}  // namespace tilegrad

TILEGRAD_KERNEL(copy, Copy)
