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

// Runs `count` elements of a row: pointers[k] is the first element of operand k.
using RowBody = void (*)(const void* context, char** pointers, std::int64_t count);

// What walk_rows does, for loops of any number of operands.
void walk_strided(const std::int64_t* shape, const std::int64_t (*strides)[kMaxDims],
                  char* const* data, int ndim, int operands, std::int64_t grain, RowBody body,
                  const void* context);

// Everything is inlined into a row's body: only so are its loops vectorized whatever else the file
// holds.
template <class Row>
[[gnu::flatten]] static void row_body(const void* context, char** pointers, std::int64_t count) {
  (*static_cast<const Row*>(context))(pointers, count);
}

// Calls row(pointers, count) for inner rows that together cover the loop exactly once; a long
// single row is cut into pieces. Pieces and chunks depend on the shape alone. Runs in parallel, so
// rows of the output operand must not overlap; with `grain` INT64_MAX one thread takes all rows, in
// order.
template <int kOperands, class Row>
static inline void walk_rows(const StridedLoop<kOperands>& loop, const Row& row,
                             std::int64_t grain = kGrain) {
  walk_strided(loop.shape, loop.strides, loop.data, loop.ndim, kOperands, grain, row_body<Row>,
               &row);
}

}  // namespace tilegrad
