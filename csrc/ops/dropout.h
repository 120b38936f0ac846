// Contract of dropout: y[i] = x[i] * scale where the i-th random number is below `threshold`, else
// x[i] * 0. The same key gives the same choice, so the gradient needs no mask in memory.
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../random_key.h"

namespace tilegrad {

struct Dropout {
  DType dtype;    // float32 or float64; on CUDA also halves
  void* y;        // (size), contiguous; may be x itself
  const void* x;  // (size), contiguous
  std::int64_t size;
  std::uint32_t threshold;  // the probability of keeping an element, in units of 2^-32
  double scale;
  RandomKey key;  // of the stream of random numbers
};

}  // namespace tilegrad

TILEGRAD_KERNEL(dropout, Dropout)
