// exp, tanh, sigmoid and erf without branches, so that the compiler vectorizes loops over them.
// Included once per instruction set. float64 takes the C library's functions.
//
// Coefficients are minimax fits of the stated functions on the stated intervals.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// c[0] + c[1] * x + ... , evaluated from the highest power down.
template <int kCount>
static inline float polynomial(float x, const float (&c)[kCount]) {
  float y = c[kCount - 1];
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i) y = y * x + c[i];
  return y;
}

// 2^n for -126 <= n <= 127, by writing the exponent bits.
static inline float power_of_two(std::int32_t n) { return std::bit_cast<float>((n + 127) << 23); }

// exp(x) = 2^n * exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2. Within 1 ulp; overflows to
// inf, underflows through the denormals to 0, keeps NaN.
static inline float exponential(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // few bits: n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the integer in the low bits
  constexpr float kTerms[] = {4.999999345e-01f, 1.666652065e-01f, 4.166838789e-02f,
                              8.368715219e-03f, 1.381460184e-03f};  // (exp(r) - 1 - r) / r^2
  x = x < -104.0f ? -104.0f : x;  // beyond these the result is 0 and inf; NaN passes both
  x = x > 89.0f ? 89.0f : x;
  const float shifted = x * kLog2E + kRound;
  const float whole = shifted - kRound;
  const float r = (x - whole * kLn2High) - whole * kLn2Low;
  const float y = polynomial(r, kTerms) * (r * r) + r + 1.0f;
  const std::int32_t n = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  const std::int32_t half = n >> 1;  // two steps: 2^n itself may lie outside the normal numbers
  return y * power_of_two(half) * power_of_two(n - half);
}
static inline double exponential(double x) { return std::exp(x); }

template <class T>
static inline T logistic(T x) {
  return T{1} / (T{1} + exponential(-x));
}

// Near 0 an odd polynomial, farther out 1 - 2 / (exp(2x) + 1); within 3 ulp.
static inline float hyperbolic_tangent(float x) {
  constexpr float kTerms[] = {-3.333328392e-01f, 1.333149127e-01f, -5.374349706e-02f,
                              2.065058426e-02f, -5.717041936e-03f};  // (tanh(x) - x) / x^3
  const float magnitude = std::fabs(x), square = x * x;
  const float near = polynomial(square, kTerms) * square * x + x;
  const float far = 1.0f - 2.0f / (exponential(2.0f * magnitude) + 1.0f);
  return magnitude < 0.625f ? near : std::copysign(far, x);
}
static inline double hyperbolic_tangent(double x) { return std::tanh(x); }

// Below 1 an odd polynomial, above it 1 - exp(log(erfc(|x|))) with the logarithm as a polynomial.
static inline float error_function(float x) {
  constexpr float kNear[] = {1.128379166e+00f,  -3.761262714e-01f, 1.128360017e-01f,
                             -2.685444450e-02f, 5.189535161e-03f,  -8.020839689e-04f,
                             7.889114215e-05f};  // erf(x) / x in powers of x^2, |x| <= 1
  constexpr float kFar[] = {1.824594713e-04f,  -1.129552038e+00f, -6.332724209e-01f,
                            -1.083615444e-01f, 2.517180343e-02f,  -4.190853716e-03f,
                            4.385295078e-04f,  -2.144552815e-05f};  // log(erfc(x)), 0.95 <= x <= 4
  const float magnitude = std::fabs(x);
  const float bounded = magnitude > 4.0f ? 4.0f : magnitude;  // erf(4) rounds to 1; NaN passes
  const float near = x * polynomial(x * x, kNear);
  const float far = 1.0f - exponential(polynomial(bounded, kFar));
  return magnitude < 1.0f ? near : std::copysign(far, x);
}
static inline double error_function(double x) { return std::erf(x); }

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
