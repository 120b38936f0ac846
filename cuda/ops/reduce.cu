// The reductions of a tensor over some of its dimensions; the way through memory is in reduce.cuh.
// sizeof(T) bytes and one operation an element; halves are folded in float32 and rounded once. Up
// to 48 registers, 5 blocks of 256 threads on a multiprocessor.
#include "reduce.cuh"

#include <limits>

#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
using Unsigned = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;

// What elements of T are folded in: bools as the numbers 0 and 1.
template <class T>
using AccumulatorOf = std::conditional_t<std::is_integral_v<T>, std::int64_t, Sum<T>>;

template <class T>
__device__ T lifted(ReduceOp op, T x, T center) {
  if constexpr (std::is_floating_point_v<T>) {
    if (op == ReduceOp::sum_abs) return fabs(x);
    if (op == ReduceOp::sum_squares) return x * x;
    if (op == ReduceOp::sum_squared_deviations) return (x - center) * (x - center);
  }
  return x;
}

// Y: the dtype of the result. Integers wrap around; NaN wins in amax and amin.
template <ReduceOp kind, class T, class Y>
struct Fold {
  using Accumulator = AccumulatorOf<T>;
  using A = Accumulator;
  const T* x;
  const A* center;
  Y* y;
  A divisor;

  __device__ A identity() const {
    if constexpr (kind == ReduceOp::prod) return A{1};
    // Of no booleans at all, any is false and all is true; the accumulator is wider than they are.
    if constexpr (std::is_same_v<T, bool> && kind == ReduceOp::amax) return A{0};
    if constexpr (std::is_same_v<T, bool> && kind == ReduceOp::amin) return A{1};
    using Limits = std::numeric_limits<A>;
    constexpr A largest = Limits::has_infinity ? Limits::infinity() : Limits::max();
    constexpr A smallest = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    if constexpr (kind == ReduceOp::amax) return smallest;
    if constexpr (kind == ReduceOp::amin) return largest;
    return A{0};
  }
  __device__ A lift(std::int64_t offset, std::int64_t output) const {
    return lifted(kind, static_cast<A>(x[offset]), center ? center[output] : A{0});
  }
  __device__ A operator()(A a, A b) const {
    if constexpr (kind == ReduceOp::prod)
      return static_cast<A>(static_cast<Unsigned<A>>(a) * static_cast<Unsigned<A>>(b));
    else if constexpr (kind == ReduceOp::amax) return a > b || a != a ? a : b;
    else if constexpr (kind == ReduceOp::amin) return a < b || a != a ? a : b;
    else return static_cast<A>(static_cast<Unsigned<A>>(a) + static_cast<Unsigned<A>>(b));
  }
  __device__ void store(std::int64_t output, A result) const {
    if constexpr (std::is_floating_point_v<A>)
      if (divisor != A{1}) result /= divisor;
    y[output] = static_cast<Y>(result);
  }
};

template <ReduceOp kind, class T, class Y = T>
void fold(const Reduce& args) {
  using A = AccumulatorOf<T>;
  reduce_by(Fold<kind, T, Y>{static_cast<const T*>(args.x), static_cast<const A*>(args.center),
                             static_cast<Y*>(args.y), static_cast<A>(args.divisor)},
            args.shape);
}

template <ReduceOp kind>
void fold_floating(const Reduce& args) {
  const bool done = visit_halves(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (kind == ReduceOp::sum || kind == ReduceOp::sum_squares)
      if (args.wide) return fold<kind, T, float>(args);
    fold<kind, T>(args);
  });
  if (done) return;
  if (args.dtype == DType::float64) return fold<kind, double>(args);
  fold<kind, float>(args);
}

template <ReduceOp kind, bool with_bool, class BoolResult>
void fold_any(const Reduce& args) {
  if constexpr (with_bool)
    if (args.dtype == DType::boolean) return fold<kind, bool, BoolResult>(args);
  if (args.dtype == DType::int64) return fold<kind, std::int64_t>(args);
  fold_floating<kind>(args);
}

}  // namespace

void reduce(const Reduce& args) {
  switch (args.op) {
    case ReduceOp::sum:
      return fold_any<ReduceOp::sum, true, std::int64_t>(args);
    case ReduceOp::prod:
      return fold_any<ReduceOp::prod, false, bool>(args);
    case ReduceOp::amax:
      return fold_any<ReduceOp::amax, true, bool>(args);
    case ReduceOp::amin:
      return fold_any<ReduceOp::amin, true, bool>(args);
    case ReduceOp::sum_abs:
      return fold_floating<ReduceOp::sum_abs>(args);
    case ReduceOp::sum_squares:
      return fold_floating<ReduceOp::sum_squares>(args);
    case ReduceOp::sum_squared_deviations:
      return fold_floating<ReduceOp::sum_squared_deviations>(args);
  }
}

}  // namespace tilegrad::cuda
