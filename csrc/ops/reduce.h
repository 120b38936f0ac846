// Contract of the reductions: y = op over some dimensions of x, for every index of the others.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// Which x feed which y. Dimension 0 is the innermost; strides count elements. Dimensions of size 1
// are dropped and mergeable neighbours merged; the reduced ones are sorted by stride, because no
// operation here depends on their order.
struct ReduceShape {
  int kept_ndim = 0, reduced_ndim = 0;
  std::int64_t kept_shape[kMaxDims], kept_strides[kMaxDims];
  std::int64_t reduced_shape[kMaxDims], reduced_strides[kMaxDims];

  std::int64_t kept() const { return product(kept_shape, kept_ndim); }
  std::int64_t reduced() const { return product(reduced_shape, reduced_ndim); }
  static std::int64_t product(const std::int64_t* sizes, int count) {
    std::int64_t result = 1;
    for (int d = 0; d < count; ++d) result *= sizes[d];
    return result;
  }
};

//              dtypes of x                         y
//   sum        bool, int64, float32, float64       int64 for bool, else as x
//   prod       int64, float32, float64             as x
//   amax, amin bool, int64, float32, float64       as x; NaN wins
//   sum_abs, sum_squares, sum_squared_deviations   float32, float64: as x
// CUDA takes halves too: folded in float32, with `center` in float32, and y rounded once or, with
// `wide`, float32.
enum class ReduceOp : std::uint8_t {
  sum,
  prod,
  amax,
  amin,
  sum_abs,
  sum_squares,
  sum_squared_deviations,
};

struct Reduce {
  ReduceOp op;
  DType dtype;  // of x
  void* y;      // contiguous, one element per kept index
  const void* x;
  const void* center;  // like y: what sum_squared_deviations subtracts from x; null for the others
  double divisor;      // floating results are divided by it
  ReduceShape shape;
  bool wide = false;  // y of halves is float32; for sum and sum_squares
};

}  // namespace tilegrad

TILEGRAD_KERNEL(reduce, Reduce)
