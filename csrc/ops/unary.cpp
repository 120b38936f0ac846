// One-operand elementwise operations. Each is one scalar function; where it has no branches and
// calls no library (on float32, nowhere), the compiler vectorizes the loop around it for each
// instruction set.
#include "unary.h"

#include <cmath>

#include "../past_caches.h"
#include "../softmax_row.h"
#include "../trigonometry.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// One loop for all strides, for the operations that are not vectorized.
template <class T, class Operation>
static void unary_elements(const StridedLoop<2>& loop, const Operation& operation) {
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1);
  walk_rows(loop, [=](char** pointers, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
      *reinterpret_cast<T*>(pointers[0] + i * sy) =
          operation(*reinterpret_cast<const T*>(pointers[1] + i * sx));
  });
}

// y may be x itself: element i is read before it is written, and no other element is touched.
template <class T, class Operation>
static void unary_rows(const StridedLoop<2>& loop, const Operation& operation) {
  if (loop.inner_stride(0) != sizeof(T) || loop.inner_stride(1) != sizeof(T))
    return unary_elements<T>(loop, operation);
  walk_light_rows(loop, [=](char** pointers, std::int64_t count) {
    T* y = reinterpret_cast<T*>(pointers[0]);
    const T* x = reinterpret_cast<const T*>(pointers[1]);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) y[i] = operation(x[i]);
  });
}

// Integers wrap around: the negative of the smallest is itself, and so is its absolute value.
template <class T>
static T negative(T x) {
  if constexpr (std::is_floating_point_v<T>) return -x;
  else return static_cast<T>(std::uint64_t{0} - static_cast<std::uint64_t>(x));
}
template <class T>
static T absolute(T x) {
  if constexpr (std::is_floating_point_v<T>) return std::fabs(x);
  else return x < T{0} ? negative(x) : x;
}
template <class T>
static T squared(T x) {
  if constexpr (std::is_floating_point_v<T>) return x * x;
  else return static_cast<T>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(x));
}

template <class T>
static void number_ops(const Unary& args) {
  const auto run = [&](auto operation) { unary_rows<T>(args.loop, operation); };
  switch (args.op) {
    case UnaryOp::neg:
      return run([](T x) { return negative(x); });
    case UnaryOp::abs:
      return run([](T x) { return absolute(x); });
    case UnaryOp::sign:
      return run([](T x) { return static_cast<T>((x > T{0}) - (x < T{0})); });
    default:
      return run([](T x) { return squared(x); });
  }
}

// A function of a block: y[i] = f(x[i]). y may be x itself.
template <class T>
using BlockFunction = void (*)(T* y, const T* x, std::int64_t count);

#define TILEGRAD_CASE(name, value)                          \
  case UnaryOp::name:                                       \
    return [](T* y, const T* values, std::int64_t count) {  \
      _Pragma("GCC ivdep") /* the compiler vectorizes it */ \
          for (std::int64_t i = 0; i < count; ++i) {        \
        const T x = values[i];                              \
        y[i] = value;                                       \
      }                                                     \
    };

// The same for a function that register_functions.h may have for whole registers.
#define TILEGRAD_REGISTER_CASE(name, function)                          \
  case UnaryOp::name:                                                   \
    return [](T* y, const T* x, std::int64_t count) {                   \
      apply_row(y, x, count, [](auto v) TILEGRAD_RETURNS(function(v))); \
    };

template <class T>
static BlockFunction<T> floating_function(UnaryOp op) {
  switch (op) {
    TILEGRAD_CASE(floor, std::floor(x))
    TILEGRAD_CASE(ceil, std::ceil(x))
    TILEGRAD_CASE(round, std::nearbyint(x))  // halves to the even neighbour
    TILEGRAD_CASE(trunc, std::trunc(x))
    TILEGRAD_CASE(frac, x - std::trunc(x))
    TILEGRAD_CASE(sqrt, std::sqrt(x))
    TILEGRAD_CASE(rsqrt, T{1} / std::sqrt(x))
    TILEGRAD_CASE(reciprocal, T{1} / x)
    TILEGRAD_REGISTER_CASE(exp, exponential)
    TILEGRAD_CASE(exp2, binary_exponential(x))
    TILEGRAD_CASE(expm1, exp_minus_one(x))
    TILEGRAD_REGISTER_CASE(log, natural_log)
    TILEGRAD_CASE(log2, binary_log(x))
    TILEGRAD_CASE(log10, decimal_log(x))
    TILEGRAD_CASE(log1p, log_plus_one(x))
    TILEGRAD_CASE(sin, sine(x))
    TILEGRAD_CASE(cos, cosine(x))
    TILEGRAD_CASE(tan, tangent(x))
    TILEGRAD_CASE(asin, arc_sine(x))
    TILEGRAD_CASE(acos, arc_cosine(x))
    TILEGRAD_CASE(atan, arc_tangent(x))
    TILEGRAD_CASE(sinh, hyperbolic_sine(x))
    TILEGRAD_CASE(cosh, hyperbolic_cosine(x))
    TILEGRAD_CASE(asinh, inverse_hyperbolic_sine(x))
    TILEGRAD_CASE(acosh, inverse_hyperbolic_cosine(x))
    TILEGRAD_CASE(atanh, inverse_hyperbolic_tangent(x))
    TILEGRAD_REGISTER_CASE(erf, error_function)
    TILEGRAD_CASE(erfc, complementary_error_function(x))
    default:
      return nullptr;
  }
}

// What replaces sin, cos and tan in blocks with arguments beyond kTrigonometricLimit: the C
// library, in double, as accurate as the rest.
template <class T>
static BlockFunction<T> exact_function(UnaryOp op) {
  switch (op) {
    TILEGRAD_CASE(sin, static_cast<T>(std::sin(static_cast<double>(x))))
    TILEGRAD_CASE(cos, static_cast<T>(std::cos(static_cast<double>(x))))
    TILEGRAD_CASE(tan, static_cast<T>(std::tan(static_cast<double>(x))))
    default:
      return nullptr;
  }
}

#undef TILEGRAD_CASE
#undef TILEGRAD_REGISTER_CASE

// Of numbers without their signs, the largest has the largest bits; those of NaN are larger still.
template <class T>
static bool within_trigonometric_limit(const T* x, std::int64_t count) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  constexpr Bits kLimit = std::bit_cast<Bits>(static_cast<T>(kTrigonometricLimit));
  Bits largest = 0;
  for (std::int64_t i = 0; i < count; ++i)
    largest = std::max(largest, std::bit_cast<Bits>(std::fabs(x[i])));
  return largest <= kLimit;
}

// Whether a large result goes past the caches, through a buffer (past_caches.h): what takes much
// longer than memory loses more by waiting for its blocks' stores than it saves.
static bool is_light(UnaryOp op) {
  switch (op) {
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc:
    case UnaryOp::frac:
    case UnaryOp::sqrt:
    case UnaryOp::rsqrt:
    case UnaryOp::reciprocal:
    case UnaryOp::exp:
    case UnaryOp::exp2:
    case UnaryOp::log:
      return true;
    default:
      return false;
  }
}

// Block by block, and elements that do not lie side by side through a buffer: one loop per function
// serves all strides.
template <class T>
static void apply_function(const Unary& args) {
  constexpr std::int64_t kBlock = 256;
  const BlockFunction<T> fast = floating_function<T>(args.op), exact = exact_function<T>(args.op);
  const std::int64_t sy = args.loop.inner_stride(0), sx = args.loop.inner_stride(1);
  constexpr std::int64_t unit = sizeof(T);
  const auto row = [=](char** pointers, std::int64_t count) {
    T buffer[kBlock];
    for (std::int64_t first = 0; first < count; first += kBlock) {
      const std::int64_t size = count - first < kBlock ? count - first : kBlock;
      const char* from = pointers[1] + first * sx;
      char* to = pointers[0] + first * sy;
      const T* x = sx == unit ? reinterpret_cast<const T*>(from) : buffer;
      T* y = sy == unit ? reinterpret_cast<T*>(to) : buffer;
      if (sx != unit)
        for (std::int64_t i = 0; i < size; ++i)
          buffer[i] = *reinterpret_cast<const T*>(from + i * sx);
      const bool use_exact = exact != nullptr && !within_trigonometric_limit(x, size);
      (use_exact ? exact : fast)(y, x, size);
      if (sy != unit)
        for (std::int64_t i = 0; i < size; ++i) *reinterpret_cast<T*>(to + i * sy) = buffer[i];
    }
  };
  if (is_light(args.op)) walk_light_rows(args.loop, row);
  else walk_rows(args.loop, row);
}

void unary(const Unary& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(unary, args, args.dtype);
  switch (args.op) {
    case UnaryOp::neg:
    case UnaryOp::abs:
    case UnaryOp::sign:
    case UnaryOp::square:
      return visit_once(args.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        if constexpr (!std::is_same_v<T, bool>) number_ops<T>(args);
      });
    case UnaryOp::bitwise_not:
      return visit_integer_once(args.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        if constexpr (std::is_same_v<T, bool>) unary_rows<T>(args.loop, [](T x) { return !x; });
        else unary_rows<T>(args.loop, [](T x) { return static_cast<T>(~x); });
      });
    default:
      return visit_floating(args.dtype,
                            [&](auto t) { apply_function<typename decltype(t)::type>(args); });
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
