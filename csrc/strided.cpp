// The walk through strided operands: shared by all instruction sets, since only the rows are hot.
#include "strided.h"

namespace tilegrad {

namespace {

constexpr int kMaxOperands = 4;

struct Walk {
  const std::int64_t* shape;
  const std::int64_t (*strides)[kMaxDims];
  char* const* data;
  int ndim, operands;
  RowBody body;
  const void* context;
};

// A piece of the only row.
void walk_piece(const Walk& walk, std::int64_t begin, std::int64_t end) {
  char* pointers[kMaxOperands];
  for (int k = 0; k < walk.operands; ++k)
    pointers[k] = walk.data[k] + (walk.ndim == 0 ? 0 : begin * walk.strides[k][0]);
  walk.body(walk.context, pointers, end - begin);
}

// The rows [begin, end), counted over dimensions 1, 2, ..., the first of them fastest.
void walk_chunk(const Walk& walk, std::int64_t begin, std::int64_t end) {
  std::int64_t index[kMaxDims];
  char* pointers[kMaxOperands];
  for (int k = 0; k < walk.operands; ++k) pointers[k] = walk.data[k];
  std::int64_t rest = begin;  // position of the first row, dimension by dimension
  for (int d = 1; d < walk.ndim; ++d) {
    index[d] = rest % walk.shape[d];
    rest /= walk.shape[d];
    for (int k = 0; k < walk.operands; ++k) pointers[k] += index[d] * walk.strides[k][d];
  }
  for (std::int64_t r = begin; r < end; ++r) {
    char* row[kMaxOperands];  // a body may move its pointers
    for (int k = 0; k < walk.operands; ++k) row[k] = pointers[k];
    walk.body(walk.context, row, walk.shape[0]);
    for (int d = 1; d < walk.ndim; ++d) {  // odometer step
      for (int k = 0; k < walk.operands; ++k) pointers[k] += walk.strides[k][d];
      if (++index[d] < walk.shape[d]) break;
      for (int k = 0; k < walk.operands; ++k) pointers[k] -= walk.shape[d] * walk.strides[k][d];
      index[d] = 0;
    }
  }
}

}  // namespace

void walk_strided(const std::int64_t* shape, const std::int64_t (*strides)[kMaxDims],
                  char* const* data, int ndim, int operands, std::int64_t grain, RowBody body,
                  const void* context) {
  const Walk walk = {shape, strides, data, ndim, operands, body, context};
  const std::int64_t inner = ndim == 0 ? 1 : shape[0];
  std::int64_t outer = 1;
  for (int d = 1; d < ndim; ++d) outer *= shape[d];
  if (inner == 0 || outer == 0) return;
  if (outer == 1)
    return parallel_for(
        inner, grain, [&](std::int64_t begin, std::int64_t end) { walk_piece(walk, begin, end); });
  parallel_for(outer, inner >= grain ? 1 : grain / inner,
               [&](std::int64_t begin, std::int64_t end) { walk_chunk(walk, begin, end); });
}

}  // namespace tilegrad
