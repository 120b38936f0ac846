// Contract of special functions: y[i] = op(x[i]), rare enough for plain loops in double precision.
#pragma once

#include "../kernel.h"
#include "../strided.h"

// clang-format off
#define TILEGRAD_FOR_EACH_SPECIAL(X) \
  X(lgamma) X(digamma) X(erfinv) X(i0) X(i0e) X(i1) X(i1e) X(ndtri) X(erfcx) X(log_ndtr)
// clang-format on

namespace tilegrad {

#define TILEGRAD_ENUMERATOR(name) name,
enum class SpecialOp : std::uint8_t { TILEGRAD_FOR_EACH_SPECIAL(TILEGRAD_ENUMERATOR) zeta };
#undef TILEGRAD_ENUMERATOR

struct Special {
  SpecialOp op;
  DType dtype;        // float32 or float64
  void* y;            // (size)
  const void* x;      // (size)
  const void* other;  // (size), the second argument of zeta
  std::int64_t size;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(special, Special)
