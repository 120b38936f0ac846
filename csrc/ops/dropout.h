// Contract of dropout's mask: kept elements hold `scale`, dropped ones 0.
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../random_state.h"

namespace tilegrad {

struct DropoutMask {
  DType dtype;  // float32 or float64
  void* mask;   // (size), contiguous
  std::int64_t size;
  double keep;   // the probability of keeping an element
  double scale;  // 1 / keep, or 0 if nothing is kept
  RandomState* state;
};

}  // namespace tilegrad

TILEGRAD_CPU_KERNEL(dropout_mask, DropoutMask)
