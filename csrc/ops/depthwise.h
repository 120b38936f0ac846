// Contract of the kernels for convolutions in which every channel has filters of its own.
//
// They compute the same as conv2d's, for arguments with one input channel per group.
#pragma once

#include "conv2d.h"

namespace tilegrad {

inline constexpr std::int64_t kDepthwiseTaps = 256;  // of all filters of one channel

// Whether the depthwise kernels take these arguments; conv2d's take all others. Paddings wider than
// the filter, long strides and very large windows stay with the general kernels.
inline bool is_depthwise(const Conv2d& c) {
  constexpr std::int64_t longest_stride = 4, longest_span = 64, largest_window = 1 << 18;
  if (c.in_channels != 1 || c.groups == 1 || c.out_channels > 8) return false;
  if (c.stride_y > longest_stride || c.stride_x > longest_stride) return false;
  if (c.taps() * c.out_channels > kDepthwiseTaps) return false;
  const std::int64_t span_y = (c.kernel_height - 1) * c.dilation_y;
  const std::int64_t span_x = (c.kernel_width - 1) * c.dilation_x;
  if (span_y > longest_span || span_x > longest_span || c.pad_y > span_y || c.pad_x > span_x)
    return false;
  return c.in_width < largest_window / ((span_y + 8) * c.out_channels);
}

}  // namespace tilegrad

TILEGRAD_KERNEL(depthwise, Conv2d)              // y from x and weight
TILEGRAD_KERNEL(depthwise_grad_input, Conv2d)   // x from y and weight
TILEGRAD_KERNEL(depthwise_grad_weight, Conv2d)  // weight from x and y
