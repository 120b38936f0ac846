// exp, tanh, sigmoid and erf without branches, so that the compiler vectorizes loops over them.
// Included once per instruction set. float64's tanh and erf are the C library's.
//
// Coefficients are minimax fits of the stated functions on the stated intervals.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>

// A loop is vectorized only if everything that it calls is inlined, which the compiler would give
// up in files that call these often.
#define TILEGRAD_INLINE [[gnu::always_inline]] static inline

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// first + x * (second + x * (...)), without a loop: an inner loop can keep the outer from
// vectorizing.
template <class T, class... Rest>
TILEGRAD_INLINE T polynomial(T x, T first, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) return first;
  else return polynomial(x, rest...) * x + first;
}

// y * 2^n, rounded once, given 1.5 * 2^23 + 254 + n (in float64 1.5 * 2^52 + 2046 + n), whose
// lowest bits are n plus twice the bias of exponents: their two halves are the exponents of two
// factors, since 2^n itself may lie outside the normal numbers. (The shifts need not keep a sign,
// which not every instruction set can for 64 bits.)
TILEGRAD_INLINE float times_power(float y, float shifted) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(shifted);
  const std::uint32_t half = bits << 22 & 0x7f800000u;
  return y * std::bit_cast<float>(half) * std::bit_cast<float>((bits << 23) - half);
}
TILEGRAD_INLINE double times_power(double y, double shifted) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(shifted);
  const std::uint64_t half = bits << 51 & 0x7ff0000000000000u;
  return y * std::bit_cast<double>(half) * std::bit_cast<double>((bits << 52) - half);
}

// exp(r) = 1 + r + r^2 * tail for |r| <= ln(2) / 2: with fused multiply-adds two of them are exact
// enough; without, r is kept from being multiplied. V: T, or registers of it.
template <class T, class V>
TILEGRAD_INLINE V exponential_from(V r, V tail) {
#if defined(__FMA__) || defined(__aarch64__)
  return (tail * r + T{1}) * r + T{1};
#else
  return tail * (r * r) + r + T{1};
#endif
}

// exp(x) = 2^n * exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2. Within 1 ulp; overflows to
// inf, underflows through the denormals to 0, keeps NaN.
TILEGRAD_INLINE float exponential(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // few bits: n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f + 254.0f;  // 1.5 * 2^23: adding it leaves an integer
  x = x < -104.0f ? -104.0f : x;  // beyond these the result is 0 and inf; NaN passes both
  x = x > 89.0f ? 89.0f : x;
  const float shifted = x * kLog2E + kRound;
  const float whole = shifted - kRound;
  const float r = (x - whole * kLn2High) - whole * kLn2Low;
  // The polynomial approximates (exp(r) - 1 - r) / r^2.
  const float tail = polynomial(r, 4.999999345e-01f, 1.666652065e-01f, 4.166838789e-02f,
                                8.368715219e-03f, 1.381460184e-03f);
  return times_power(exponential_from<float>(r, tail), shifted);
}

// The same in float64. Within 1 ulp.
TILEGRAD_INLINE double exponential(double x) {
  constexpr double kLog2E = 1.44269504088896341;
  constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRound = 0x1.8p52 + 2046;
  x = x < -746.0 ? -746.0 : x;
  x = x > 710.0 ? 710.0 : x;
  const double shifted = x * kLog2E + kRound, whole = shifted - kRound;
  const double r = (x - whole * kLn2High) - whole * kLn2Low;
  const double tail = polynomial(
      r, 0.5000000000000001, 0.16666666666666669, 0.04166666666662399, 0.008333333333330051,
      0.0013888888917281794, 0.00019841269863105968, 2.480152119021773e-05, 2.7557268378684192e-06,
      2.7620138719733994e-07, 2.5100424157005067e-08);
  return times_power(exponential_from<double>(r, tail), shifted);
}

// condition ? x : other, of values that are both computed: written with bits, since for the plain
// expression the compiler may compute only the chosen one behind a branch and not vectorize.
TILEGRAD_INLINE float choose(bool condition, float x, float other) {
  const std::int32_t mask = -static_cast<std::int32_t>(condition);
  return std::bit_cast<float>((std::bit_cast<std::int32_t>(x) & mask) |
                              (std::bit_cast<std::int32_t>(other) & ~mask));
}

template <std::floating_point T>
TILEGRAD_INLINE T logistic(T x) {
  return T{1} / (T{1} + exponential(-x));
}

// Near 0 an odd polynomial, farther out 1 - 2 / (exp(2x) + 1); within 3 ulp.
TILEGRAD_INLINE float hyperbolic_tangent(float x) {
  const float magnitude = std::fabs(x), square = x * x;
  // The polynomial approximates (tanh(x) - x) / x^3 in powers of x^2.
  const float near = polynomial(square, -3.333328392e-01f, 1.333149127e-01f, -5.374349706e-02f,
                                2.065058426e-02f, -5.717041936e-03f) *
                         square * x +
                     x;
  const float far = 1.0f - 2.0f / (exponential(2.0f * magnitude) + 1.0f);
  return choose(magnitude < 0.625f, near, std::copysign(far, x));
}
TILEGRAD_INLINE double hyperbolic_tangent(double x) { return std::tanh(x); }

// Below 1 an odd polynomial, above it 1 - exp(log(erfc(|x|))) with the logarithm as a polynomial.
TILEGRAD_INLINE float error_function(float x) {
  const float magnitude = std::fabs(x);
  const float bounded = magnitude > 4.0f ? 4.0f : magnitude;  // erf(4) rounds to 1; NaN passes
  // The polynomials approximate erf(x) / x in powers of x^2 and log(erfc(x)) from 0.95 to 4.
  const float near =
      x * polynomial(x * x, 1.128379166e+00f, -3.761262714e-01f, 1.128360017e-01f,
                     -2.685444450e-02f, 5.189535161e-03f, -8.020839689e-04f, 7.889114215e-05f);
  const float far =
      1.0f - exponential(polynomial(bounded, 1.824594713e-04f, -1.129552038e+00f, -6.332724209e-01f,
                                    -1.083615444e-01f, 2.517180343e-02f, -4.190853716e-03f,
                                    4.385295078e-04f, -2.144552815e-05f));
  return choose(magnitude < 1.0f, near, std::copysign(far, x));
}
TILEGRAD_INLINE double error_function(double x) { return std::erf(x); }

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
