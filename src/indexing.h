// What reads (src/ops/index.cpp) and writes (src/ops/scatter.cpp) through index tensors share.
#pragma once

#include "bind.h"

namespace tilegrad {

// The elements that an index names, as two tensors of the result's shape: `x` has stride 0 along
// the dimensions that come from indices, and `offsets` times `scale` are the byte offsets to add.
struct IndexedView {
  Tensor x;
  Tensor offsets;  // int64
  std::int64_t scale = 1;
};

// One index tensor for one dimension of x.
struct DimIndex {
  const Tensor* index;  // int64
  int dim;
};

struct IndexRules {
  const char* op;
  bool wrap;        // negative indices count from the end
  ErrorKind error;  // of an index out of range
};

// Byte offsets of the elements that the indices (all of one shape) name, every one checked.
Tensor checked_offsets(const Tensor& x, const DimIndex* indices, int count, const Dims& shape,
                       const IndexRules& rules);

// Whether all values of a contiguous int64 tensor lie in [0, size). While a CUDA graph is captured
// nobody knows: then `index` becomes a copy in which a replay puts 0 for those that do not.
// With `wrap`, in [-size, size), and `index` stays.
bool indices_within(Tensor& index, std::int64_t size, bool wrap = false);

// x[indices]: one tensor or None per dimension, masks allowed. The dimensions of the indices
// replace the indexed ones where those are adjacent, and come first otherwise.
IndexedView indexed_view(const char* op, const Tensor& x, const py::sequence& indices);

// x with dimension `dim` replaced by `index` (0- or 1-dimensional).
IndexedView indexed_along(const Tensor& x, int dim, const Tensor& index, const IndexRules& rules);

// The elements x[i][index[i][j]][...] of gather and scatter: `index` names positions along `dim`,
// which are not checked yet: the index itself serves as offsets.
IndexedView gathered_view(const Tensor& x, int dim, const Tensor& index);
// Complains of an index out of range, if there is one.
// While a CUDA graph is captured, the view gets the index of indices_within.
void check_gathered(const char* op, const Tensor& x, int dim, IndexedView& view);
[[noreturn]] void complain_of_gathered(const char* op, const Tensor& x, int dim,
                                       const IndexedView& view);

// RuntimeError unless the index is int32 or int64, and where x is.
void check_index(const char* op, const Tensor& x, const Tensor& index);

// The view for a key of integers, slices, None and Ellipsis; false if the key holds anything else.
bool basic_view(const Tensor& x, PyObject* key, Tensor& y);

}  // namespace tilegrad
