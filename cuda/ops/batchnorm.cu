// Batch normalization, with ReLU and residual fused into its one write.
//
// Training: two folds for mean and variance (moments.cuh) and one elementwise pass, 4 * sizeof(T)
// bytes an element (of planes that fit the second cache, 2 *), and some 10 operations. Gradient:
// one fold for both sums and one pass, 5 * sizeof(T) bytes, some 15 operations. In channels-last
// images the folds run over columns, else over rows. Up to 48 registers, 5 blocks of 256 threads on
// a multiprocessor.
#include "ops/batchnorm.h"

#include "moments.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Arrays {
  using S = Sum<T>;
  const T *x, *residual, *grad_y;
  const S *weight, *bias;
  T *y, *grad_x, *grad_residual;
  S *mean, *rstd, *grad_weight, *grad_bias;
  explicit Arrays(const BatchNorm& a)
      : x(static_cast<const T*>(a.x)),
        residual(static_cast<const T*>(a.residual)),
        grad_y(static_cast<const T*>(a.grad_y)),
        weight(static_cast<const S*>(a.weight)),
        bias(static_cast<const S*>(a.bias)),
        y(static_cast<T*>(a.y)),
        grad_x(static_cast<T*>(a.grad_x)),
        grad_residual(static_cast<T*>(a.grad_residual)),
        mean(static_cast<S*>(a.mean)),
        rstd(static_cast<S*>(a.rstd)),
        grad_weight(static_cast<S*>(a.grad_weight)),
        grad_bias(static_cast<S*>(a.grad_bias)) {}
};

template <class T>
struct Normalize {
  using S = Sum<T>;
  Arrays<T> a;
  ChannelIndex index;
  bool relu;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t c = index.channel(i);
    const S scale = a.weight ? a.rstd[c] * a.weight[c] : a.rstd[c];
    S value = (static_cast<S>(a.x[i]) - a.mean[c]) * scale;
    if (a.bias) value += a.bias[c];
    if (a.residual) value += static_cast<S>(a.residual[i]);
    a.y[i] = static_cast<T>(relu && value <= S{0} ? S{0} : value);  // NaN stays
  }
};

// The gradient before ReLU let it pass or not.
template <class T>
__device__ Sum<T> passed(const Arrays<T>& a, bool relu, std::int64_t i) {
  using S = Sum<T>;
  return relu && static_cast<S>(a.y[i]) <= S{0} ? S{0} : static_cast<S>(a.grad_y[i]);
}

// grad_bias = sum(g), grad_weight = sum(g * z) with z = (x - mean) * rstd
template <class T>
struct Gradients : Add {
  using S = Sum<T>;
  using Accumulator = Pair<S>;
  Arrays<T> a;
  bool relu;
  __device__ Pair<S> identity() const { return {}; }
  __device__ Pair<S> lift(std::int64_t i, std::int64_t c) const {
    const S g = passed(a, relu, i);
    return {g, g * (static_cast<S>(a.x[i]) - a.mean[c])};
  }
  __device__ void store(std::int64_t c, Pair<S> sums) const {
    a.grad_bias[c] = sums.first;
    a.grad_weight[c] = sums.second * a.rstd[c];
  }
};

// grad_x = weight * rstd * (g - average(g) - z * average(g * z)); the averages only where mean and
// rstd came from x.
template <class T>
struct InputGradient {
  using S = Sum<T>;
  Arrays<T> a;
  ChannelIndex index;
  bool relu;
  S share;  // 1 / elements of a channel, or 0
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t c = index.channel(i);
    const S g = passed(a, relu, i), rstd = a.rstd[c];
    if (a.grad_residual) a.grad_residual[i] = static_cast<T>(g);
    if (!a.grad_x) return;
    const S scale = a.weight ? rstd * a.weight[c] : rstd;
    S inner = g;
    if (share != S{0}) {
      const S z = (static_cast<S>(a.x[i]) - a.mean[c]) * rstd;
      inner -= share * (a.grad_bias[c] + z * a.grad_weight[c]);
    }
    a.grad_x[i] = static_cast<T>(scale * inner);
  }
};

template <class T>
struct RunningRstd {
  const T* variance;
  T* rstd;
  T eps;
  __device__ void operator()(std::int64_t c) const { rstd[c] = T{1} / sqrt(variance[c] + eps); }
};

template <class T>
void forward(const BatchNorm& args) {
  const ChannelIndex index(args.batch, args.channels, args.length);
  for_each_index(args.batch * args.channels * args.length,
                 Normalize<T>{Arrays<T>(args), index, args.relu});
}

template <class T>
void train(const BatchNorm& args) {
  const Arrays<T> a(args);
  const ReduceShape shape = channel_shape(args.batch, args.channels, args.length);
  using S = Sum<T>;
  const S count = static_cast<S>(args.batch * args.length);
  reduce_by(Mean<S, T>{{}, a.x, a.mean, count}, shape);
  reduce_by(Spread<S, T>{{},
                         a.x,
                         a.mean,
                         a.rstd,
                         count,
                         static_cast<S>(args.eps),
                         static_cast<S*>(args.running_mean),
                         static_cast<S*>(args.running_var),
                         static_cast<S>(args.momentum)},
            shape);
  forward<T>(args);
}

template <class T>
void backward(const BatchNorm& args) {
  const Arrays<T> a(args);
  reduce_by(Gradients<T>{{}, a, args.relu}, channel_shape(args.batch, args.channels, args.length));
  if (!a.grad_x && !a.grad_residual) return;
  using S = Sum<T>;
  const S share = args.training ? S{1} / static_cast<S>(args.batch * args.length) : S{0};
  const ChannelIndex index(args.batch, args.channels, args.length);
  for_each_index(args.batch * args.channels * args.length,
                 InputGradient<T>{a, index, args.relu, share});
}

}  // namespace

void batchnorm_train(const BatchNorm& args) {
  visit_stored(args.dtype, [&](auto type) { train<typename decltype(type)::type>(args); });
}

void batchnorm_rstd(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_index(args.channels,
                   RunningRstd<T>{static_cast<const T*>(args.running_var),
                                  static_cast<T*>(args.rstd), static_cast<T>(args.eps)});
  });
}

void batchnorm_forward(const BatchNorm& args) {
  visit_stored(args.dtype, [&](auto type) { forward<typename decltype(type)::type>(args); });
}

void batchnorm_backward(const BatchNorm& args) {
  visit_stored(args.dtype, [&](auto type) { backward<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
