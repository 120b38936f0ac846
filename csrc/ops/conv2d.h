// Contract of conv2d: the convolution of images with a bank of filters, and its two gradients.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../dtype.h"
#include "../kernel.h"

namespace tilegrad {

// One struct serves three kernels: each reads two of x, weight and y and writes the third. All
// arrays are contiguous. Sizes are at least 1.
struct Conv2d {
  // float32 or float64; conv2d's kernels on CUDA, not depthwise's, also take bfloat16 and float16,
  // summed in float32 and rounded once. Then x, weight, y and residual are halves, and all arrays
  // with one element per channel are float32.
  DType dtype;
  std::int64_t batch, groups;
  std::int64_t in_channels, out_channels;  // of one group
  std::int64_t in_height, in_width;
  std::int64_t kernel_height, kernel_width;
  std::int64_t out_height, out_width;
  std::int64_t stride_y, stride_x;
  std::int64_t pad_y, pad_x;  // zero rows above, zero columns to the left
  std::int64_t dilation_y, dilation_x;
  bool winograd = false;  // whether float32 may use the transforms of winograd.h
  // CUDA, float32: operands may be rounded to 11 bits for tensor cores
  bool allow_tf32 = false;
  void* x = nullptr;           // (batch, groups * in_channels, in_height, in_width)
  void* weight = nullptr;      // (groups * out_channels, in_channels, kernel_height, kernel_width)
  void* y = nullptr;           // (batch, groups * out_channels, out_height, out_width)
  const void* bias = nullptr;  // conv2d only: (groups * out_channels) or null

  // conv2d only, for inference: y = relu(batch_norm(convolution + bias) + residual), each part of
  // which may be missing. The normalization's arrays have one element per output channel: all null
  // without mean; its weight and bias may be null. The residual is laid out as y, and is not y.
  const void *mean = nullptr, *rstd = nullptr, *norm_weight = nullptr, *norm_bias = nullptr;
  const void* residual = nullptr;
  bool relu = false;

  // conv2d_grad_weight only: the batch is cut into `parts` runs of images, and each writes its own
  // sum to `workspace`, to be added up in order. With one part they go to `weight` directly.
  std::int64_t parts = 1;
  void* bias_gradient = nullptr;  // (groups * out_channels): the sums of y per channel, or null

  // conv2d and conv2d_grad_input pack the filters here, conv2d_grad_weight keeps partial sums here:
  // as many elements as the functions below say.
  void* workspace = nullptr;

  constexpr std::int64_t pixels() const { return out_height * out_width; }
  // The taps of one filter: the length of the sum behind one output element.
  constexpr std::int64_t taps() const { return in_channels * kernel_height * kernel_width; }

  std::int64_t workspace_of_conv2d() const { return packed_filters(in_channels, out_channels); }
  std::int64_t workspace_of_grad_input() const { return packed_filters(out_channels, in_channels); }
  std::int64_t workspace_of_grad_weight() const {
    const std::int64_t direct = parts > 1 ? parts * groups * out_channels * (taps() + 1) : 0;
    if (!winograd || kernel_height != kernel_width || kernel_height > 5 || winograd_parts() == 1)
      return direct;
    return std::max(direct, groups * winograd_parts() * 36 * (in_channels + 12) *
                                (out_channels + 16 * winograd_shares()));
  }

  // The same for the sums at the 36 points of winograd.h: parts of the tiles with a sum of their
  // own, and shares of the filters. Few parts, since their sums are large.
  std::int64_t winograd_parts() const {
    const std::int64_t outputs = std::max<std::int64_t>(7 - kernel_height, 1);
    const std::int64_t tiles =
        batch * ((out_height + outputs - 1) / outputs) * ((out_width + outputs - 1) / outputs);
    const std::int64_t largest = (1 << 22) / (36 * in_channels * out_channels);
    return std::clamp<std::int64_t>(std::min(tiles / 256, largest), 1, 8);
  }
  std::int64_t winograd_shares() const {
    return std::clamp<std::int64_t>(8 / (groups * winograd_parts()), 1,
                                    std::max<std::int64_t>(out_channels / 64, 1));
  }

  // Filters as they are, or at the 36 points of winograd.h.
  std::int64_t packed_filters(std::int64_t from, std::int64_t to) const {
    const std::int64_t taps = winograd ? std::max<std::int64_t>(36, kernel_height * kernel_width)
                                       : kernel_height * kernel_width;
    return groups * padded(to) * (from + 1) * taps;
  }

  // Where a part's gradients go: those of the weights, part by part, then those of the biases.
  template <class T>
  T* weight_of_part(std::int64_t part) const {
    if (parts == 1) return static_cast<T*>(weight);
    return static_cast<T*>(workspace) + part * groups * out_channels * taps();
  }
  template <class T>
  T* bias_of_part(std::int64_t part) const {
    if (bias_gradient == nullptr || parts == 1) return static_cast<T*>(bias_gradient);
    return weight_of_part<T>(parts) + part * groups * out_channels;
  }

  // The tiles of the instruction sets are up to 32 wide and 12 high.
  static std::int64_t padded(std::int64_t channels) { return (channels + 31) / 32 * 32 + 12; }
};

}  // namespace tilegrad

TILEGRAD_KERNEL(conv2d, Conv2d)              // y from x and weight
TILEGRAD_KERNEL(conv2d_grad_input, Conv2d)   // x from y and weight
TILEGRAD_KERNEL(conv2d_grad_weight, Conv2d)  // weight from x and y
