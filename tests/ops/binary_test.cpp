// binary: every operation against a plain loop, on every instruction set.
#include "ops/binary.h"

#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

// What y[i] must be, computed in double.
double expected_of(BinaryOp op, double x, double other, double alpha) {
  switch (op) {
    case BinaryOp::add:
      return x + other;
    case BinaryOp::sub:
      return x - other;
    case BinaryOp::mul:
      return x * other;
    case BinaryOp::div:
      return x / other;
    case BinaryOp::floor_divide:
      return std::floor(x / other);
    case BinaryOp::trunc_divide:
      return std::trunc(x / other);
    case BinaryOp::remainder:
      return x - other * std::floor(x / other);
    case BinaryOp::fmod:
      return std::fmod(x, other);
    case BinaryOp::pow:
      return std::pow(x, other);
    case BinaryOp::maximum:
      return std::isnan(x) || std::isnan(other) ? NAN : std::max(x, other);
    case BinaryOp::minimum:
      return std::isnan(x) || std::isnan(other) ? NAN : std::min(x, other);
    case BinaryOp::add_scaled:
      return x + alpha * other;
    case BinaryOp::atan2:
      return std::atan2(x, other);
    default:
      return NAN;
  }
}

constexpr BinaryOp kArithmetic[] = {BinaryOp::add,          BinaryOp::sub,     BinaryOp::mul,
                                    BinaryOp::div,          BinaryOp::maximum, BinaryOp::minimum,
                                    BinaryOp::remainder,    BinaryOp::fmod,    BinaryOp::pow,
                                    BinaryOp::trunc_divide, BinaryOp::atan2,   BinaryOp::add_scaled,
                                    BinaryOp::floor_divide};

Binary arguments(BinaryOp op, DType dtype, const StridedLoop<3>& loop) {
  return {.op = op, .dtype = dtype, .alpha = 0.5, .whole_alpha = 3, .loop = loop};
}

template <class T>
void test_floating(double tolerance) {
  constexpr std::int64_t count = 1003;
  Array<T> x = Array<T>::random(count, 1), other = Array<T>::random(count, 2), y(count);
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = std::abs(x[i]) + T(0.5);  // powers of negative numbers are NaN
    if (std::abs(other[i]) < T(0.1)) other[i] = T(0.3);
  }
  const auto loop = loop_over({count}, Strided<T>{y.data(), {1}}, Strided<T>{x.data(), {1}},
                              Strided<T>{other.data(), {1}});
  for_each_isa([&](Isa isa) {
    for (BinaryOp op : kArithmetic) {
      SCOPED_TRACE(static_cast<int>(op));
      run_on(isa, binary_kernel, arguments(op, DTypeOf<T>::value, loop));
      Array<double> expected(count);
      for (std::int64_t i = 0; i < count; ++i) {
        const double a = static_cast<double>(x[i]), b = static_cast<double>(other[i]);
        expected[i] = expected_of(op, a, b, 0.5);
      }
      expect_close(y, expected, count, tolerance, tolerance);
    }
  });
}

TEST(Binary, Float64) { test_floating<double>(1e-14); }
TEST(Binary, Float32) { test_floating<float>(1e-6); }

template <class T>
class BinaryInteger : public ::testing::Test {};
using IntegerTypes =
    ::testing::Types<std::uint8_t, std::int8_t, std::int16_t, std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(BinaryInteger, IntegerTypes);

TYPED_TEST(BinaryInteger, ArithmeticWrapsAround) {
  using T = TypeParam;
  constexpr std::int64_t count = 517;
  Array<T> x = Array<T>::random(count, 3), other = Array<T>::random(count, 4), y(count);
  const auto loop = loop_over({count}, Strided<T>{y.data(), {1}}, Strided<T>{x.data(), {1}},
                              Strided<T>{other.data(), {1}});
  for_each_isa([&](Isa isa) {
    const auto run = [&](BinaryOp op) {
      run_on(isa, binary_kernel, arguments(op, DTypeOf<T>::value, loop));
    };
    const auto wrap = [](auto value) { return static_cast<T>(value); };
    run(BinaryOp::add);
    for (std::int64_t i = 0; i < count; ++i)
      ASSERT_EQ(y[i],
                wrap(static_cast<std::uint64_t>(x[i]) + static_cast<std::uint64_t>(other[i])));
    run(BinaryOp::mul);
    for (std::int64_t i = 0; i < count; ++i)
      ASSERT_EQ(y[i],
                wrap(static_cast<std::uint64_t>(x[i]) * static_cast<std::uint64_t>(other[i])));
    run(BinaryOp::add_scaled);
    for (std::int64_t i = 0; i < count; ++i)
      ASSERT_EQ(y[i],
                wrap(static_cast<std::uint64_t>(x[i]) + 3 * static_cast<std::uint64_t>(other[i])));
    run(BinaryOp::maximum);
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], std::max(x[i], other[i]));
    run(BinaryOp::bitwise_xor);
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], wrap(x[i] ^ other[i]));
  });
}

TYPED_TEST(BinaryInteger, DivisionRoundsAsPromisedAndItsRestFits) {
  using T = TypeParam;
  std::vector<T> values = {
      0, 1, 2, 3, 7, 100, std::numeric_limits<T>::max(), std::numeric_limits<T>::min()};
  if (std::is_signed_v<T>)
    for (int v : {-1, -2, -3, -7, -100}) values.push_back(static_cast<T>(v));
  std::vector<T> left, right;
  for (T a : values)
    for (T b : values)
      if (b != 0) left.push_back(a), right.push_back(b);
  const auto count = static_cast<std::int64_t>(left.size());
  Array<T> floored(count), rest(count);
  for_each_isa([&](Isa isa) {
    const auto run = [&](BinaryOp op, Array<T>& y) {
      run_on(isa, binary_kernel,
             arguments(op, DTypeOf<T>::value,
                       loop_over({count}, Strided<T>{y.data(), {1}}, Strided<T>{left.data(), {1}},
                                 Strided<T>{right.data(), {1}})));
    };
    run(BinaryOp::floor_divide, floored);
    run(BinaryOp::remainder, rest);
    for (std::int64_t i = 0; i < count; ++i) {
      const T a = left[static_cast<std::size_t>(i)], b = right[static_cast<std::size_t>(i)];
      // quotient * b + rest == a in wrap-around arithmetic, and the rest has the divisor's sign
      const auto back = static_cast<std::uint64_t>(floored[i]) * static_cast<std::uint64_t>(b) +
                        static_cast<std::uint64_t>(rest[i]);
      ASSERT_EQ(static_cast<T>(back), a) << +a << " / " << +b;
      ASSERT_TRUE(rest[i] == 0 || (rest[i] < 0) == (b < 0)) << +a << " / " << +b;
    }
  });
}

TEST(Binary, StridesBroadcastingAndOddShapes) {
  // y (3, 5) contiguous = x (5, 3) transposed + row (5) broadcast
  Array<float> x = Array<float>::random(15, 5), row = Array<float>::random(5, 6), y(15);
  const auto loop = loop_over({3, 5}, Strided<float>{y.data(), {5, 1}},
                              Strided<float>{x.data(), {1, 3}}, Strided<float>{row.data(), {0, 1}});
  for_each_isa([&](Isa isa) {
    run_on(isa, binary_kernel, arguments(BinaryOp::add, DType::float32, loop));
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 5; ++j) ASSERT_EQ(y[5 * i + j], x[3 * j + i] + row[j]);
  });
}

TEST(Binary, OneOperandMayBeANumber) {
  constexpr std::int64_t count = 77;
  Array<float> x = Array<float>::random(count, 7), number(1, 0.25f), y(count);
  for_each_isa([&](Isa isa) {
    run_on(isa, binary_kernel,
           arguments(BinaryOp::sub, DType::float32,
                     loop_over({count}, Strided<float>{y.data(), {1}},
                               Strided<float>{x.data(), {1}}, Strided<float>{number.data(), {0}})));
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], x[i] - 0.25f);
    run_on(isa, binary_kernel,
           arguments(BinaryOp::sub, DType::float32,
                     loop_over({count}, Strided<float>{y.data(), {1}},
                               Strided<float>{number.data(), {0}}, Strided<float>{x.data(), {1}})));
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], 0.25f - x[i]);
  });
}

TEST(Binary, TheResultMayReplaceAnOperand) {
  constexpr std::int64_t count = 3 * kGrain / 2 + 5;
  const Array<double> x = Array<double>::random(count, 8), other = Array<double>::random(count, 9);
  for_each_isa([&](Isa isa) {
    Array<double> y(count), operand(count);
    std::memcpy(y.data(), &x[0], sizeof(double) * count);
    std::memcpy(operand.data(), &other[0], sizeof(double) * count);
    run_on(
        isa, binary_kernel,
        arguments(BinaryOp::mul, DType::float64,
                  loop_over({count}, Strided<double>{y.data(), {1}}, Strided<double>{y.data(), {1}},
                            Strided<double>{operand.data(), {1}})));
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], x[i] * other[i]);
  });
}

TEST(Binary, MaximumAndMinimumPassNaNOnFromEitherSide) {
  Array<float> x(2, 1.0f), other(2, 2.0f), y(2);
  x[0] = other[1] = NAN;
  const auto loop = loop_over({2}, Strided<float>{y.data(), {1}}, Strided<float>{x.data(), {1}},
                              Strided<float>{other.data(), {1}});
  for_each_isa([&](Isa isa) {
    for (BinaryOp op : {BinaryOp::maximum, BinaryOp::minimum}) {
      run_on(isa, binary_kernel, arguments(op, DType::float32, loop));
      EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
    }
  });
}

}  // namespace
}  // namespace tilegrad
