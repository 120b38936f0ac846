// Softmax: exp(x - max) / sum(exp(x - max)), so that nothing overflows.
//
// A row (inner == 1) is reduced in kLanes parts that are folded at the end; otherwise neighbouring
// columns of the inner dimension are taken side by side. Each row or column belongs to one task.
#include "softmax.h"

#include <algorithm>
#include <limits>

#include "../elementary.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kLanes = 32;

// Folds x[0], x[1], ... with `combine`, kLanes elements at a time.
template <class T, class Lift, class Combine>
static T fold(std::int64_t count, T identity, const Lift& lift, const Combine& combine) {
  T lanes[kLanes];
  std::fill_n(lanes, kLanes, identity);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] = combine(lanes[j], lift(i + j));
  for (std::int64_t j = 0; j < count - i; ++j) lanes[j] = combine(lanes[j], lift(i + j));
  for (std::int64_t width = kLanes / 2; width > 0; width /= 2)
    for (std::int64_t j = 0; j < width; ++j) lanes[j] = combine(lanes[j], lanes[j + width]);
  return lanes[0];
}

template <class T>
static T larger(T a, T b) {
  return a > b ? a : b;  // a NaN is caught by the sum
}

template <class T>
static void softmax_row(const Softmax& args, T* y, const T* x) {
  const std::int64_t n = args.length;
  const auto add = [](T a, T b) { return a + b; };
  const T shift = fold<T>(
      n, -std::numeric_limits<T>::infinity(), [=](std::int64_t i) { return x[i]; }, larger<T>);
  if (args.log) {
    const T sum = fold<T>(
        n, T{0}, [=](std::int64_t i) { return exponential(x[i] - shift); }, add);
    const T log_sum = std::log(sum);
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] - shift - log_sum;
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) y[i] = exponential(x[i] - shift);
  const T scale = T{1} / fold<T>(n, T{0}, [=](std::int64_t i) { return y[i]; }, add);
  for (std::int64_t i = 0; i < n; ++i) y[i] *= scale;
}

// `width` neighbouring columns, at most kLanes.
template <class T>
static void softmax_columns(const Softmax& args, T* y, const T* x, std::int64_t width) {
  const std::int64_t n = args.length, step = args.inner;
  T shift[kLanes], sum[kLanes] = {};
  std::fill_n(shift, kLanes, -std::numeric_limits<T>::infinity());
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < width; ++j) shift[j] = larger(x[i * step + j], shift[j]);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const T power = exponential(x[i * step + j] - shift[j]);
      sum[j] += power;
      y[i * step + j] = args.log ? x[i * step + j] - shift[j] : power;
    }
  for (std::int64_t j = 0; j < width; ++j) sum[j] = args.log ? std::log(sum[j]) : T{1} / sum[j];
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      T& value = y[i * step + j];
      value = args.log ? value - sum[j] : value * sum[j];
    }
}

// With s = sum(grad) for the logarithm, sum(grad * y) otherwise:
//   log_softmax: grad_x = grad - exp(y) * s        softmax: grad_x = (grad - s) * y
template <class T>
static T slope(bool log, T grad, T y, T sum) {
  return log ? grad - exponential(y) * sum : (grad - sum) * y;
}

template <class T>
static void backward_row(const SoftmaxBackward& args, T* grad_x, const T* grad, const T* y) {
  const bool log = args.log;
  const T sum = fold<T>(
      args.length, T{0}, [=](std::int64_t i) { return log ? grad[i] : grad[i] * y[i]; },
      [](T a, T b) { return a + b; });
  for (std::int64_t i = 0; i < args.length; ++i) grad_x[i] = slope(log, grad[i], y[i], sum);
}

template <class T>
static void backward_columns(const SoftmaxBackward& args, T* grad_x, const T* grad, const T* y,
                             std::int64_t width) {
  T sum[kLanes] = {};
  for (std::int64_t i = 0; i < args.length; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const std::int64_t at = i * args.inner + j;
      sum[j] += args.log ? grad[at] : grad[at] * y[at];
    }
  for (std::int64_t i = 0; i < args.length; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const std::int64_t at = i * args.inner + j;
      grad_x[at] = slope(args.log, grad[at], y[at], sum[j]);
    }
}

// Calls part(offset, width) for every row (width 1), or every group of neighbouring columns.
template <class Args, class Part>
static void for_each_part(const Args& args, const Part& part) {
  const std::int64_t groups = (args.inner + kLanes - 1) / kLanes;
  const std::int64_t work = std::max<std::int64_t>(1, args.length * std::min(args.inner, kLanes));
  parallel_for(args.outer * groups, std::max<std::int64_t>(1, kGrain / 4 / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % groups * kLanes;
                   part(task / groups * args.length * args.inner + first,
                        std::min(kLanes, args.inner - first));
                 }
               });
}

template <class T>
static void forward(const Softmax& args) {
  T* y = static_cast<T*>(args.y);
  const T* x = static_cast<const T*>(args.x);
  for_each_part(args, [&](std::int64_t offset, std::int64_t width) {
    if (args.inner == 1) softmax_row(args, y + offset, x + offset);
    else softmax_columns(args, y + offset, x + offset, width);
  });
}

template <class T>
static void backward(const SoftmaxBackward& args) {
  T* grad_x = static_cast<T*>(args.grad_x);
  const T* grad = static_cast<const T*>(args.grad);
  const T* y = static_cast<const T*>(args.y);
  for_each_part(args, [&](std::int64_t offset, std::int64_t width) {
    if (args.inner == 1) backward_row(args, grad_x + offset, grad + offset, y + offset);
    else backward_columns(args, grad_x + offset, grad + offset, y + offset, width);
  });
}

void softmax(const Softmax& args) {
  args.dtype == DType::float32 ? forward<float>(args) : forward<double>(args);
}

void softmax_backward(const SoftmaxBackward& args) {
  args.dtype == DType::float32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
