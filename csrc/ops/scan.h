// Contract of running combinations along one dimension, other than sums.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

enum class ScanOp : std::uint8_t {
  product,
  maximum,      // with the position of each; NaN stays
  minimum,      // likewise
  log_sum_exp,  // floating only
  recurrence,   // y[i] = x[i] + factor[i] * y[i - 1], floating only
};

struct Scan {
  ScanOp op;
  DType dtype;          // of x, factor and y
  bool reverse;         // from the last element to the first
  void* y;              // (outer, length, inner), contiguous
  std::int64_t* place;  // like y, for maximum and minimum
  const void* x;        // like y
  const void* factor;   // like y, for recurrence
  std::int64_t outer, length, inner;
};

}  // namespace tilegrad

TILEGRAD_CPU_KERNEL(scan, Scan)
