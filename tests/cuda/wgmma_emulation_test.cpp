// Products by warpgroups in tiles too few for matmul to choose them: the same bits as by warps,
// since the emulated instructions sum the same sixteen products at a time.
#include "wgmma_product.cuh"

#include <functional>
#include <limits>
#include <vector>

#include "kernel_testing.h"

namespace tilegrad::cuda {
namespace {

struct Case {
  std::int64_t rows, columns, inner;
  bool x_transposed, other_transposed;
  std::int64_t padding = 0;  // elements between the rows of operands
};

// One product, its operands and what is added to it.
template <class T>
struct Problem {
  static constexpr std::int64_t batch = 2;
  Case c;
  std::int64_t x_row, other_row;  // strides
  Array<T> x, other, residual, y;
  Array<float> bias;

  static std::int64_t row_of(std::int64_t size, std::int64_t padding) {
    constexpr std::int64_t chunk = 16 / sizeof(T);
    return (size + chunk - 1) / chunk * chunk + padding;
  }
  static Array<T> random(std::int64_t count, std::uint64_t seed) {
    const Array<float> values = Array<float>::random(count, seed);
    Array<T> rounded(count);
    for (std::int64_t i = 0; i < count; ++i) rounded[i] = T(values[i]);
    return rounded;
  }

  explicit Problem(const Case& chosen)
      : c(chosen),
        x_row(row_of(c.x_transposed ? c.rows : c.inner, c.padding)),
        other_row(row_of(c.other_transposed ? c.inner : c.columns, c.padding)),
        x(random(batch * x_row * (c.x_transposed ? c.inner : c.rows), 71)),
        other(random(batch * other_row * (c.other_transposed ? c.columns : c.inner), 72)),
        residual(random(batch * c.rows * c.columns, 73)),
        y(batch * c.rows * c.columns),
        bias(Array<float>::random(c.columns, 74)) {}

  Matmul arguments() {
    Matmul args = {.dtype = sizeof(T) == 4                ? DType::float32
                            : std::is_same_v<T, BFloat16> ? DType::bfloat16
                                                          : DType::float16,
                   .rows = c.rows,
                   .columns = c.columns,
                   .inner = c.inner,
                   .x = x.data(),
                   .x_row_stride = c.x_transposed ? 1 : x_row,
                   .x_column_stride = c.x_transposed ? x_row : 1,
                   .other = other.data(),
                   .other_row_stride = c.other_transposed ? 1 : other_row,
                   .other_column_stride = c.other_transposed ? other_row : 1,
                   .y = y.data()};
    args.allow_tf32 = true;
    return args;
  }
};

template <class T>
void fill(Array<T>& y) {
  for (std::int64_t i = 0; i < y.size; ++i) y[i] = T(-77.0f);
}
template <class T>
std::vector<T> values_of(const Array<T>& y) {
  return std::vector<T>(&y[0], &y[0] + y.size);
}
template <class T>
bool same_bits(const std::vector<T>& a, const Array<T>& b) {
  return std::memcmp(a.data(), &b[0], a.size() * sizeof(T)) == 0;
}

// Both ways, in every order of threads.
template <class T, int kColumns>
void compare(Problem<T>& problem, const Matmul& args, std::int64_t length = 0) {
  const std::int64_t whole = std::max<std::int64_t>(args.inner, 1);
  if (length == 0) length = whole;
  const Runs runs = {{(whole + length - 1) / length, length}, args.batch()};
  fill(problem.y);
  multiply_in_tiles<T, 128>(args, runs);
  wait_for_cuda();
  const std::vector<T> expected = values_of(problem.y);
  for_each_cuda_order([&](const char* order) {
    SCOPED_TRACE(order);
    fill(problem.y);
    ASSERT_TRUE((multiply_in_wide_tiles<T, kColumns>(args, runs)));
    wait_for_cuda();
    ASSERT_TRUE(same_bits(expected, problem.y));
  });
}

// The inner dimension: shorter than a step, a step, around the ring of stages and beyond.
template <class T, int kColumns>
void test_sizes(bool x_transposed, bool other_transposed) {
  for (const Case& c : {Case{128, kColumns, 64, x_transposed, other_transposed},
                        Case{1, 1, 1, x_transposed, other_transposed},
                        Case{67, 90, 37, x_transposed, other_transposed, 8},
                        Case{200, kColumns + 9, 64 * 5 + 24, x_transposed, other_transposed},
                        Case{129, 7, 64 * 9 + 1, x_transposed, other_transposed, 16}}) {
    SCOPED_TRACE(::testing::Message() << c.rows << " x " << c.inner << " x " << c.columns);
    Problem<T> problem(c);
    compare<T, kColumns>(problem, problem.arguments());
  }
}

TEST(EmulationOfWarpgroups, BFloat16HasTheBitsOfWarps) {
  for (bool x_transposed : {false, true})
    for (bool other_transposed : {false, true}) {
      test_sizes<BFloat16, 128>(x_transposed, other_transposed);
      test_sizes<BFloat16, 256>(x_transposed, other_transposed);
    }
}
TEST(EmulationOfWarpgroups, Float16HasTheBitsOfWarps) {
  test_sizes<Half, 128>(true, false);
  test_sizes<Half, 256>(false, true);
}
TEST(EmulationOfWarpgroups, Tf32HasTheBitsOfWarps) {
  test_sizes<float, 128>(false, true);
  test_sizes<float, 256>(false, true);
}

TEST(EmulationOfWarpgroups, WhatFollowsTheSum) {
  Problem<Half> problem({130, 150, 70, false, false});
  for (bool odd : {false, true}) {  // rows of y whole chunks, or not
    Matmul args = problem.arguments();
    args.columns = odd ? 149 : 144;
    args.bias = problem.bias.data();
    args.residual = problem.residual.data();
    for (auto activation :
         {MatmulActivation::none, MatmulActivation::relu, MatmulActivation::gelu}) {
      args.activation = activation;
      args.residual_row_stride = 1, args.residual_column_stride = args.rows;
      compare<Half, 128>(problem, args);
      args.residual_row_stride = 0, args.residual_column_stride = 1;
      compare<Half, 256>(problem, args);
    }
  }
}

// Runs of one stage, of more than the ring holds, and a last one that is shorter than a stage.
TEST(EmulationOfWarpgroups, RunsOfTheInnerDimension) {
  for (bool x_transposed : {false, true})
    for (bool other_transposed : {false, true}) {
      Problem<BFloat16> problem({150, 139, 64 * 9 + 20, x_transposed, other_transposed, 8});
      Matmul args = problem.arguments();
      args.bias = problem.bias.data();
      args.residual = problem.residual.data();
      args.residual_row_stride = args.columns, args.residual_column_stride = 1;
      args.activation = MatmulActivation::relu;
      args.batch_ndim = 1, args.batch_shape[0] = 2;
      args.x_batch_strides[0] = problem.x.size / 2;
      args.other_batch_strides[0] = problem.other.size / 2;
      args.residual_batch_strides[0] = problem.residual.size / 2;
      for (std::int64_t length : {64, 320, 512}) {
        SCOPED_TRACE(length);
        compare<BFloat16, 128>(problem, args, length);
      }
    }
  Problem<float> floats({130, 70, 300, false, true});
  compare<float, 128>(floats, floats.arguments(), 128);
}

// x (2, 1, rows, inner) @ other (1, 3, inner, columns), and batches that merge into one dimension.
TEST(EmulationOfWarpgroups, Batches) {
  constexpr std::int64_t rows = 70, columns = 72, inner = 40;
  Array<Half> x = Problem<Half>::random(6 * rows * inner, 81);
  Array<Half> other = Problem<Half>::random(6 * inner * columns, 82);
  Problem<Half> problem({rows, columns, inner, false, false});
  problem.y = Array<Half>(6 * rows * columns);
  Matmul args = problem.arguments();
  args.x = x.data(), args.other = other.data(), args.y = problem.y.data();
  args.batch_ndim = 2;
  args.batch_shape[0] = 3, args.batch_shape[1] = 2;  // innermost first
  args.x_batch_strides[1] = rows * inner;
  args.other_batch_strides[0] = inner * columns;
  compare<Half, 128>(problem, args);
  args.x_batch_strides[0] = rows * inner, args.x_batch_strides[1] = 3 * rows * inner;
  args.other_batch_strides[1] = 3 * inner * columns;
  compare<Half, 128>(problem, args);
  args.x_batch_strides[0] = 2 * rows * inner, args.x_batch_strides[1] = rows * inner;
  compare<Half, 256>(problem, args);
}

TEST(EmulationOfWarpgroups, InfinityAndNaNStayInTheirRowsAndColumns) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Problem<BFloat16> problem({140, 136, 72, false, false});
  for (std::int64_t k = 0; k < 72; ++k) problem.other[k * problem.other_row + 9] = BFloat16(1.0f);
  problem.x[3 * problem.x_row + 71] = BFloat16(kInfinity);
  problem.x[130 * problem.x_row] = BFloat16(std::numeric_limits<float>::quiet_NaN());
  problem.other[71 * problem.other_row + 135] = BFloat16(-kInfinity);
  const Matmul args = problem.arguments();
  for_each_cuda_order([&](const char*) {
    fill(problem.y);
    ASSERT_TRUE(
        (multiply_in_wide_tiles<BFloat16, 128>(args, tensor_core_runs<BFloat16>(args, 128))));
    wait_for_cuda();
    for (std::int64_t i = 0; i < 140; ++i)
      for (std::int64_t j = 0; j < 136; ++j) {
        const float value = static_cast<float>(problem.y[i * 136 + j]);
        if (i == 130) ASSERT_TRUE(std::isnan(value));
        else ASSERT_EQ(std::isfinite(value), i != 3 && j != 135) << i << ", " << j;
      }
    EXPECT_EQ(static_cast<float>(problem.y[3 * 136 + 9]), kInfinity);
  });
}

// What the copy engine cannot read is left to warps, and so are cards without wgmma.
TEST(EmulationOfWarpgroups, OnlyWhatTheCopyEngineReads) {
  Problem<Half> problem({1024, 1024, 16, false, false});
  const Matmul args = problem.arguments();
  const auto takes = [](const Matmul& matmul) { return multiply_by_warpgroups<Half>(matmul); };
  EXPECT_TRUE(takes(args));
  const std::vector<std::function<void(Matmul&)>> spoils = {
      [&](Matmul& m) { m.x = problem.x.data() + 1; },
      [](Matmul& m) { m.x_row_stride = 12; },
      [](Matmul& m) { m.other_row_stride = 0; },
      [](Matmul& m) { m.other_column_stride = 2; },
      [](Matmul& m) { m.inner = 0; },
      [](Matmul& m) { m.rows = 64; },
      [](Matmul& m) { m.columns = 64; },
      [](Matmul& m) { m.rows = m.columns = 512; },  // few tiles
  };
  for (std::size_t i = 0; i < spoils.size(); ++i) {
    Matmul spoiled = args;
    spoils[i](spoiled);
    EXPECT_FALSE(takes(spoiled)) << i;
  }
  emulation::set_compute_capability(8, 0);
  EXPECT_FALSE(takes(args));
  emulation::set_compute_capability(10, 0);
  EXPECT_FALSE(takes(args));
  emulation::set_compute_capability(9, 0);
  wait_for_cuda();
}

}  // namespace
}  // namespace tilegrad::cuda
