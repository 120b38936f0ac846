// Cross-entropy: the loss of each row and, where wanted, its gradient in the same kernel.
//
// A warp takes a row of up to 1024 classes, a block a longer one; where the scores of a row are not
// side by side, its neighbours are, and each thread takes a row of its own. With the gradient
// memory sees 2 * sizeof(T) bytes per score, and a score takes two exponentials, some 30
// operations. Scores of halves are computed in float32, and their gradient is a kernel of its own,
// 3 * sizeof(T) bytes per score with the loss: divided by the number of rows, before a loss is
// scaled, it would be too small for a float16. The totals over rows and classes are small folds
// before and after (reduce.cuh), in double. Up to 48 registers, 5 blocks of 256 threads on a
// multiprocessor.
#include "ops/cross_entropy.h"

#include <limits>

#include "divide.cuh"
#include "flag.cuh"
#include "reduce.cuh"
#include "rows.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

// A sum of doubles that ends in one element.
struct DoubleSum {
  using Accumulator = double;
  __device__ double identity() const { return 0; }
  __device__ double operator()(double a, double b) const { return a + b; }
};

// total = the weights of the targets.
template <class T>
struct TargetWeights : DoubleSum {
  CrossEntropyRows in;
  T* total;
  __device__ double lift(std::int64_t row, std::int64_t) const {
    const std::int64_t target = in.target[row];
    if (target == in.ignore_index) return 0;
    return in.weight ? static_cast<double>(static_cast<const T*>(in.weight)[target]) : 1.0;
  }
  __device__ void store(std::int64_t, double sum) const { *total = static_cast<T>(sum); }
};

// total = the weights of all classes.
template <class T>
struct ClassWeights : DoubleSum {
  const T* weight;
  T* total;
  __device__ double lift(std::int64_t c, std::int64_t) const {
    return weight ? static_cast<double>(weight[c]) : 1.0;
  }
  __device__ void store(std::int64_t, double sum) const { *total = static_cast<T>(sum); }
};

// loss = the sum of the rows' losses, divided by `rows` or, where there is one, by *total.
template <class T>
struct LossSum : DoubleSum {
  const T* losses;
  const T* total;
  double rows;
  T* loss;
  __device__ double lift(std::int64_t row, std::int64_t) const {
    return static_cast<double>(losses[row]);
  }
  __device__ void store(std::int64_t, double sum) const {
    *loss = static_cast<T>(sum / (total ? static_cast<double>(*total) : rows));
  }
};

// A row of scores, in the type that they are computed in.
template <class T>
struct Scores {
  const T* data;
  std::int64_t step = 1;
  __device__ Sum<T> operator[](std::int64_t c) const { return static_cast<Sum<T>>(data[c * step]); }
};

// exp(x) / sum are the probabilities of a row; x - most does not overflow.
template <class T>
struct Normalizer {
  T most, sum;
};
template <int kThreads, class T>
__device__ Normalizer<Sum<T>> normalizer_of(const Scores<T>& x, std::int64_t classes) {
  using S = Sum<T>;
  const S most = fold_row<kThreads>(
      classes, -std::numeric_limits<S>::infinity(), [=](std::int64_t c) { return x[c]; }, Larger{});
  return {most, sum_row<kThreads, S>(classes, [=](std::int64_t c) { return exp(x[c] - most); })};
}

// How far apart the scores of a row lie, and where row n begins. Only single threads take rows that
// are not dense.
template <int kThreads>
__device__ std::int64_t step_of(const CrossEntropyRows& in) {
  return kThreads == 1 ? in.inner : 1;
}
template <int kThreads>
__device__ std::int64_t begin_of(const CrossEntropyRows& in, std::int64_t n) {
  if constexpr (kThreads > 1) return n * in.classes;
  const Divided at = divide(n, in.inner);
  return at.quotient * in.classes * in.inner + at.remainder;
}

// Row n of the gradient, times `factor`, where power(c) are exponentials and p = power / sum:
//   (1 - s) * w[t] * (p[c] - [c == t])  +  s / classes * (p[c] * sum(w) - w[c])
template <int kThreads, class T, class G, class Power>
__device__ void write_gradient(const CrossEntropyRows& in, G* grad_x, T factor, std::int64_t target,
                               T weight_sum, T sum, const Power& power) {
  const T* weight = static_cast<const T*>(in.weight);
  const T smoothing = static_cast<T>(in.label_smoothing);
  const T hard = factor * (1 - smoothing) * (weight ? weight[target] : T{1});
  const T soft = smoothing == 0 ? T{0} : factor * smoothing / static_cast<T>(in.classes);
  const T slope = (hard + soft * weight_sum) / sum;
  write_row<kThreads>(in.classes, [&](std::int64_t c) {
    const T even = soft == 0 ? T{0} : soft * (weight ? weight[c] : T{1});
    grad_x[c * step_of<kThreads>(in)] =
        static_cast<G>(power(c) * slope - even - (c == target ? hard : T{0}));
  });
}

template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock, 4)  // of 64 registers: with fewer it would spill
    forward_kernel(const CrossEntropy args, const Sum<T>* weight_sum) {
  using S = Sum<T>;
  const CrossEntropyRows& in = args.in;
  const std::int64_t n = own_row<kThreads>();
  if (n >= in.rows) return;
  const bool writes = threadIdx.x % kThreads == 0;
  const std::int64_t begin = begin_of<kThreads>(in, n), step = step_of<kThreads>(in);
  const Scores<T> x = {static_cast<const T*>(in.x) + begin, step};
  const S* weight = static_cast<const S*>(in.weight);
  S* grad_x = args.grad_x ? static_cast<S*>(args.grad_x) + begin : nullptr;
  S *losses = static_cast<S*>(args.losses), *lses = static_cast<S*>(args.lse);
  const std::int64_t target = in.target[n];
  if (target == in.ignore_index) {
    if (grad_x) write_row<kThreads>(in.classes, [&](std::int64_t c) { grad_x[c * step] = S{0}; });
    if (writes) losses[n] = lses[n] = S{0};
    return;
  }
  S lse = 0;
  if (!in.normalized) {
    const Normalizer<S> row = normalizer_of<kThreads>(x, in.classes);
    lse = row.most + log(row.sum);
    const S scale = in.reduction == Reduction::mean ? S{1} / *static_cast<S*>(args.total) : S{1};
    if constexpr (!kIsHalf<T>)
      if (grad_x)
        write_gradient<kThreads>(in, grad_x, scale, target, *weight_sum, row.sum,
                                 [=](std::int64_t c) { return exp(x[c] - row.most); });
  }
  const S smoothing = static_cast<S>(in.label_smoothing);
  S loss = (1 - smoothing) * (weight ? weight[target] : S{1}) * (lse - x[target]);
  if (smoothing != 0)
    loss += smoothing / static_cast<S>(in.classes) *
            sum_row<kThreads, S>(in.classes, [=](std::int64_t c) {
              return (weight ? weight[c] : S{1}) * (lse - x[c]);
            });
  if (!writes) return;
  losses[n] = loss;
  lses[n] = lse;
}

template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock)
    backward_kernel(const CrossEntropyBackward args, const Sum<T>* weight_sum) {
  using S = Sum<T>;
  const CrossEntropyRows& in = args.in;
  const std::int64_t n = own_row<kThreads>();
  if (n >= in.rows) return;
  const std::int64_t begin = begin_of<kThreads>(in, n), step = step_of<kThreads>(in);
  T* grad_x = static_cast<T*>(args.grad_x) + begin;
  const std::int64_t target = in.target[n];
  if (target == in.ignore_index)
    return write_row<kThreads>(in.classes,
                               [&](std::int64_t c) { grad_x[c * step] = static_cast<T>(S{0}); });
  const Scores<T> x = {static_cast<const T*>(in.x) + begin, step};
  const S* grad = static_cast<const S*>(args.grad);
  const S lse = static_cast<const S*>(args.lse)[n];
  S factor = in.reduction == Reduction::none ? grad[n] : *grad;
  if (in.reduction == Reduction::mean) factor *= S{1} / *static_cast<const S*>(args.total);
  // Log-probabilities have a gradient at the target only, and where labels are smoothed.
  const bool normalized = in.normalized;
  write_gradient<kThreads>(in, grad_x, factor, target, *weight_sum, S{1},
                           [=](std::int64_t c) { return normalized ? S{0} : exp(x[c] - lse); });
}

// Class probabilities as targets: the gradient is factor * (p[c] * sum(q) - q[c]).
template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) soft_kernel(const CrossEntropySoft args, Sum<T> factor) {
  using S = Sum<T>;
  const std::int64_t n = own_row<kThreads>(), classes = args.classes;
  if (n >= args.rows) return;
  const Scores<T> x = {static_cast<const T*>(args.x) + n * classes},
                  target = {static_cast<const T*>(args.target) + n * classes};
  const S* weight = static_cast<const S*>(args.weight);
  const S kept = static_cast<S>(1 - args.label_smoothing);
  const S spread = static_cast<S>(args.label_smoothing) / static_cast<S>(classes);
  const auto share = [=](std::int64_t c) {
    return (target[c] * kept + spread) * (weight ? weight[c] : S{1});
  };
  const Normalizer<S> row = normalizer_of<kThreads>(x, classes);
  const S lse = row.most + log(row.sum);
  const Pair<S> sums = sum_row<kThreads, Pair<S>>(
      classes, [=](std::int64_t c) { return Pair<S>{share(c), share(c) * (lse - x[c])}; });
  if (threadIdx.x % kThreads == 0) static_cast<S*>(args.losses)[n] = sums.second;
  if (args.grad_x == nullptr) return;
  S* grad_x = static_cast<S*>(args.grad_x) + n * classes;
  const S slope = factor * sums.first / row.sum;
  write_row<kThreads>(classes, [&](std::int64_t c) {
    grad_x[c] = exp(x[c] - row.most) * slope - share(c) * factor;
  });
}

// Shares of a whole: the gradient is factor * (1 / sum - [c == target] / x[target]).
template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock)
    shares_kernel(const CrossEntropyShares args, Sum<T> factor) {
  using S = Sum<T>;
  const std::int64_t n = own_row<kThreads>(), classes = args.classes;
  if (n >= args.rows) return;
  const Scores<T> x = {static_cast<const T*>(args.x) + n * classes};
  const std::int64_t target = args.target[n];
  const S least = static_cast<S>(args.epsilon), most = static_cast<S>(1 - args.epsilon);
  const S sum = sum_row<kThreads, S>(classes, [=](std::int64_t c) { return x[c]; });
  const S share = x[target] / sum;
  const bool inside = share >= least && share <= most;
  if (threadIdx.x % kThreads == 0) {
    const S kept = share < least ? least : share > most ? most : share;  // NaN stays
    static_cast<S*>(args.losses)[n] = -log(kept);
  }
  if (args.grad_x == nullptr) return;
  S* grad_x = static_cast<S*>(args.grad_x) + n * classes;
  const S even = inside ? factor / sum : S{0}, own = inside ? factor / x[target] : S{0};
  write_row<kThreads>(classes,
                      [&](std::int64_t c) { grad_x[c] = even - (c == target ? own : S{0}); });
}

template <class T>
void sum_class_weights(const CrossEntropyRows& in, T* sum) {
  reduce_by(ClassWeights<T>{{}, static_cast<const T*>(in.weight), sum}, line_shape(in.classes));
}

// Launches the kernel whose threads fit the shape.
template <class Args, class T>
void launch_lines(const CrossEntropyRows& in, void (*column)(Args, const T*),
                  void (*short_row)(Args, const T*), void (*long_row)(Args, const T*),
                  const Args& args, const T* classes) {
  if (in.inner == 1) return launch_rows(in.rows, in.classes, short_row, long_row, args, classes);
  if (in.rows > 0) launch(column, {blocks_of(in.rows, kBlock), kBlock}, args, classes);
}

struct CheckLabel {
  const std::int64_t* target;
  std::int64_t classes, instead;
  std::int64_t* checked;
  int* flag;
  __device__ void operator()(std::int64_t row) const {
    const std::int64_t label = target[row];
    const bool bad = (label < 0 || label >= classes) && label != instead;
    checked[row] = bad ? instead : label;
    if (bad) raise_flag(flag);
  }
};

// Elsewhere the host has looked at the labels; while a graph is captured it cannot. Then `instead`
// stands for those out of range, and whoever waits for a replay is told.
class CheckedLabels {
 public:
  template <class Rows>
  CheckedLabels(Rows& in, std::int64_t instead)
      : memory_(is_capturing() ? static_cast<std::size_t>(in.rows) * sizeof(std::int64_t) : 0) {
    if (memory_.data == nullptr) return;
    auto* const checked = static_cast<std::int64_t*>(memory_.data);
    for_each_index(in.rows,
                   CheckLabel{in.target, in.classes, instead, checked, fault_of_captured()});
    in.target = checked;
  }

 private:
  Scratch memory_;
};

template <class T>
void forward(CrossEntropy args) {
  using S = Sum<T>;
  const CheckedLabels labels(args.in, args.in.ignore_index);
  const CrossEntropyRows& in = args.in;
  const Scratch weight_sum(sizeof(S));
  S* classes = static_cast<S*>(weight_sum.data);
  S* total = static_cast<S*>(args.total);
  if (args.grad_x) sum_class_weights(in, classes);
  reduce_by(TargetWeights<S>{{}, in, total}, line_shape(in.rows));
  launch_lines(in, forward_kernel<1, T>, forward_kernel<kWarp, T>, forward_kernel<kBlock, T>, args,
               classes);
  const bool mean = in.reduction == Reduction::mean;
  reduce_by(LossSum<S>{{},
                       static_cast<const S*>(args.losses),
                       mean ? total : nullptr,
                       1.0,
                       static_cast<S*>(args.loss)},
            line_shape(in.rows));
}

template <class T>
void backward(CrossEntropyBackward args) {
  using S = Sum<T>;
  const CheckedLabels labels(args.in, args.in.ignore_index);
  const Scratch weight_sum(sizeof(S));
  S* classes = static_cast<S*>(weight_sum.data);
  sum_class_weights(args.in, classes);
  launch_lines(args.in, backward_kernel<1, T>, backward_kernel<kWarp, T>,
               backward_kernel<kBlock, T>, args, classes);
}

// Launches the kernel whose threads fit the rows, then sums the losses.
template <class T, class Args>
void independent_rows(const Args& args, void (*short_row)(Args, T), void (*long_row)(Args, T)) {
  const bool mean = args.reduction == Reduction::mean;
  const T factor = mean ? T{1} / static_cast<T>(args.rows) : T{1};
  launch_rows(args.rows, args.classes, short_row, long_row, args, factor);
  const double rows = args.classes > 0 ? static_cast<double>(args.rows)
                                       : std::numeric_limits<double>::quiet_NaN();  // as in PyTorch
  reduce_by(LossSum<T>{{},
                       static_cast<const T*>(args.losses),
                       nullptr,
                       mean ? rows : 1.0,
                       static_cast<T*>(args.loss)},
            line_shape(args.rows));
}

}  // namespace

void cross_entropy(const CrossEntropy& args) {
  visit_stored(args.in.dtype, [&](auto type) { forward<typename decltype(type)::type>(args); });
}

void cross_entropy_backward(const CrossEntropyBackward& args) {
  visit_stored(args.in.dtype, [&](auto type) { backward<typename decltype(type)::type>(args); });
}

void cross_entropy_soft(const CrossEntropySoft& args) {
  visit_stored(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    independent_rows<Sum<T>>(args, soft_kernel<kWarp, T>, soft_kernel<kBlock, T>);
  });
}

void cross_entropy_shares(const CrossEntropyShares& given) {
  CrossEntropyShares args = given;
  const CheckedLabels labels(args, 0);
  visit_stored(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    independent_rows<Sum<T>>(args, shares_kernel<kWarp, T>, shares_kernel<kBlock, T>);
  });
}

}  // namespace tilegrad::cuda
