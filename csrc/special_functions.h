// Special functions, each from its definition: a series where that converges, an asymptotic series
// where the argument is large, Newton's method for inverses. Everything is computed in double, by
// the CPU's kernels and by CUDA's.
#pragma once

#include <cmath>

#if defined(__CUDACC__)
#define TILEGRAD_SPECIAL __device__ inline
#else
#define TILEGRAD_SPECIAL [[maybe_unused]] inline
#endif

namespace tilegrad {
// Internal linkage: this header is compiled under the flags of several instruction sets.
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kSqrtPi = 1.77245385090551602730;
constexpr double kSqrt2 = 1.41421356237309504880;

// adds(k, B(2k + 2)) for Bernoulli's numbers B2, B4, ..., B16. Written out: an array of constants
// would lie in memory that CUDA's threads do not share.
template <class Add>
TILEGRAD_SPECIAL void for_each_bernoulli(const Add& add) {
  add(0, 1.0 / 6);
  add(1, -1.0 / 30);
  add(2, 1.0 / 42);
  add(3, -1.0 / 30);
  add(4, 5.0 / 66);
  add(5, -691.0 / 2730);
  add(6, 7.0 / 6);
  add(7, -3617.0 / 510);
}

// 1 / tan(pi x). (CUDA's tan keeps a table for huge arguments in slow memory.)
TILEGRAD_SPECIAL double cotangent_pi(double x) {
#if defined(__CUDACC__)
  double sine, cosine;
  sincospi(x, &sine, &cosine);
  return cosine / sine;
#else
  return 1 / std::tan(kPi * x);
#endif
}

// The recurrence psi(x) = psi(x + 1) - 1 / x up to where Stirling's series is exact.
TILEGRAD_SPECIAL double digamma(double x) {
  if (x == 0) return std::copysign(INFINITY, -x);
  double result = 0;
  if (x < 0) {
    if (x == std::floor(x)) return NAN;
    const double fraction = x - std::floor(x);
    result = -kPi * cotangent_pi(fraction);
    x = 1 - x;
  }
  for (; x < 10; ++x) result -= 1 / x;
  if (x == INFINITY) return result + x;
  double power = 1 / (x * x), series = 0;
  const double square = power;
  for_each_bernoulli([&](int k, double bernoulli) {
    series += bernoulli / (2 * (k + 1)) * power;
    power *= square;
  });
  return result + std::log(x) - 0.5 / x - series;
}

// Hurwitz' zeta function by Euler's and Maclaurin's formula.
TILEGRAD_SPECIAL double hurwitz_zeta(double s, double q) {
  if (s == 1) return INFINITY;
  if (s < 1) return NAN;
  if (q <= 0) {
    if (q == std::floor(q)) return INFINITY;
    if (s != std::floor(s)) return NAN;
  }
  double sum = 0, a = q;
  for (int k = 0; k < 10 || a < 10; ++k, ++a) {
    const double term = std::pow(a, -s);
    sum += term;
    if (k >= 9 && std::fabs(term) < 1e-17 * std::fabs(sum)) return sum;
  }
  const double power = std::pow(a, -s);
  sum += power * a / (s - 1) + 0.5 * power;
  double factor = s, term = power / a;  // s (s + 1) ... / (2k)!, and a^(-s - 2k + 1)
  for_each_bernoulli([&](int k, double bernoulli) {
    sum += bernoulli * factor / 2 * term;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / ((2 * k + 3.0) * (2 * k + 4));
    term /= a * a;
  });
  return sum;
}

// A first guess from Winitzki's approximation of erf; log_product is log((1 - y) (1 + y)).
TILEGRAD_SPECIAL double erfinv_guess(double log_product) {
  constexpr double a = 0.147;
  const double b = 2 / (kPi * a) + log_product / 2;
  return std::sqrt(std::sqrt(b * b - log_product / a) - b);
}

// Solves erfc(x) = z for z in (0, 1].
TILEGRAD_SPECIAL double erfc_inverse(double z) {
  double x = erfinv_guess(std::log(z) + std::log(2 - z));
  for (int i = 0; i < 4; ++i) {  // Halley's steps
    const double step = (std::erfc(x) - z) / (2 / kSqrtPi * std::exp(-x * x));
    x += step / (1 + x * step);
  }
  return x;
}

TILEGRAD_SPECIAL double inverse_erf(double y) {
  if (!(std::fabs(y) <= 1)) return NAN;
  if (std::fabs(y) == 1) return std::copysign(INFINITY, y);
  if (std::fabs(y) > 0.5) return std::copysign(erfc_inverse(1 - std::fabs(y)), y);
  double x = y * kSqrtPi / 2;
  for (int i = 0; i < 5; ++i) {
    const double step = (std::erf(x) - y) / (2 / kSqrtPi * std::exp(-x * x));
    x -= step / (1 + x * step);
  }
  return x;
}

// The quantile of the normal distribution.
TILEGRAD_SPECIAL double normal_quantile(double p) {
  if (!(p >= 0 && p <= 1)) return NAN;
  if (p == 0 || p == 1) return p == 0 ? -INFINITY : INFINITY;
  if (p > 0.25 && p < 0.75) return kSqrt2 * inverse_erf(2 * p - 1);
  return p < 0.5 ? -kSqrt2 * erfc_inverse(2 * p) : kSqrt2 * erfc_inverse(2 * (1 - p));
}

// exp(x^2) erfc(x).
TILEGRAD_SPECIAL double scaled_erfc(double x) {
  if (x < 25) return std::exp(x * x) * std::erfc(x);
  const double r = 1 / (x * x);
  return (1 - r / 2 * (1 - 1.5 * r * (1 - 2.5 * r))) / (x * kSqrtPi);
}

TILEGRAD_SPECIAL double log_normal_cdf(double x) {
  if (x < -1) return std::log(scaled_erfc(-x / kSqrt2) / 2) - x * x / 2;
  return std::log1p(-std::erfc(x / kSqrt2) / 2);
}

// Bessel's modified function of the first kind, times exp(-|x|).
template <int kOrder>
TILEGRAD_SPECIAL double scaled_bessel(double x) {
  const double size = std::fabs(x);
  double result;
  if (size <= 20) {
    const double square = x * x / 4;
    double term = kOrder == 0 ? 1 : size / 2;
    result = term;
    for (int k = 1; k < 200 && term > 1e-18 * result; ++k) {
      term *= square / (k * static_cast<double>(k + kOrder));
      result += term;
    }
    result *= std::exp(-size);
  } else {
    double term = 1;
    result = 1;
    for (int k = 1; k < 30; ++k) {
      const double odd = 2 * k - 1;
      term *= (odd * odd - 4 * kOrder) / (8 * k * size);
      result += term;
      if (std::fabs(term) < 1e-17) break;
    }
    result /= std::sqrt(2 * kPi * size);
  }
  return kOrder == 1 && x < 0 ? -result : result;
}

}  // namespace
}  // namespace tilegrad

#undef TILEGRAD_SPECIAL
