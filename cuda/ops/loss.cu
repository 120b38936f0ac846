// Losses that compare element by element: values and slopes, 3 and 4 * sizeof(T) bytes an element,
// and the fold of the values, 2 * sizeof(T). A few operations an element, some 60 with a logarithm.
// Up to 56 registers, 4 blocks of 256 threads on a multiprocessor.
#include "ops/loss.h"

#include "elementwise.cuh"
#include "moments.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
__device__ T bounded_log(T x) {
  const T y = log(x);
  return y < T{-100} ? T{-100} : y;
}

template <class T, LossKind kind>
__device__ T value_of(T x, T t, T p) {
  const T d = fabs(x - t);
  if constexpr (kind == LossKind::squared) return d * d;
  if constexpr (kind == LossKind::absolute) return d;
  if constexpr (kind == LossKind::smooth_l1) return d < p ? d * d * (T(0.5) / p) : d - T(0.5) * p;
  if constexpr (kind == LossKind::huber) return d <= p ? T(0.5) * d * d : p * (d - T(0.5) * p);
  if constexpr (kind == LossKind::probability)
    return (t - T{1}) * bounded_log(T{1} - x) - t * bounded_log(x);
  return (T{1} - t) * x + ((x < T{0} ? -x : T{0}) + log1p(exp(-fabs(x))));
}

template <class T, LossKind kind>
__device__ T slope_of(T x, T t, T p) {
  const T d = x - t;
  if constexpr (kind == LossKind::squared) return T{2} * d;
  if constexpr (kind == LossKind::absolute) return x > t ? T{1} : x < t ? T{-1} : T{0};
  if constexpr (kind == LossKind::smooth_l1) return fabs(d) >= p ? copysign(T{1}, d) : d / p;
  if constexpr (kind == LossKind::huber) return fabs(d) > p ? copysign(p, d) : d;
  if constexpr (kind == LossKind::probability) {
    const T product = x * (T{1} - x);
    return d / (product < T(1e-12) ? T(1e-12) : product);
  }
  return T{1} / (T{1} + exp(-x)) - t;
}

template <class T>
struct Arrays {
  const T *x, *target, *grad;
  T *y, *grad_x;
  T parameter, scale;
  bool one_grad;
  explicit Arrays(const Loss& a)
      : x(static_cast<const T*>(a.x)),
        target(static_cast<const T*>(a.target)),
        grad(static_cast<const T*>(a.grad)),
        y(static_cast<T*>(a.y)),
        grad_x(static_cast<T*>(a.grad_x)),
        parameter(static_cast<T>(a.parameter)),
        scale(static_cast<T>(a.scale)),
        one_grad(a.one_grad) {}
};

template <class T, LossKind kind>
struct Value {
  Arrays<T> a;
  __device__ void operator()(std::int64_t i) const {
    a.y[i] = value_of<T, kind>(a.x[i], a.target[i], a.parameter);
  }
};

template <class T, LossKind kind>
struct Total : Add {
  using Accumulator = T;
  Arrays<T> a;
  __device__ T identity() const { return T{0}; }
  __device__ T lift(std::int64_t i, std::int64_t) const {
    return value_of<T, kind>(a.x[i], a.target[i], a.parameter);
  }
  __device__ void store(std::int64_t, T sum) const { *a.y = a.scale * sum; }
};

template <class T, LossKind kind>
struct Slope {
  Arrays<T> a;
  __device__ void operator()(std::int64_t i) const {
    const T grad = a.one_grad ? *a.grad * a.scale : a.grad[i];
    a.grad_x[i] = grad * slope_of<T, kind>(a.x[i], a.target[i], a.parameter);
  }
};

template <LossKind value>
struct Kind {
  static constexpr LossKind kind = value;
};

// run(Arrays<T>, Kind<...>)
template <class Run>
void with_kind(const Loss& args, const Run& run) {
  visit_floating(args.dtype, [&](auto type) {
    const Arrays<typename decltype(type)::type> a(args);
    switch (args.kind) {
      case LossKind::squared:
        return run(a, Kind<LossKind::squared>{});
      case LossKind::absolute:
        return run(a, Kind<LossKind::absolute>{});
      case LossKind::smooth_l1:
        return run(a, Kind<LossKind::smooth_l1>{});
      case LossKind::huber:
        return run(a, Kind<LossKind::huber>{});
      case LossKind::probability:
        return run(a, Kind<LossKind::probability>{});
      case LossKind::logit:
        return run(a, Kind<LossKind::logit>{});
    }
  });
}

}  // namespace

void loss(const Loss& args) {
  with_kind(args, [&]<class T>(const Arrays<T>& a, auto k) {
    for_each_index(args.size, Value<T, decltype(k)::kind>{a});
  });
}

void loss_sum(const Loss& args) {
  with_kind(args, [&]<class T>(const Arrays<T>& a, auto k) {
    reduce_by(Total<T, decltype(k)::kind>{{}, a}, line_shape(args.size));
  });
}

void loss_backward(const Loss& args) {
  with_kind(args, [&]<class T>(const Arrays<T>& a, auto k) {
    for_each_index(args.size, Slope<T, decltype(k)::kind>{a});
  });
}

}  // namespace tilegrad::cuda
