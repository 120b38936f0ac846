// Contract of the two-operand arithmetic operations: y[i] = x[i] op other[i] over any strides.
#pragma once

#include "../kernel.h"
#include "../strided.h"

// One line per operation: its name, and the dtypes it has kernels for.
//   all      bool and every number        number   every number except bool
//   floating float32 and float64          bits     bool and integers
// clang-format off
#define TILEGRAD_FOR_EACH_BINARY(X)                                                              \
  X(add, all) X(sub, number) X(mul, all) X(div, floating) X(floor_divide, number)                \
  X(trunc_divide, number) X(remainder, number) X(fmod, number) X(pow, number) X(maximum, all)    \
  X(minimum, all) X(add_scaled, number) X(atan2, floating) X(bitwise_and, bits)                  \
  X(bitwise_or, bits) X(bitwise_xor, bits)
// clang-format on

namespace tilegrad {

#define TILEGRAD_ENUMERATOR(name, dtypes) name,
enum class BinaryOp : std::uint8_t { TILEGRAD_FOR_EACH_BINARY(TILEGRAD_ENUMERATOR) };
#undef TILEGRAD_ENUMERATOR

struct Binary {
  BinaryOp op;
  DType dtype;               // of all three operands; on CUDA also halves
  double alpha;              // add_scaled: y = x + alpha * other, on floating dtypes
  std::int64_t whole_alpha;  // the same on integers
  StridedLoop<3> loop;       // operands: y, x, other; y may be x or other itself
  bool wide_other = false;   // of halves: other is float32, a number that must not be rounded
  bool swapped = false;      // with wide_other: y = other op x
};

}  // namespace tilegrad

TILEGRAD_KERNEL(binary, Binary)
