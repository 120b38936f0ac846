// Products whose inner dimension is cut into runs (runs.cuh), in large tiles: more of them than the
// emulated device could compute are needed before matmul cuts one by itself.
#include <vector>

#include "float_product.cuh"
#include "kernel_testing.h"

namespace tilegrad::cuda {
namespace {

// activation(x @ other + bias + residual) of two products, in one order of the dimensions.
template <class T>
struct Problem {
  static constexpr std::int64_t batch = 2, rows = 131, columns = 70, inner = 300;
  Array<T> x, other, residual, y;
  Array<float> bias;
  Matmul args;
  Array<double> expected;

  static Array<T> random(std::int64_t count, std::uint64_t seed) {
    const Array<float> values = Array<float>::random(count, seed);
    Array<T> rounded(count);
    for (std::int64_t i = 0; i < count; ++i) rounded[i] = T(values[i]);
    return rounded;
  }

  Problem(bool x_transposed, bool other_transposed)
      : x(random(batch * rows * inner, 91)),
        other(random(batch * inner * columns, 92)),
        residual(random(batch * rows * columns, 93)),
        y(batch * rows * columns),
        bias(Array<float>::random(columns, 94)),
        expected(y.size) {
    args = {.dtype = sizeof(T) == 4 ? DType::float32 : DType::bfloat16,
            .rows = rows,
            .columns = columns,
            .inner = inner,
            .x = x.data(),
            .x_row_stride = x_transposed ? 1 : inner,
            .x_column_stride = x_transposed ? rows : 1,
            .other = other.data(),
            .other_row_stride = other_transposed ? 1 : columns,
            .other_column_stride = other_transposed ? inner : 1,
            .y = y.data(),
            .bias = bias.data(),
            .residual = residual.data(),
            .residual_row_stride = columns,
            .residual_column_stride = 1,
            .activation = MatmulActivation::relu};
    args.batch_ndim = 1;
    args.batch_shape[0] = batch;
    args.x_batch_strides[0] = rows * inner;
    args.other_batch_strides[0] = inner * columns;
    args.residual_batch_strides[0] = rows * columns;
    for (std::int64_t n = 0; n < y.size; ++n) {
      const std::int64_t of = n / (rows * columns), i = n % (rows * columns) / columns;
      const std::int64_t j = n % columns;
      double sum = static_cast<double>(bias[j]) + static_cast<double>(float(residual[n]));
      for (std::int64_t p = 0; p < inner; ++p)
        sum += static_cast<double>(
                   float(x[of * rows * inner + i * args.x_row_stride + p * args.x_column_stride])) *
               float(other[of * inner * columns + p * args.other_row_stride +
                           j * args.other_column_stride]);
      expected[n] = std::max(sum, 0.0);
    }
  }
};

// Runs of a few steps, and a last one that is shorter than a step. Sums round as in
// matmul_test.cpp.
template <class T, class Multiply>
void test_runs(double step, const Multiply& multiply) {
  for (bool x_transposed : {false, true})
    for (bool other_transposed : {false, true}) {
      Problem<T> problem(x_transposed, other_transposed);
      for (std::int64_t length : {64, 192}) {
        const Runs runs = {{(problem.inner + length - 1) / length, length}, problem.batch};
        const double rounding = 0x1p-23 * static_cast<double>(problem.inner) / 4;
        std::vector<float> first;
        for_each_cuda_order([&](const char* order) {
          SCOPED_TRACE(::testing::Message() << order << ", runs of " << length);
          for (std::int64_t n = 0; n < problem.y.size; ++n) problem.y[n] = T(-7.0f);
          multiply(problem.args, runs);
          wait_for_cuda();
          std::vector<float> values;
          for (std::int64_t n = 0; n < problem.y.size; ++n) {
            values.push_back(float(problem.y[n]));
            ASSERT_NEAR(values.back(), problem.expected[n],
                        problem.expected[n] * (step / 2 * 1.02 + rounding) + rounding);
          }
          if (first.empty()) first = values;
          ASSERT_EQ(values, first);
        });
      }
    }
}

TEST(EmulationOfRuns, Floats) {
  test_runs<float>(
      0, [](const Matmul& args, const Runs& runs) { multiply_in_float_tiles(args, runs); });
}

TEST(EmulationOfRuns, HalvesOnTensorCores) {
  test_runs<BFloat16>(0x1p-7, [](const Matmul& args, const Runs& runs) {
    multiply_in_tiles<BFloat16, 128>(args, runs);
  });
}

Matmul shape(std::int64_t rows, std::int64_t columns, std::int64_t inner, std::int64_t batch = 1) {
  Matmul args = {.dtype = DType::float32, .rows = rows, .columns = columns, .inner = inner};
  args.batch_ndim = 1;
  args.batch_shape[0] = batch;
  return args;
}

// The runs cover the inner dimension, and fill a card of 128 multiprocessors at most once.
TEST(EmulationOfRuns, FewTilesAreCutAndManyAreNot) {
  struct Expected {
    Matmul args;
    std::int64_t count;
  };
  for (const Expected& e : {Expected{shape(768, 768, 8192), 7},
                            {shape(768, 3072, 8192), 1},
                            {shape(768, 2304, 8192), 2},
                            {shape(128, 128, 1 << 20), 256},
                            {shape(64, 10, 255), 1},
                            {shape(64, 10, 511), 1},
                            {shape(64, 10, 512), 2},
                            {shape(300, 300, 1024, 16), 1},
                            {shape(300, 300, 1024, 4), 4},
                            {shape(1024, 1024, 0), 1}}) {
    const Runs runs = runs_of(e.args, 128, 2, 256);
    SCOPED_TRACE(::testing::Message() << e.args.rows << " x " << e.args.inner);
    EXPECT_EQ(runs.count, e.count);
    EXPECT_GE(runs.count * runs.length, e.args.inner);
    EXPECT_LT((runs.count - 1) * runs.length, std::max<std::int64_t>(e.args.inner, 1));
    if (runs.count > 1) {
      EXPECT_EQ(runs.length % 64, 0);
      EXPECT_LE(blocks_in_tiles(e.args, runs, 128, 128), 256);
    }
  }
}

}  // namespace
}  // namespace tilegrad::cuda
