// What batch normalization does in each of its two ways over memory: one channel's statistics, one
// row of the result, one row of the gradient. Included once per instruction set.
#pragma once

#include <cmath>

#include "moments.h"
#include "ops/batchnorm.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct Arrays {
  explicit Arrays(const BatchNorm& a)
      : x(static_cast<const T*>(a.x)),
        weight(static_cast<const T*>(a.weight)),
        bias(static_cast<const T*>(a.bias)),
        residual(static_cast<const T*>(a.residual)),
        grad_y(static_cast<const T*>(a.grad_y)),
        y(static_cast<T*>(a.y)),
        mean(static_cast<T*>(a.mean)),
        rstd(static_cast<T*>(a.rstd)),
        grad_x(static_cast<T*>(a.grad_x)),
        grad_residual(static_cast<T*>(a.grad_residual)),
        grad_weight(static_cast<T*>(a.grad_weight)),
        grad_bias(static_cast<T*>(a.grad_bias)) {}

  T scale(std::int64_t c) const { return weight ? rstd[c] * weight[c] : rstd[c]; }
  T shift(std::int64_t c) const { return bias ? bias[c] : T{0}; }

  const T *x, *weight, *bias, *residual, *grad_y;
  T *y, *mean, *rstd, *grad_x, *grad_residual, *grad_weight, *grad_bias;
};

// mean, rstd and the running statistics of channel c.
template <class T>
static void finish_channel(const BatchNorm& args, std::int64_t c, const Moments& moments) {
  T* running_mean = static_cast<T*>(args.running_mean);
  T* running_var = static_cast<T*>(args.running_var);
  const auto count = static_cast<double>(args.batch * args.length);
  const double average = moments.total / count;
  static_cast<T*>(args.mean)[c] = static_cast<T>(average);
  static_cast<T*>(args.rstd)[c] = static_cast<T>(1 / std::sqrt(moments.squares / count + args.eps));
  if (running_mean)
    running_mean[c] =
        static_cast<T>((1 - args.momentum) * running_mean[c] + args.momentum * average);
  if (running_var)
    running_var[c] = static_cast<T>((1 - args.momentum) * running_var[c] +
                                    args.momentum * (moments.squares / (count - 1)));
}

template <class T>
TILEGRAD_INLINE Vec<T> rectify(Vec<T> value) {  // NaN stays
  return keep<T>(~(value <= Vec<T>{}), value);
}

// y = normal(place), plus the residual unless null, and rectified with relu.
template <class T, class Normal>
TILEGRAD_INLINE void write_row(T* y, std::int64_t count, bool relu, const T* residual,
                               bool past_caches, const Normal& normal) {
  const auto sum = [=](auto place) { return normal(place) + place(residual); };
  if (residual && relu)
    map_row(y, count, [=](auto place) { return rectify<T>(sum(place)); }, past_caches);
  else if (residual) map_row(y, count, sum, past_caches);
  else if (relu)
    map_row(y, count, [=](auto place) { return rectify<T>(normal(place)); }, past_caches);
  else map_row(y, count, normal, past_caches);
}

// Whether arrays of the tensor's shape are written past the caches.
static bool past_caches(const BatchNorm& args) {
  const std::int64_t size = args.dtype == DType::float64 ? 8 : 4;
  return args.batch * args.channels * args.length * size > kPastCaches;
}

// The gradient that arrives at the normalization: behind a ReLU, none where y is 0.
template <class T, bool kRelu>
struct Incoming {
  const T *grad, *y;

  template <class Place>
  [[gnu::always_inline]] Vec<T> operator()(const Place& place) const {
    if constexpr (kRelu) return keep<T>(~(place(y) <= Vec<T>{}), place(grad));
    else return place(grad);
  }
};

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
