// The normal distribution's density and distribution function, of which gelu and its slope are
// made. Included once per instruction set.
//
// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).
#pragma once

#include <array>

#include "register_functions.h"
#include "wide.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

#if defined(__AVX512F__)

// Where a register holds a table of 16 numbers, short polynomials from tables replace long ones.

// The bits of 2^(k / 16), less k where k / 16 of the exponent would stand: what adding sixteenths
// to an exponent leaves in the fraction is taken off.
alignas(64) static constexpr auto kSixteenthPowers = [] {
  constexpr float kPowers[16] = {
      1.000000000e+00f, 1.044273734e+00f, 1.090507746e+00f, 1.138788581e+00f,
      1.189207077e+00f, 1.241857767e+00f, 1.296839595e+00f, 1.354255557e+00f,
      1.414213538e+00f, 1.476826191e+00f, 1.542210817e+00f, 1.610490322e+00f,
      1.681792855e+00f, 1.756252170e+00f, 1.834008098e+00f, 1.915206552e+00f};
  std::array<std::int32_t, 16> bits{};
  for (int k = 0; k < 16; ++k) bits[k] = std::bit_cast<std::int32_t>(kPowers[k]) - (k << 19);
  return bits;
}();

// P(X > z) / bell(z) between the places z = 0, 1/4, ..., 2, 5/2, ..., 6: the coefficients of one
// polynomial per interval, in powers of the distance from its left end.
alignas(64) static constexpr float kTailRatio[5][16] = {
    {4.999999702e-01f, 4.140320718e-01f, 3.496188223e-01f, 3.002324402e-01f, 2.615782917e-01f,
     2.307603210e-01f, 2.057806700e-01f, 1.852316707e-01f, 1.681019813e-01f, 1.413313150e-01f,
     1.215139404e-01f, 1.063451469e-01f, 9.441064298e-02f, 8.480338752e-02f, 7.691930234e-02f,
     7.034269720e-02f},
    {-3.989340365e-01f, -2.954295874e-01f, -2.241301239e-01f, -1.737663001e-01f, -1.373629868e-01f,
     -1.104912460e-01f, -9.027086943e-02f, -7.478659600e-02f, -6.273579597e-02f, -4.561276361e-02f,
     -3.439982980e-02f, -2.673391812e-02f, -2.129953168e-02f, -1.732690819e-02f, -1.434568968e-02f,
     -1.205742173e-02f},
    {2.497365326e-01f, 1.699369699e-01f, 1.186885983e-01f, 8.490065485e-02f, 6.207477301e-02f,
     4.630233720e-02f, 3.517373651e-02f, 2.716868743e-02f, 2.127263695e-02f, 1.362903975e-02f,
     9.146553464e-03f, 6.382402964e-03f, 4.602932371e-03f, 3.414172214e-03f, 2.594204154e-03f,
     2.012655605e-03f},
    {-1.299845427e-01f, -8.260044456e-02f, -5.391866341e-02f, -3.608622774e-02f, -2.471753955e-02f,
     -1.729764417e-02f, -1.234773546e-02f, -8.977445774e-03f, -6.473616231e-03f, -3.720920999e-03f,
     -2.254476305e-03f, -1.429098542e-03f, -9.418059490e-04f, -6.418828270e-04f, -4.504362878e-04f,
     -3.242598323e-04f},
    {4.817042500e-02f, 2.911779657e-02f, 1.808064617e-02f, 1.151356287e-02f, 7.506479509e-03f,
     5.002827384e-03f, 3.403325798e-03f, 2.359894337e-03f, 1.413061633e-03f, 7.500182255e-04f,
     4.208471801e-04f, 2.478255774e-04f, 1.522061648e-04f, 9.698060603e-05f, 6.381949061e-05f,
     4.320957305e-05f},
};

// exp(-x^2 / 2) = 2^n * 2^(k / 16) * 2^r with |r| <= 1 / 32; 0 below 2^-126.
TILEGRAD_INLINE Vec<float> bell(Vec<float> x) {
  constexpr float kRound = 786432.0f;  // 1.5 * 2^19: adding it leaves sixteenths in the low bits
  Vec<float> z = x * x * -0.721347520f;
  z = larger(splat(-127.0f), z);
  const Vec<float> shifted = z + kRound, r = z - (shifted - kRound);
  const Vec<float> rest = ((r * 0.055505227f + 0.24023215f) * r + 0.6931472f) * r;
  const auto sixteenths = std::bit_cast<VecInt<float>>(shifted);
  VecInt<float> powers;
  std::memcpy(&powers, kSixteenthPowers.data(), sizeof(powers));
  const auto scale = std::bit_cast<Vec<float>>(  // shuffled by the low four bits
      __builtin_shuffle(powers, sixteenths) + (sixteenths << 19));
  return scale * rest + scale;
}

// P(X > z) for z >= 0, given bell(z).
TILEGRAD_INLINE Vec<float> normal_tail(Vec<float> z, Vec<float> bell) {
  z = smaller(splat(5.9999f), z);  // beyond, the tail is below 2^-29
  // From 2 to 8, the lowest bit of the exponent and three of the fraction number the intervals.
  const Vec<float> place = z + 2.0f;
  const auto bits = std::bit_cast<VecInt<float>>(place);
  const Vec<float> r = place - std::bit_cast<Vec<float>>(bits & -0x100000);
  const VecInt<float> interval = bits >> 20;
  const auto coefficient = [&](int k) { return __builtin_shuffle(load(kTailRatio[k]), interval); };
  Vec<float> ratio = coefficient(4) * r + coefficient(3);
  ratio = ratio * r + coefficient(2);
  ratio = ratio * r + coefficient(1);
  return (ratio * r + coefficient(0)) * bell;
}

#else

// exp(-x^2 / 2), without what a general exponential spends on overflow and denormals: 0 below
// 2^-126.
TILEGRAD_INLINE Vec<float> bell(Vec<float> x) {
  constexpr float kRound = 12582912.0f;
  constexpr float kPower[] = {1.339073526e-03f, 9.618237615e-03f, 5.550357327e-02f,
                              2.402264923e-01f, 6.931471825e-01f, 1.0f};
  Vec<float> z = x * x * -0.721347520f;  // exp(-x^2 / 2) = 2^z
  z = larger(splat(-127.0f), z);
  const Vec<float> shifted = z + kRound, r = z - (shifted - kRound);
  Vec<float> y = splat(1.540351077e-04f);
#pragma GCC unroll 6
  for (float coefficient : kPower) y = y * r + coefficient;
  const VecInt<float> n =
      std::bit_cast<VecInt<float>>(shifted) - std::bit_cast<std::int32_t>(kRound);
  return y * std::bit_cast<Vec<float>>((n + 127) << 23);  // n = -127 has the bits of 0
}

// P(X > z) for z >= 0, given bell(z): a slowly falling ratio (Mills, 1926) times bell(z), here as a
// polynomial fitted so that the product errs by less than 2^-23.
TILEGRAD_INLINE Vec<float> normal_tail(Vec<float> z, Vec<float> bell) {
  constexpr float kRatio[] = {
      -3.520720566e-05f, 3.397343971e-04f,  -1.974612009e-03f, 7.939355448e-03f,  -2.431388199e-02f,
      6.115484610e-02f,  -1.325137764e-01f, 2.499167919e-01f,  -3.989365101e-01f, 4.999999404e-01f};
  z = smaller(splat(5.7f), z);  // beyond, the tail is below 2^-27
  Vec<float> ratio = splat(1.631655664e-06f);
#pragma GCC unroll 10
  for (float coefficient : kRatio) ratio = ratio * z + coefficient;
  return bell * ratio;
}

#endif

// x * P(X <= x) = max(x, 0) - |x| * P(X > |x|): accurate on the left, too, where the result is
// small. NaN for minus infinity (its product with 0), as in PyTorch; plus infinity, whose tail
// is 0 as well, is held to the largest number, so that it stays what it is.
TILEGRAD_INLINE Vec<float> gelu_value(Vec<float> x) {
  const Vec<float> z = larger(-x, smaller(splat(3.40282347e38f), x));
  return larger(Vec<float>{}, x) - z * normal_tail(z, bell(x));
}
TILEGRAD_INLINE Vec<float> gelu_slope(Vec<float> x) {
  const Vec<float> density = bell(x), tail = normal_tail(magnitude_of(x), density);
  return (x > 0.0f ? 1.0f - tail : tail) + x * (density * 0.398942280f);
}

// float64: as PyTorch, NaN for minus infinity only.
TILEGRAD_INLINE double gelu_value(double x) {
  const double z = x > 1e300 ? 1e300 : std::fabs(x);  // there the tail is 0, but inf * 0 is NaN
  return (x < 0 ? 0 : x) - z * (0.5 * std::erfc(z * 0.70710678118654752440));
}
TILEGRAD_INLINE double gelu_slope(double x) {
  const double tail = 0.5 * std::erfc(std::fabs(x) * 0.70710678118654752440);
  return (x > 0 ? 1 - tail : tail) + x * (std::exp(-0.5 * x * x) * 0.39894228040143267794);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
