// exp of whole registers, and with AVX-512 the functions made of it: that instruction set scales by
// powers of two and has fast reciprocals, of which the compiler makes no use when it vectorizes
// elementary.h. Included once per instruction set.
#pragma once

#include <type_traits>

#include "row_sums.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// The body of a generic function: [](auto x) TILEGRAD_RETURNS(exponential(x)) takes those types
// that the expression takes, so that callers can ask whether whole registers are among them.
#define TILEGRAD_RETURNS(...) \
  ->decltype(__VA_ARGS__) { return __VA_ARGS__; }

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, with the coefficients of elementary.h.
TILEGRAD_INLINE Vec<float> exponential_tail(Vec<float> r) {
  Vec<float> y = r * 1.381460184e-03f + 8.368715219e-03f;
  y = y * r + 4.166838789e-02f;
  y = y * r + 1.666652065e-01f;
  return y * r + 4.999999345e-01f;
}
TILEGRAD_INLINE Vec<double> exponential_tail(Vec<double> r) {
  constexpr double kCoefficients[] = {
      2.7620138719733994e-07, 2.7557268378684192e-06, 2.480152119021773e-05,
      0.00019841269863105968, 0.0013888888917281794,  0.008333333333330051,
      0.04166666666662399,    0.16666666666666669,    0.5000000000000001};
  Vec<double> y = splat(2.5100424157005067e-08);
#pragma GCC unroll 9
  for (double coefficient : kCoefficients) y = y * r + coefficient;
  return y;
}

// exp(x) = 2^n * exp(rest) with n = round(x / ln 2).
template <class T>
struct ReducedPower {
  static constexpr bool kFloat = std::is_same_v<T, float>;
  // 1.5 * 2^23 leaves an integer in the lowest bits, here with the bias of exponents added.
  static constexpr T kRound = kFloat ? T(12582912 + 127) : T(0x1.8p52 + 1023);
  static constexpr T kLog2E = static_cast<T>(1.44269504088896340736);
  // n times the first has no more bits than T.
  static constexpr T kLn2High = static_cast<T>(kFloat ? 0.693359375 : 0x1.62e42feep-1);
  static constexpr T kLn2Low = static_cast<T>(kFloat ? -2.12194440e-4 : 0x1.a39ef35793c76p-33);
  Vec<T> shifted, n, rest;

  explicit ReducedPower(Vec<T> x)
      : shifted(x * kLog2E + kRound), n(shifted - kRound), rest((x - n * kLn2High) - n * kLn2Low) {}

  Vec<T> rest_power() const { return exponential_from<T>(rest, exponential_tail(rest)); }
  Vec<T> two_power() const {  // if it is a normal number
    return std::bit_cast<Vec<T>>(std::bit_cast<VecInt<T>>(shifted) << (kFloat ? 23 : 52));
  }
};

TILEGRAD_INLINE Vec<float> magnitude_of(Vec<float> x) {
  return std::bit_cast<Vec<float>>(std::bit_cast<VecInt<float>>(x) & 0x7fffffff);
}

// One instruction each; the second argument where one is NaN. (GCC 12 warns of the plain
// intrinsics, which start from an undefined register.)
#if defined(__AVX512F__)
TILEGRAD_INLINE Vec<float> larger(Vec<float> a, Vec<float> b) {
  return _mm512_maskz_max_ps(0xffff, a, b);
}
TILEGRAD_INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) {
  return _mm512_maskz_min_ps(0xffff, a, b);
}
TILEGRAD_INLINE Vec<double> larger(Vec<double> a, Vec<double> b) {
  return _mm512_maskz_max_pd(0xff, a, b);
}
TILEGRAD_INLINE Vec<double> smaller(Vec<double> a, Vec<double> b) {
  return _mm512_maskz_min_pd(0xff, a, b);
}
#else
TILEGRAD_INLINE Vec<float> larger(Vec<float> a, Vec<float> b) { return a > b ? a : b; }
TILEGRAD_INLINE Vec<float> smaller(Vec<float> a, Vec<float> b) { return a < b ? a : b; }
#endif

#if defined(__AVX512F__)

// y * 2^n, rounded once.
TILEGRAD_INLINE Vec<float> times_power(Vec<float> y, Vec<float> n) {
  return _mm512_maskz_scalef_ps(0xffff, y, n);
}
TILEGRAD_INLINE Vec<double> times_power(Vec<double> y, Vec<double> n) {
  return _mm512_maskz_scalef_pd(0xff, y, n);
}

// To the last bit what elementary.h's gives.
TILEGRAD_INLINE Vec<float> exponential(Vec<float> x) {
  const ReducedPower<float> parts(smaller(splat(89.0f), larger(splat(-104.0f), x)));
  return times_power(parts.rest_power(), parts.n);
}
TILEGRAD_INLINE Vec<double> exponential(Vec<double> x) {
  const ReducedPower<double> parts(smaller(splat(710.0), larger(splat(-746.0), x)));
  return times_power(parts.rest_power(), parts.n);
}

TILEGRAD_INLINE Vec<float> choose(VecInt<float> condition, Vec<float> x, Vec<float> other) {
  return condition ? x : other;
}

TILEGRAD_INLINE Vec<float> with_sign_of(Vec<float> x, Vec<float> size) {
  constexpr std::int32_t kSize = 0x7fffffff;
  return std::bit_cast<Vec<float>>((std::bit_cast<VecInt<float>>(size) & kSize) |
                                   (std::bit_cast<VecInt<float>>(x) & ~kSize));
}

// x / y for normal y below 2^126: 14 bits from a table, and one step of Newton's with what is left
// of x. Within 1 ulp; a division keeps its unit busy for 16 cycles.
TILEGRAD_INLINE Vec<float> quotient(Vec<float> x, Vec<float> y) {
  const Vec<float> inverse = _mm512_maskz_rcp14_ps(0xffff, y);
  const Vec<float> first = x * inverse;
  return (x - first * y) * inverse + first;
}

// 1 / (1 + exp(-x)); 0 below -87. Within 2 ulp.
TILEGRAD_INLINE Vec<float> logistic(Vec<float> x) {
  const __mmask16 kept = _mm512_cmp_ps_mask(x, splat(-87.0f), _CMP_NLT_UQ);
  const ReducedPower<float> parts(-smaller(splat(30.0f), x));  // beyond, it is 1
  const Vec<float> sum = parts.rest_power() * parts.two_power() + 1.0f;
  const Vec<float> inverse = _mm512_maskz_rcp14_ps(0xffff, sum);
  return _mm512_maskz_fmadd_ps(kept, 1.0f - inverse * sum, inverse, inverse);
}

// With u = exp(2 |x|) - 1 it is u / (u + 2). Within 3 ulp.
TILEGRAD_INLINE Vec<float> hyperbolic_tangent(Vec<float> x) {
  const Vec<float> bounded = smaller(splat(10.0f), magnitude_of(x));  // beyond, it is 1
  const ReducedPower<float> parts(bounded + bounded);
  const Vec<float> power = parts.two_power();
  const Vec<float> slope = exponential_tail(parts.rest) * parts.rest + 1.0f;
  const Vec<float> u = slope * parts.rest * power + (power - 1.0f);
  return with_sign_of(x, quotient(u, u + 2.0f));
}

// 2^n * (exp(rest) - 1) + (2^n - 1), with half of 2^n: the largest results need n = 128. Within 2
// ulp.
TILEGRAD_INLINE Vec<float> exp_minus_one(Vec<float> x) {
  const ReducedPower<float> parts(smaller(splat(89.0f), larger(splat(-104.0f), x)));
  const Vec<float> n = parts.n - 1.0f;
  const Vec<float> slope = exponential_tail(parts.rest) * parts.rest + 1.0f;
  const Vec<float> half = times_power(slope * parts.rest, n) + (times_power(splat(1.0f), n) - 0.5f);
  return choose(magnitude_of(x) < 1e-30f, x, half + half);  // halves of the smallest are not exact
}

// x = m * 2^n with m in [0.75, 1.5), and log(x) = n * log(2) + log(1 + (m - 1)). Within 0.9 ulp;
// minus infinity for 0, NaN below.
TILEGRAD_INLINE Vec<float> natural_log(Vec<float> x) {
  constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;  // n * kLn2High is exact
  // (log(1 + r) - r) / r^2 for -0.25 <= r < 0.5
  constexpr float kCoefficients[] = {-9.116142243e-02f, 1.170065403e-01f,  -1.272778511e-01f,
                                     1.427624077e-01f,  -1.665529609e-01f, 1.999960542e-01f,
                                     -2.500016391e-01f, 3.333334029e-01f,  -0.5f};
  const Vec<float> m = _mm512_maskz_getmant_ps(0xffff, x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  const Vec<float> n =
      (Vec<float>)_mm512_maskz_getexp_ps(0xffff, x) - (Vec<float>)_mm512_maskz_getexp_ps(0xffff, m);
  const Vec<float> r = m - 1.0f;
  Vec<float> tail = splat(3.767246380e-02f);
#pragma GCC unroll 9
  for (float coefficient : kCoefficients) tail = tail * r + coefficient;
  return n * kLn2High + (r + (r * r * tail + n * kLn2Low));
}

// As in elementary.h.
TILEGRAD_INLINE Vec<float> error_function(Vec<float> x) {
  constexpr float kNear[] = {-8.020839689e-04f, 5.189535161e-03f,  -2.685444450e-02f,
                             1.128360017e-01f,  -3.761262714e-01f, 1.128379166e+00f};
  constexpr float kFar[] = {4.385295078e-04f,  -4.190853716e-03f, 2.517180343e-02f,
                            -1.083615444e-01f, -6.332724209e-01f, -1.129552038e+00f,
                            1.824594713e-04f};
  const Vec<float> size = magnitude_of(x), bounded = smaller(splat(4.0f), size);
  const Vec<float> square = x * x;
  Vec<float> near = splat(7.889114215e-05f), log = splat(-2.144552815e-05f);
#pragma GCC unroll 6
  for (float coefficient : kNear) near = near * square + coefficient;
#pragma GCC unroll 7
  for (float coefficient : kFar) log = log * bounded + coefficient;
  const ReducedPower<float> parts(log);
  const Vec<float> far = 1.0f - parts.rest_power() * parts.two_power();
  return size < 1.0f ? near * x : with_sign_of(x, far);
}

#endif

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
