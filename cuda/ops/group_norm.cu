// Group normalization and its gradients: folds over the rows that groups are (moments.cuh), and one
// elementwise pass. Halves are computed in float32 and rounded once. 4 * sizeof(T) bytes an element
// forward, 7 * backward, and some 10 to 20 operations. Up to 56 registers, 4 blocks of 256 threads
// on a multiprocessor.
#include "ops/group_norm.h"

#include "moments.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Arrays {
  using S = Sum<T>;
  const T *x, *grad_y;
  const S *weight, *bias;
  T *y, *grad_x;
  S *mean, *rstd, *grad_weight, *grad_bias;
  ChannelIndex index;
  std::int64_t channels, together;  // channels of a group
  explicit Arrays(const GroupNorm& a)
      : x(static_cast<const T*>(a.x)),
        grad_y(static_cast<const T*>(a.grad_y)),
        weight(static_cast<const S*>(a.weight)),
        bias(static_cast<const S*>(a.bias)),
        y(static_cast<T*>(a.y)),
        grad_x(static_cast<T*>(a.grad_x)),
        mean(static_cast<S*>(a.mean)),
        rstd(static_cast<S*>(a.rstd)),
        grad_weight(static_cast<S*>(a.grad_weight)),
        grad_bias(static_cast<S*>(a.grad_bias)),
        index(a.batch, a.channels, a.length),
        channels(a.channels),
        together(a.together()) {}
  // Groups of channels do not cross samples: planes count on.
  __device__ std::int64_t group(std::int64_t i) const { return index.plane(i) / together; }
  __device__ S factor(std::int64_t i) const { return weight ? weight[index.channel(i)] : S{1}; }
  // What the element lies above its group's mean, and the gradient of its result.
  __device__ S centered(std::int64_t i, std::int64_t group) const {
    return static_cast<S>(x[i]) - mean[group];
  }
  __device__ S grad(std::int64_t i) const { return static_cast<S>(grad_y[i]); }
};

template <class T>
struct Normalize {
  Arrays<T> a;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t group = a.group(i);
    Sum<T> value = a.centered(i, group) * a.rstd[group] * a.factor(i);
    if (a.bias) value += a.bias[a.index.channel(i)];
    a.y[i] = static_cast<T>(value);
  }
};

// Per channel: grad_weight = sum(grad_y * z), grad_bias = sum(grad_y).
template <class T>
struct WeightGradients : Add {
  using Accumulator = Pair<Sum<T>>;
  Arrays<T> a;
  __device__ Accumulator identity() const { return {}; }
  __device__ Accumulator lift(std::int64_t i, std::int64_t) const {
    const std::int64_t group = a.group(i);
    return {a.grad(i) * (a.centered(i, group) * a.rstd[group]), a.grad(i)};
  }
  __device__ void store(std::int64_t c, Accumulator sums) const {
    if (a.grad_weight) a.grad_weight[c] = sums.first;
    if (a.grad_bias) a.grad_bias[c] = sums.second;
  }
};

// Per group: the averages of g = grad_y * weight and of g * z.
template <class T>
struct Averages : Add {
  using Accumulator = Pair<Sum<T>>;
  using Runs = void;
  Arrays<T> a;
  Accumulator* averages;
  Sum<T> count;
  __device__ Accumulator identity() const { return {}; }
  __device__ Accumulator lift(std::int64_t i, std::int64_t group) const {
    const Sum<T> g = a.grad(i) * a.factor(i);
    return {g, g * a.centered(i, group)};
  }
  __device__ void store(std::int64_t group, Accumulator sums) const {
    averages[group] = {sums.first / count, sums.second / count * a.rstd[group]};
  }
};

// grad_x = rstd * (g - average(g) - z * average(g * z))
template <class T>
struct InputGradient {
  Arrays<T> a;
  const Pair<Sum<T>>* averages;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t group = a.group(i);
    const Sum<T> rstd = a.rstd[group], z = a.centered(i, group) * rstd;
    const Pair<Sum<T>> average = averages[group];
    a.grad_x[i] =
        static_cast<T>(rstd * (a.grad(i) * a.factor(i) - average.first - z * average.second));
  }
};

// One output per group: a row of memory each.
ReduceShape group_shape(const GroupNorm& args) {
  const std::int64_t size = args.together() * args.length;
  ReduceShape shape = line_shape(size);
  shape.kept_ndim = 1;
  shape.kept_shape[0] = args.batch * args.groups;
  shape.kept_strides[0] = size;
  if (size == 1) shape.reduced_ndim = 0;
  return shape;
}

template <class T>
void forward(const GroupNorm& args) {
  using S = Sum<T>;
  const Arrays<T> a(args);
  const ReduceShape shape = group_shape(args);
  const S count = static_cast<S>(args.together() * args.length);
  reduce_by(Mean<S, T>{{}, a.x, a.mean, count}, shape);
  reduce_by(Spread<S, T>{{}, a.x, a.mean, a.rstd, count, static_cast<S>(args.eps)}, shape);
  for_each_index(args.batch * args.channels * args.length, Normalize<T>{a});
}

template <class T>
void backward(const GroupNorm& args) {
  const Arrays<T> a(args);
  if (a.grad_weight || a.grad_bias)
    reduce_by(WeightGradients<T>{{}, a}, channel_shape(args.batch, args.channels, args.length));
  if (!a.grad_x) return;
  using S = Sum<T>;
  const Scratch memory(static_cast<std::size_t>(args.batch * args.groups) * sizeof(Pair<S>));
  auto* const averages = static_cast<Pair<S>*>(memory.data);
  const S count = static_cast<S>(args.together() * args.length);
  reduce_by(Averages<T>{{}, a, averages, count}, group_shape(args));
  for_each_index(args.batch * args.channels * args.length, InputGradient<T>{a, averages});
}

}  // namespace

void group_norm(const GroupNorm& args) {
  visit_stored(args.dtype, [&](auto type) { forward<typename decltype(type)::type>(args); });
}

void group_norm_backward(const GroupNorm& args) {
  visit_stored(args.dtype, [&](auto type) { backward<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
