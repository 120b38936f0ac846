// Channels-last tensors: shape (N, C, ...) as ever, but with the channels innermost in memory.
#pragma once

#include <algorithm>

#include "tensor.h"

namespace tilegrad {

// Strides of that shape with the channels innermost.
inline Dims channels_last_strides(const Dims& shape) {
  Dims strides = shape;
  std::int64_t step = 1;
  const auto place = [&](int d) {
    strides[d] = step;
    step *= std::max<std::int64_t>(shape[d], 1);
  };
  place(1);
  for (int d = shape.n - 1; d >= 2; --d) place(d);
  place(0);
  return strides;
}

inline bool has_strides(const Tensor& x, const Dims& strides) {
  for (int d = 0; d < x.ndim(); ++d)
    if (x.shape[d] != 1 && x.strides[d] != strides[d]) return false;
  return true;
}

// Whether x lies so and not in the usual order as well.
inline bool is_channels_last(const Tensor& x) {
  return x.ndim() > 2 && !x.is_contiguous() && has_strides(x, channels_last_strides(x.shape));
}

}  // namespace tilegrad
