// N-dimensional loops over strided operands: the description that src/ prepares and kernels walk.
#pragma once

#include <cstdint>

#include "dtype.h"
#include "parallel.h"

namespace tilegrad {

inline constexpr int kMaxDims = 16;

// Up to four operands that share one (broadcast) shape. src/loop.h builds it: size-1 dimensions are
// dropped and mergeable neighbours merged, so contiguous operands arrive as a single dimension.
// Dimension 0 is the innermost; strides count bytes and are 0 where an operand is broadcast.
template <int kOperands>
struct StridedLoop {
  int ndim = 0;
  std::int64_t shape[kMaxDims];
  std::int64_t strides[kOperands][kMaxDims];
  char* data[kOperands];

  std::int64_t inner() const { return ndim == 0 ? 1 : shape[0]; }
  std::int64_t outer() const {  // number of inner rows
    std::int64_t rows = 1;
    for (int d = 1; d < ndim; ++d) rows *= shape[d];
    return rows;
  }
  std::int64_t size() const { return inner() * outer(); }
  std::int64_t inner_stride(int operand) const { return ndim == 0 ? 0 : strides[operand][0]; }
};

// Elements per parallel chunk: below this, waking a thread costs more than the work.
inline constexpr std::int64_t kGrain = 32768;

// Calls row(pointers, count) for inner rows that together cover the loop exactly once; a long
// single row is cut into pieces. Pieces and chunks depend on the shape alone. Runs in parallel, so
// rows of the output operand must not overlap; with `grain` INT64_MAX one thread takes all rows, in
// order.
template <int kOperands, class Row>
static inline void walk_rows(const StridedLoop<kOperands>& loop, const Row& row,
                             std::int64_t grain = kGrain) {
  const std::int64_t inner = loop.inner(), outer = loop.outer();
  if (inner == 0 || outer == 0) return;
  if (outer == 1) {
    parallel_for(inner, grain, [&](std::int64_t begin, std::int64_t end) {
      char* pointers[kOperands];
      for (int k = 0; k < kOperands; ++k) pointers[k] = loop.data[k] + begin * loop.inner_stride(k);
      row(pointers, end - begin);
    });
    return;
  }
  const std::int64_t rows_per_chunk = inner >= grain ? 1 : grain / inner;
  parallel_for(outer, rows_per_chunk, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t index[kMaxDims];
    char* pointers[kOperands];
    for (int k = 0; k < kOperands; ++k) pointers[k] = loop.data[k];
    std::int64_t rest = begin;  // position of the first row, dimension by dimension
    for (int d = 1; d < loop.ndim; ++d) {
      index[d] = rest % loop.shape[d];
      rest /= loop.shape[d];
      for (int k = 0; k < kOperands; ++k) pointers[k] += index[d] * loop.strides[k][d];
    }
    for (std::int64_t r = begin; r < end; ++r) {
      row(pointers, inner);
      for (int d = 1; d < loop.ndim; ++d) {  // odometer step
        for (int k = 0; k < kOperands; ++k) pointers[k] += loop.strides[k][d];
        if (++index[d] < loop.shape[d]) break;
        for (int k = 0; k < kOperands; ++k) pointers[k] -= loop.shape[d] * loop.strides[k][d];
        index[d] = 0;
      }
    }
  });
}

}  // namespace tilegrad
