// Contract of writes through index offsets, with or without a reduction.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

enum class ScatterMode : std::uint8_t { assign, add, multiply, maximum, minimum };

// x[position i + offsets[i] * scale bytes] = mode(that element, source[i]), in row-major order:
// where indices repeat, the last one wins and sums have one order.
struct Scatter {
  ScatterMode mode;
  DType dtype;  // of x and source
  std::int64_t scale = 1;
  std::int64_t span = 0;  // all elements of x end before so many bytes of it; 0: unknown
  StridedLoop<3> loop;    // operands: x (stride 0 along indexed dimensions), source, offsets
};

}  // namespace tilegrad

TILEGRAD_KERNEL(scatter, Scatter)
