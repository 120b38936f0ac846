// Two-operand arithmetic. One kernel per dtype: the switch over the operation is the same for all
// threads, and next to reading and writing memory it costs nothing. 3 * sizeof(T) bytes an element
// and one operation, for pow and the divisions of integers some 30. Up to 48 registers, 5 blocks of
// 256 threads on a multiprocessor; those of a training step 32 and 8.
#include "ops/binary.h"

#include "elementwise.cuh"
#include "flag.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

// Integers wrap around: computed in an unsigned type, where that is defined.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, bool>, unsigned, std::uint64_t>;

template <class T>
__device__ T wrap(Wide<T> value) {
  return static_cast<T>(value);
}

// The host refuses integer divisors of zero, except while a graph is captured: then the quotient is
// -1 or -2 and the remainder x, about what a card's own division gives, and CheckDivisor reports
// it.
template <class T>
__device__ T remainder_toward_zero(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return fmod(x, other);
  else if (other == T{0}) return x;
  else if constexpr (std::is_signed_v<T>) return other == T{-1} ? T{0} : x % other;
  else return x % other;
}

template <class T>
__device__ bool is_negative(T x) {
  if constexpr (std::is_unsigned_v<T>) return false;
  else return x < T{0};
}

// The remainder takes the divisor's sign, as in Python.
template <class T>
__device__ T remainder_of(T x, T other) {
  const T rest = remainder_toward_zero(x, other);
  return rest != T{0} && is_negative(rest) != is_negative(other) ? static_cast<T>(rest + other)
                                                                 : rest;
}

template <class T>
__device__ T trunc_divide(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return trunc(x / other);
  else if (other == T{0}) return static_cast<T>(-1);
  else if constexpr (std::is_signed_v<T>)
    return other == T{-1} ? wrap<T>(Wide<T>{0} - static_cast<Wide<T>>(x)) : x / other;
  else return x / other;
}

template <class T>
__device__ T floor_divide(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) {
    if (other == T{0}) return x / other;
    const T rest = fmod(x, other);
    T quotient = (x - rest) / other;  // exact up to one rounding
    if (rest != T{0} && (rest < T{0}) != (other < T{0})) quotient -= T{1};
    if (quotient == T{0}) return copysign(T{0}, x / other);
    const T floored = floor(quotient);
    return quotient - floored > T{0.5} ? floored + T{1} : floored;
  } else {
    const T quotient = trunc_divide(x, other);
    const bool inexact = remainder_toward_zero(x, other) != T{0};
    return inexact && is_negative(x) != is_negative(other) ? static_cast<T>(quotient - 1)
                                                           : quotient;
  }
}

template <class T>
__device__ T power(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) {
    return other == T{2} ? x * x : pow(x, other);
  } else {
    if (is_negative(other))
      return x == T{1} ? T{1} : x == T(-1) ? (other % 2 ? T(-1) : T{1}) : T{0};
    Wide<T> result = 1, base = static_cast<Wide<T>>(x);
    for (auto n = static_cast<Wide<T>>(other); n != 0; n >>= 1, base *= base)
      if (n & 1) result *= base;
    return wrap<T>(result);
  }
}

// Operations of numbers, without bool.
template <class T>
__device__ T number_operation(BinaryOp op, T x, T other, T alpha) {
  using W = std::conditional_t<std::is_floating_point_v<T>, T, Wide<T>>;
  switch (op) {
    case BinaryOp::sub:
      return static_cast<T>(static_cast<W>(x) - static_cast<W>(other));
    case BinaryOp::add_scaled:
      return static_cast<T>(static_cast<W>(x) + static_cast<W>(alpha) * static_cast<W>(other));
    case BinaryOp::floor_divide:
      return floor_divide(x, other);
    case BinaryOp::trunc_divide:
      return trunc_divide(x, other);
    case BinaryOp::remainder:
      return remainder_of(x, other);
    case BinaryOp::fmod:
      return remainder_toward_zero(x, other);
    default:
      return power(x, other);
  }
}

template <class T>
__device__ T operation(BinaryOp op, T x, T other, T alpha) {
  using W = std::conditional_t<std::is_floating_point_v<T>, T, Wide<T>>;
  switch (op) {
    case BinaryOp::add:
      return static_cast<T>(static_cast<W>(x) + static_cast<W>(other));
    case BinaryOp::mul:
      return static_cast<T>(static_cast<W>(x) * static_cast<W>(other));
    case BinaryOp::maximum:  // NaN wins, from either side
      return x > other || x != x ? x : other;
    case BinaryOp::minimum:
      return x < other || x != x ? x : other;
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (op == BinaryOp::div) return x / other;
    if (op == BinaryOp::atan2) return atan2(x, other);
  } else {
    if (op == BinaryOp::bitwise_and) return static_cast<T>(x & other);
    if (op == BinaryOp::bitwise_or) return static_cast<T>(x | other);
    if (op == BinaryOp::bitwise_xor) return static_cast<T>(x ^ other);
  }
  if constexpr (!std::is_same_v<T, bool>) return number_operation(op, x, other, alpha);
  return x;  // not reached: src/ops/binary.cpp refuses the rest for bool
}

template <class T>
struct BinaryOperation {
  BinaryOp op;
  T alpha;
  __device__ T operator()(T x, T other) const { return operation(op, x, other, alpha); }
};

// The operations of a training step, each a kernel of its own: in one kernel with all others they
// would share the registers of pow.
template <class T, BinaryOp op>
struct LightOperation {
  T alpha;
  __device__ T operator()(T x, T other) const { return operation(op, x, other, alpha); }
};

template <class T>
struct CheckDivisor {
  int* flag;
  __device__ void operator()(char* const* pointers) const {
    if (*reinterpret_cast<const T*>(pointers[2]) == T{0}) raise_flag(flag, Fault::divisor);
  }
};

bool divides(BinaryOp op) {
  return op == BinaryOp::floor_divide || op == BinaryOp::trunc_divide ||
         op == BinaryOp::remainder || op == BinaryOp::fmod;
}

template <class T>
void run_integers(const Binary& args) {
  if (divides(args.op) && is_capturing())  // before y is written, which may be the divisor
    for_each_element(args.loop, CheckDivisor<T>{fault_of_captured()});
  map_elements<T, T, T>(args.loop, BinaryOperation<T>{args.op, static_cast<T>(args.whole_alpha)});
}

// f of a half and a number.
template <class T, class F>
struct WithNumber {
  F f;
  bool swapped;
  __device__ T operator()(T x, float number) const {
    const auto value = static_cast<float>(x);
    return static_cast<T>(swapped ? f(number, value) : f(value, number));
  }
};

// T: of the operands; halves are computed in float32.
template <class T>
void run_light(const Binary& args) {
  using S = Sum<T>;
  const S alpha = static_cast<S>(args.alpha);
  const auto run = [&](auto f) {
    if constexpr (!kIsHalf<T>) map_elements<T, T, T>(args.loop, f);
    else if (args.wide_other)
      map_elements<T, T, float>(args.loop, WithNumber<T, decltype(f)>{f, args.swapped});
    else map_elements<T, T, T>(args.loop, OfHalves<T, decltype(f)>{f});
  };
  switch (args.op) {
    case BinaryOp::add:
      return run(LightOperation<S, BinaryOp::add>{alpha});
    case BinaryOp::sub:
      return run(LightOperation<S, BinaryOp::sub>{alpha});
    case BinaryOp::mul:
      return run(LightOperation<S, BinaryOp::mul>{alpha});
    case BinaryOp::div:
      return run(LightOperation<S, BinaryOp::div>{alpha});
    case BinaryOp::add_scaled:
      return run(LightOperation<S, BinaryOp::add_scaled>{alpha});
    default:
      return run(BinaryOperation<S>{args.op, alpha});
  }
}

}  // namespace

void binary(const Binary& args) {
  if (visit_halves(args.dtype, [&](auto t) { run_light<typename decltype(t)::type>(args); }))
    return;
  visit(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_floating_point_v<T>) run_light<T>(args);
    else run_integers<T>(args);
  });
}

}  // namespace tilegrad::cuda
