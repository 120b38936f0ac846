// Convolutions whose filters are as large as the images, as in the first layer of a generator, the
// last of a discriminator, or on images of one pixel: each filter meets each image once, so that
// they are matrix products. Included once per instruction set.
#pragma once

#include "conv_epilogue.h"
#include "ops/matmul.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static inline bool is_product(const Conv2d& c) {
  return c.groups == 1 && c.in_height == c.kernel_height && c.in_width == c.kernel_width &&
         c.pad_y == 0 && c.pad_x == 0 && c.dilation_y == 1 && c.dilation_x == 1;
}

// y (batch, out_channels) = x (batch, taps) @ weight^T
template <class T>
static void multiply_images(const Conv2d& c) {
  const std::int64_t taps = c.taps(), channels = c.out_channels;
  matmul({.dtype = c.dtype,
          .rows = c.batch,
          .columns = channels,
          .inner = taps,
          .x = c.x,
          .x_row_stride = taps,
          .x_column_stride = 1,
          .other = c.weight,
          .other_row_stride = 1,
          .other_column_stride = taps,
          .y = c.y,
          .bias = c.bias});
  const auto after = ConvEpilogue<T>::of(c);
  for (std::int64_t i = 0; after && i < c.batch * channels; ++i)
    after.apply(i % channels, static_cast<T*>(c.y) + i, 1);
}

// x (batch, taps) = y (batch, out_channels) @ weight
static inline void multiply_image_gradients(const Conv2d& c) {
  matmul({.dtype = c.dtype,
          .rows = c.batch,
          .columns = c.taps(),
          .inner = c.out_channels,
          .x = c.y,
          .x_row_stride = c.out_channels,
          .x_column_stride = 1,
          .other = c.weight,
          .other_row_stride = c.taps(),
          .other_column_stride = 1,
          .y = c.x});
}

// weight (out_channels, taps) = y^T @ x, and the sums of y's columns
static inline void multiply_filter_gradients(const Conv2d& c) {
  matmul({.dtype = c.dtype,
          .rows = c.out_channels,
          .columns = c.taps(),
          .inner = c.batch,
          .x = c.y,
          .x_row_stride = 1,
          .x_column_stride = c.out_channels,
          .other = c.x,
          .other_row_stride = c.taps(),
          .other_column_stride = 1,
          .y = c.weight,
          .x_sums = c.bias_gradient});
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
