// Contracts of unscale: what a gradient scaler does to gradients and to its factor.
#pragma once

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

struct UnscaleEntry {
  DType dtype;  // float32 or float64
  std::int64_t size;
  void* x;  // contiguous
};

// x *= *inverse_scale for every entry; *found_inf becomes 1 if an element was not finite before,
// and stays as it is otherwise.
struct Unscale {
  const UnscaleEntry* entries;
  std::int64_t count;
  const float* inverse_scale;
  float* found_inf;
};

// After *found_inf != 0 the scale is multiplied by `backoff`, and after `interval` calls in a row
// without by `growth`, if the product is finite. *tracker counts these calls.
struct UpdateScale {
  float* scale;
  std::int32_t* tracker;
  const float* found_inf;
  double growth, backoff;
  std::int32_t interval;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(unscale, Unscale)
TILEGRAD_KERNEL(update_scale, UpdateScale)
