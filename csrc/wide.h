// float32 functions computed in double: logarithms, exponentials, powers, and the functions made of
// them. Included once per instruction set.
//
// A float32 result needs little more than 24 of double's 53 bits, so short polynomials (relative
// error below 2^-33) do, reductions of the argument need no second word, and the single rounding at
// the end leaves every function here within 0.52 ulp. Nothing branches, so loops over them are
// vectorized; float64 takes the C library's functions. Coefficients are minimax fits of the
// stated functions on the stated intervals.
#pragma once

#include <limits>

#include "elementary.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr float kInfinity = std::numeric_limits<float>::infinity();
static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
static constexpr double kLn2 = 0.693147180559945309;
static constexpr double kPi = 3.14159265358979324;
static constexpr std::uint64_t kExponentBits = 0x7ff0000000000000u, kOneBits = 0x3ff0000000000000u;
static constexpr std::uint64_t kSqrtHalfBits = 0x3fe6a09e667f3bcdu;

TILEGRAD_INLINE std::uint64_t bits_of(double x) { return std::bit_cast<std::uint64_t>(x); }
TILEGRAD_INLINE double from_bits(std::uint64_t bits) { return std::bit_cast<double>(bits); }

TILEGRAD_INLINE double choose(bool condition, double x, double other) {
  const std::uint64_t mask = -static_cast<std::uint64_t>(condition);
  return from_bits((bits_of(x) & mask) | (bits_of(other) & ~mask));
}

// u = 2^e * m with m from sqrt(1/2) to sqrt(2) makes log(u) = e * ln 2 + log(1 + f), f = m - 1.
// `shifted` holds the bits of u plus those of 1 / sqrt(1/2): its exponent field is e's.
TILEGRAD_INLINE double wide_log_of_parts(std::uint64_t shifted, double f) {
  // As the low bits of 2^52 the field is an integer in double.
  const double e = from_bits((shifted >> 52) | bits_of(0x1p52)) - (0x1p52 + 1023);
  // The polynomial approximates log(1 + f) / f.
  return e * kLn2 + f * polynomial(f, 1.00000000003493028e+00, -5.00000003305764329e-01,
                                   3.33333315147386511e-01, -2.49999334770506704e-01,
                                   2.00001133668966768e-01, -1.66704791365969995e-01,
                                   1.42855037589067563e-01, -1.24105873291551372e-01,
                                   1.10211437182691122e-01, -1.08811903039959038e-01,
                                   1.07339139942828024e-01, -5.98504266283331754e-02);
}

// log(u) for normal, positive u.
TILEGRAD_INLINE double wide_log(double u) {
  const std::uint64_t shifted = bits_of(u) + (kOneBits - kSqrtHalfBits);
  return wide_log_of_parts(shifted, from_bits((shifted & ~kExponentBits) + kSqrtHalfBits) - 1);
}

// log(1 + x) for x above -1, relatively accurate near 0: f = (1 + x) / 2^e - 1 is formed from x.
TILEGRAD_INLINE double wide_log1p(double x) {
  const std::uint64_t shifted = bits_of(1 + x) + (kOneBits - kSqrtHalfBits);
  const std::uint64_t power = shifted & kExponentBits;
  return wide_log_of_parts(shifted, (x + (1 - from_bits(power))) * from_bits(2 * kOneBits - power));
}

// 2^n and exp(r) - 1, of exp(x) = 2^n * exp(r).
struct WideExponential {
  double power, rest;
};
TILEGRAD_INLINE WideExponential wide_exponential_parts(double x) {
  constexpr double kRound = 0x1.8p52;  // adding it leaves the integer in the low bits
  x = x < -700 ? -700 : x;             // far outside float32; NaN passes both
  x = x > 700 ? 700 : x;
  const double shifted = x * (1 / kLn2) + kRound;
  const double r = x - (shifted - kRound) * kLn2;
  // The polynomial approximates (exp(r) - 1) / r for |r| <= ln(2) / 2.
  return {
      from_bits((bits_of(shifted) + 1023) << 52),
      r * polynomial(r, 9.99999999995569433e-01, 5.00000000012061241e-01, 1.66666667854229317e-01,
                     4.16666659510343748e-02, 8.33328373130465955e-03, 1.38889783647127727e-03,
                     1.99074646353521932e-04, 2.48015703458233162e-05)};
}
TILEGRAD_INLINE double wide_exp(double x) {
  const WideExponential parts = wide_exponential_parts(x);
  return parts.power * parts.rest + parts.power;
}
TILEGRAD_INLINE double wide_expm1(double x) {
  const WideExponential parts = wide_exponential_parts(x);
  return parts.power * parts.rest + (parts.power - 1);
}

// What every logarithm gives where its argument, here `u`, is not a positive number.
TILEGRAD_INLINE float finish_log(float u, float y) {
  y = choose(u < kInfinity, y, u);  // inf and NaN are their own logarithms
  return choose(u <= 0.0f, choose(u == 0.0f, -kInfinity, kNaN), y);
}

TILEGRAD_INLINE float natural_log(float x) {
  return finish_log(x, static_cast<float>(wide_log(x)));
}
TILEGRAD_INLINE float binary_log(float x) {
  return finish_log(x, static_cast<float>(wide_log(x) * 1.44269504088896341));
}
TILEGRAD_INLINE float decimal_log(float x) {
  return finish_log(x, static_cast<float>(wide_log(x) * 0.434294481903251828));
}
TILEGRAD_INLINE float log_plus_one(float x) {
  const float y = finish_log(1.0f + x, static_cast<float>(wide_log1p(x)));
  return choose(std::fabs(x) < 0x1p-25f, x, y);  // keeps the sign of zero
}

TILEGRAD_INLINE float exp_minus_one(float x) {
  return choose(std::fabs(x) < 0x1p-25f, x, static_cast<float>(wide_expm1(x)));
}

// exp2(x) = 2^n * 2^r, where r is exact: float32 all the way, within 1 ulp.
TILEGRAD_INLINE float binary_exponential(float x) {
  constexpr float kRound = 12582912.0f + 254.0f;
  x = x < -151.0f ? -151.0f : x;
  x = x > 129.0f ? 129.0f : x;
  const float shifted = x + kRound;
  const float r = x - (shifted - kRound);
  // The polynomial approximates (2^r - 1) / r for |r| <= 1/2.
  const float y = polynomial(r, 6.931471825e-01f, 2.402264923e-01f, 5.550357327e-02f,
                             9.618237615e-03f, 1.339073526e-03f, 1.540351077e-04f) *
                      r +
                  1.0f;
  return times_power(y, shifted);
}

TILEGRAD_INLINE float hyperbolic_sine(float x) {
  const double e = wide_expm1(std::fabs(x));
  const auto y = static_cast<float>(0.5 * (e + e / (e + 1)));
  return std::copysign(choose(std::fabs(x) < 0x1p-12f, std::fabs(x), y), x);
}
TILEGRAD_INLINE float hyperbolic_cosine(float x) {
  const double e = wide_exp(std::fabs(x));
  return static_cast<float>(0.5 * (e + 1 / e));
}
TILEGRAD_INLINE float inverse_hyperbolic_sine(float x) {
  const double z = std::fabs(x);
  const auto y = static_cast<float>(wide_log1p(z + z * z / (1 + std::sqrt(1 + z * z))));
  return std::copysign(choose(std::fabs(x) < kInfinity, y, std::fabs(x)), x);
}
TILEGRAD_INLINE float inverse_hyperbolic_cosine(float x) {
  const double z = static_cast<double>(x) - 1;
  const auto y = static_cast<float>(wide_log1p(z + std::sqrt(z * (z + 2))));
  return choose(x < 1.0f, kNaN, choose(x < kInfinity, y, x));
}
TILEGRAD_INLINE float inverse_hyperbolic_tangent(float x) {
  const double z = std::fabs(x);
  const auto y = static_cast<float>(0.5 * wide_log1p(2 * z / (1 - z)));
  const float edge = choose(std::fabs(x) == 1.0f, kInfinity, kNaN);
  return std::copysign(choose(std::fabs(x) < 1.0f, y, edge), x);
}

// erfc(z) = exp(-z^2) * p((z - 2) / (z + 2)) for z >= 0, and 2 - erfc(z) on the other side.
TILEGRAD_INLINE float complementary_error_function(float x) {
  double z = std::fabs(x);
  z = z > 10.1 ? 10.1 : z;  // where the result is 0
  const double p =
      polynomial((z - 2) / (z + 2), 2.55395676317318354e-01, -4.27185847629753979e-01,
                 2.41658193536631927e-01, -7.89785697558824523e-02, 3.73290565008556558e-03,
                 6.99729849676716375e-03, -8.47265589324164270e-04, -9.80964678246223258e-04,
                 4.42794700718420479e-05, 1.71297971375478965e-04, 2.49511984257243230e-05,
                 -2.32342125598093889e-05, -9.16728083272439043e-06, -4.06835829809209345e-07);
  const double y = wide_exp(-z * z) * p;
  return static_cast<float>(choose(static_cast<double>(x) < 0, 2 - y, y));
}

// x^y = exp(y * log |x|), with C's rules for signs, zeros, infinities and NaN.
TILEGRAD_INLINE float power(float x, float y) {
  const double magnitude = std::fabs(x), exponent = y;
  double log = choose(magnitude < kInfinity, wide_log(magnitude), magnitude);
  log = choose(magnitude == 0, -static_cast<double>(kInfinity), log);
  // Of 1 and -1 every power has size 1, the infinite ones too.
  const auto size = static_cast<float>(wide_exp(choose(magnitude == 1, 0.0, exponent * log)));
  const float bounded = choose(std::fabs(y) < 0x1p24f, y, 0.0f);  // beyond, every y is even
  const auto whole = static_cast<std::int32_t>(bounded);
  const bool is_whole = (static_cast<float>(whole) == bounded) & (y == y);
  const std::uint32_t sign =
      static_cast<std::uint32_t>(is_whole ? whole : 0) << 31 & std::bit_cast<std::uint32_t>(x);
  float result = std::bit_cast<float>(std::bit_cast<std::uint32_t>(size) | sign);
  result = choose((x < 0.0f) & (x > -kInfinity) & !is_whole, kNaN, result);
  return choose((y == 0.0f) | (x == 1.0f), 1.0f, result);
}

// log(1 + exp(-z)) for z >= 0, in float32: with s = e / (2 + e) it is 2 * atanh(s). Within 3 ulp.
TILEGRAD_INLINE float log1p_of_exp_negative(float z) {
  const float e = exponential(-z), s = e / (2.0f + e);  // s <= 1/3
  // The polynomial approximates 2 * atanh(s) / s in powers of s^2.
  return s * polynomial(s * s, 2.0f, 6.666631699e-01f, 4.002490938e-01f, 2.796060443e-01f,
                        2.817833424e-01f);
}

TILEGRAD_INLINE double natural_log(double x) { return std::log(x); }
TILEGRAD_INLINE double binary_log(double x) { return std::log2(x); }
TILEGRAD_INLINE double decimal_log(double x) { return std::log10(x); }
TILEGRAD_INLINE double log_plus_one(double x) { return std::log1p(x); }
TILEGRAD_INLINE double exp_minus_one(double x) { return std::expm1(x); }
TILEGRAD_INLINE double binary_exponential(double x) { return std::exp2(x); }
TILEGRAD_INLINE double hyperbolic_sine(double x) { return std::sinh(x); }
TILEGRAD_INLINE double hyperbolic_cosine(double x) { return std::cosh(x); }
TILEGRAD_INLINE double inverse_hyperbolic_sine(double x) { return std::asinh(x); }
TILEGRAD_INLINE double inverse_hyperbolic_cosine(double x) { return std::acosh(x); }
TILEGRAD_INLINE double inverse_hyperbolic_tangent(double x) { return std::atanh(x); }
TILEGRAD_INLINE double complementary_error_function(double x) { return std::erfc(x); }
TILEGRAD_INLINE double power(double x, double y) { return std::pow(x, y); }
TILEGRAD_INLINE double log1p_of_exp_negative(double z) { return std::log1p(std::exp(-z)); }

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
