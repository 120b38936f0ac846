// One-operand elementwise operations: 2 * sizeof(T) bytes an element and one operation, or some 20
// to 40 for a transcendental function. Each function of floats is a kernel of its own, since the
// registers of the most demanding would be everybody's. Up to 40 registers, 6 blocks of 256 threads
// on a multiprocessor.
#include "ops/unary.h"

#include "elementwise.cuh"

namespace tilegrad::cuda {
namespace {

// --- floats: CUDA's functions, with the errors that its programming guide states ---

#define TILEGRAD_FUNCTION(name, value)                   \
  template <class T>                                     \
  struct name##_of {                                     \
    __device__ T operator()(T x) const { return value; } \
  };
TILEGRAD_FUNCTION(neg, -x)
TILEGRAD_FUNCTION(abs, fabs(x))
TILEGRAD_FUNCTION(sign, static_cast<T>((x > T{0}) - (x < T{0})))
TILEGRAD_FUNCTION(square, x* x)
TILEGRAD_FUNCTION(floor, floor(x))
TILEGRAD_FUNCTION(ceil, ceil(x))
TILEGRAD_FUNCTION(round, rint(x))  // halves to the even neighbour
TILEGRAD_FUNCTION(trunc, trunc(x))
TILEGRAD_FUNCTION(frac, x - trunc(x))
TILEGRAD_FUNCTION(exp, exp(x))
TILEGRAD_FUNCTION(exp2, exp2(x))
TILEGRAD_FUNCTION(expm1, expm1(x))
TILEGRAD_FUNCTION(log, log(x))
TILEGRAD_FUNCTION(log2, log2(x))
TILEGRAD_FUNCTION(log10, log10(x))
TILEGRAD_FUNCTION(log1p, log1p(x))
TILEGRAD_FUNCTION(sqrt, sqrt(x))
TILEGRAD_FUNCTION(rsqrt, rsqrt(x))
TILEGRAD_FUNCTION(reciprocal, T{1} / x)
TILEGRAD_FUNCTION(sin, sin(x))
TILEGRAD_FUNCTION(cos, cos(x))
TILEGRAD_FUNCTION(tan, tan(x))
TILEGRAD_FUNCTION(asin, asin(x))
TILEGRAD_FUNCTION(acos, acos(x))
TILEGRAD_FUNCTION(atan, atan(x))
TILEGRAD_FUNCTION(sinh, sinh(x))
TILEGRAD_FUNCTION(cosh, cosh(x))
TILEGRAD_FUNCTION(tanh, tanh(x))
TILEGRAD_FUNCTION(asinh, asinh(x))
TILEGRAD_FUNCTION(acosh, acosh(x))
TILEGRAD_FUNCTION(atanh, atanh(x))
TILEGRAD_FUNCTION(erf, erf(x))
TILEGRAD_FUNCTION(erfc, erfc(x))
#undef TILEGRAD_FUNCTION

template <class T>
void unary_floats(const Unary& args) {
  switch (args.op) {
#define TILEGRAD_floating(name) \
  case UnaryOp::name:           \
    return map_elements<T, T>(args.loop, name##_of<T>{});
#define TILEGRAD_rounding(name) TILEGRAD_floating(name)
#define TILEGRAD_fraction(name) TILEGRAD_floating(name)
#define TILEGRAD_number(name) TILEGRAD_floating(name)
#define TILEGRAD_bits(name)  // not of floats: src/ops/unary.cpp refuses
#define TILEGRAD_CASE(name, dtypes) TILEGRAD_##dtypes(name)
    TILEGRAD_FOR_EACH_UNARY(TILEGRAD_CASE)
    default:
      return;
  }
}
#undef TILEGRAD_CASE

// --- integers: one kernel per dtype; they wrap around, in unsigned arithmetic ---

template <class T>
__device__ bool is_negative(T x) {
  if constexpr (std::is_unsigned_v<T>) return false;
  else return x < T{0};
}

template <class T>
struct WholeOperation {
  UnaryOp op;
  __device__ T operator()(T x) const {
    const auto wide = static_cast<std::uint64_t>(x);
    switch (op) {
      case UnaryOp::neg:
        return static_cast<T>(0 - wide);
      case UnaryOp::abs:
        return is_negative(x) ? static_cast<T>(0 - wide) : x;
      case UnaryOp::sign:
        return static_cast<T>((x != T{0}) - 2 * is_negative(x));
      case UnaryOp::square:
        return static_cast<T>(wide * wide);
      default:  // bitwise_not
        if constexpr (std::is_same_v<T, bool>) return !x;
        else return static_cast<T>(~x);
    }
  }
};

}  // namespace

void unary(const Unary& args) {
  visit(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_floating_point_v<T>) unary_floats<T>(args);
    else map_elements<T, T>(args.loop, WholeOperation<T>{args.op});
  });
}

}  // namespace tilegrad::cuda
