// Builds the StridedLoop that elementwise kernels walk: broadcast, ordered and merged dimensions.
#pragma once

#include <array>

#include "tensor.h"

namespace tilegrad {

// One operand of a loop: its first element and its strides in bytes over `shape`.
// `operands` have the loop's shape already, or can be broadcast to it.
template <int kOperands>
StridedLoop<kOperands> make_loop(const Dims& shape,
                                 const std::array<const Tensor*, kOperands>& operands) {
  StridedLoop<kOperands> loop;
  bool contiguous = true;
  for (int k = 0; k < kOperands; ++k) {
    loop.data[k] = operands[k]->bytes();
    contiguous = contiguous && operands[k]->shape == shape && operands[k]->is_contiguous();
  }
  if (contiguous) {  // the common case
    loop.ndim = 1;
    loop.shape[0] = operands[0]->numel();
    for (int k = 0; k < kOperands; ++k)
      loop.strides[k][0] = static_cast<std::int64_t>(size_of(operands[k]->dtype));
    return loop;
  }
  for (int d = shape.n - 1; d >= 0; --d) {  // innermost first
    if (shape[d] == 1) continue;
    const int n = loop.ndim;
    bool merges = n > 0;
    for (int k = 0; k < kOperands; ++k) {
      const Tensor& x = *operands[k];
      const int own = d - (shape.n - x.ndim());
      const bool broadcast = own < 0 || x.shape[own] == 1;
      const auto size = static_cast<std::int64_t>(size_of(x.dtype));
      loop.strides[k][n] = broadcast ? 0 : x.strides[own] * size;
      merges = merges && loop.strides[k][n] == loop.strides[k][n - 1] * loop.shape[n - 1];
    }
    if (merges) {
      loop.shape[n - 1] *= shape[d];
    } else {
      loop.shape[n] = shape[d];
      ++loop.ndim;
    }
  }
  return loop;
}

}  // namespace tilegrad
