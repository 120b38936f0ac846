// Builds the StridedLoop that elementwise kernels walk: broadcast, ordered and merged dimensions.
#pragma once

#include <array>
#include <utility>

#include "tensor.h"

namespace tilegrad {

// The dimensions are walked from the narrowest step of the first operand, usually the result, to
// the widest, so that what lies side by side is walked side by side; in the order of the shape
// where it has a step of 0, since there the order of writes matters.
inline void order_dims(const Tensor& first, int* order) {
  const int n = first.ndim();
  bool repeats = false;
  for (int i = 0; i < n; ++i) {
    order[i] = n - 1 - i;  // innermost first
    repeats = repeats || (first.strides[i] == 0 && first.shape[i] != 1);
  }
  for (int i = 1; i < n && !repeats; ++i)  // sorted already as a rule
    for (int at = i; at > 0 && first.strides[order[at]] < first.strides[order[at - 1]]; --at)
      std::swap(order[at], order[at - 1]);
}

// The loop over `shape`. The first of the operands has that shape; the others have it too or can be
// broadcast to it.
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
  int order[kMaxDims];
  order_dims(*operands[0], order);
  for (int i = 0; i < shape.n; ++i) {
    const int d = order[i];
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
