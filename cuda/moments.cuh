// Mean and variance of many elements per output, as folds (reduce.cuh): first the mean, then the
// squared deviations from it. That reads the elements twice and is safe against cancellation.
#pragma once

#include "reduce.cuh"

namespace tilegrad::cuda {

// T is that of the statistics, X that of the elements.
template <class T, class X = T>
struct Mean : Add {
  using Accumulator = T;
  const X* x;
  T* mean;
  T count;
  __device__ T identity() const { return T{0}; }
  __device__ T lift(std::int64_t offset, std::int64_t) const { return static_cast<T>(x[offset]); }
  __device__ void store(std::int64_t output, T sum) const { mean[output] = sum / count; }
};

// rstd = 1 / sqrt(variance + eps). The running statistics may be null; they blend in the unbiased
// variance.
template <class T, class X = T>
struct Spread : Add {
  using Accumulator = T;
  const X* x;
  const T* mean;
  T* rstd;
  T count, eps;
  T* running_mean = nullptr;
  T* running_var = nullptr;
  T momentum = 0;
  __device__ T identity() const { return T{0}; }
  __device__ T lift(std::int64_t offset, std::int64_t output) const {
    const T deviation = static_cast<T>(x[offset]) - mean[output];
    return deviation * deviation;
  }
  __device__ void store(std::int64_t output, T squares) const {
    rstd[output] = T{1} / sqrt(squares / count + eps);
    if (running_mean)
      running_mean[output] = (T{1} - momentum) * running_mean[output] + momentum * mean[output];
    if (running_var)
      running_var[output] =
          (T{1} - momentum) * running_var[output] + momentum * (squares / (count - T{1}));
  }
};

// Index arithmetic of (batch, channels, length): divisions of 32 bits where they suffice.
struct ChannelIndex {
  std::int64_t channels, length;
  bool is_short;
  ChannelIndex(std::int64_t batch, std::int64_t channels, std::int64_t length)
      : channels(channels), length(length), is_short(batch * channels * length <= 0xffffffffll) {}
  __device__ std::int64_t plane(std::int64_t i) const {  // sample * channels + channel
    if (is_short) return static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(length);
    return i / length;
  }
  __device__ std::int64_t channel(std::int64_t i) const {
    if (is_short)
      return static_cast<std::uint32_t>(plane(i)) % static_cast<std::uint32_t>(channels);
    return plane(i) % channels;
  }
};

// One output per channel of (batch, channels, length).
static inline ReduceShape channel_shape(std::int64_t batch, std::int64_t channels,
                                        std::int64_t length) {
  ReduceShape shape;
  const auto add = [](int& ndim, std::int64_t* sizes, std::int64_t* strides, std::int64_t size,
                      std::int64_t stride) {
    if (size == 1) return;
    sizes[ndim] = size;
    strides[ndim++] = stride;
  };
  add(shape.kept_ndim, shape.kept_shape, shape.kept_strides, channels, length);
  add(shape.reduced_ndim, shape.reduced_shape, shape.reduced_strides, length, 1);
  add(shape.reduced_ndim, shape.reduced_shape, shape.reduced_strides, batch, channels * length);
  return shape;
}

}  // namespace tilegrad::cuda
