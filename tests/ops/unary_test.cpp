// unary: the branch-free exponential and error function to the last place, and the rest against the
// C library in double, on every instruction set.
#include "ops/unary.h"

#include <bit>
#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
Array<T> apply(Isa isa, UnaryOp op, Array<T>& x) {
  Array<T> y(x.size);
  const auto loop = loop_over({x.size}, Strided<T>{y.data(), {1}}, Strided<T>{x.data(), {1}});
  run_on(isa, unary_kernel, Unary{.op = op, .dtype = DTypeOf<T>::value, .loop = loop});
  return y;
}

// The largest error of float32 results, in units of the last place of the exact ones.
double worst_error(const Array<float>& y, const Array<float>& x, double (*exact)(double)) {
  double worst = 0;
  for (std::int64_t i = 0; i < x.size; ++i) {
    const double expected = exact(static_cast<double>(x[i]));
    const float rounded = static_cast<float>(std::abs(expected));
    if (std::isinf(rounded)) {
      EXPECT_EQ(y[i], static_cast<float>(expected)) << "at " << x[i];
      continue;
    }
    const double unit = std::nextafter(rounded, INFINITY) - rounded;
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected) / unit);
  }
  return worst;
}

Array<float> grid(double low, double high, std::int64_t count) {
  Array<float> x(count);
  for (std::int64_t i = 0; i < count; ++i)
    x[i] = static_cast<float>(low +
                              (high - low) * static_cast<double>(i) / static_cast<double>(count));
  return x;
}

TEST(Unary, ExponentialIsWithinOneUnit) {
  Array<float> x = grid(-110, 88.7, 400'001);
  for_each_isa([&](Isa isa) {
    const Array<float> y = apply(isa, UnaryOp::exp, x);
    EXPECT_LE(worst_error(y, x, [](double v) { return std::exp(v); }), 1.0);
  });
}

// In float64 against extended precision, where the compiler has it; through the denormals.
TEST(Unary, DoubleExponentialIsWithinOneUnit) {
  Array<double> x(200'001);
  for (std::int64_t i = 0; i < x.size; ++i) x[i] = -745.5 + 1455.0 * static_cast<double>(i) / 200e3;
  for_each_isa([&](Isa isa) {
    const Array<double> y = apply(isa, UnaryOp::exp, x);
    long double worst = 0;
    for (std::int64_t i = 0; i < x.size; ++i) {
      const long double exact = std::exp(static_cast<long double>(x[i]));
      const double rounded = static_cast<double>(exact);
      const long double unit =
          std::nextafter(rounded, INFINITY) - static_cast<long double>(rounded);
      worst = std::max(worst, std::abs(static_cast<long double>(y[i]) - exact) / unit);
    }
    EXPECT_LE(worst, 1.0L);
    Array<double> edges(7);
    const double values[] = {0, INFINITY, -INFINITY, 709.9, -746, 1e300, -1e300};
    const double expected[] = {1, INFINITY, 0, INFINITY, 0, INFINITY, 0};
    for (int i = 0; i < 7; ++i) edges[i] = values[i];
    const Array<double> at_edges = apply(isa, UnaryOp::exp, edges);
    for (int i = 0; i < 7; ++i) EXPECT_EQ(at_edges[i], expected[i]) << values[i];
    edges[0] = NAN;
    EXPECT_TRUE(std::isnan(apply(isa, UnaryOp::exp, edges)[0]));
  });
}

TEST(Unary, ExponentialAtTheEdges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Array<float> x(37);  // several registers and a rest
  const float edges[] = {0.0f, -0.0f, kInfinity, -kInfinity, 89.0f, 1e30f, -104.0f, -1e30f};
  const float expected[] = {1.0f, 1.0f, kInfinity, 0.0f, kInfinity, kInfinity, 0.0f, 0.0f};
  for (std::int64_t i = 0; i < x.size; ++i) x[i] = i == 36 ? NAN : edges[i % 8];
  for_each_isa([&](Isa isa) {
    const Array<float> y = apply(isa, UnaryOp::exp, x);
    for (std::int64_t i = 0; i < 36; ++i) EXPECT_EQ(y[i], expected[i % 8]) << "at " << x[i];
    EXPECT_TRUE(std::isnan(y[36]));
  });
}

TEST(Unary, ErrorFunctionIsWithinThreeUnits) {
  Array<float> x = grid(-6, 6, 200'001);
  for_each_isa([&](Isa isa) {
    const Array<float> y = apply(isa, UnaryOp::erf, x);
    EXPECT_LE(worst_error(y, x, [](double v) { return std::erf(v); }), 3.0);
  });
}

// Numbers of every size: bit patterns at even distances, denormals, infinities and NaN included.
Array<float> every_magnitude() {
  constexpr std::uint64_t kStep = 40'009;
  Array<float> x(static_cast<std::int64_t>((std::uint64_t{1} << 32) / kStep));
  for (std::int64_t i = 0; i < x.size; ++i)
    x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * kStep));
  return x;
}

struct AccurateCase {
  const char* name;
  UnaryOp op;
  double (*exact)(double);
  double low, high;   // where to look closely
  double units;       // the promised error
  double cuda_units;  // of CUDA's function, from its programming guide: beyond correct rounding
  double promised(Isa isa) const { return isa == kCuda ? cuda_units + 0.5 : units; }
};
#define TILEGRAD_ACCURATE(name, low, high, units, cuda_units) \
  {#name, UnaryOp::name, [](double v) { return std::name(v); }, low, high, units, cuda_units}
const AccurateCase kAccurate[] = {
    TILEGRAD_ACCURATE(exp2, -130, 128, 1.1, 2),     TILEGRAD_ACCURATE(expm1, -2, 2, 0.52, 1),
    TILEGRAD_ACCURATE(log, 0.5, 2, 0.9, 1),         TILEGRAD_ACCURATE(log2, 0.5, 2, 0.52, 1),
    TILEGRAD_ACCURATE(log10, 0.5, 2, 0.52, 2),      TILEGRAD_ACCURATE(log1p, -0.9, 2, 0.52, 1),
    TILEGRAD_ACCURATE(sin, -100, 100, 0.52, 2),     TILEGRAD_ACCURATE(cos, -100, 100, 0.52, 2),
    TILEGRAD_ACCURATE(tan, -100, 100, 0.52, 4),     TILEGRAD_ACCURATE(asin, -1, 1, 0.52, 2),
    TILEGRAD_ACCURATE(acos, -1, 1, 0.52, 2),        TILEGRAD_ACCURATE(atan, -8, 8, 0.52, 2),
    TILEGRAD_ACCURATE(sinh, -3, 3, 0.52, 3),        TILEGRAD_ACCURATE(cosh, -3, 3, 0.52, 2),
    TILEGRAD_ACCURATE(asinh, -3, 3, 0.52, 3),       TILEGRAD_ACCURATE(acosh, 1, 3, 0.52, 4),
    TILEGRAD_ACCURATE(atanh, -0.99, 0.99, 0.52, 3), TILEGRAD_ACCURATE(erfc, -4, 10, 0.52, 4),
};
#undef TILEGRAD_ACCURATE

// NaN where the exact result is NaN, the sign of zeros, and the promised error everywhere else.
void expect_accurate(const AccurateCase& c, const Array<float>& x, const Array<float>& y,
                     double units) {
  double worst = 0;
  for (std::int64_t i = 0; i < x.size; ++i) {
    const double exact = c.exact(static_cast<double>(x[i]));
    const float rounded = static_cast<float>(exact), size = std::fabs(rounded);
    if (std::isnan(exact) || std::isinf(rounded) || rounded == 0) {
      ASSERT_TRUE(std::isnan(exact) ? std::isnan(y[i]) : y[i] == rounded) << "at " << x[i];
      const bool negative_zero = exact == 0 && std::signbit(exact);
      ASSERT_TRUE(exact != 0 || std::signbit(y[i]) == negative_zero) << "at " << x[i];
      continue;
    }
    const double unit = std::nextafter(size, INFINITY) - size;
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / unit);
  }
  EXPECT_LE(worst, units);
}

TEST(Unary, Float32FunctionsAreAccurateForEveryArgument) {
  Array<float> every = every_magnitude();
  for (const AccurateCase& c : kAccurate) {
    SCOPED_TRACE(c.name);
    Array<float> near = grid(c.low, c.high, 100'003);
    for_each_isa([&](Isa isa) {
      expect_accurate(c, every, apply(isa, c.op, every), c.promised(isa));
      expect_accurate(c, near, apply(isa, c.op, near), c.promised(isa));
    });
  }
}

TEST(Unary, ZerosInfinitiesAndDenormals) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float edges[] = {0.0f,      -0.0f,      1.0f,      -1.0f,   kInfinity, -kInfinity, NAN,
                         0x1p-149f, -0x1p-149f, 0x1p-126f, 3.4e38f, -3.4e38f,  0.5f,       2.0f};
  Array<float> x(14 * 37);  // each in each lane of a register, and in the rest
  for (std::int64_t i = 0; i < x.size; ++i) x[i] = edges[i % 14];
  for (const AccurateCase& c : kAccurate) {
    SCOPED_TRACE(c.name);
    for_each_isa([&](Isa isa) { expect_accurate(c, x, apply(isa, c.op, x), c.promised(isa)); });
  }
}

template <class T>
void test_against_library(double tolerance) {
  struct Case {
    UnaryOp op;
    double (*exact)(double);
  };
  const Case cases[] = {
      {UnaryOp::neg, [](double v) { return -v; }},
      {UnaryOp::abs, [](double v) { return std::abs(v); }},
      {UnaryOp::square, [](double v) { return v * v; }},
      {UnaryOp::floor, [](double v) { return std::floor(v); }},
      {UnaryOp::round, [](double v) { return std::nearbyint(v); }},
      {UnaryOp::sqrt, [](double v) { return std::sqrt(v); }},
      {UnaryOp::reciprocal, [](double v) { return 1 / v; }},
      {UnaryOp::log, [](double v) { return std::log(v); }},
      {UnaryOp::sin, [](double v) { return std::sin(v); }},
      {UnaryOp::atanh, [](double v) { return std::atanh(v); }},
      {UnaryOp::erfc, [](double v) { return std::erfc(v); }},
  };
  Array<T> x = Array<T>::random(1003, 1);
  for_each_isa([&](Isa isa) {
    for (const Case& c : cases) {
      SCOPED_TRACE(static_cast<int>(c.op));
      const Array<T> y = apply(isa, c.op, x);
      Array<double> expected(x.size);
      for (std::int64_t i = 0; i < x.size; ++i) expected[i] = c.exact(static_cast<double>(x[i]));
      expect_close(y, expected, x.size, tolerance, 0);
    }
  });
}

TEST(Unary, Float32) { test_against_library<float>(1e-6); }
TEST(Unary, Float64) { test_against_library<double>(1e-15); }

TEST(Unary, SmallestIntegerWraps) {
  Array<std::int8_t> x(40, std::int8_t{-128});
  for_each_isa([&](Isa isa) {
    EXPECT_TRUE(apply(isa, UnaryOp::neg, x) == x);
    EXPECT_TRUE(apply(isa, UnaryOp::abs, x) == x);
    EXPECT_EQ(apply(isa, UnaryOp::bitwise_not, x)[39], 127);
  });
}

}  // namespace
}  // namespace tilegrad
