// Contract of the extremes along one dimension: the values and where they stand.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// NaN counts as larger (for the minimum: smaller) than every number; of equals the first is taken.
struct ArgReduce {
  bool largest;           // else the smallest
  DType dtype;            // of x and values: int64, float32 or float64
  void* values;           // (outer, inner)
  std::int64_t* indices;  // (outer, inner)
  const void* x;          // (outer, reduced, inner), contiguous; reduced > 0
  std::int64_t outer, reduced, inner;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(arg_reduce, ArgReduce)
