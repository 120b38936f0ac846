// The normal distribution's density and distribution function, of which gelu and its slope are
// made. Included once per instruction set.
//
// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).
#pragma once

#include "wide.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// exp(-x^2 / 2), without what a general exponential spends on overflow and denormals: 0 below
// 2^-126.
TILEGRAD_INLINE float bell(float x) {
  constexpr float kRound = 12582912.0f;
  float z = x * x * -0.721347520f;  // exp(-x^2 / 2) = 2^z
  z = z < -127.0f ? -127.0f : z;
  const float shifted = z + kRound, r = z - (shifted - kRound);
  const float y = polynomial(r, 1.0f, 6.931471825e-01f, 2.402264923e-01f, 5.550357327e-02f,
                             9.618237615e-03f, 1.339073526e-03f, 1.540351077e-04f);
  const std::int32_t n = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  return y * power_of_two(n);  // n = -127 has the bits of 0
}
TILEGRAD_INLINE double bell(double x) { return std::exp(-0.5 * x * x); }

// P(X > z) for z >= 0, given bell(z): a slowly falling ratio (Mills, 1926) times bell(z), here as a
// polynomial fitted so that the product errs by less than 2^-23.
TILEGRAD_INLINE float normal_tail(float z, float bell) {
  z = z > 5.7f ? 5.7f : z;  // beyond, the tail is below 2^-27
  return bell * polynomial(z, 4.999999404e-01f, -3.989365101e-01f, 2.499167919e-01f,
                           -1.325137764e-01f, 6.115484610e-02f, -2.431388199e-02f, 7.939355448e-03f,
                           -1.974612009e-03f, 3.397343971e-04f, -3.520720566e-05f,
                           1.631655664e-06f);
}
TILEGRAD_INLINE double normal_tail(double z, double) {
  return 0.5 * std::erfc(z * 0.70710678118654752440);
}

// x * P(X <= x) = max(x, 0) - |x| * P(X > |x|): accurate on the left, too, where the result is
// small. -inf gives the limit, 0.
template <class T>
TILEGRAD_INLINE T gelu_value(T x) {
  const T z = std::fabs(x);
  const T finite = z > T{1e30f} ? T{1e30f} : z;  // there the tail is 0, but inf * 0 is NaN
  return (x < T{0} ? T{0} : x) - finite * normal_tail(z, bell(x));
}
template <class T>
TILEGRAD_INLINE T gelu_slope(T x) {
  const T density = bell(x), tail = normal_tail(std::fabs(x), density);
  const T finite = x > T{1e30f} ? T{1e30f} : x < T{-1e30f} ? T{-1e30f} : x;
  return choose(x > T{0}, T{1} - tail, tail) +
         finite * (density * static_cast<T>(0.39894228040143267794));
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
