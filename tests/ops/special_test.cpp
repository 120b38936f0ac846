// special: every function against what defines it, computed in other ways, on every instruction
// set.
#include "ops/special.h"

#include <numbers>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr double kPi = std::numbers::pi;

// Values of a function at points, on every instruction set and in both dtypes.
void check(SpecialOp op, const std::vector<double>& points, const std::vector<double>& expected,
           double tolerance, const std::vector<double>& second = {}) {
  const auto count = static_cast<std::int64_t>(points.size());
  Array<double> x(count), other(count), y(count, -7.0);
  Array<float> narrow_x(count), narrow_other(count), narrow_y(count, -7.0f);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    x[i] = points[at];
    other[i] = second.empty() ? 0 : second[at];
    narrow_x[i] = static_cast<float>(x[i]);
    narrow_other[i] = static_cast<float>(other[i]);
  }
  for_each_isa([&](Isa isa) {
    run_on(isa, special_kernel,
           Special{op, DType::float64, y.data(), x.data(), other.data(), count});
    expect_close(y, expected, count, tolerance, tolerance);
    run_on(
        isa, special_kernel,
        Special{op, DType::float32, narrow_y.data(), narrow_x.data(), narrow_other.data(), count});
    expect_close(narrow_y, expected, count, 2e-6, 1e-6);
  });
}

std::vector<double> map(const std::vector<double>& points,
                        const std::function<double(double)>& function) {
  std::vector<double> values;
  for (double x : points) values.push_back(function(x));
  return values;
}

// Bessel's integral; the trapezoidal rule converges faster than any power.
double bessel(double x, int order) {
  constexpr int kSteps = 400;
  double sum = 0;
  for (int k = 0; k < kSteps; ++k) {
    const double angle = 2 * kPi * k / kSteps;
    sum += std::exp(x * std::cos(angle)) * std::cos(order * angle) / kSteps;
  }
  return sum;
}

const std::vector<double> kPoints = {-3.5, -1.25, -0.5, 0.25, 0.75, 1, 1.5, 2, 5.75, 12.5};

TEST(Special, Gamma) {
  check(SpecialOp::lgamma, kPoints, map(kPoints, [](double x) { return std::lgamma(x); }), 1e-13);
  constexpr double kEuler = std::numbers::egamma;
  check(SpecialOp::digamma, {1, 2, 0.5, 0.25, -0.5, 10},
        {-kEuler, 1 - kEuler, -kEuler - 2 * std::log(2), -kEuler - kPi / 2 - 3 * std::log(2),
         2 - kEuler - 2 * std::log(2), 7129.0 / 2520 - kEuler},
        1e-13);
  check(SpecialOp::digamma, {-3, -1}, {NAN, NAN}, 0);
  check(SpecialOp::digamma, {0.0, -0.0}, {-INFINITY, INFINITY}, 0);
}

TEST(Special, Bessel) {
  const std::vector<double> points = {-25.5, -3, -0.5, 0, 0.125, 1, 4.5, 20, 22};
  const auto scaled = [](int order) {
    return [order](double x) { return bessel(x, order) * std::exp(-std::abs(x)); };
  };
  check(SpecialOp::i0e, points, map(points, scaled(0)), 1e-13);
  check(SpecialOp::i1e, points, map(points, scaled(1)), 1e-13);
  const std::vector<double> small = {-3, -0.5, 0, 0.125, 1, 4.5};
  check(SpecialOp::i0, small, map(small, [](double x) { return bessel(x, 0); }), 1e-12);
  check(SpecialOp::i1, small, map(small, [](double x) { return bessel(x, 1); }), 1e-12);
}

TEST(Special, Errors) {
  const std::vector<double> points = {-2.5, -0.75, -0.25, 0, 0.5, 1.5};
  check(SpecialOp::erfcx, points,
        map(points, [](double x) { return std::exp(x * x) * std::erfc(x); }), 1e-13);
  check(SpecialOp::erfcx, {1e3}, {1e-3 / std::sqrt(kPi) * (1 - 0.5e-6)}, 1e-12);
  const auto cdf = [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; };
  check(SpecialOp::log_ndtr, points, map(points, [&](double x) { return std::log(cdf(x)); }),
        1e-13);
  // Inverses, at points that float32 holds, so checked by going back.
  for (double y : {-0.9375, -0.5, -0.125, 0.0, 0.25, 0.75, 0.96875}) {
    Array<double> at(1, y), found(1);
    for_each_isa([&](Isa isa) {
      run_on(isa, special_kernel,
             Special{SpecialOp::erfinv, DType::float64, found.data(), at.data(), nullptr, 1});
      EXPECT_NEAR(std::erf(found[0]), y, 1e-15);
    });
    at[0] = (y + 1) / 2;
    for_each_isa([&](Isa isa) {
      run_on(isa, special_kernel,
             Special{SpecialOp::ndtri, DType::float64, found.data(), at.data(), nullptr, 1});
      EXPECT_NEAR(cdf(found[0]), at[0], 1e-15);
    });
  }
  check(SpecialOp::erfinv, {-1, 1, 1.5}, {-INFINITY, INFINITY, NAN}, 0);
  check(SpecialOp::ndtri, {0, 1, -0.5}, {-INFINITY, INFINITY, NAN}, 0);
}

TEST(Special, Zeta) {
  check(SpecialOp::zeta, {2, 4, 2, 1, 0.5},
        {kPi * kPi / 6, std::pow(kPi, 4) / 90, kPi * kPi / 6 - 1 - 0.25, INFINITY, NAN}, 1e-13,
        {1, 1, 3, 1, 1});
}

}  // namespace
}  // namespace tilegrad
