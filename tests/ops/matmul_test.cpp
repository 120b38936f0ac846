// matmul against three plain loops in double precision, on every instruction set.
#include "ops/matmul.h"

#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Case {
  std::int64_t rows, columns, inner;
  bool x_transposed = false, other_transposed = false, bias = false;
};

// Sizes around the tiles (4..12 rows, 4..32 columns) and blocks (96, 256) of the kernel.
const Case kCases[] = {
    {1, 1, 1},
    {1, 7, 3},
    {5, 1, 300},
    {3, 5, 7, false, true},
    {12, 32, 16},
    {13, 33, 17, true, false, true},
    {6, 16, 256, true, true},
    {96, 256, 257},
    {97, 257, 300, false, true, true},
    {200, 70, 513, true, false},
};

template <class T>
Matmul arguments(const Case& c, const T* x, const T* other, const T* bias, T* y) {
  return {.dtype = DTypeOf<T>::value,
          .rows = c.rows,
          .columns = c.columns,
          .inner = c.inner,
          .x = x,
          .x_row_stride = c.x_transposed ? 1 : c.inner,
          .x_column_stride = c.x_transposed ? c.rows : 1,
          .other = other,
          .other_row_stride = c.other_transposed ? 1 : c.columns,
          .other_column_stride = c.other_transposed ? c.inner : 1,
          .y = y,
          .bias = c.bias ? bias : nullptr};
}

template <class T>
void test_product() {
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    Array<T> x = Array<T>::random(c.rows * c.inner, 21);
    Array<T> other = Array<T>::random(c.inner * c.columns, 22);
    Array<T> bias = Array<T>::random(c.columns, 23), y(c.rows * c.columns);
    const Matmul args = arguments(c, x.data(), other.data(), bias.data(), y.data());
    Array<double> expected(c.rows * c.columns);
    for (std::int64_t i = 0; i < c.rows; ++i)
      for (std::int64_t j = 0; j < c.columns; ++j) {
        double sum = c.bias ? static_cast<double>(bias[j]) : 0;
        for (std::int64_t p = 0; p < c.inner; ++p)
          sum +=
              static_cast<double>(x[i * args.x_row_stride + p * args.x_column_stride]) *
              static_cast<double>(other[p * args.other_row_stride + j * args.other_column_stride]);
        expected[i * c.columns + j] = sum;
      }
    // Rounding errors of a sum of `inner` products of numbers below 1.
    const double tolerance =
        2 * std::numeric_limits<T>::epsilon() * std::sqrt(static_cast<double>(c.inner)) * 2;
    for_each_isa([&](Isa isa) {
      run_on(isa, matmul_kernel, args);
      expect_close(y, expected, y.size, tolerance, tolerance);
    });
  }
}

TEST(Matmul, Float32) { test_product<float>(); }
TEST(Matmul, Float64) { test_product<double>(); }

TEST(Matmul, Int64WrapsAround) {
  const Case c{100, 5, 9};
  Array<std::int64_t> x = Array<std::int64_t>::random(900, 24),
                      other = Array<std::int64_t>::random(45, 25), y(500);
  for_each_isa([&](Isa isa) {
    run_on(isa, matmul_kernel,
           arguments<std::int64_t>(c, x.data(), other.data(), nullptr, y.data()));
    for (std::int64_t i = 0; i < 100; ++i)
      for (std::int64_t j = 0; j < 5; ++j) {
        std::uint64_t sum = 0;
        for (std::int64_t p = 0; p < 9; ++p)
          sum += static_cast<std::uint64_t>(x[9 * i + p]) *
                 static_cast<std::uint64_t>(other[5 * p + j]);
        ASSERT_EQ(y[5 * i + j], static_cast<std::int64_t>(sum));
      }
  });
}

TEST(Matmul, AnEmptyInnerDimensionGivesZerosOrTheBias) {
  Array<float> bias(3, 1.5f);
  for_each_isa([&](Isa isa) {
    for (bool with_bias : {false, true}) {
      Array<float> y(6, NAN);
      run_on(isa, matmul_kernel,
             arguments<float>({2, 3, 0, false, false, with_bias}, nullptr, nullptr, bias.data(),
                              y.data()));
      for (int i = 0; i < 6; ++i) EXPECT_EQ(y[i], with_bias ? 1.5f : 0.0f);
    }
  });
}

TEST(Matmul, BatchesBroadcastThroughZeroStrides) {
  // x (4, 1, 2, 3) @ other (1, 5, 3, 2) -> y (4, 5, 2, 2)
  Array<double> x = Array<double>::random(24, 26), other = Array<double>::random(30, 27), y(80);
  Matmul args = arguments<double>({2, 2, 3}, x.data(), other.data(), nullptr, y.data());
  args.batch_ndim = 2;
  args.batch_shape[0] = 5, args.batch_shape[1] = 4;  // innermost first
  args.x_batch_strides[1] = 6;
  args.other_batch_strides[0] = 6;
  for_each_isa([&](Isa isa) {
    y = Array<double>(80);
    args.y = y.data();
    run_on(isa, matmul_kernel, args);
    for (int a = 0; a < 4; ++a)
      for (int b = 0; b < 5; ++b)
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < 2; ++j) {
            double sum = 0;
            for (int p = 0; p < 3; ++p) sum += x[6 * a + 3 * i + p] * other[6 * b + 2 * p + j];
            ASSERT_NEAR(y[20 * a + 4 * b + 2 * i + j], sum, 1e-15);
          }
  });
}

TEST(Matmul, EveryNumberOfThreadsGivesTheSameBits) {
  const Case c{301, 299, 555};
  Array<float> x = Array<float>::random(c.rows * c.inner, 28);
  Array<float> other = Array<float>::random(c.inner * c.columns, 29);
  for_each_isa([&](Isa isa) {
    Array<float> first(0);
    for_each_thread_count([&] {
      Array<float> y(c.rows * c.columns);
      run_on(isa, matmul_kernel, arguments<float>(c, x.data(), other.data(), nullptr, y.data()));
      if (first.size == 0) first = std::move(y);
      else EXPECT_TRUE(y == first);
    });
  });
}

}  // namespace
}  // namespace tilegrad
