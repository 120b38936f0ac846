// Contracts of selecting from rows without sorting them: the best k, and the one at a position.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// The k largest or smallest of each row, best first; of equal ones the first. NaN counts as larger
// than every number.
struct TopK {
  DType dtype;          // of x and y
  const void* x;        // (rows, size)
  void* y;              // (rows, k)
  std::int64_t* index;  // (rows, k): the position in x of each element of y
  std::int64_t rows, size, k;
  bool largest;
};

// The element at `position` of each row in ascending, stable order.
struct SelectAt {
  DType dtype;          // of x and y
  const void* x;        // (rows, size)
  void* y;              // (rows)
  std::int64_t* index;  // (rows)
  std::int64_t rows, size, position;
  bool nan_wins;  // in rows with NaN, take the first NaN instead
};

}  // namespace tilegrad

TILEGRAD_KERNEL(topk, TopK)
TILEGRAD_KERNEL(select_at, SelectAt)
