// In which order the elements of a new tensor lie: that of the tensors it is made from.
//
// Elementwise results take over the order of their operands, copies and empty_like that of the
// original, by PyTorch's rules. Row-major operands, the common case, cost one look at their
// strides.
#pragma once

#include <initializer_list>

#include "tensor.h"

namespace tilegrad {

// True if the elements fill one piece of memory, each once, in whatever order.
bool is_dense(const Tensor& x);

// True if all have one shape and one set of strides, and are dense: then they lie side by side.
bool share_dense_order(std::initializer_list<const Tensor*> tensors);

// The strides of a result of that shape, to which the operands can be broadcast.
Dims strides_in_order(const Dims& shape, std::initializer_list<const Tensor*> operands);

// Gives y, fresh and row-major, the order of its operands.
inline void take_order(Tensor& y, std::initializer_list<const Tensor*> operands) {
  for (const Tensor* x : operands)
    if (!x->is_contiguous()) {
      y.strides = strides_in_order(y.shape, operands);
      return;
    }
}

// True if x lies as a tensor would that was made in the order of `like`, which has its shape.
bool lies_in_order(const Tensor& x, const Tensor& like);

}  // namespace tilegrad
