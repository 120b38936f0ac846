// Complex products, quotients and absolute values against std::complex<double>, on every
// instruction set.
#include "ops/complex.h"

#include <complex>
#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
constexpr DType part = std::is_same_v<T, float> ? DType::float32 : DType::float64;

template <class T>
Array<std::complex<T>> random_complex(std::int64_t count, std::uint64_t seed) {
  const Array<T> parts = Array<T>::random(2 * count, seed);
  Array<std::complex<T>> z(count);
  for (std::int64_t i = 0; i < count; ++i) z[i] = {parts[2 * i], parts[2 * i + 1]};
  return z;
}

template <class T>
void expect_complex(std::complex<T> actual, std::complex<double> expected) {
  const double distance = std::abs(std::complex<double>(actual) - expected);
  const double unit = std::numeric_limits<T>::epsilon();
  EXPECT_LE(distance, 8 * unit * std::abs(expected)) << actual << " instead of " << expected;
}

template <class T>
void test_products(std::int64_t y_step, std::int64_t x_step, std::int64_t other_step) {
  using Z = std::complex<T>;
  constexpr std::int64_t count = 517;
  Array<Z> x = random_complex<T>(2 * count, 1), other = random_complex<T>(2 * count, 2);
  for_each_isa([&](Isa isa) {
    for (const bool divides : {false, true}) {
      Array<Z> y(2 * count);
      const auto loop =
          loop_over({count}, Strided<Z>{y.data(), {y_step}}, Strided<Z>{x.data(), {x_step}},
                    Strided<Z>{other.data(), {other_step}});
      run_on(isa, complex_product_kernel,
             ComplexProduct{.part = part<T>, .divides = divides, .loop = loop});
      for (std::int64_t i = 0; i < count; ++i) {
        const std::complex<double> a(x[i * x_step]), b(other[i * other_step]);
        expect_complex(y[i * y_step], divides ? a / b : a * b);
      }
    }
  });
}

TEST(Complex, ProductsAndQuotientsOfEveryStep) {
  for (std::int64_t y : {1, 2})
    for (std::int64_t x : {1, 0, 2})
      for (std::int64_t other : {1, 0, 2}) {
        test_products<float>(y, x, other);
        test_products<double>(y, x, other);
      }
}

template <class T>
void test_sizes(T scale, std::int64_t x_step) {
  using Z = std::complex<T>;
  constexpr std::int64_t count = 517;
  Array<Z> x = random_complex<T>(2 * count, 3);
  for (std::int64_t i = 0; i < 2 * count; ++i) x[i] *= scale;
  for_each_isa([&](Isa isa) {
    Array<T> y(count);
    const auto loop = loop_over({count}, Strided<T>{y.data(), {1}}, Strided<Z>{x.data(), {x_step}});
    run_on(isa, complex_abs_kernel, ComplexAbs{.part = part<T>, .loop = loop});
    for (std::int64_t i = 0; i < count; ++i)
      expect_complex<T>(y[i], std::abs(std::complex<double>(x[i * x_step])));
  });
}

TEST(Complex, AbsoluteValuesNeitherOverflowNorVanish) {
  for (std::int64_t step : {1, 2}) {
    for (const float scale : {1.0f, 1e38f, 1e-37f}) test_sizes<float>(scale, step);
    for (const double scale : {1.0, 1e307, 1e-300}) test_sizes<double>(scale, step);
  }
}

TEST(Complex, QuotientsOfLargeNumbersAreFinite) {
  std::complex<double> x(1e300, 1e300), other(1e300, -1e300), y;
  const auto loop =
      loop_over({1}, Strided<std::complex<double>>{&y, {1}}, Strided<std::complex<double>>{&x, {1}},
                Strided<std::complex<double>>{&other, {1}});
  for_each_isa([&](Isa isa) {
    run_on(isa, complex_product_kernel,
           ComplexProduct{.part = DType::float64, .divides = true, .loop = loop});
    expect_complex(y, std::complex<double>(0, 1));
  });
}

TEST(Complex, InfinityWinsBesideNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::complex<float> x[2] = {{infinity, nan}, {nan, 1}};
  float y[2];
  const auto loop = loop_over({2}, Strided<float>{y, {1}}, Strided<std::complex<float>>{x, {1}});
  for_each_isa([&](Isa isa) {
    run_on(isa, complex_abs_kernel, ComplexAbs{.part = DType::float32, .loop = loop});
    EXPECT_EQ(y[0], infinity);
    EXPECT_TRUE(std::isnan(y[1]));
  });
}

}  // namespace
}  // namespace tilegrad
