// What the ways of conv2d and conv2d_grad_input share: how taps lead from results to what is read,
// and runs of taps.
#pragma once

#include <algorithm>

#include "conv.cuh"
#include "divide.cuh"
#include "runs.cuh"

namespace tilegrad::cuda {

// How positions j of a result and taps t lead to positions of what is read, in one direction: from
// first + j * spread in the result to j * scale + base + t * step, by tap tap_first + t * tap_step
// of the filter.
struct Walk {
  std::int64_t count, spread, first, scale, base, step, taps, tap_first, tap_step;
};

static __host__ __device__ inline Walk forward_walk(const Direction& d) {
  return {d.out, 1, 0, d.stride, -d.pad, d.dilation, d.kernel, 0, 1};
}

static __host__ __device__ inline std::int64_t common_divisor(std::int64_t a, std::int64_t b) {
  while (b != 0) {
    const std::int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// Positions of x that are `first` modulo the stride. Tap r leads from there to a whole position of
// y if the stride divides first + pad - r * dilation: for none, or for every tap_step-th from
// tap_first on.
static __host__ __device__ inline Walk backward_walk(const Direction& d, std::int64_t first) {
  const std::int64_t tap_step = d.stride / common_divisor(d.stride, d.dilation);
  const std::int64_t most = std::min(tap_step, d.kernel);
  std::int64_t tap = 0;
  while (tap < most && (first + d.pad - tap * d.dilation) % d.stride != 0) ++tap;
  const std::int64_t taps = tap < most ? (d.kernel - tap - 1) / tap_step + 1 : 0;
  return {(d.in - first - 1) / d.stride + 1,
          d.stride,
          first,
          1,
          taps > 0 ? (first + d.pad - tap * d.dilation) / d.stride : 0,
          -(tap_step * d.dilation / d.stride),
          taps,
          tap,
          tap_step};
}

// Classes of the positions of x in one direction.
static __host__ __device__ inline std::int64_t classes_of(const Direction& d) {
  return d.stride < d.in ? d.stride : d.in;
}
// Columns of the largest class, or of the only one.
static __host__ __device__ inline std::int64_t most_columns(const Conv2d& c, bool backward) {
  if (!backward) return c.batch * c.pixels();
  return c.batch * ((c.in_height - 1) / c.stride_y + 1) * ((c.in_width - 1) / c.stride_x + 1);
}

// What conv2d and conv2d_grad_input are given: the steps of the sum are cut into runs, and each
// writes its sums behind those of the one before.
struct ConvolutionArguments {
  Conv2d conv;
  Cut steps;
  std::int64_t size;     // elements of the result
  void* sums = nullptr;  // where there are several runs
};

// Adds up the runs of one element of the result.
template <class T, bool kBackward>
struct FinishElement {
  ConvolutionArguments given;
  __device__ void operator()(std::int64_t to) const {
    const Conv2d& c = given.conv;
    const Sum<T>* from = static_cast<const Sum<T>*>(given.sums) + to;
    Sum<T> sum = *from;
#pragma unroll 4
    for (std::int64_t run = 1; run < given.steps.count; ++run) sum += from[run * given.size];
    if constexpr (kBackward) {
      static_cast<T*>(c.x)[to] = static_cast<T>(sum);
    } else {
      const std::int64_t plane = divide(to, c.pixels()).quotient;
      const std::int64_t channel = divide(plane, c.groups * c.out_channels).remainder;
      static_cast<T*>(c.y)[to] = followed<T>(c, channel, to, sum);
    }
  }
};

}  // namespace tilegrad::cuda
