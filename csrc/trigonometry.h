// Trigonometric functions of float32, computed in double like those of wide.h and as accurate:
// within 0.52 ulp. Included once per instruction set.
//
// sine, cosine and tangent subtract a multiple of pi from the argument: exactly enough as long as
// |x| <= kTrigonometricLimit. Beyond, callers take the C library's functions.
#pragma once

#include "wide.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr float kTrigonometricLimit = 1e6f;

// pi in two words; the first has 31 bits, so that multiples of it are exact up to 2^22.
static constexpr double kPiHigh = 0x1.921fb544p+1, kPiLow = 0x1.0b4611a626331p-33;

// (-1)^n * sin(r) for |r| <= pi / 2, with the parity of n in the lowest bit.
TILEGRAD_INLINE double wide_signed_sine(double r, std::uint64_t n) {
  // The polynomial approximates sin(r) / r in powers of r^2.
  const double y = r * polynomial(r * r, 9.99999999978718135e-01, -1.66666666085299786e-01,
                                  8.33333070992208283e-03, -1.98408314965922770e-04,
                                  2.75239040183992159e-06, -2.38671679615408712e-08);
  return from_bits(bits_of(y) ^ (n << 63));
}

TILEGRAD_INLINE float sine(float x) {
  constexpr double kRound = 0x1.8p52;
  const double z = x, shifted = z * (1 / kPi) + kRound, n = shifted - kRound;
  const double r = (z - n * kPiHigh) - n * kPiLow;
  return static_cast<float>(wide_signed_sine(r, bits_of(shifted)));
}

// cos(x) = -(-1)^n * sin(r) for x = (n + 1/2) * pi + r.
TILEGRAD_INLINE float cosine(float x) {
  constexpr double kRound = 0x1.8p52;
  const double z = x, shifted = (z * (1 / kPi) - 0.5) + kRound, n = (shifted - kRound) + 0.5;
  const double r = (z - n * kPiHigh) - n * kPiLow;
  return static_cast<float>(wide_signed_sine(r, bits_of(shifted) + 1));
}

// tan(x) = tan(r) for x = n * pi / 2 + r and even n, else -1 / tan(r).
TILEGRAD_INLINE float tangent(float x) {
  constexpr double kRound = 0x1.8p52;
  const double z = x, shifted = z * (2 / kPi) + kRound, n = shifted - kRound;
  const double r = (z - n * (kPiHigh / 2)) - n * (kPiLow / 2), square = r * r;
  const double sin =
      r * polynomial(square, 9.99999999995427435e-01, -1.66666666303003724e-01,
                     8.33332867616436331e-03, -1.98391741653150316e-04, 2.71711428805110610e-06);
  const double cos =
      polynomial(square, 9.99999999999933942e-01, -4.99999999992675193e-01, 4.16666665331485025e-02,
                 -1.38888799069660320e-03, 2.47988386724093780e-05, -2.71675865042830688e-07);
  const bool odd = (bits_of(shifted) & 1) != 0;
  return static_cast<float>(choose(odd, -cos, sin) / choose(odd, sin, cos));
}

// The angle from 0 to pi / 2 of a point with coordinates x, y >= 0 that are not both 0.
TILEGRAD_INLINE double wide_angle(double y, double x) {
  const bool steep = y > x;
  const double t = choose(steep, x, y) / choose(steep, y, x);
  // The polynomial approximates atan(t) / t for t <= 1, in powers of t^2.
  const double angle =
      t * polynomial(t * t, 9.99999999941248108e-01, -3.33333315713751688e-01,
                     1.99999120559605198e-01, -1.42839808027264425e-01, 1.10932414338293067e-01,
                     -8.98023929492057088e-02, 7.24571747914978387e-02, -5.42790712404104259e-02,
                     3.42095448028369650e-02, -1.61116209131206452e-02, 4.85090418582347863e-03,
                     -6.84786424247076867e-04);
  return choose(steep, kPi / 2 - angle, angle);
}

TILEGRAD_INLINE float arc_tangent(float x) {
  return std::copysign(static_cast<float>(wide_angle(std::fabs(x), 1.0)), x);
}
TILEGRAD_INLINE float arc_sine(float x) {
  const double z = std::fabs(x);
  const double angle = wide_angle(z, std::sqrt((1 - z) * (1 + z)));
  return std::copysign(static_cast<float>(angle), x);
}
TILEGRAD_INLINE float arc_cosine(float x) {
  const double z = std::fabs(x);
  const double angle = wide_angle(std::sqrt((1 - z) * (1 + z)), z);
  return static_cast<float>(choose(static_cast<double>(x) < 0, kPi - angle, angle));
}

// The angle of the point (x, y), from -pi to pi, with C's rules for zeros and infinities.
TILEGRAD_INLINE float angle_of(float y, float x) {
  double height = std::fabs(y), width = std::fabs(x);
  height = height > 1e300 ? 1e300 : height;  // so that the quotient of two infinities is 1
  width = width > 1e300 ? 1e300 : width;
  width = choose(width + height == 0, 1.0, width);
  const double angle = wide_angle(height, width);
  const bool left = std::copysign(1.0, static_cast<double>(x)) < 0;  // of -0 too
  return std::copysign(static_cast<float>(choose(left, kPi - angle, angle)), y);
}

TILEGRAD_INLINE double sine(double x) { return std::sin(x); }
TILEGRAD_INLINE double cosine(double x) { return std::cos(x); }
TILEGRAD_INLINE double tangent(double x) { return std::tan(x); }
TILEGRAD_INLINE double arc_tangent(double x) { return std::atan(x); }
TILEGRAD_INLINE double arc_sine(double x) { return std::asin(x); }
TILEGRAD_INLINE double arc_cosine(double x) { return std::acos(x); }
TILEGRAD_INLINE double angle_of(double y, double x) { return std::atan2(y, x); }

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
