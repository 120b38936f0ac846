// Contracts of fill and arange.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

struct Fill {
  std::int64_t element_size;  // 1, 2, 4 or 8 bytes
  char value[8];              // one element
  StridedLoop<1> loop;        // operand: y
};

// y[i] = start + i * step, contiguous. Integers use the whole_ pair, floats the other.
struct Arange {
  DType dtype;
  void* y;
  std::int64_t size;
  std::int64_t whole_start, whole_step;
  double start, step;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(fill, Fill)
TILEGRAD_KERNEL(arange, Arange)
