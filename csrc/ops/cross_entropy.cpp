// Cross-entropy in one pass over the scores, loss and gradient together. Without the gradient, only
// the logarithm of the normalizer is kept, one number per row, and backward is a pass of its own.
#include "cross_entropy.h"

#include "../cross_entropy_columns.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class Row>
static void for_each_row(std::int64_t rows, std::int64_t classes, const Row& row) {
  const std::int64_t few = kGrain / 4 / std::max<std::int64_t>(1, classes);
  parallel_for(rows, std::max<std::int64_t>(1, few), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) row(n);
    finish_stream();
  });
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
  if (in.inner == 1)
    for_each_row(in.rows, in.classes, [&](std::int64_t n) { forward_row(args, gradient, n); });
  else for_each_columns<T>(in, ForwardColumns<T>{args, gradient});
  for (std::int64_t n = 0; n < in.rows; ++n)
    loss += static_cast<double>(static_cast<const T*>(args.losses)[n]);
  *static_cast<T*>(args.total) = static_cast<T>(total);
  *static_cast<T*>(args.loss) =
      static_cast<T>(in.reduction == Reduction::mean ? loss / total : loss);
}

template <class T>
static void backward(const CrossEntropyBackward& args) {
  const CrossEntropyRows& in = args.in;
  const Gradient<T> gradient(in, args.grad_x, *static_cast<const T*>(args.total));
  if (in.inner == 1)
    for_each_row(in.rows, in.classes, [&](std::int64_t n) { backward_row(args, gradient, n); });
  else for_each_columns<T>(in, BackwardColumns<T>{args, gradient});
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

// Row n of shares: its loss and, where wanted, its gradient factor * (1 / sum - [c == t] / x[t]).
template <class T>
static void shares_row(const CrossEntropyShares& args, std::int64_t n, T factor, bool stream) {
  const std::int64_t classes = args.classes, target = args.target[n];
  const T* x = static_cast<const T*>(args.x) + n * classes;
  const T least = static_cast<T>(args.epsilon), most = static_cast<T>(1 - args.epsilon);
  const T sum = sum_row<T>(classes, [=](auto at) { return at(x); });
  const T share = x[target] / sum;
  static_cast<T*>(args.losses)[n] = -std::log(std::clamp(share, least, most));
  if (args.grad_x == nullptr) return;
  const T slope = share >= least && share <= most ? factor : T{0};
  T* row = static_cast<T*>(args.grad_x) + n * classes;
  const Vec<T> even = splat(slope / sum);
  const T own = slope == 0 ? T{0} : slope / x[target];
  write_row(row, classes, stream, [=](auto at) {
    Vec<T> value = even;
    const auto lane = static_cast<std::uint64_t>(target - at.begin);
    if (lane < static_cast<std::uint64_t>(kLanes<T>)) value[lane] -= own;
    return value;
  });
}

// Calls row(n, factor, stream) for each row, and reduces the losses.
template <class T, class Args, class Row>
static void independent_rows(const Args& args, const Row& row) {
  const bool stream =
      args.rows * args.classes * static_cast<std::int64_t>(sizeof(T)) >= kStreamBytes;
  const T factor = args.reduction == Reduction::mean ? T{1} / static_cast<T>(args.rows) : T{1};
  for_each_row(args.rows, args.classes, [&](std::int64_t n) { row(n, factor, stream); });
  double loss = 0;  // in order, and few compared with the scores
  for (std::int64_t n = 0; n < args.rows; ++n)
    loss += static_cast<double>(static_cast<const T*>(args.losses)[n]);
  const bool mean = args.reduction == Reduction::mean;
  const double rows = args.classes > 0 ? static_cast<double>(args.rows) : NAN;  // as in PyTorch
  *static_cast<T*>(args.loss) = static_cast<T>(mean ? loss / rows : loss);
}

void cross_entropy_soft(const CrossEntropySoft& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    independent_rows<T>(args, [&](auto... row) { soft_row(args, row...); });
  });
}

void cross_entropy_shares(const CrossEntropyShares& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    independent_rows<T>(args, [&](auto... row) { shares_row(args, row...); });
  });
}

void cross_entropy(const CrossEntropy& args) {
  args.in.dtype == DType::float32 ? forward<float>(args) : forward<double>(args);
}

void cross_entropy_backward(const CrossEntropyBackward& args) {
  args.in.dtype == DType::float32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
