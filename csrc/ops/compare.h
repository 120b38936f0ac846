// Contract of the comparisons: y[i] = x[i] op other[i], y bool, over any strides.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// Greater-than is less-than with exchanged operands. The logical operations take bool operands
// only.
enum class CompareOp : std::uint8_t { eq, ne, lt, le, logical_and, logical_or };

struct Compare {
  CompareOp op;
  DType dtype;          // of x and other
  StridedLoop<3> loop;  // operands: y, x, other; y does not alias an input
};

}  // namespace tilegrad

TILEGRAD_KERNEL(compare, Compare)
