// Contract of two-dimensional pooling: maxima and averages over windows, and their gradients.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

// The windows along one direction. A plain window starts every `stride` elements, `pad` before the
// first one; adaptive windows share `in` elements out evenly, overlapping where it does not divide.
struct PoolAxis {
  std::int64_t in, out;
  std::int64_t kernel = 1, stride = 1, pad = 0, dilation = 1;
  bool adaptive = false;

  std::int64_t start(std::int64_t o) const {  // may lie in the padding, below 0
    return adaptive ? o / out * in + o % out * in / out : o * stride - pad;
  }
  std::int64_t end(std::int64_t o) const {  // one after the last element; may lie in the padding
    if (!adaptive) return start(o) + (kernel - 1) * dilation + 1;
    const std::int64_t next = o + 1;  // rounded up
    return next / out * in + (next % out * in + out - 1) / out;
  }
  // The first tap inside the input.
  std::int64_t first(std::int64_t o) const {
    const std::int64_t at = start(o);
    return at >= 0 ? at : at + (-at + dilation - 1) / dilation * dilation;
  }
  std::int64_t last(std::int64_t o) const { return std::min(end(o), in); }
};

// One struct serves all kernels; each uses the arrays named beside it. All are contiguous.
struct Pool2d {
  DType dtype;          // float32 or float64
  std::int64_t planes;  // batch * channels
  PoolAxis vertical, horizontal;
  void* x = nullptr;                // (planes, vertical.in, horizontal.in)
  void* y = nullptr;                // (planes, vertical.out, horizontal.out)
  std::int64_t* indices = nullptr;  // like y: where in its plane of x each maximum lies
  // Averages only: what a window's sum is divided by.
  bool count_include_pad = true;
  std::int64_t divisor = 0;  // 0: the size of the window

  std::int64_t in_size() const { return vertical.in * horizontal.in; }
  std::int64_t out_size() const { return vertical.out * horizontal.out; }
};

}  // namespace tilegrad

TILEGRAD_CPU_KERNEL(max_pool2d, Pool2d)       // y and indices from x
TILEGRAD_CPU_KERNEL(pool2d_scatter, Pool2d)   // x from y: x[indices] += y, 0 elsewhere
TILEGRAD_CPU_KERNEL(pool2d_gather, Pool2d)    // y from x: y = x[indices]
TILEGRAD_CPU_KERNEL(avg_pool2d, Pool2d)       // y from x
TILEGRAD_CPU_KERNEL(avg_pool2d_grad, Pool2d)  // x from y: each window's share added up
