// Contract of the cumulative sum along one dimension.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

struct Cumsum {
  DType dtype;    // of x and y: int64, float32 or float64
  bool reverse;   // from the last element to the first: the gradient's direction
  void* y;        // (outer, length, inner), contiguous
  const void* x;  // like y
  std::int64_t outer, length, inner;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(cumsum, Cumsum)
