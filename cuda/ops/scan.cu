// Cumulative products, extremes and log-sum-exps along one dimension (scan.cuh), and the gradient
// of the product.
//
// Products and sums of exponentials of float32 run in double. 2 * sizeof(T) bytes an element, and 8
// for the place of an extreme. The gradient is two scans, of the products before an element and of
// the affine maps behind it: 5 * sizeof(T) bytes and some 5 operations an element. Up to 80
// registers, 3 blocks of 256 threads on a multiprocessor; most at 48 and 5.
#include "ops/scan.h"

#include <limits>

#include "scan.cuh"

namespace tilegrad::cuda {
namespace {

template <class T, class A>
struct RunningProduct {
  using State = A;
  const T* x;
  T* y;
  __device__ A identity() const { return A{1}; }
  __device__ A lift(std::int64_t at, std::int64_t) const { return static_cast<A>(x[at]); }
  __device__ A operator()(A a, A b) const { return a * b; }
  __device__ void store(std::int64_t at, A, A with) const { y[at] = static_cast<T>(with); }
};

// log(exp(a) + exp(b)); of two equal infinities, that one.
template <class T>
struct RunningLogSum {
  using State = double;
  const T* x;
  T* y;
  __device__ double identity() const { return -std::numeric_limits<double>::infinity(); }
  __device__ double lift(std::int64_t at, std::int64_t) const { return static_cast<double>(x[at]); }
  __device__ double operator()(double a, double b) const {
    if (a != a || b != b) return a + b;
    const double low = min(a, b), high = max(a, b);
    if (low == high && isinf(low)) return low;
    return high + log1p(exp(low - high));
  }
  __device__ void store(std::int64_t at, double, double with) const {
    y[at] = static_cast<T>(with);
  }
};

// An element and where it stands; negative: nothing yet.
template <class T>
struct Found {
  std::int64_t index;
  T value;
  unsigned char unused[8 - sizeof(T)];
};
template <>
struct Found<double> {
  std::int64_t index;
  double value;
};
template <>
struct Found<std::int64_t> {
  std::int64_t index, value;
};

// The running extreme: the last of equal ones, and the last NaN.
template <class T, bool largest>
struct RunningExtreme {
  using State = Found<T>;
  const T* x;
  T* y;
  std::int64_t* places;
  __device__ State identity() const { return State{-1, T{}}; }
  __device__ State lift(std::int64_t at, std::int64_t i) const { return State{i, x[at]}; }
  __device__ State operator()(State a, State b) const {  // b stands behind a
    if (b.index < 0) return a;
    const bool beats = largest ? b.value >= a.value : b.value <= a.value;
    return a.index < 0 || b.value != b.value || beats ? b : a;
  }
  __device__ void store(std::int64_t at, State, State with) const {
    y[at] = with.value;
    places[at] = with.index;
  }
};

template <class T, class Product>
void scan_numbers(const Scan& args) {
  const ScanShape shape = {args.outer, args.length, args.inner, args.reverse};
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  switch (args.op) {
    case ScanOp::prod:
      return scan_lines(RunningProduct<T, Product>{x, y}, shape);
    case ScanOp::max:
      return scan_lines(RunningExtreme<T, true>{x, y, args.index}, shape);
    case ScanOp::min:
      return scan_lines(RunningExtreme<T, false>{x, y, args.index}, shape);
    case ScanOp::log_sum_exp:
      if constexpr (std::is_floating_point_v<T>) scan_lines(RunningLogSum<T>{x, y}, shape);
  }
}

// --- gradient of the product ---

// grad_x[k] = x[0] * ... * x[k - 1]
template <class T>
struct ProductBefore {
  using State = double;
  const T* x;
  double* products;
  __device__ double identity() const { return 1; }
  __device__ double lift(std::int64_t at, std::int64_t) const { return static_cast<double>(x[at]); }
  __device__ double operator()(double a, double b) const { return a * b; }
  __device__ void store(std::int64_t at, double before, double) const { products[at] = before; }
};

// From the last element to the first: r[k] = grad[k] + x[k + 1] * r[k + 1]. An element is the map
// r -> x[k] * (grad[k] + r) from x[k + 1] * r[k + 1] to x[k] * r[k], and scans compose maps.
struct Affine {
  double factor, term;
};
template <class T>
struct GradientBehind {
  using State = Affine;
  const T *x, *grad;
  const double* products;
  T* grad_x;
  __device__ Affine identity() const { return {1, 0}; }
  __device__ Affine lift(std::int64_t at, std::int64_t) const {
    const double value = static_cast<double>(x[at]);
    return {value, value * static_cast<double>(grad[at])};
  }
  __device__ Affine operator()(Affine a, Affine b) const {  // a first, then b
    const double carried =
        a.term == 0 ? 0 : b.factor * a.term;  // infinity times nothing is nothing
    return {a.factor * b.factor, carried + b.term};
  }
  __device__ void store(std::int64_t at, Affine before, Affine) const {
    grad_x[at] = static_cast<T>(products[at] * (static_cast<double>(grad[at]) + before.term));
  }
};

template <class T>
void cumprod_gradient(const CumprodBackward& args) {
  const std::int64_t size = args.outer * args.length * args.inner;
  const Scratch memory(static_cast<std::size_t>(size) * sizeof(double));
  double* const products = static_cast<double*>(memory.data);
  const T *x = static_cast<const T*>(args.x), *grad = static_cast<const T*>(args.grad);
  scan_lines(ProductBefore<T>{x, products}, {args.outer, args.length, args.inner});
  scan_lines(GradientBehind<T>{x, grad, products, static_cast<T*>(args.grad_x)},
             {args.outer, args.length, args.inner, true});
}

}  // namespace

void scan(const Scan& args) {
  if (args.dtype == DType::float32) return scan_numbers<float, double>(args);
  if (args.dtype == DType::float64) return scan_numbers<double, double>(args);
  scan_numbers<std::int64_t, std::uint64_t>(args);  // products wrap around
}

void cumprod_backward(const CumprodBackward& args) {
  if (args.dtype == DType::float32) return cumprod_gradient<float>(args);
  cumprod_gradient<double>(args);
}

}  // namespace tilegrad::cuda
