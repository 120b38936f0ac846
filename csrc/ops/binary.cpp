// Two-operand arithmetic. Each operation is one scalar function; the loop around it is vectorized
// by the compiler for each instruction set.
#include "binary.h"

#include <cmath>

#include "../past_caches.h"
#include "../trigonometry.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// y may alias an input exactly (in-place operations): element i is read before it is written, and
// no other element is touched, so the loops carry no dependence.
template <class T, class Operation>
static void binary_rows(const StridedLoop<3>& loop, const Operation& operation) {
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  constexpr std::int64_t unit = sizeof(T);
  walk_light_rows(loop, [=](char** pointers, std::int64_t count) {
    T* y = reinterpret_cast<T*>(pointers[0]);
    const T* x = reinterpret_cast<const T*>(pointers[1]);
    const T* other = reinterpret_cast<const T*>(pointers[2]);
    if (sy == unit && sx == unit && so == unit) {
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = operation(x[i], other[i]);
    } else if (sy == unit && sx == unit && so == 0) {
      const T value = *other;
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = operation(x[i], value);
    } else if (sy == unit && sx == 0 && so == unit) {
      const T value = *x;
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = operation(value, other[i]);
    } else {
      for (std::int64_t i = 0; i < count; ++i)
        *reinterpret_cast<T*>(pointers[0] + i * sy) =
            operation(*reinterpret_cast<const T*>(pointers[1] + i * sx),
                      *reinterpret_cast<const T*>(pointers[2] + i * so));
    }
  });
}

// For the operations that are not vectorized, divisions of integers and calls of the C library: one
// loop for all strides.
template <class T, class Operation>
static void binary_elements(const StridedLoop<3>& loop, const Operation& operation) {
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  walk_rows(loop, [=](char** pointers, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
      *reinterpret_cast<T*>(pointers[0] + i * sy) =
          operation(*reinterpret_cast<const T*>(pointers[1] + i * sx),
                    *reinterpret_cast<const T*>(pointers[2] + i * so));
  });
}

// For long operations: blocks, and operands that do not lie side by side through buffers, so that
// one vectorized loop serves all strides. operation(y, x, other, count) takes a block.
template <class T, class Operation>
static void binary_blocks(const StridedLoop<3>& loop, const Operation& operation) {
  constexpr std::int64_t kBlock = 256, unit = sizeof(T);
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  const auto gather = [](const char* from, std::int64_t stride, std::int64_t count, T* buffer) {
    if (stride == unit) return reinterpret_cast<const T*>(from);
    for (std::int64_t i = 0; i < count; ++i)
      buffer[i] = *reinterpret_cast<const T*>(from + i * stride);
    return static_cast<const T*>(buffer);
  };
  walk_rows(loop, [&](char** pointers, std::int64_t count) {
    T x_buffer[kBlock], other_buffer[kBlock], y_buffer[kBlock];
    for (std::int64_t first = 0; first < count; first += kBlock) {
      const std::int64_t size = count - first < kBlock ? count - first : kBlock;
      char* to = pointers[0] + first * sy;
      const T* x = gather(pointers[1] + first * sx, sx, size, x_buffer);
      const T* other = gather(pointers[2] + first * so, so, size, other_buffer);
      if (sy == unit) {
        operation(reinterpret_cast<T*>(to), x, other, size);
      } else {
        operation(y_buffer, x, other, size);
        for (std::int64_t i = 0; i < size; ++i) *reinterpret_cast<T*>(to + i * sy) = y_buffer[i];
      }
    }
  });
}

// Integer arithmetic wraps around like PyTorch's: computed in an unsigned type, where that is
// defined.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, bool>, unsigned, std::uint64_t>;

template <class T>
static T add(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return x + other;
  else return static_cast<T>(static_cast<Wide<T>>(x) + static_cast<Wide<T>>(other));
}
template <class T>
static T sub(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return x - other;
  else return static_cast<T>(static_cast<Wide<T>>(x) - static_cast<Wide<T>>(other));
}
template <class T>
static T mul(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return x * other;
  else return static_cast<T>(static_cast<Wide<T>>(x) * static_cast<Wide<T>>(other));
}

// Integer division by zero is rejected by the caller; the smallest number over -1 wraps.
template <class T>
static T trunc_divide(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return std::trunc(x / other);
  else if constexpr (std::is_signed_v<T>) return other == T{-1} ? sub(T{0}, x) : x / other;
  else return x / other;
}
template <class T>
static T fmod(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return std::fmod(x, other);
  else if constexpr (std::is_signed_v<T>) return other == T{-1} ? T{0} : x % other;
  else return x % other;
}
// The remainder takes the divisor's sign, as in Python.
template <class T>
static T remainder(T x, T other) {
  const T rest = fmod(x, other);
  if (rest != T{0} && ((rest < T{0}) != (other < T{0}))) return rest + other;
  return rest;
}
template <class T>
static T floor_divide(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) {
    if (other == T{0}) return x / other;
    const T rest = std::fmod(x, other);
    T quotient = (x - rest) / other;  // exact up to one rounding
    if (rest != T{0} && ((rest < T{0}) != (other < T{0}))) quotient -= T{1};
    if (quotient == T{0}) return std::copysign(T{0}, x / other);
    const T floored = std::floor(quotient);
    return quotient - floored > T{0.5} ? floored + T{1} : floored;
  } else {
    const T quotient = trunc_divide(x, other);
    const bool inexact = fmod(x, other) != T{0};
    return inexact && ((x < T{0}) != (other < T{0})) ? static_cast<T>(quotient - 1) : quotient;
  }
}

template <class T>
static T integer_power(T x, T other) {
  if (other < T{0}) return x == T{1} ? T{1} : x == T(-1) ? (other % 2 ? T(-1) : T{1}) : T{0};
  Wide<T> result = 1, base = static_cast<Wide<T>>(x);
  for (auto n = static_cast<Wide<T>>(other); n != 0; n >>= 1, base *= base)
    if (n & 1) result *= base;
  return static_cast<T>(result);
}

// NaN wins, from either side.
template <class T>
static T maximum(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return x > other || x != x ? x : other;
  else return x > other ? x : other;
}
template <class T>
static T minimum(T x, T other) {
  if constexpr (std::is_floating_point_v<T>) return x < other || x != x ? x : other;
  else return x < other ? x : other;
}

// True if all elements of `other` are one number.
static bool has_one_exponent(const StridedLoop<3>& loop) {
  for (int d = 0; d < loop.ndim; ++d)
    if (loop.strides[2][d] != 0 && loop.shape[d] != 1) return false;
  return true;
}

template <class T>
static void floating_power(const StridedLoop<3>& loop) {
  const auto run = [&](auto operation) { binary_rows<T>(loop, operation); };
  if (loop.size() > 0 && has_one_exponent(loop)) {
    const T exponent = *reinterpret_cast<const T*>(loop.data[2]);
    if (exponent == T{2}) return run([](T x, T) { return x * x; });
    if (exponent == T{3}) return run([](T x, T) { return x * x * x; });
    if (exponent == T{0.5}) return run([](T x, T) { return std::sqrt(x); });
    if (exponent == T{-0.5}) return run([](T x, T) { return T{1} / std::sqrt(x); });
    if (exponent == T{-1}) return run([](T x, T) { return T{1} / x; });
    if (exponent == T{-2}) return run([](T x, T) { return T{1} / (x * x); });
  }
  binary_blocks<T>(loop, [](T* y, const T* x, const T* other, std::int64_t count) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) y[i] = power(x[i], other[i]);
  });
}

template <class T>
static void number_ops(const Binary& args) {
  const auto run = [&](auto operation) { binary_elements<T>(args.loop, operation); };
  switch (args.op) {
    case BinaryOp::sub:
      return binary_rows<T>(args.loop, [](T x, T other) { return sub(x, other); });
    case BinaryOp::floor_divide:
      return run([](T x, T other) { return floor_divide(x, other); });
    case BinaryOp::trunc_divide:
      return run([](T x, T other) { return trunc_divide(x, other); });
    case BinaryOp::remainder:
      return run([](T x, T other) { return remainder(x, other); });
    case BinaryOp::fmod:
      return run([](T x, T other) { return fmod(x, other); });
    case BinaryOp::pow:
      if constexpr (std::is_floating_point_v<T>) return floating_power<T>(args.loop);
      else return run([](T x, T other) { return integer_power(x, other); });
    case BinaryOp::add_scaled: {
      const T alpha = std::is_floating_point_v<T> ? static_cast<T>(args.alpha)
                                                  : static_cast<T>(args.whole_alpha);
      return binary_rows<T>(args.loop, [alpha](T x, T other) { return add(x, mul(alpha, other)); });
    }
    default:
      return;
  }
}

template <class T>
static void floating_ops(const Binary& args) {
  if (args.op == BinaryOp::div)
    return binary_rows<T>(args.loop, [](T x, T other) { return x / other; });
  binary_blocks<T>(args.loop, [](T* y, const T* x, const T* other, std::int64_t count) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) y[i] = angle_of(x[i], other[i]);
  });
}

template <class T>
static void bit_ops(const Binary& args) {
  const auto run = [&](auto operation) { binary_rows<T>(args.loop, operation); };
  switch (args.op) {
    case BinaryOp::bitwise_and:
      return run([](T x, T other) { return static_cast<T>(x & other); });
    case BinaryOp::bitwise_or:
      return run([](T x, T other) { return static_cast<T>(x | other); });
    default:
      return run([](T x, T other) { return static_cast<T>(x ^ other); });
  }
}

template <class T>
static void all_ops(const Binary& args) {
  const auto run = [&](auto operation) { binary_rows<T>(args.loop, operation); };
  switch (args.op) {
    case BinaryOp::add:
      return run([](T x, T other) { return add(x, other); });
    case BinaryOp::mul:
      return run([](T x, T other) { return mul(x, other); });
    case BinaryOp::maximum:
      return run([](T x, T other) { return maximum(x, other); });
    default:
      return run([](T x, T other) { return minimum(x, other); });
  }
}

void binary(const Binary& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(binary, args, args.dtype);
  switch (args.op) {
    case BinaryOp::add:
    case BinaryOp::mul:
    case BinaryOp::maximum:
    case BinaryOp::minimum:
      return visit_once(args.dtype, [&](auto t) { all_ops<typename decltype(t)::type>(args); });
    case BinaryOp::div:
    case BinaryOp::atan2:
      return visit_floating(args.dtype,
                            [&](auto t) { floating_ops<typename decltype(t)::type>(args); });
    case BinaryOp::bitwise_and:
    case BinaryOp::bitwise_or:
    case BinaryOp::bitwise_xor:
      return visit_integer_once(args.dtype,
                                [&](auto t) { bit_ops<typename decltype(t)::type>(args); });
    default:
      return visit_once(args.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if constexpr (!std::is_same_v<T, bool>) number_ops<T>(args);
      });
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
