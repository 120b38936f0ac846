// Contract of the one-operand elementwise operations: y[i] = op(x[i]) over any strides.
#pragma once

#include "../kernel.h"
#include "../strided.h"

// One line per operation: its name, and the dtypes it has kernels for.
//   floating  float32 and float64; other arguments are converted to the default floating dtype
//   rounding  float32 and float64; integers are already whole
//   fraction  float32 and float64 only
//   number    every number except bool
//   bits      bool and integers
// clang-format off
#define TILEGRAD_FOR_EACH_UNARY(X) \
  X(neg, number) X(abs, number) X(sign, number) X(square, number) X(bitwise_not, bits) \
  X(floor, rounding) X(ceil, rounding) X(round, rounding) X(trunc, rounding) \
  X(frac, fraction) X(exp, floating) X(exp2, floating) X(expm1, floating) X(log, floating) \
  X(log2, floating) X(log10, floating) X(log1p, floating) X(sqrt, floating) \
  X(rsqrt, floating) X(reciprocal, floating) X(sin, floating) X(cos, floating) \
  X(tan, floating) X(asin, floating) X(acos, floating) X(atan, floating) X(sinh, floating) \
  X(cosh, floating) X(asinh, floating) X(acosh, floating) X(atanh, floating) \
  X(erf, floating) X(erfc, floating)
// clang-format on

namespace tilegrad {

#define TILEGRAD_ENUMERATOR(name, dtypes) name,
enum class UnaryOp : std::uint8_t { TILEGRAD_FOR_EACH_UNARY(TILEGRAD_ENUMERATOR) };
#undef TILEGRAD_ENUMERATOR

struct Unary {
  UnaryOp op;
  DType dtype;          // of both operands
  StridedLoop<2> loop;  // operands: y, x; y may be x itself
};

}  // namespace tilegrad

TILEGRAD_KERNEL(unary, Unary)
