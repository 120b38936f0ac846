// What the kernels of conv2d and depthwise share: sizes in one direction, what follows a
// convolution in inference, and sums.
#pragma once

#include "ops/conv2d.h"
#include "reduce.cuh"
#include "scratch.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {

struct Direction {
  std::int64_t in, out, kernel, stride, pad, dilation;
};
static __host__ __device__ inline Direction vertical(const Conv2d& c) {
  return {c.in_height, c.out_height, c.kernel_height, c.stride_y, c.pad_y, c.dilation_y};
}
static __host__ __device__ inline Direction horizontal(const Conv2d& c) {
  return {c.in_width, c.out_width, c.kernel_width, c.stride_x, c.pad_x, c.dilation_x};
}

// Quotient and remainder; divisions of 32 bits are several times as fast.
static __device__ inline std::int64_t divide(std::int64_t a, std::int64_t b, std::int64_t& rest) {
  if (((a | b) >> 32) == 0) {
    const auto quotient = static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
    rest = static_cast<std::uint32_t>(a) - quotient * static_cast<std::uint32_t>(b);
    return quotient;
  }
  const std::int64_t quotient = a / b;
  rest = a - quotient * b;
  return quotient;
}

// The output at place `to`, of that channel of all groups, whose products add up to `sum`: to the
// last bit what batchnorm_forward, an addition and a ReLU give one by one. (Of halves, what they
// give in float32, rounded once.)
template <class T>
static __device__ T followed(const Conv2d& c, std::int64_t channel, std::int64_t to, Sum<T> sum) {
  using S = Sum<T>;
  if (c.bias) sum += static_cast<const S*>(c.bias)[channel];
  if (c.mean) {
    S scale = static_cast<const S*>(c.rstd)[channel];
    if (c.norm_weight) scale *= static_cast<const S*>(c.norm_weight)[channel];
    sum = (sum - static_cast<const S*>(c.mean)[channel]) * scale;
    if (c.norm_bias) sum += static_cast<const S*>(c.norm_bias)[channel];
  }
  if (c.residual) sum += static_cast<S>(static_cast<const T*>(c.residual)[to]);
  return static_cast<T>(c.relu && sum <= S{0} ? S{0} : sum);  // NaN stays
}

// to[i] = from[i] + from[size + i] + ...
template <class T>
static void add_runs(const Sum<T>* from, T* to, std::int64_t size, std::int64_t runs) {
  ReduceShape shape;
  shape.kept_ndim = shape.reduced_ndim = 1;
  shape.kept_shape[0] = size;
  shape.kept_strides[0] = 1;
  shape.reduced_shape[0] = runs;
  shape.reduced_strides[0] = size;
  reduce_by(SumTo<Sum<T>, T>{{}, from, to}, shape);
}

// The sums of y per channel.
template <class T>
static void sum_channels(const Conv2d& c) {
  const std::int64_t channels = c.groups * c.out_channels, pixels = c.pixels();
  ReduceShape shape;
  shape.kept_ndim = 1;
  shape.kept_shape[0] = channels;
  shape.kept_strides[0] = pixels;
  const auto add = [&](std::int64_t size, std::int64_t stride) {
    if (size == 1) return;
    shape.reduced_shape[shape.reduced_ndim] = size;
    shape.reduced_strides[shape.reduced_ndim++] = stride;
  };
  add(pixels, 1);
  add(c.batch, channels * pixels);
  using S = Sum<T>;
  reduce_by(SumTo<T, S>{{}, static_cast<const T*>(c.y), static_cast<S*>(c.bias_gradient)}, shape);
}

}  // namespace tilegrad::cuda
