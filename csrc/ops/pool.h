// Contract of pooling over one to three dimensions: maxima and averages over windows, and their
// gradients.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

// The windows along one direction. A plain window starts every `stride` elements, `pad` before the
// first one; adaptive windows share `in` elements out evenly, overlapping where it does not divide.
// (Inlined always: a function that one instruction set leaves behind might be called by another.)
struct PoolAxis {
  std::int64_t in = 1, out = 1;
  std::int64_t kernel = 1, stride = 1, pad = 0, dilation = 1;
  bool adaptive = false;

  // The first element of window o; may lie in the padding, below 0.
  [[gnu::always_inline]] std::int64_t start(std::int64_t o) const {
    return adaptive ? o / out * in + o % out * in / out : o * stride - pad;
  }
  // One after its last element; may lie in the padding.
  [[gnu::always_inline]] std::int64_t end(std::int64_t o) const {
    if (!adaptive) return start(o) + span();
    const std::int64_t next = o + 1;  // rounded up
    return next / out * in + (next % out * in + out - 1) / out;
  }
  // The first tap inside the input: its number, its place.
  [[gnu::always_inline]] std::int64_t first_tap(std::int64_t o) const {
    const std::int64_t at = start(o);
    return at >= 0 ? 0 : (-at + dilation - 1) / dilation;
  }
  [[gnu::always_inline]] std::int64_t first(std::int64_t o) const {
    return start(o) + first_tap(o) * dilation;
  }
  [[gnu::always_inline]] std::int64_t last(std::int64_t o) const { return std::min(end(o), in); }
  [[gnu::always_inline]] std::int64_t span() const { return (kernel - 1) * dilation + 1; }
  [[gnu::always_inline]] bool trivial() const {
    return in == out && kernel == 1 && stride == 1 && pad == 0 && !adaptive;
  }
  // Neighbouring pairs, all inside the input.
  [[gnu::always_inline]] bool halves() const {
    return kernel == 2 && stride == 2 && pad == 0 && dilation == 1 && 2 * out <= in && !adaptive;
  }
  [[gnu::always_inline]] bool whole() const {
    return out == 1 && first(0) == 0 && last(0) == in && dilation == 1;
  }
};

// One struct serves all kernels; each uses the arrays named beside it. All are contiguous.
struct Pool {
  DType dtype;          // float32 or float64; on CUDA also halves
  std::int64_t planes;  // batch * channels; where `channels` is not 0, the batch alone
  // Not 0: channels-last arrays, in which every element below is a row of so many. Windows are not
  // adaptive for maxima, which are told in taps.
  std::int64_t channels = 0;
  PoolAxis depth, height, width;  // directions that there are not have one element
  void* x = nullptr;              // (planes, depth.in, height.in, width.in)
  void* y = nullptr;              // (planes, depth.out, height.out, width.out)
  // Like y, where in its window each maximum lies: the number of the tap, which is below 256.
  std::uint8_t* taps = nullptr;
  std::int64_t* indices = nullptr;  // like y: where in its plane of x each maximum lies
  // Averages only: what a window's sum is divided by.
  bool count_include_pad = true;
  std::int64_t divisor = 0;  // 0: the size of the window

  [[gnu::always_inline]] std::int64_t in_size() const { return depth.in * height.in * width.in; }
  [[gnu::always_inline]] std::int64_t out_size() const {
    return depth.out * height.out * width.out;
  }
  [[gnu::always_inline]] std::int64_t window_size() const {
    return depth.kernel * height.kernel * width.kernel;
  }
};

}  // namespace tilegrad

// y from x, and where the maxima lie: in indices for any windows, else in taps, unless null, for
// windows that are not adaptive.
TILEGRAD_KERNEL(max_pool, Pool)
// x from y and taps or indices: y at each maximum, 0 elsewhere.
TILEGRAD_KERNEL(max_pool_grad, Pool)
TILEGRAD_KERNEL(max_pool_indices, Pool)  // indices from taps
TILEGRAD_KERNEL(avg_pool, Pool)          // y from x
TILEGRAD_KERNEL(avg_pool_grad, Pool)     // x from y: each window's share added up
