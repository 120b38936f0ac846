// The depthwise kernels against conv2d's, which plain loops check, on every instruction set.
#include "ops/depthwise.h"

#include <algorithm>
#include <limits>

#include "conv_epilogue_testing.h"

namespace tilegrad {
namespace {

struct Case {
  std::int64_t batch, channels, filters, height, width, kernel, stride, pad, dilation;
};

template <class T>
void test_case(const Case& size) {
  const auto out = [&](std::int64_t in, std::int64_t taps) {
    return (in + 2 * size.pad - size.dilation * (taps - 1) - 1) / size.stride + 1;
  };
  Conv2d c{.dtype = std::is_same_v<T, float> ? DType::float32 : DType::float64,
           .batch = size.batch,
           .groups = size.channels,
           .in_channels = 1,
           .out_channels = size.filters,
           .in_height = size.height,
           .in_width = size.width,
           .kernel_height = size.kernel,
           .kernel_width = size.kernel,
           .out_height = out(size.height, size.kernel),
           .out_width = out(size.width, size.kernel),
           .stride_y = size.stride,
           .stride_x = size.stride,
           .pad_y = size.pad,
           .pad_x = size.pad,
           .dilation_y = size.dilation,
           .dilation_x = size.dilation};
  ASSERT_TRUE(is_depthwise(c));
  const std::int64_t x_size = c.batch * c.groups * c.in_height * c.in_width;
  const std::int64_t weight_size = c.groups * c.out_channels * c.taps();
  const std::int64_t y_size = c.batch * c.groups * c.out_channels * c.pixels();
  Array<T> x = Array<T>::random(x_size, 1), weight = Array<T>::random(weight_size, 2);
  Array<T> y = Array<T>::random(y_size, 3), bias = Array<T>::random(c.groups * c.out_channels, 4);
  const auto run_all = [&](Isa isa, const auto& forward, const auto& grad_input,
                           const auto& grad_weight, Array<T>* results) {
    Conv2d args = c;
    args.parts = c.batch;
    Array<T> workspace(std::max(
        {c.workspace_of_conv2d(), c.workspace_of_grad_input(), args.workspace_of_grad_weight()}));
    args.parts = 1;
    args.workspace = workspace.data();
    args.x = x.data(), args.weight = weight.data(), args.y = results[0].data();
    args.bias = bias.data();
    run_on(isa, forward, args);
    check_epilogues(isa, forward, args, results[0]);
    args.x = results[1].data(), args.y = y.data(), args.bias = nullptr;
    run_on(isa, grad_input, args);
    args.x = x.data(), args.weight = results[2].data(), args.bias_gradient = results[4].data();
    run_on(isa, grad_weight, args);
    args.parts = c.batch, args.weight = results[3].data(), args.bias_gradient = results[5].data();
    run_on(isa, grad_weight, args);
  };
  const auto make_results = [&] {
    return std::array<Array<T>, 6>{Array<T>(y_size),      Array<T>(x_size),
                                   Array<T>(weight_size), Array<T>(weight_size),
                                   Array<T>(bias.size),   Array<T>(bias.size)};
  };
  for_each_isa([&](Isa isa) {
    std::array<Array<T>, 6> expected = make_results(), actual = make_results();
    run_all(isa, conv2d_kernel, conv2d_grad_input_kernel, conv2d_grad_weight_kernel,
            expected.data());
    run_all(isa, depthwise_kernel, depthwise_grad_input_kernel, depthwise_grad_weight_kernel,
            actual.data());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const bool short_sum = i < 2;
      const std::int64_t products = short_sum ? c.taps() * c.out_channels : c.batch * c.pixels();
      // Rounding errors of two sums of that many numbers below 1.
      const double tolerance =
          16 * std::numeric_limits<T>::epsilon() * std::sqrt(static_cast<double>(products));
      expect_close(actual[i], expected[i], expected[i].size, tolerance, tolerance);
    }
  });
}

// The emulated threads take their time: one case for each kernel and shape of block.
template <class T>
void test_some() {
  test_case<T>({2, 3, 1, 9, 10, 3, 1, 1, 1});
  test_case<T>({1, 2, 1, 5, 18, 5, 1, 4, 1});
  test_case<T>({2, 2, 1, 6, 33, 2, 1, 1, 1});
  test_case<T>({2, 2, 3, 7, 7, 3, 2, 1, 2});
  test_case<T>({1, 2, 1, 14, 15, 5, 3, 2, 1});
  test_case<T>({1, 2, 1, 95, 90, 3, 1, 1, 1});  // several runs
  test_case<T>({1, 2, 1, 20, 20, 3, 1, 7, 8});
}

template <class T>
void test_all() {
  if (testing_cuda()) return test_some<T>();
  for (std::int64_t kernel : {1, 2, 3, 5, 7})
    for (std::int64_t width : {1, 4, 7, 14, 16, 19, 33}) {
      test_case<T>({3, 5, 1, 9, width + kernel, kernel, 1, kernel / 2, 1});
      test_case<T>({2, 9, 1, width, 7, kernel, 1, kernel - 1, 1});
    }
  for (std::int64_t pad : {0, 1, 2})  // rows wider than a register, few of them
    for (std::int64_t width : {15, 16, 31, 40, 70})
      for (std::int64_t height : {3, 4, 10}) test_case<T>({2, 9, 1, height, width, 3, 1, pad, 1});
  test_case<T>({1, 2, 1, 1, 32, 3, 1, 1, 1});
  test_case<T>({1, 2, 1, 2, 32, 3, 1, 1, 1});
  for (std::int64_t stride : {2, 3, 4}) {
    test_case<T>({2, 5, 1, 14, 15, 3, stride, 1, 1});
    test_case<T>({2, 18, 2, 7, 7, 3, stride, 1, 2});
  }
  test_case<T>({11, 19, 1, 8, 7, 5, 1, 2, 1});  // several blocks of images and channels
  test_case<T>({11, 19, 1, 14, 13, 3, 2, 1, 1});
  test_case<T>({9, 17, 1, 7, 15, 3, 1, 1, 1});
  test_case<T>({2, 5, 3, 7, 6, 3, 1, 1, 1});     // several filters
  test_case<T>({1, 2, 1, 130, 90, 3, 1, 1, 1});  // several bands
  test_case<T>({1, 2, 1, 130, 90, 3, 2, 1, 1});
  test_case<T>({1, 2, 1, 40, 40, 3, 1, 7, 8});
}

// Infinity in one column of the input reaches the gradients of the taps that meet it, and no other:
// lanes beyond a row's end hold neither the next row nor a product with a zero.
template <class T>
void test_infinite_column(std::int64_t width, std::int64_t column, std::int64_t blind_tap) {
  Conv2d c{.dtype = std::is_same_v<T, float> ? DType::float32 : DType::float64,
           .batch = 1,
           .groups = 2,
           .in_channels = 1,
           .out_channels = 1,
           .in_height = 6,
           .in_width = width,
           .kernel_height = 3,
           .kernel_width = 3,
           .out_height = 6,
           .out_width = width,
           .stride_y = 1,
           .stride_x = 1,
           .pad_y = 1,
           .pad_x = 1,
           .dilation_y = 1,
           .dilation_x = 1};
  const std::int64_t size = 2 * 6 * width;
  Array<T> x(size), y(size), weight(18), workspace(c.workspace_of_grad_weight());
  std::fill_n(y.data(), size, T{1});
  for (std::int64_t i = 0; i < size; ++i)
    x.data()[i] = i % width == column ? std::numeric_limits<T>::infinity() : T{1};
  c.x = x.data(), c.y = y.data(), c.weight = weight.data(), c.workspace = workspace.data();
  for_each_isa([&](Isa isa) {
    run_on(isa, depthwise_grad_weight_kernel, c);
    for (int t = 0; t < 18; ++t)
      EXPECT_EQ(std::isfinite(weight.data()[t]), t % 3 == blind_tap) << "tap " << t;
  });
}

TEST(Depthwise, InfinityOfAColumnReachesItsTapsAlone) {
  for (std::int64_t width : {16, 33, 40}) {
    test_infinite_column<float>(width, 0, 2);
    test_infinite_column<float>(width, width - 1, 0);
    test_infinite_column<double>(width, 0, 2);
    test_infinite_column<double>(width, width - 1, 0);
  }
}

TEST(Depthwise, Float32) { test_all<float>(); }
TEST(Depthwise, Float64) { test_all<double>(); }

}  // namespace
}  // namespace tilegrad
