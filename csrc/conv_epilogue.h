// What follows a convolution in inference, on outputs that are still in cache: the scale and shift
// per channel of a normalization, a ReLU. Included once per instruction set.
#pragma once

#include "ops/conv2d.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct ConvEpilogue {
  const T *scale = nullptr, *shift = nullptr;  // per channel of all groups
  bool relu = false;

  static ConvEpilogue of(const Conv2d& c) {
    return {static_cast<const T*>(c.scale), static_cast<const T*>(c.shift), c.relu};
  }

  // `count` outputs of one channel that lie side by side.
  void apply(std::int64_t channel, T* y, std::int64_t count) const {
    const T factor = scale ? scale[channel] : T{1}, offset = scale ? shift[channel] : T{0};
    if (relu)
      for (std::int64_t i = 0; i < count; ++i) {
        const T value = y[i] * factor + offset;
        y[i] = value < T{0} ? T{0} : value;
      }
    else
      for (std::int64_t i = 0; i < count; ++i) y[i] = y[i] * factor + offset;
  }

  explicit operator bool() const { return scale != nullptr || relu; }
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
