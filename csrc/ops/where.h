// Contract of where: y[i] = condition[i] ? x[i] : other[i] over any strides.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

struct Where {
  std::int64_t element_size;  // of y, x and other: 1, 2, 4 or 8 bytes; the dtype does not matter
  StridedLoop<4> loop;        // operands: y, condition (bool), x, other; y may be x or other itself
};

}  // namespace tilegrad

TILEGRAD_KERNEL(where, Where)
