// Contract of resampling along one dimension: every element of y is a weighted sum of a few
// elements of x, whose places and weights depend on its own place alone. That is interpolation, and
// with the transposed table its gradient.
#pragma once

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

// y[o, j, i] = sum over k from begin[j] to begin[j + 1] of weight[k] * x[o, index[k], i], in this
// order: a product with a sparse matrix in compressed rows.
struct Resample {
  DType dtype;    // float32 or float64, of x, y and weight
  void* y;        // (outer, size, inner)
  const void* x;  // (outer, length, inner)
  std::int64_t outer, length, size, inner;
  const std::int64_t* begin;  // (size + 1)
  const std::int64_t* index;  // (begin[size]), each below length
  const void* weight;         // (begin[size])
};

}  // namespace tilegrad

TILEGRAD_KERNEL(resample, Resample)
