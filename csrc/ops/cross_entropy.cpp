// Cross-entropy in one pass over the scores, loss and gradient together. Without the gradient, only
// the logarithm of the normalizer is kept, one number per row, and backward is a pass of its own.
#include "cross_entropy.h"

#include "../host_memory.h"
#include "../softmax_row.h"

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

static std::int64_t rows_per_task(std::int64_t classes) {
  return std::max<std::int64_t>(1, kGrain / 4 / std::max<std::int64_t>(1, classes));
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

template <class T>
static void forward(const CrossEntropy& args) {
  const CrossEntropyRows& in = args.in;
  const T* weight = static_cast<const T*>(in.weight);
  double loss = 0, total = 0;  // in order, and few compared with the scores
  for (std::int64_t n = 0; n < in.rows; ++n)
    if (in.target[n] != in.ignore_index)
      total += weight ? static_cast<double>(weight[in.target[n]]) : 1.0;
  const Gradient<T> gradient(in, args.grad_x, static_cast<T>(total));
  parallel_for(in.rows, rows_per_task(in.classes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) forward_row(args, gradient, n);
    finish_stream();
  });
  for (std::int64_t n = 0; n < in.rows; ++n)
    loss += static_cast<double>(static_cast<const T*>(args.losses)[n]);
  *static_cast<T*>(args.total) = static_cast<T>(total);
  *static_cast<T*>(args.loss) =
      static_cast<T>(in.reduction == Reduction::mean ? loss / total : loss);
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

template <class T>
static void backward(const CrossEntropyBackward& args) {
  const CrossEntropyRows& in = args.in;
  const Gradient<T> gradient(in, args.grad_x, *static_cast<const T*>(args.total));
  parallel_for(in.rows, rows_per_task(in.classes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) backward_row(args, gradient, n);
    finish_stream();
  });
}

// Row n with class probabilities: its loss and, where wanted, its gradient
//   factor * (p[c] * sum(q) - q[c]).
template <class T>
[[gnu::noinline]] static void soft_row(const CrossEntropySoft& args, std::int64_t n, T factor,
                                       bool stream) {
  const std::int64_t classes = args.classes;
  const T *x = static_cast<const T*>(args.x) + n * classes,
          *target = static_cast<const T*>(args.target) + n * classes,
          *weight = static_cast<const T*>(args.weight);
  const T kept = static_cast<T>(1 - args.label_smoothing);
  const T spread = static_cast<T>(args.label_smoothing) / static_cast<T>(classes);
  const auto share = [=](auto at) {
    const Vec<T> q = at(target) * kept + spread;
    return weight ? q * at(weight) : q;
  };
  T* row = args.grad_x ? static_cast<T*>(args.grad_x) + n * classes : nullptr;
  T* powers = row;
  if (row && stream)  // the row of the result is written once, past the caches
    powers = static_cast<T*>(thread_scratch(static_cast<std::size_t>(classes) * sizeof(T)));
  const T shift = largest_of(x, classes);
  const T sum = powers ? sum_exponentials<T, true>(powers, x, classes, shift)
                       : sum_exponentials<T, false>(nullptr, x, classes, shift);
  const T lse = shift + std::log(sum);
  // Whole registers; what is left one by one, since there the spread must not count.
  const std::int64_t whole = classes / kLanes<T> * kLanes<T>;
  T total = sum_row<T>(whole, share);
  T loss = sum_row<T>(whole, [=](auto at) { return share(at) * (lse - at(x)); });
  for (std::int64_t c = whole; c < classes; ++c) {
    const T q = (target[c] * kept + spread) * (weight ? weight[c] : T{1});
    total += q;
    loss += q * (lse - x[c]);
  }
  static_cast<T*>(args.losses)[n] = loss;
  if (row == nullptr) return;
  const T slope = factor * total / sum;
  write_row(row, classes, stream, [=](auto at) { return at(powers) * slope - share(at) * factor; });
}

template <class T>
static void soft_rows(const CrossEntropySoft& args) {
  const bool stream =
      args.rows * args.classes * static_cast<std::int64_t>(sizeof(T)) >= kStreamBytes;
  const T factor = args.reduction == Reduction::mean ? T{1} / static_cast<T>(args.rows) : T{1};
  parallel_for(args.rows, rows_per_task(args.classes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) soft_row(args, n, factor, stream);
    finish_stream();
  });
  double loss = 0;  // in order, and few compared with the scores
  for (std::int64_t n = 0; n < args.rows; ++n)
    loss += static_cast<double>(static_cast<const T*>(args.losses)[n]);
  const bool mean = args.reduction == Reduction::mean;
  const double rows = args.classes > 0 ? static_cast<double>(args.rows) : NAN;  // as in PyTorch
  *static_cast<T*>(args.loss) = static_cast<T>(mean ? loss / rows : loss);
}

void cross_entropy_soft(const CrossEntropySoft& args) {
  args.dtype == DType::float32 ? soft_rows<float>(args) : soft_rows<double>(args);
}

void cross_entropy(const CrossEntropy& args) {
  args.in.dtype == DType::float32 ? forward<float>(args) : forward<double>(args);
}

void cross_entropy_backward(const CrossEntropyBackward& args) {
  args.in.dtype == DType::float32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
