// Convolutions by warpgroups, of sizes too small for conv2d to choose them. Operands are small
// integers, so that every sum is exact in any order: the same bits as by warps.
#include "wgmma_conv_weight.cuh"

#include <functional>
#include <limits>
#include <vector>

#include "kernel_testing.h"

namespace tilegrad::cuda {
namespace {

using Low = WgmmaTile<64, 256>;
using Narrow = WgmmaTile<128, 128>;
using Wide = WgmmaTile<128, 256>;

struct Case {
  std::int64_t batch, in_channels, out_channels, height, width, kernel_height, kernel_width;
  std::int64_t stride_y = 1, stride_x = 1, pad_y = 0, pad_x = 0, dilation_y = 1, dilation_x = 1;
};

template <class T>
struct Problem {
  Conv2d args;
  Array<T> x, weight, y, residual;
  Array<float> bias, mean, rstd, norm_weight, norm_bias;

  static std::int64_t out(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                          std::int64_t pad, std::int64_t dilation) {
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  }
  static Conv2d arguments(const Case& c) {
    return {.dtype = std::is_same_v<T, Half> ? DType::float16 : DType::bfloat16,
            .batch = c.batch,
            .groups = 1,
            .in_channels = c.in_channels,
            .out_channels = c.out_channels,
            .in_height = c.height,
            .in_width = c.width,
            .kernel_height = c.kernel_height,
            .kernel_width = c.kernel_width,
            .out_height = out(c.height, c.kernel_height, c.stride_y, c.pad_y, c.dilation_y),
            .out_width = out(c.width, c.kernel_width, c.stride_x, c.pad_x, c.dilation_x),
            .stride_y = c.stride_y,
            .stride_x = c.stride_x,
            .pad_y = c.pad_y,
            .pad_x = c.pad_x,
            .dilation_y = c.dilation_y,
            .dilation_x = c.dilation_x};
  }
  static Array<T> integers(std::int64_t count, std::uint64_t seed) {
    Array<T> values(count);
    Random random(seed);
    for (std::int64_t i = 0; i < count; ++i)
      values[i] = T(static_cast<float>(random.next() % 5) - 2.0f);
    return values;
  }

  explicit Problem(const Case& c)
      : args(arguments(c)),
        x(integers(c.batch * c.in_channels * c.height * c.width, 91)),
        weight(integers(c.out_channels * args.taps(), 92)),
        y(integers(c.batch * c.out_channels * args.pixels(), 93)),
        residual(integers(y.size, 94)),
        bias(Array<float>::random(c.out_channels, 95)),
        mean(Array<float>::random(c.out_channels, 96)),
        rstd(Array<float>::random(c.out_channels, 97)),
        norm_weight(Array<float>::random(c.out_channels, 98)),
        norm_bias(Array<float>::random(c.out_channels, 99)) {
    args.x = x.data(), args.weight = weight.data(), args.y = y.data();
  }
};

template <class T>
Array<T> spoiled(std::int64_t size) {
  return Array<T>(size, T(-77.0f));
}

// The convolution or the gradient of its input both ways, in every order of threads. `length`:
// steps of a run, 0 for all.
template <class T, class Tile, bool kBackward>
void compare(const Problem<T>& problem, std::int64_t length = 0) {
  Conv2d args = problem.args;
  void*& result = kBackward ? args.x : args.y;
  const std::int64_t size = kBackward ? problem.x.size : problem.y.size;
  Array<T> expected = spoiled<T>(size);
  result = expected.data();
  emulation::set_compute_capability(8, 0);
  if (kBackward) conv2d_grad_input(args);
  else conv2d(args);
  wait_for_cuda();
  emulation::set_compute_capability(9, 0);
  for_each_cuda_order([&](const char* order) {
    SCOPED_TRACE(order);
    Array<T> actual = spoiled<T>(size);
    result = actual.data();
    TapPlan plan(args, kBackward);
    const std::int64_t steps = std::max<std::int64_t>(plan.most_steps, 1);
    const std::int64_t run = length == 0 ? steps : length;
    ASSERT_TRUE(
        (convolve_in_tiles<T, Tile, kBackward>(args, plan, {(steps + run - 1) / run, run})));
    wait_for_cuda();
    ASSERT_TRUE(expected == actual);
  });
}

// The gradient of the filters; `length`: pixels of a run, 0 for all.
template <class T, class Tile>
void compare_filters(const Problem<T>& problem, std::int64_t length = 0) {
  Conv2d args = problem.args;
  Array<T> expected = spoiled<T>(problem.weight.size);
  args.weight = expected.data();
  emulation::set_compute_capability(8, 0);
  conv2d_grad_weight(args);
  wait_for_cuda();
  emulation::set_compute_capability(9, 0);
  FilterProduct product = filter_product(args);
  if (length == 0) length = (product.pixels + kStepPixels - 1) / kStepPixels * kStepPixels;
  product.runs = {(product.pixels + length - 1) / length, length};
  for_each_cuda_order([&](const char* order) {
    SCOPED_TRACE(order);
    Array<T> actual = spoiled<T>(problem.weight.size);
    args.weight = actual.data();
    ASSERT_TRUE((sum_filters_in_tiles<T, Tile>(args, product)));
    wait_for_cuda();
    ASSERT_TRUE(expected == actual);
  });
}

// Fewer channels than a step holds, and more; pixels that fill no tile, one, and several, over the
// borders of rows and images; filters of one tap, even and oblong ones; strides that leave a rest,
// padding on both sides of the filter's size, taps that are apart.
const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1},
    {1, 64, 64, 16, 16, 1, 1},
    {3, 24, 40, 7, 9, 3, 3, 1, 1, 1, 1},
    {2, 72, 70, 12, 11, 3, 3, 1, 1, 1, 1},
    {5, 8, 130, 6, 10, 2, 3, 1, 1, 0, 2},
    {2, 40, 9, 11, 8, 3, 3, 2, 2, 1, 1},
    {2, 33, 66, 9, 12, 3, 4, 2, 1, 2, 3},
    {3, 16, 24, 8, 7, 1, 1, 2, 2, 0, 0},
    {1, 20, 12, 13, 15, 3, 2, 1, 1, 4, 3, 2, 5},
    {1, 20, 12, 13, 15, 3, 3, 2, 2, 2, 2, 2, 1},
};

// The larger tiles get every third, which takes less time.
template <class Tile, class Compare>
void for_each_case(const Compare& compare_case) {
  int number = 0;
  for (const Case& c : kCases) {
    if (Tile::kByRows && number++ % 3 != 0) continue;
    SCOPED_TRACE(::testing::Message() << c.in_channels << " to " << c.out_channels << ", "
                                      << c.height << " x " << c.width << ", " << c.kernel_height
                                      << " x " << c.kernel_width << " by " << c.stride_y);
    compare_case(Problem<BFloat16>(c));
  }
}
template <class Tile, bool kBackward>
void test_all() {
  for_each_case<Tile>([](const auto& problem) { compare<BFloat16, Tile, kBackward>(problem); });
}
template <class Tile>
void test_all_filters() {
  for_each_case<Tile>([](const auto& problem) { compare_filters<BFloat16, Tile>(problem); });
}

TEST(EmulationOfWarpgroupConvolution, BFloat16HasTheBitsOfWarps) {
  test_all<Low, false>();
  test_all<Narrow, false>();
  test_all<Wide, false>();
}
TEST(EmulationOfWarpgroupConvolution, GradientsOfInputsHaveTheBitsOfWarps) {
  test_all<Low, true>();
  test_all<Narrow, true>();
  test_all<Wide, true>();
}
TEST(EmulationOfWarpgroupConvolution, GradientsOfFiltersHaveTheBitsOfWarps) {
  test_all_filters<Low>();
  test_all_filters<Wide>();
}
TEST(EmulationOfWarpgroupConvolution, Float16HasTheBitsOfWarps) {
  const Problem<Half> problem({2, 72, 70, 12, 11, 3, 3, 1, 1, 1, 1});
  compare_filters<Half, Wide>(problem);
  compare<Half, Low, false>(problem);
  compare<Half, Narrow, true>(problem);
}

// Runs of one step, of more than the ring holds, and a last one that is shorter; with stride 2, of
// some classes' taps nothing is left for the last.
TEST(EmulationOfWarpgroupConvolution, RunsOfTheTaps) {
  const Problem<BFloat16> even({2, 72, 70, 6, 9, 3, 3, 1, 1, 1, 1});
  const Problem<BFloat16> odd({2, 33, 66, 9, 7, 3, 3, 2, 2, 1, 1});
  for (std::int64_t length : {1, 5, 7}) {
    SCOPED_TRACE(length);
    compare<BFloat16, Narrow, false>(even, length);
    compare<BFloat16, Low, true>(even, length);
    compare<BFloat16, Low, false>(odd, length);
    compare<BFloat16, Narrow, true>(odd, length);
  }
}

TEST(EmulationOfWarpgroupConvolution, RunsOfThePixels) {
  const Problem<BFloat16> problem({5, 40, 72, 8, 9, 3, 3, 2, 1, 1, 1});
  for (std::int64_t length : {64, 128}) {
    compare_filters<BFloat16, Low>(problem, length);
    compare_filters<BFloat16, Wide>(problem, length);
  }
}

// In rows of which four pixels may be written at once, and in others; finished by the product and
// by whoever adds up runs.
TEST(EmulationOfWarpgroupConvolution, WhatFollowsTheSum) {
  for (std::int64_t width : {8, 9}) {
    Problem<Half> problem({2, 24, 70, 9, width, 3, 3, 1, 1, 1, 1});
    Conv2d& args = problem.args;
    args.bias = problem.bias.data();
    compare<Half, Narrow, false>(problem);
    args.mean = problem.mean.data(), args.rstd = problem.rstd.data();
    args.norm_weight = problem.norm_weight.data(), args.norm_bias = problem.norm_bias.data();
    args.residual = problem.residual.data();
    args.relu = true;
    compare<Half, Narrow, false>(problem);
    compare<Half, Low, false>(problem, 4);
  }
}

// Infinity in one pixel reaches the pixels around it and no others: what lies outside is zero and
// is multiplied by filters that are finite.
TEST(EmulationOfWarpgroupConvolution, InfinityStaysAround) {
  Problem<BFloat16> problem({2, 40, 66, 10, 9, 3, 3, 1, 1, 1, 1});
  problem.x[(40 + 39) * 90 + 5 * 9] = BFloat16(std::numeric_limits<float>::infinity());
  for (std::int64_t i = 0; i < problem.weight.size; ++i) problem.weight[i] = BFloat16(1.0f);
  compare<BFloat16, Wide, false>(problem);
}

// What the copy engine cannot walk over, and what is not worth it, is left to warps.
TEST(EmulationOfWarpgroupConvolution, OnlyWhatIsWorthIt) {
  Problem<BFloat16> problem({12, 32, 48, 60, 58, 1, 2, 1, 1, 0, 1});
  Conv2d args = problem.args;
  Array<BFloat16> y(problem.y.size), x(problem.x.size), weight(problem.weight.size);
  args.x = x.data();
  EXPECT_TRUE((convolve_by_warpgroups<BFloat16, true>(args)));
  args.x = problem.x.data(), args.weight = weight.data();
  EXPECT_TRUE(sum_filters_by_warpgroups<BFloat16>(args));
  args.weight = problem.weight.data(), args.y = y.data();
  const auto takes = [](const Conv2d& c) { return convolve_by_warpgroups<BFloat16, false>(c); };
  EXPECT_TRUE(takes(args));
  const std::vector<std::function<void(Conv2d&)>> spoils = {
      [](Conv2d& c) { c.groups = 2, c.in_channels = 16, c.out_channels = 24; },
      [](Conv2d& c) { c.in_channels = 16; },
      [](Conv2d& c) { c.out_channels = 24; },
      [](Conv2d& c) { c.batch = 1; },                                          // few tiles
      [](Conv2d& c) { c.pad_x = 129, c.out_width = 315; },                     // too far outside
      [](Conv2d& c) { c.pad_x = 128, c.out_width = 58, c.dilation_x = 256; },  // taps too far apart
      [](Conv2d& c) { c.stride_y = 9, c.out_height = 7, c.batch = 50; },       // too long a step
  };
  for (std::size_t i = 0; i < spoils.size(); ++i) {
    Conv2d spoiled = args;
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
