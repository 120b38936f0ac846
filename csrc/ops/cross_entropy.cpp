// Cross-entropy in one pass over the scores forward, and one backward: the probabilities are never
// stored, only the logarithm of their normalizer, one number per row.
#include "cross_entropy.h"

#include <algorithm>
#include <limits>

#include "../elementary.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kLanes = 32;

// log(sum(exp(x))) of one row, the maximum taken out first.
template <class T>
static T log_sum_exp(const T* x, std::int64_t count) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  T lanes[kLanes], largest = -kInfinity, sum = 0;
  if (count < kLanes) {
    for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, x[i]);
    for (std::int64_t i = 0; i < count; ++i) lanes[i] = exponential(x[i] - largest);
    for (std::int64_t i = 0; i < count; ++i) sum += lanes[i];
    return largest + std::log(sum);
  }
  const std::int64_t whole = count / kLanes * kLanes;
  std::fill_n(lanes, kLanes, -kInfinity);
  for (std::int64_t i = 0; i < whole; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j)
      lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];  // a NaN is caught by the sum
  for (T value : lanes) largest = std::max(largest, value);
  for (std::int64_t i = whole; i < count; ++i) largest = std::max(largest, x[i]);
  std::fill_n(lanes, kLanes, T{0});
  for (std::int64_t i = 0; i < whole; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += exponential(x[i + j] - largest);
  for (std::int64_t j = 0; j < count - whole; ++j) lanes[j] += exponential(x[whole + j] - largest);
  for (T value : lanes) sum += value;
  return largest + std::log(sum);
}

// sum_c w[c] * (lse - x[c])
template <class T>
static T smoothing_term(const T* x, const T* weight, T lse, std::int64_t classes) {
  T lanes[kLanes] = {}, sum = 0;
  for (std::int64_t i = 0; i < classes; i += kLanes)
    for (std::int64_t j = 0; j < std::min(kLanes, classes - i); ++j)
      lanes[j] += (weight ? weight[i + j] : T{1}) * (lse - x[i + j]);
  for (T value : lanes) sum += value;
  return sum;
}

static std::int64_t rows_per_task(std::int64_t classes) {
  return std::max<std::int64_t>(1, kGrain / 4 / std::max<std::int64_t>(1, classes));
}

template <class T>
static void forward(const CrossEntropy& args) {
  const CrossEntropyRows& in = args.in;
  const T* weight = static_cast<const T*>(in.weight);
  const T smoothing = static_cast<T>(in.label_smoothing);
  T* losses = static_cast<T*>(args.losses);
  T* lse = static_cast<T*>(args.lse);
  parallel_for(in.rows, rows_per_task(in.classes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const T* x = static_cast<const T*>(in.x) + n * in.classes;
      const std::int64_t t = in.target[n];
      lse[n] = 0;
      losses[n] = 0;
      if (t == in.ignore_index) continue;
      if (!in.normalized) lse[n] = log_sum_exp(x, in.classes);
      losses[n] = (1 - smoothing) * (weight ? weight[t] : T{1}) * (lse[n] - x[t]);
      if (smoothing != 0)
        losses[n] += smoothing / static_cast<T>(in.classes) *
                     smoothing_term(x, weight, lse[n], in.classes);
    }
  });
  double loss = 0, total = 0;  // in order, and few compared with the scores
  for (std::int64_t n = 0; n < in.rows; ++n) {
    if (in.target[n] == in.ignore_index) continue;
    loss += static_cast<double>(losses[n]);
    total += weight ? static_cast<double>(weight[in.target[n]]) : 1.0;
  }
  *static_cast<T*>(args.total) = static_cast<T>(total);
  *static_cast<T*>(args.loss) =
      static_cast<T>(in.reduction == Reduction::mean ? loss / total : loss);
}

// The gradient of one row, times `scale`:
//   (1 - s) * w[t] * (p[c] - [c == t])  +  s / classes * (p[c] * sum(w) - w[c])
// with p = exp(x - lse), or 0 for scores that are normalized already.
template <class T>
static void gradient_row(const CrossEntropyRows& in, T* grad_x, const T* x, std::int64_t target,
                         T lse, T scale, T weight_sum) {
  const T* weight = static_cast<const T*>(in.weight);
  const T smoothing = static_cast<T>(in.label_smoothing);
  const T hard = scale * (1 - smoothing) * (weight ? weight[target] : T{1});
  const T soft = scale * smoothing / static_cast<T>(in.classes);
  const T slope = hard + soft * weight_sum;
  if (in.normalized) std::fill_n(grad_x, in.classes, T{0});
  else
    for (std::int64_t c = 0; c < in.classes; ++c) grad_x[c] = slope * exponential(x[c] - lse);
  if (soft != 0)
    for (std::int64_t c = 0; c < in.classes; ++c) grad_x[c] -= soft * (weight ? weight[c] : T{1});
  grad_x[target] -= hard;
}

template <class T>
static void backward(const CrossEntropyBackward& args) {
  const CrossEntropyRows& in = args.in;
  const T* weight = static_cast<const T*>(in.weight);
  const T* grad = static_cast<const T*>(args.grad);
  T weight_sum = static_cast<T>(in.classes);
  if (weight) {
    weight_sum = 0;
    for (std::int64_t c = 0; c < in.classes; ++c) weight_sum += weight[c];
  }
  const T divisor =
      in.reduction == Reduction::mean ? *static_cast<const T*>(args.total) : T{1};
  parallel_for(in.rows, rows_per_task(in.classes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      T* grad_x = static_cast<T*>(args.grad_x) + n * in.classes;
      if (in.target[n] == in.ignore_index) {
        std::fill_n(grad_x, in.classes, T{0});
        continue;
      }
      gradient_row(in, grad_x, static_cast<const T*>(in.x) + n * in.classes, in.target[n],
                   static_cast<const T*>(args.lse)[n],
                   (in.reduction == Reduction::none ? grad[n] : *grad) / divisor, weight_sum);
    }
  });
}

void cross_entropy(const CrossEntropy& args) {
  args.in.dtype == DType::float32 ? forward<float>(args) : forward<double>(args);
}

void cross_entropy_backward(const CrossEntropyBackward& args) {
  args.in.dtype == DType::float32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
