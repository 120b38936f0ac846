// Batch normalization, with ReLU and residual fused into its one write.
//
// Training: two folds for mean and variance (moments.cuh) and one elementwise pass, 4 * sizeof(T)
// bytes an element (of planes that fit the second cache, 2 *). Gradient: one fold for both sums and
// one pass, 5 * sizeof(T). In channels-last images the folds run over columns, else over rows.
#include "ops/batchnorm.h"

#include "moments.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Arrays {
  const T *x, *weight, *bias, *residual, *grad_y;
  T *y, *mean, *rstd, *grad_x, *grad_residual, *grad_weight, *grad_bias;
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
};

template <class T>
struct Normalize {
  Arrays<T> a;
  ChannelIndex index;
  bool relu;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t c = index.channel(i);
    const T scale = a.weight ? a.rstd[c] * a.weight[c] : a.rstd[c];
    T value = (a.x[i] - a.mean[c]) * scale;
    if (a.bias) value += a.bias[c];
    if (a.residual) value += a.residual[i];
    a.y[i] = relu && value <= T{0} ? T{0} : value;  // NaN stays
  }
};

// The gradient before ReLU let it pass or not.
template <class T>
__device__ T passed(const Arrays<T>& a, bool relu, std::int64_t i) {
  return relu && a.y[i] <= T{0} ? T{0} : a.grad_y[i];
}

// grad_bias = sum(g), grad_weight = sum(g * z) with z = (x - mean) * rstd
template <class T>
struct Gradients : Add {
  using Accumulator = Pair<T>;
  Arrays<T> a;
  bool relu;
  __device__ Pair<T> identity() const { return {}; }
  __device__ Pair<T> lift(std::int64_t i, std::int64_t c) const {
    const T g = passed(a, relu, i);
    return {g, g * (a.x[i] - a.mean[c])};
  }
  __device__ void store(std::int64_t c, Pair<T> sums) const {
    a.grad_bias[c] = sums.first;
    a.grad_weight[c] = sums.second * a.rstd[c];
  }
};

// grad_x = weight * rstd * (g - average(g) - z * average(g * z)); the averages only where mean and
// rstd came from x.
template <class T>
struct InputGradient {
  Arrays<T> a;
  ChannelIndex index;
  bool relu;
  T share;  // 1 / elements of a channel, or 0
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t c = index.channel(i);
    const T g = passed(a, relu, i), rstd = a.rstd[c];
    if (a.grad_residual) a.grad_residual[i] = g;
    if (!a.grad_x) return;
    const T scale = a.weight ? rstd * a.weight[c] : rstd;
    T inner = g;
    if (share != T{0})
      inner -= share * (a.grad_bias[c] + (a.x[i] - a.mean[c]) * rstd * a.grad_weight[c]);
    a.grad_x[i] = scale * inner;
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
  const T count = static_cast<T>(args.batch * args.length);
  reduce_by(Mean<T>{{}, a.x, a.mean, count}, shape);
  reduce_by(Spread<T>{{},
                      a.x,
                      a.mean,
                      a.rstd,
                      count,
                      static_cast<T>(args.eps),
                      static_cast<T*>(args.running_mean),
                      static_cast<T*>(args.running_var),
                      static_cast<T>(args.momentum)},
            shape);
  forward<T>(args);
}

template <class T>
void backward(const BatchNorm& args) {
  const Arrays<T> a(args);
  reduce_by(Gradients<T>{{}, a, args.relu}, channel_shape(args.batch, args.channels, args.length));
  if (!a.grad_x && !a.grad_residual) return;
  const T share = args.training ? T{1} / static_cast<T>(args.batch * args.length) : T{0};
  const ChannelIndex index(args.batch, args.channels, args.length);
  for_each_index(args.batch * args.channels * args.length,
                 InputGradient<T>{a, index, args.relu, share});
}

}  // namespace

void batchnorm_train(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto type) { train<typename decltype(type)::type>(args); });
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
  visit_floating(args.dtype, [&](auto type) { forward<typename decltype(type)::type>(args); });
}

void batchnorm_backward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto type) { backward<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
