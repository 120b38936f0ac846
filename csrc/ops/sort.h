// Contracts of sorting rows, finding places in sorted rows, and grouping equal neighbours.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// Each row of x, sorted stably; NaN counts as larger than every number.
struct Sort {
  DType dtype;          // of x and y
  const void* x;        // (rows, size)
  void* y;              // (rows, size)
  std::int64_t* index;  // (rows, size): the position in x of each element of y
  std::int64_t rows, size;
  bool descending;
};

// place[i] = number of boundaries in the row below value[i] (with `right`: below or equal).
struct SearchSorted {
  DType dtype;             // of boundaries and value
  const void* boundaries;  // (rows, size), or (size) for all rows if `shared`
  const void* value;       // (rows, count)
  std::int64_t* place;     // (rows, count)
  std::int64_t rows, size, count;
  bool shared, right;
};

// Groups equal neighbours of the sorted x. group[index[i]] is the number of the group of element i.
struct Unique {
  DType dtype;                // of x and y
  const void* x;              // (size)
  const std::int64_t* index;  // (size): from Sort
  std::int64_t size;
  void* y;               // (size), of which the first `*groups` are written: one per group
  std::int64_t* group;   // (size)
  std::int64_t* counts;  // (size), as y: elements per group
  std::int64_t* groups;  // number of groups
};

}  // namespace tilegrad

TILEGRAD_KERNEL(sort, Sort)
TILEGRAD_KERNEL(search_sorted, SearchSorted)
TILEGRAD_KERNEL(unique, Unique)
