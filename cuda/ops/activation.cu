// Activation functions, 2 * sizeof(T) bytes an element, and their derivatives, 3 * sizeof(T).
// Each is a kernel of its own: some need many registers, relu must not. One operation an element
// for relu, some 20 to 40 where there is an exponential or an error function: bound by memory.
// Up to 48 registers, 5 blocks of 256 threads on a multiprocessor; the cheap ones 32 and 8.
#include "ops/activation.h"

#include "elementwise.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Parameters {
  T a, b, c;
};

template <class T>
__device__ T logistic(T x) {
  return T{1} / (T{1} + exp(-x));
}
template <class T>
__device__ T softplus(T x) {
  return (x < T{0} ? T{0} : x) + log1p(exp(-fabs(x)));
}
template <class T>
__device__ T limited(T x, T low, T high) {  // NaN stays
  x = x < low ? low : x;
  return x > high ? high : x;
}
template <class T>
__device__ T hard_gate(T x) {
  return limited(x + T{3}, T{0}, T{6}) * T(1.0 / 6);  // a division would spill registers
}

// gelu(x) = x * P(X < x) of a normal X, from the tail that is small, so that it keeps its digits.
template <class T>
__device__ T normal_share(T x) {
  return T(0.5) * erfc(x * T(-0.70710678118654752440));
}
template <class T>
__device__ T normal_density(T x) {
  return T(0.39894228040143267794) * exp(T(-0.5) * x * x);
}
template <class T>
__device__ T gelu_tanh_gate(T x) {
  return tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x));
}
template <class T>
__device__ T gelu_tanh_slope(T x) {
  const T gate = gelu_tanh_gate(x);
  const T inner = T(0.79788456080286535588) * (T{1} + T(3 * 0.044715) * x * x);
  return T(0.5) * (T{1} + gate) + T(0.5) * x * (T{1} - gate * gate) * inner;
}
template <class T>
__device__ T silu_slope(T x) {
  const T s = logistic(x);
  return s * (T{1} + x * (T{1} - s));
}

// y = f(x), with the parameters a, b, c.
template <class T, ActivationOp op>
struct Forward {
  Parameters<T> p;
  __device__ T operator()(T x) const {
    const T a = p.a, b = p.b, c = p.c;
    if constexpr (op == ActivationOp::relu) return x < T{0} ? T{0} : x;  // NaN stays
    if constexpr (op == ActivationOp::sigmoid) return logistic(x);
    if constexpr (op == ActivationOp::tanh) return tanh(x);
    if constexpr (op == ActivationOp::gelu) return x * normal_share(x);
    if constexpr (op == ActivationOp::gelu_tanh) return T(0.5) * x * (T{1} + gelu_tanh_gate(x));
    if constexpr (op == ActivationOp::silu) return x / (T{1} + exp(-x));
    if constexpr (op == ActivationOp::leaky_relu) return x > T{0} ? x : x * a;
    if constexpr (op == ActivationOp::elu) return x > T{0} ? b * x : a * b * expm1(x * c);
    if constexpr (op == ActivationOp::softplus) return x * a > b ? x : softplus(x * a) / a;
    if constexpr (op == ActivationOp::log_sigmoid) return -softplus(-x);
    if constexpr (op == ActivationOp::clamp || op == ActivationOp::hardtanh)
      return limited(x, a, b);
    if constexpr (op == ActivationOp::hardsigmoid) return hard_gate(x);
    if constexpr (op == ActivationOp::hardswish) return x * hard_gate(x);
  }
};

// grad_x = grad * f'(value); value is the output of relu, sigmoid and tanh, else the input.
template <class T, ActivationOp op>
struct Backward {
  Parameters<T> p;
  __device__ T operator()(T grad, T x) const {
    const T a = p.a, b = p.b, c = p.c;
    if constexpr (op == ActivationOp::relu) return x <= T{0} ? T{0} : grad;
    if constexpr (op == ActivationOp::sigmoid) return grad * (x * (T{1} - x));
    if constexpr (op == ActivationOp::tanh) return grad * (T{1} - x * x);
    if constexpr (op == ActivationOp::gelu) return grad * (normal_share(x) + x * normal_density(x));
    if constexpr (op == ActivationOp::gelu_tanh) return grad * gelu_tanh_slope(x);
    if constexpr (op == ActivationOp::silu) return grad * silu_slope(x);
    if constexpr (op == ActivationOp::leaky_relu) return x > T{0} ? grad : grad * a;
    if constexpr (op == ActivationOp::elu)
      return x > T{0} ? grad * b : grad * (a * b * c) * exp(x * c);
    if constexpr (op == ActivationOp::softplus) return x * a > b ? grad : grad * logistic(x * a);
    if constexpr (op == ActivationOp::log_sigmoid) return grad * logistic(-x);
    if constexpr (op == ActivationOp::clamp) return x >= a && x <= b ? grad : T{0};
    if constexpr (op == ActivationOp::hardtanh) return x > a && x < b ? grad : T{0};
    if constexpr (op == ActivationOp::hardsigmoid)
      return x > T{-3} && x < T{3} ? grad / T{6} : T{0};
    if constexpr (op == ActivationOp::hardswish) {
      const T inner = x <= T{-3} ? T{0} : grad * (x / T{3} + T(0.5));
      return x >= T{3} ? grad : inner;
    }
  }
};

// run(f) with the function F<T, op> that belongs to the operation.
template <class T, template <class, ActivationOp> class F, class Args, class Run>
void choose_function(const Args& args, const Run& run) {
  const Parameters<T> p = {static_cast<T>(args.a), static_cast<T>(args.b), static_cast<T>(args.c)};
  switch (args.op) {
#define TILEGRAD_CASE(name) \
  case ActivationOp::name:  \
    return run(F<T, ActivationOp::name>{p});
    TILEGRAD_CASE(relu)
    TILEGRAD_CASE(sigmoid)
    TILEGRAD_CASE(tanh)
    TILEGRAD_CASE(gelu)
    TILEGRAD_CASE(gelu_tanh)
    TILEGRAD_CASE(silu)
    TILEGRAD_CASE(leaky_relu)
    TILEGRAD_CASE(elu)
    TILEGRAD_CASE(softplus)
    TILEGRAD_CASE(log_sigmoid)
    TILEGRAD_CASE(clamp)
    TILEGRAD_CASE(hardtanh)
    TILEGRAD_CASE(hardsigmoid)
    TILEGRAD_CASE(hardswish)
#undef TILEGRAD_CASE
  }
}

}  // namespace

void activation_forward(const Activation& args) {
  const auto of_halves = [&](auto type) {
    using T = typename decltype(type)::type;
    choose_function<float, Forward>(
        args, [&](auto f) { map_elements<T, T>(args.loop, OfHalves<T, decltype(f)>{f}); });
  };
  if (visit_halves(args.dtype, of_halves)) return;
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose_function<T, Forward>(args, [&](auto f) { map_elements<T, T>(args.loop, f); });
  });
}

void activation_backward(const ActivationBackward& args) {
  const auto of_halves = [&](auto type) {
    using T = typename decltype(type)::type;
    choose_function<float, Backward>(
        args, [&](auto f) { map_elements<T, T, T>(args.loop, OfHalves<T, decltype(f)>{f}); });
  };
  if (visit_halves(args.dtype, of_halves)) return;
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    choose_function<T, Backward>(args, [&](auto f) { map_elements<T, T, T>(args.loop, f); });
  });
}

}  // namespace tilegrad::cuda
