// Cross-entropy of class indices for one row whose scores lie side by side: the loss, its
// log-sum-exp and the gradient. Included once per instruction set.
#pragma once

#include "host_memory.h"
#include "ops/cross_entropy.h"
#include "softmax_row.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// sum_c w[c] * (lse - x[c])
template <class T>
static T smoothing_term(const T* x, const T* weight, T lse, std::int64_t classes) {
  T sum = 0;  // of the places that are whole vectors; what is left one by one
  const std::int64_t whole = classes / kLanes<T> * kLanes<T>;
  if (weight) sum = sum_row<T>(whole, [=](auto at) { return at(weight) * (lse - at(x)); });
  else sum = sum_row<T>(whole, [=](auto at) { return lse - at(x); });
  for (std::int64_t c = whole; c < classes; ++c) sum += (weight ? weight[c] : T{1}) * (lse - x[c]);
  return sum;
}

// What the gradients of all rows share.
template <class T>
struct Gradient {
  T* grad_x;
  T scale;       // of the reduction
  T weight_sum;  // of all classes
  bool stream;

  Gradient(const CrossEntropyRows& in, void* to, T total) : grad_x(static_cast<T*>(to)) {
    const T* weight = static_cast<const T*>(in.weight);
    scale = in.reduction == Reduction::mean ? T{1} / total : T{1};
    weight_sum = static_cast<T>(in.classes);
    if (weight) weight_sum = sum_row<T>(in.classes, [=](auto at) { return at(weight); });
    stream = in.rows * in.classes * static_cast<std::int64_t>(sizeof(T)) >= kStreamBytes;
  }
};

// Row n of the gradient, times `factor`:
//   (1 - s) * w[t] * (p[c] - [c == t])  +  s / classes * (p[c] * sum(w) - w[c])
// where `power(at)` are exponentials and p = power / sum.
template <class T, class Power>
TILEGRAD_INLINE void gradient_row(const CrossEntropyRows& in, const Gradient<T>& g, std::int64_t n,
                                  T factor, T sum, const Power& power) {
  const T* weight = static_cast<const T*>(in.weight);
  const std::int64_t target = in.target[n];
  const T smoothing = static_cast<T>(in.label_smoothing);
  const T hard = factor * (1 - smoothing) * (weight ? weight[target] : T{1});
  const T soft = smoothing == 0 ? T{0} : factor * smoothing / static_cast<T>(in.classes);
  const T slope = (hard + soft * g.weight_sum) / sum;
  T* row = g.grad_x + n * in.classes;
  const auto at_target = [=](auto at, Vec<T> value) {
    const auto lane = static_cast<std::uint64_t>(target - at.begin);
    if (lane < static_cast<std::uint64_t>(kLanes<T>)) value[lane] -= hard;
    return value;
  };
  if (soft == 0)
    write_row(row, in.classes, g.stream, [&](auto at) { return at_target(at, power(at) * slope); });
  else if (weight)
    write_row(row, in.classes, g.stream,
              [&](auto at) { return at_target(at, power(at) * slope - soft * at(weight)); });
  else
    write_row(row, in.classes, g.stream,
              [&](auto at) { return at_target(at, power(at) * slope - soft); });
}

// The loss of row n, its log-sum-exp and, where wanted, its gradient.
template <class T>
[[gnu::noinline]] static void forward_row(const CrossEntropy& args, const Gradient<T>& g,
                                          std::int64_t n) {
  const CrossEntropyRows& in = args.in;
  const T* x = static_cast<const T*>(in.x) + n * in.classes;
  const T* weight = static_cast<const T*>(in.weight);
  const T smoothing = static_cast<T>(in.label_smoothing);
  const std::int64_t t = in.target[n];
  T &loss = static_cast<T*>(args.losses)[n], &lse = static_cast<T*>(args.lse)[n];
  loss = lse = 0;
  if (t == in.ignore_index) {
    if (g.grad_x) std::fill_n(g.grad_x + n * in.classes, in.classes, T{0});
    return;
  }
  if (!in.normalized) {
    const T shift = largest_of(x, in.classes);
    if (g.grad_x) {
      T* powers = g.grad_x + n * in.classes;
      if (g.stream)  // the row of the result is written once, past the caches
        powers = static_cast<T*>(thread_scratch(static_cast<std::size_t>(in.classes) * sizeof(T)));
      const T sum = sum_exponentials<T, true>(powers, x, in.classes, shift);
      lse = shift + std::log(sum);
      gradient_row(in, g, n, g.scale, sum, [=](auto at) { return at(powers); });
    } else {
      lse = shift + std::log(sum_exponentials<T, false>(nullptr, x, in.classes, shift));
    }
  }
  loss = (1 - smoothing) * (weight ? weight[t] : T{1}) * (lse - x[t]);
  if (smoothing != 0)
    loss += smoothing / static_cast<T>(in.classes) * smoothing_term(x, weight, lse, in.classes);
}

// Log-probabilities have a gradient at the target only, and where labels are smoothed.
template <class T>
[[gnu::noinline]] static void backward_row(const CrossEntropyBackward& args, const Gradient<T>& g,
                                           std::int64_t n) {
  const CrossEntropyRows& in = args.in;
  T* row = g.grad_x + n * in.classes;
  if (in.target[n] == in.ignore_index) {
    std::fill_n(row, in.classes, T{0});
    return;
  }
  const T* x = static_cast<const T*>(in.x) + n * in.classes;
  const T* grad = static_cast<const T*>(args.grad);
  const T lse = static_cast<const T*>(args.lse)[n];
  const T factor = g.scale * (in.reduction == Reduction::none ? grad[n] : *grad);
  if (in.normalized) gradient_row(in, g, n, factor, T{1}, [](auto) { return Vec<T>{}; });
  else
    gradient_row(in, g, n, factor, T{1},
                 [=](auto at) { return exponential_below<T>(at(x) - lse); });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
