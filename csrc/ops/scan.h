// Contract of the cumulative product, extremes and log-sum-exp along one dimension.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

enum class ScanOp : std::uint8_t { prod, max, min, log_sum_exp };

struct Scan {
  ScanOp op;
  DType dtype;          // of x and y: int64, float32 or float64; floating for log_sum_exp
  bool reverse;         // from the last element to the first
  void* y;              // (outer, length, inner), contiguous
  std::int64_t* index;  // like y: where the extremes stand along the dimension; else null
  const void* x;        // like y
  std::int64_t outer, length, inner;
};

// The gradient of the cumulative product, without a division, so that zeros need no care:
//   grad_x[k] = (x[0] * ... * x[k-1]) * r[k],   r[k] = grad[k] + x[k+1] * r[k+1]
struct CumprodBackward {
  DType dtype;       // float32 or float64
  void* grad_x;      // (outer, length, inner), contiguous, as the others
  const void* grad;  // of y
  const void* x;
  std::int64_t outer, length, inner;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(scan, Scan)
TILEGRAD_KERNEL(cumprod_backward, CumprodBackward)
