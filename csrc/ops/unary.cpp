// One-operand elementwise operations. Each is one scalar function; where it has no branches and
// calls no library, the compiler vectorizes the loop around it for each instruction set.
#include "unary.h"

#include <cmath>

#include "../elementary.h"
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
  walk_rows(loop, [=](char** pointers, std::int64_t count) {
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

#define TILEGRAD_CASE(name, value) \
  case UnaryOp::name:              \
    return run([](T x) -> T { return value; });

// The operations that are a few instructions, or a branch-free polynomial on float32.
template <class T>
static void simple_ops(const Unary& args) {
  const auto run = [&](auto operation) { unary_rows<T>(args.loop, operation); };
  switch (args.op) {
    TILEGRAD_CASE(floor, std::floor(x))
    TILEGRAD_CASE(ceil, std::ceil(x))
    TILEGRAD_CASE(round, std::nearbyint(x))  // halves to the even neighbour
    TILEGRAD_CASE(trunc, std::trunc(x))
    TILEGRAD_CASE(frac, x - std::trunc(x))
    TILEGRAD_CASE(sqrt, std::sqrt(x))
    TILEGRAD_CASE(rsqrt, T{1} / std::sqrt(x))
    TILEGRAD_CASE(reciprocal, T{1} / x)
    TILEGRAD_CASE(exp, exponential(x))
    TILEGRAD_CASE(erf, error_function(x))
    default:
      return;
  }
}

// The operations that call the C library for each element.
template <class T>
static void library_ops(const Unary& args) {
  const auto run = [&](auto operation) { unary_elements<T>(args.loop, operation); };
  switch (args.op) {
    TILEGRAD_CASE(exp2, std::exp2(x))
    TILEGRAD_CASE(expm1, std::expm1(x))
    TILEGRAD_CASE(log, std::log(x))
    TILEGRAD_CASE(log2, std::log2(x))
    TILEGRAD_CASE(log10, std::log10(x))
    TILEGRAD_CASE(log1p, std::log1p(x))
    TILEGRAD_CASE(sin, std::sin(x))
    TILEGRAD_CASE(cos, std::cos(x))
    TILEGRAD_CASE(tan, std::tan(x))
    TILEGRAD_CASE(asin, std::asin(x))
    TILEGRAD_CASE(acos, std::acos(x))
    TILEGRAD_CASE(atan, std::atan(x))
    TILEGRAD_CASE(sinh, std::sinh(x))
    TILEGRAD_CASE(cosh, std::cosh(x))
    TILEGRAD_CASE(asinh, std::asinh(x))
    TILEGRAD_CASE(acosh, std::acosh(x))
    TILEGRAD_CASE(atanh, std::atanh(x))
    TILEGRAD_CASE(erfc, std::erfc(x))
    default:
      return;
  }
}

#undef TILEGRAD_CASE

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
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc:
    case UnaryOp::frac:
    case UnaryOp::sqrt:
    case UnaryOp::rsqrt:
    case UnaryOp::reciprocal:
    case UnaryOp::exp:
    case UnaryOp::erf:
      return visit_floating(args.dtype,
                            [&](auto t) { simple_ops<typename decltype(t)::type>(args); });
    default:
      return visit_floating(args.dtype,
                            [&](auto t) { library_ops<typename decltype(t)::type>(args); });
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
