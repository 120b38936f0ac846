// matmul against three plain loops in extended precision, on every instruction set.
#include "ops/matmul.h"

#include <limits>
#include <vector>

#include "half.h"
#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Case {
  std::int64_t rows, columns, inner;
  bool x_transposed = false, other_transposed = false, bias = false;
};

// Sizes around the tiles (4..12 rows, 4..32 columns) and blocks (192 rows, 2048 columns, 128..512
// steps) of the kernel, and for each of its ways for few rows or columns.
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
    {1, 300, 513, false, true, true},  // inner products
    {16, 101, 70, false, true},
    {3, 41, 70, true, true},
    {300, 3, 70},
    {9, 101, 130, false, false, true},  // other in place
    {1, 64, 31, true},
    {301, 20, 65, false, false, true},  // x in place
    {301, 5, 65, false, true},
    {200, 2061, 520, false, true, true},  // packed blocks shared by all threads
    {391, 130, 530, true, false},
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
    if (testing_cuda() && c.rows * c.columns * c.inner > 30'000'000) continue;  // blocks of the CPU
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    Array<T> x = Array<T>::random(c.rows * c.inner, 21);
    Array<T> other = Array<T>::random(c.inner * c.columns, 22);
    Array<T> bias = Array<T>::random(c.columns, 23), y(c.rows * c.columns);
    const Matmul args = arguments(c, x.data(), other.data(), bias.data(), y.data());
    Array<double> expected(c.rows * c.columns);
    for (std::int64_t i = 0; i < c.rows; ++i)
      for (std::int64_t j = 0; j < c.columns; ++j) {
        long double sum = c.bias ? static_cast<long double>(bias[j]) : 0;
        for (std::int64_t p = 0; p < c.inner; ++p)
          sum += static_cast<long double>(x[i * args.x_row_stride + p * args.x_column_stride]) *
                 static_cast<long double>(
                     other[p * args.other_row_stride + j * args.other_column_stride]);
        expected[i * c.columns + j] = static_cast<double>(sum);
      }
    // Products below 1 of random sign sum to about sqrt(p) / 3 after p steps, and each step rounds
    // that by up to eps / 2. The roundings add up as a random walk, to eps * inner / 24 on average;
    // this is six times as much. The worst case would be inner times that.
    const double tolerance =
        std::numeric_limits<T>::epsilon() * (4 + static_cast<double>(c.inner) / 4);
    for_each_isa([&](Isa isa) {
      run_on(isa, matmul_kernel, args);
      expect_close(y, expected, y.size, tolerance, tolerance);
    });
  }
}

TEST(Matmul, Float32) { test_product<float>(); }
TEST(Matmul, Float64) { test_product<double>(); }

template <class T>
Array<T> halves_of(const Array<float>& values) {
  Array<T> halves(values.size);
  for (std::int64_t i = 0; i < values.size; ++i) halves[i] = T(values[i]);
  return halves;
}

// Summed in float32, the bias in float32 too, and rounded once; `step` is that of the format at 1.
template <class T>
void test_halves(DType dtype, const std::vector<Case>& cases, double step) {
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    Array<T> x = halves_of<T>(Array<float>::random(c.rows * c.inner, 21));
    Array<T> other = halves_of<T>(Array<float>::random(c.inner * c.columns, 22));
    Array<float> bias = Array<float>::random(c.columns, 23);
    Array<T> y(c.rows * c.columns);
    Matmul args = arguments<float>(c, nullptr, nullptr, bias.data(), nullptr);
    args.dtype = dtype;
    args.x = x.data();
    args.other = other.data();
    Array<double> sums(y.size), sizes(y.size);
    for (std::int64_t i = 0; i < c.rows; ++i)
      for (std::int64_t j = 0; j < c.columns; ++j) {
        double &sum = sums[i * c.columns + j], &size = sizes[i * c.columns + j];
        sum = c.bias ? bias[j] : 0;
        for (std::int64_t p = 0; p < c.inner; ++p) {
          const float a = float(x[i * args.x_row_stride + p * args.x_column_stride]);
          const float b = float(other[p * args.other_row_stride + j * args.other_column_stride]);
          sum += static_cast<double>(a) * b;
          size += std::abs(static_cast<double>(a) * b);
        }
      }
    for_each_isa([&](Isa isa) {
      y = Array<T>(y.size, T(-1.0f));
      args.y = y.data();
      run_on(isa, matmul_kernel, args);
      for (std::int64_t i = 0; i < y.size; ++i)  // half a step, and the rounding of the sums
        ASSERT_NEAR(float(y[i]), sums[i], std::abs(sums[i]) * step * 0.51 + sizes[i] * 0x1p-21)
            << "element " << i;
    });
  }
}

// Small tiles and large ones of tensor cores, operands along the inner dimension and across it,
// aligned to 16 bytes and not.
std::vector<Case> tensor_core_cases() {
  std::vector<Case> cases;
  for (bool x_transposed : {false, true})
    for (bool other_transposed : {false, true}) {
      cases.push_back({72, 40, 104, x_transposed, other_transposed, true});
      cases.push_back({67, 71, 37, x_transposed, other_transposed});
      if (x_transposed != other_transposed)
        cases.push_back({1000, 904, 24, x_transposed, other_transposed});
    }
  return cases;
}

TEST(Matmul, BFloat16) {
  std::vector<Case> cases(std::begin(kCases), std::end(kCases));
  if (testing_cuda()) cases = tensor_core_cases();
  for_each_cuda_architecture([&] { test_halves<BFloat16>(DType::bfloat16, cases, 0x1p-7); });
}

TEST(Matmul, Float16OnTensorCores) {
  if (!testing_cuda()) return;
  for_each_cuda_architecture(
      [] { test_halves<Half>(DType::float16, tensor_core_cases(), 0x1p-10); });
}

// Few tiles and a long inner dimension, which CUDA cuts into runs: with everything that follows the
// sum, and the sums of x's rows.
template <class T>
void test_long_products() {
  for (const Case& c : {Case{40, 30, 2100, true, false, true}, Case{3, 70, 1500, false, true, true},
                        Case{65, 1, 1024}}) {
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    const std::int64_t size = c.rows * c.columns;
    Array<T> x = Array<T>::random(c.rows * c.inner, 44), residual = Array<T>::random(size, 46);
    Array<T> other = Array<T>::random(c.inner * c.columns, 45), bias(c.columns, T(0.5)), y(size);
    Array<T> sums(c.rows);
    Array<double> expected(size), expected_sums(c.rows);
    Matmul args = arguments(c, x.data(), other.data(), bias.data(), y.data());
    args.residual = residual.data();
    args.residual_row_stride = 1, args.residual_column_stride = c.rows;
    args.activation = MatmulActivation::relu;
    args.x_sums = sums.data();
    for (std::int64_t i = 0; i < c.rows; ++i) {
      for (std::int64_t p = 0; p < c.inner; ++p)
        expected_sums[i] += x[i * args.x_row_stride + p * args.x_column_stride];
      for (std::int64_t j = 0; j < c.columns; ++j) {
        double sum = static_cast<double>(residual[i + j * c.rows]) + (c.bias ? 0.5 : 0);
        for (std::int64_t p = 0; p < c.inner; ++p)
          sum +=
              static_cast<double>(x[i * args.x_row_stride + p * args.x_column_stride]) *
              static_cast<double>(other[p * args.other_row_stride + j * args.other_column_stride]);
        expected[i * c.columns + j] = std::max(sum, 0.0);
      }
    }
    const double tolerance = std::numeric_limits<T>::epsilon() * static_cast<double>(c.inner) / 4;
    for_each_isa([&](Isa isa) {
      y = Array<T>(size, T(NAN)), sums = Array<T>(c.rows, T(NAN));
      args.y = y.data(), args.x_sums = sums.data();
      run_on(isa, matmul_kernel, args);
      expect_close(y, expected, size, tolerance, tolerance);
      expect_close(sums, expected_sums, c.rows, tolerance, tolerance);
    });
  }
}

TEST(Matmul, LongFloat32) { test_long_products<float>(); }
TEST(Matmul, LongFloat64) { test_long_products<double>(); }

TEST(Matmul, LongHalves) {
  if (!testing_cuda()) return;
  for (bool transposed : {false, true})
    test_halves<BFloat16>(
        DType::bfloat16, {{40, 30, 2100, transposed, false, true}, {67, 9, 2304, transposed, true}},
        0x1p-7);
}

// By warpgroups where the card has them, more steps of the inner dimension than stages.
TEST(Matmul, LargeHalvesInEveryOrderOfDimensions) {
  if (!testing_cuda()) return;
  test_halves<BFloat16>(DType::bfloat16,
                        {{1000, 904, 264, false, false, true}, {1000, 904, 264, true, true, true}},
                        0x1p-7);
  test_halves<Half>(DType::float16,
                    {{1000, 904, 264, false, true, true}, {1000, 904, 264, true, false, true}},
                    0x1p-10);
}

// Operands are rounded to 11 bits, so the error of each product is at most 2^-11 of its size times
// two; without the permission the result is as exact as ever.
void test_tf32() {
  for (const Case& c : tensor_core_cases()) {
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    Array<float> x = Array<float>::random(c.rows * c.inner, 41);
    Array<float> other = Array<float>::random(c.inner * c.columns, 42);
    Array<float> bias = Array<float>::random(c.columns, 43), exact(c.rows * c.columns),
                 y(c.rows * c.columns);
    Matmul args = arguments(c, x.data(), other.data(), bias.data(), exact.data());
    run_on(kCuda, matmul_kernel, args);
    args.allow_tf32 = true;
    for_each_isa([&](Isa isa) {
      y = Array<float>(y.size, NAN);
      args.y = y.data();
      run_on(isa, matmul_kernel, args);
      double most = 0, total = 0;
      for (std::int64_t i = 0; i < y.size; ++i) {
        const double error = static_cast<double>(y[i]) - static_cast<double>(exact[i]);
        most = std::max(most, std::abs(error));
        total += error;
      }
      const double inner = static_cast<double>(c.inner);
      EXPECT_GT(most, 1e-6);  // rounded they are
      EXPECT_LT(most, 0x1p-11 * std::sqrt(inner) * 4);
      EXPECT_LT(std::abs(total) / static_cast<double>(y.size), 0x1p-11 * std::sqrt(inner) / 20);
    });
  }
}

TEST(Matmul, Tf32OnlyWhereAllowed) {
  if (testing_cuda()) for_each_cuda_architecture(test_tf32);
}

// x (2, 1, rows, inner) @ other (1, 2, inner, columns): enough tiles for the widest ones.
TEST(Matmul, LargeBatchesOfHalves) {
  if (!testing_cuda()) return;
  const Case c{1000, 904, 16, false, false, true};
  const std::int64_t size = c.rows * c.columns, x_size = c.rows * c.inner,
                     other_size = c.inner * c.columns;
  Array<BFloat16> x = halves_of<BFloat16>(Array<float>::random(2 * x_size, 64));
  Array<BFloat16> other = halves_of<BFloat16>(Array<float>::random(2 * other_size, 65));
  Array<BFloat16> residual = halves_of<BFloat16>(Array<float>::random(4 * size, 66)), y(4 * size);
  Array<float> bias = Array<float>::random(c.columns, 67);
  Matmul args = arguments<float>(c, nullptr, nullptr, bias.data(), nullptr);
  args.dtype = DType::bfloat16;
  args.x = x.data(), args.other = other.data(), args.residual = residual.data();
  args.residual_row_stride = c.columns, args.residual_column_stride = 1;
  args.activation = MatmulActivation::relu;
  args.batch_ndim = 2;
  args.batch_shape[0] = args.batch_shape[1] = 2;  // innermost first
  args.x_batch_strides[1] = x_size;
  args.other_batch_strides[0] = other_size;
  args.residual_batch_strides[0] = size, args.residual_batch_strides[1] = 2 * size;
  Array<double> expected(y.size), tolerance(y.size);
  for (std::int64_t n = 0; n < y.size; ++n) {
    const std::int64_t row = n % size / c.columns, column = n % c.columns, batch = n / size;
    const BFloat16* left = &x[batch / 2 * x_size + row * c.inner];
    const BFloat16* right = &other[batch % 2 * other_size + column];
    double sum = bias[column] + float(residual[n]), sizes = std::abs(sum) + 1;
    for (std::int64_t p = 0; p < c.inner; ++p) {
      const double product = static_cast<double>(float(left[p])) * float(right[p * c.columns]);
      sum += product;
      sizes += std::abs(product);
    }
    expected[n] = std::max(sum, 0.0);
    tolerance[n] = std::abs(sum) * 0x1p-8 * 1.02 + sizes * 0x1p-21;
  }
  for_each_isa([&](Isa isa) {
    for_each_cuda_architecture([&] {
      y = Array<BFloat16>(y.size, BFloat16(-1.0f));
      args.y = y.data();
      run_on(isa, matmul_kernel, args);
      for (std::int64_t n = 0; n < y.size; ++n)
        ASSERT_NEAR(float(y[n]), expected[n], tolerance[n]) << "element " << n;
    });
  });
}

// Large tiles and small ones sum in one order, so that rows of a large product are those of a small
// one; with operands along the inner dimension and across it, aligned and not.
TEST(Matmul, LargeProductsHaveTheBitsOfSmallOnes) {
  if (!testing_cuda()) return;
  for (const Case& c : {Case{1000, 904, 20, false, true, true}, Case{905, 1001, 19, true, false}}) {
    Array<float> x = Array<float>::random(c.rows * c.inner, 61);
    Array<float> other = Array<float>::random(c.inner * c.columns, 62);
    Array<float> bias = Array<float>::random(c.columns, 63), expected(c.rows * c.columns),
                 y(c.rows * c.columns);
    Matmul args = arguments(c, x.data(), other.data(), bias.data(), expected.data());
    args.rows = 40;  // some at a time: small tiles
    for (std::int64_t first = 0; first < c.rows; first += args.rows) {
      args.rows = std::min(args.rows, c.rows - first);
      args.x = x.data() + first * args.x_row_stride;
      args.y = expected.data() + first * c.columns;
      run_on(kCuda, matmul_kernel, args);
    }
    args = arguments(c, x.data(), other.data(), bias.data(), y.data());
    for_each_isa([&](Isa isa) {
      y = Array<float>(y.size, NAN);
      args.y = y.data();
      run_on(isa, matmul_kernel, args);
      EXPECT_TRUE(y == expected);
    });
  }
}

// activation(x @ other + bias + residual), the residual with any strides and one for each batch.
TEST(Matmul, ResidualsFollowTheBias) {
  for (const Case& c : {Case{3, 40, 20, false, false, true}, Case{70, 66, 33, false, true, false},
                        Case{1, 130, 65, false, false, true}}) {
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    constexpr std::int64_t batch = 2;
    const std::int64_t size = c.rows * c.columns;
    Array<double> x = Array<double>::random(batch * c.rows * c.inner, 51);
    Array<double> other = Array<double>::random(c.inner * c.columns, 52);
    Array<double> bias = Array<double>::random(c.columns, 53), plain(batch * size), y(batch * size);
    Array<double> residual = Array<double>::random(batch * size, 54);
    for_each_isa([&](Isa isa) {
      Matmul args = arguments(c, x.data(), other.data(), bias.data(), plain.data());
      args.batch_ndim = 1;
      args.batch_shape[0] = batch;
      args.x_batch_strides[0] = c.rows * c.inner;
      run_on(isa, matmul_kernel, args);
      args.y = y.data();
      args.residual = residual.data();
      args.activation = MatmulActivation::relu;
      struct Strides {
        std::int64_t row, column, batch;
      };
      for (const Strides& s :
           {Strides{c.columns, 1, size}, Strides{1, c.rows, size}, Strides{0, 1, 0}}) {
        args.residual_row_stride = s.row;
        args.residual_column_stride = s.column;
        args.residual_batch_strides[0] = s.batch;
        run_on(isa, matmul_kernel, args);
        for (std::int64_t i = 0; i < batch * size; ++i) {
          const std::int64_t row = i % size / c.columns, column = i % c.columns;
          const double added = residual[i / size * s.batch + row * s.row + column * s.column];
          ASSERT_NEAR(y[i], std::max(plain[i] + added, 0.0), 1e-13) << "element " << i;
        }
      }
    });
  }
}

TEST(Matmul, ActivationsFollowTheBias) {
  for (const Case& c : {Case{3, 40, 20, false, false, true}, Case{150, 130, 140, false, true, true},
                        Case{300, 20, 20, false, false, true}}) {
    Array<double> x = Array<double>::random(c.rows * c.inner, 31);
    Array<double> other = Array<double>::random(c.inner * c.columns, 32);
    Array<double> bias = Array<double>::random(c.columns, 33), plain(c.rows * c.columns),
                  y(c.rows * c.columns), expected(c.rows * c.columns);
    for_each_isa([&](Isa isa) {
      Matmul args = arguments(c, x.data(), other.data(), bias.data(), plain.data());
      run_on(isa, matmul_kernel, args);
      args.y = y.data();
      for (auto activation : {MatmulActivation::relu, MatmulActivation::gelu}) {
        args.activation = activation;
        run_on(isa, matmul_kernel, args);
        for (std::int64_t i = 0; i < plain.size; ++i)
          expected[i] = activation == MatmulActivation::relu
                            ? std::max(plain[i], 0.0)
                            : plain[i] * 0.5 * std::erfc(-plain[i] / std::sqrt(2.0));
        expect_close(y, expected, y.size, 1e-14, 1e-14);
      }
    });
  }
}

TEST(Matmul, SumsOfRowsComeWithTheProduct) {
  for (const Case& c : {Case{5, 7, 9, true}, Case{300, 90, 600, true}, Case{130, 2100, 30}}) {
    Array<double> x = Array<double>::random(c.rows * c.inner, 34);
    Array<double> other = Array<double>::random(c.inner * c.columns, 35);
    Array<double> y(c.rows * c.columns), sums(c.rows), expected(c.rows);
    Matmul args = arguments(c, x.data(), other.data(), sums.data(), y.data());
    args.x_sums = sums.data();
    for (std::int64_t i = 0; i < c.rows; ++i)
      for (std::int64_t p = 0; p < c.inner; ++p)
        expected[i] += x[i * args.x_row_stride + p * args.x_column_stride];
    for_each_isa([&](Isa isa) {
      sums = Array<double>(c.rows, NAN);
      args.x_sums = sums.data();
      run_on(isa, matmul_kernel, args);
      expect_close(sums, expected, sums.size, 1e-13, 1e-13);
    });
  }
}

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
  if (testing_cuda()) return;  // they are the CPU's
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
