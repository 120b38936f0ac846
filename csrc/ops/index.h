// Contracts of indexing by tensors: byte offsets from indices, reads through them, and nonzero.
#pragma once

#include <atomic>

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// offsets[i] = sum over k of index[k][i] * strides[k]. An index outside [-sizes[k], sizes[k]), or
// outside [0, sizes[k]) without `wrap`, raises `out_of_range`; the offsets then must not be used.
// In a captured CUDA graph it puts 0 in the place of that offset, and `out_of_range` says nothing.
struct IndexOffsets {
  std::int64_t* offsets;  // (size), or null: only check
  std::int64_t size;
  int count;                            // of indexed dimensions
  const std::int64_t* index[kMaxDims];  // each (size), contiguous
  std::int64_t sizes[kMaxDims];         // of the indexed dimensions
  std::int64_t strides[kMaxDims];       // bytes
  bool wrap;                            // negative indices count from the end
  std::atomic<bool>* out_of_range;
};

// y[i] = element of x at its loop position plus offsets[i] * scale bytes. With `out_of_range`, the
// offsets are checked: one outside [0, size) raises it, and y is then not worth reading.
struct IndexGet {
  std::int64_t element_size;  // 1, 2, 4 or 8 bytes
  std::int64_t scale = 1;
  std::int64_t size = 0;
  std::atomic<bool>* out_of_range = nullptr;
  StridedLoop<3> loop;  // operands: y, x (stride 0 along indexed dimensions), offsets
};

struct CountNonzero {
  const bool* x;  // (size), contiguous
  std::int64_t size;
  std::int64_t* count;
};

// The coordinates of the true elements of x in row-major order, one contiguous list per dimension.
struct Nonzero {
  const bool* x;  // (shape), contiguous
  int ndim;
  std::int64_t shape[kMaxDims];
  std::int64_t count;         // of true elements
  std::int64_t* coordinates;  // (ndim, count)
};

}  // namespace tilegrad

TILEGRAD_KERNEL(index_offsets, IndexOffsets)
TILEGRAD_KERNEL(index_get, IndexGet)
TILEGRAD_KERNEL(count_nonzero_elements, CountNonzero)
TILEGRAD_KERNEL(nonzero, Nonzero)
