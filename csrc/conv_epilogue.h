// What follows a convolution in inference, on outputs that are still in cache: a normalization with
// given statistics, the addition of a residual, a ReLU. Included once per instruction set.
#pragma once

#include "ops/conv2d.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// To the last bit the results of batchnorm_forward, an addition and a ReLU one by one.
template <class T>
struct ConvEpilogue {
  const T *mean = nullptr, *rstd = nullptr, *weight = nullptr, *bias = nullptr;  // per channel
  const T *target = nullptr, *residual = nullptr;  // all outputs, and what is added to them
  bool relu = false;

  static ConvEpilogue of(const Conv2d& c) {
    return {static_cast<const T*>(c.mean),
            static_cast<const T*>(c.rstd),
            static_cast<const T*>(c.norm_weight),
            static_cast<const T*>(c.norm_bias),
            static_cast<const T*>(c.y),
            static_cast<const T*>(c.residual),
            c.relu};
  }

  // `count` outputs of one channel of all groups that lie side by side, in their final place.
  void apply(std::int64_t channel, T* y, std::int64_t count) const {
    const T* added = residual ? residual + (y - target) : nullptr;
    if (!mean) return finish(y, added, count, [](T value) { return value; });
    const T center = mean[channel],
            scale = weight ? rstd[channel] * weight[channel] : rstd[channel];
    const T shift = bias ? bias[channel] : T{0};
    finish(y, added, count, [=](T value) { return (value - center) * scale + shift; });
  }

  explicit operator bool() const { return mean || residual || relu; }

 private:
  template <class Normalize>
  void finish(T* __restrict y, const T* __restrict added, std::int64_t count,
              Normalize normalize) const {
    const auto pass = [](T value) { return value <= T{0} ? T{0} : value; };
    if (added && relu)
      for (std::int64_t i = 0; i < count; ++i) y[i] = pass(normalize(y[i]) + added[i]);
    else if (added)
      for (std::int64_t i = 0; i < count; ++i) y[i] = normalize(y[i]) + added[i];
    else if (relu)
      for (std::int64_t i = 0; i < count; ++i) y[i] = pass(normalize(y[i]));
    else
      for (std::int64_t i = 0; i < count; ++i) y[i] = normalize(y[i]);
  }
};

// The sum of `count` elements.
template <class T>
static inline T sum_elements(const T* from, std::int64_t count) {
  constexpr int lanes = kLanes<T>;
  Vec<T> sum[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[k] += load(from + i + k * lanes);
  for (; i + lanes <= count; i += lanes) sum[0] += load(from + i);
  const Vec<T> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  T total = 0;
  for (int k = 0; k < lanes; ++k) total += all[k];
  for (; i < count; ++i) total += from[i];
  return total;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
