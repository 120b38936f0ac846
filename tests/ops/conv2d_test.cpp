// The convolution kernels against plain loops in double precision, on every instruction set.
#include "ops/conv2d.h"

#include <algorithm>
#include <limits>

#include "conv_epilogue_testing.h"
#include "half.h"

namespace tilegrad {
namespace {

Conv2d make_case(std::int64_t batch, std::int64_t groups, std::int64_t in_channels,
                 std::int64_t out_channels, std::int64_t size, std::int64_t kernel,
                 std::int64_t stride, std::int64_t pad, std::int64_t dilation) {
  const auto out = [&](std::int64_t in, std::int64_t taps) {
    return (in + 2 * pad - dilation * (taps - 1) - 1) / stride + 1;
  };
  // Not square, so that a swap of the directions shows.
  return {.dtype = DType::float64,
          .batch = batch,
          .groups = groups,
          .in_channels = in_channels,
          .out_channels = out_channels,
          .in_height = size,
          .in_width = size + 2,
          .kernel_height = kernel,
          .kernel_width = kernel + 1,
          .out_height = out(size, kernel),
          .out_width = out(size + 2, kernel + 1),
          .stride_y = stride,
          .stride_x = stride,
          .pad_y = pad,
          .pad_x = pad,
          .dilation_y = dilation,
          .dilation_x = dilation};
}

// One that the transforms of winograd.h compute: square filters, no dilation.
Conv2d make_winograd_case(std::int64_t batch, std::int64_t groups, std::int64_t in_channels,
                          std::int64_t out_channels, std::int64_t size, std::int64_t kernel,
                          std::int64_t stride, std::int64_t pad) {
  Conv2d c = make_case(batch, groups, in_channels, out_channels, size, kernel, stride, pad, 1);
  c.kernel_width = kernel;
  c.out_width = (c.in_width + 2 * pad - kernel) / stride + 1;
  c.winograd = true;
  return c;
}

// Filters as large as the images.
Conv2d make_whole_case(std::int64_t batch, std::int64_t in_channels, std::int64_t out_channels,
                       std::int64_t size, std::int64_t stride) {
  Conv2d c = make_case(batch, 1, in_channels, out_channels, size, size, stride, 0, 1);
  c.kernel_width = c.in_width;
  c.out_width = 1;
  return c;
}

// Calls visit(place in x, place in weight, place in y) for every product of the convolution.
template <class Visit>
void for_each_product(const Conv2d& c, const Visit& visit) {
  const std::int64_t channels = c.groups * c.out_channels;
  for (std::int64_t n = 0; n < c.batch; ++n)
    for (std::int64_t k = 0; k < channels; ++k)
      for (std::int64_t p = 0; p < c.pixels(); ++p)
        for (std::int64_t t = 0; t < c.taps(); ++t) {
          const std::int64_t column = t % c.kernel_width;
          const std::int64_t row = t / c.kernel_width % c.kernel_height;
          const std::int64_t channel =
              k / c.out_channels * c.in_channels + t / (c.kernel_width * c.kernel_height);
          const std::int64_t y = p / c.out_width * c.stride_y - c.pad_y + row * c.dilation_y;
          const std::int64_t x = p % c.out_width * c.stride_x - c.pad_x + column * c.dilation_x;
          if (y < 0 || y >= c.in_height || x < 0 || x >= c.in_width) continue;
          const std::int64_t image = n * c.groups * c.in_channels + channel;
          visit((image * c.in_height + y) * c.in_width + x, k * c.taps() + t,
                (n * channels + k) * c.pixels() + p);
        }
}

template <class T>
void test_case(Conv2d c) {
  c.dtype = std::is_same_v<T, float> ? DType::float32 : DType::float64;
  const std::int64_t x_size = c.batch * c.groups * c.in_channels * c.in_height * c.in_width;
  const std::int64_t weight_size = c.groups * c.out_channels * c.taps();
  const std::int64_t y_size = c.batch * c.groups * c.out_channels * c.pixels();
  Array<T> x = Array<T>::random(x_size, 1), weight = Array<T>::random(weight_size, 2);
  Array<T> y = Array<T>::random(y_size, 3), bias = Array<T>::random(c.groups * c.out_channels, 4);
  Array<double> expected_x(x_size), expected_weight(weight_size), expected_y(y_size);
  for (std::int64_t i = 0; i < y_size; ++i)
    expected_y[i] = static_cast<double>(bias[i / c.pixels() % (c.groups * c.out_channels)]);
  for_each_product(c, [&](std::int64_t at_x, std::int64_t at_weight, std::int64_t at_y) {
    expected_y[at_y] += static_cast<double>(x[at_x]) * static_cast<double>(weight[at_weight]);
    expected_x[at_x] += static_cast<double>(y[at_y]) * static_cast<double>(weight[at_weight]);
    expected_weight[at_weight] += static_cast<double>(y[at_y]) * static_cast<double>(x[at_x]);
  });
  Array<double> expected_bias(c.groups * c.out_channels);
  for (std::int64_t i = 0; i < y_size; ++i)
    expected_bias[i / c.pixels() % expected_bias.size] += static_cast<double>(y[i]);
  // Rounding errors of a sum of numbers below 1; the transforms multiply them.
  const auto tolerance = [&](std::int64_t products) {
    const double factor = c.winograd ? 40 : 8;
    if (c.allow_tf32) return 0x1p-9 * std::sqrt(static_cast<double>(products));
    return factor * std::numeric_limits<T>::epsilon() * std::sqrt(static_cast<double>(products));
  };
  for_each_isa([&](Isa isa) {
    Conv2d args = c;
    Array<T> result_y(y_size), result_x(x_size), result_weight(weight_size);
    args.x = x.data();
    args.weight = weight.data();
    args.y = result_y.data();
    args.bias = bias.data();
    Array<T> workspace(std::max(c.workspace_of_conv2d(), c.workspace_of_grad_input()));
    args.workspace = workspace.data();
    run_on(isa, conv2d_kernel, args);
    expect_close(result_y, expected_y, y_size, tolerance(c.taps()), tolerance(c.taps()));

    check_epilogues(isa, conv2d_kernel, args, result_y);

    args.x = result_x.data();
    args.y = y.data();
    run_on(isa, conv2d_grad_input_kernel, args);
    const double taps = tolerance(c.out_channels * c.kernel_height * c.kernel_width);
    expect_close(result_x, expected_x, x_size, taps, taps);

    args.x = x.data();
    args.weight = result_weight.data();
    const double pixels = tolerance(c.batch * c.pixels());
    for (std::int64_t parts = 1; parts <= c.batch; ++parts) {
      args.parts = parts;
      Array<T> partial_sums(args.workspace_of_grad_weight());
      args.workspace = partial_sums.data();
      Array<T> result_bias(expected_bias.size);
      args.bias_gradient = parts % 2 ? result_bias.data() : nullptr;
      run_on(isa, conv2d_grad_weight_kernel, args);
      expect_close(result_weight, expected_weight, weight_size, pixels, pixels);
      if (args.bias_gradient)
        expect_close(result_bias, expected_bias, expected_bias.size, pixels, pixels);
    }
  });
}

// Halves: operands that are exact, and results that are rounded once.
template <class T>
void test_halves(Conv2d c, DType dtype, double step) {
  c.dtype = dtype;
  const std::int64_t x_size = c.batch * c.groups * c.in_channels * c.in_height * c.in_width;
  const std::int64_t weight_size = c.groups * c.out_channels * c.taps();
  const std::int64_t y_size = c.batch * c.groups * c.out_channels * c.pixels();
  const std::int64_t channels = c.groups * c.out_channels;
  const auto rounded = [](std::int64_t size, std::uint64_t seed) {
    Array<float> values = Array<float>::random(size, seed);
    Array<T> halves(size);
    for (std::int64_t i = 0; i < size; ++i) halves[i] = T(values[i]);
    return halves;
  };
  Array<T> x = rounded(x_size, 1), weight = rounded(weight_size, 2), y = rounded(y_size, 3);
  Array<float> bias = Array<float>::random(channels, 4);
  Array<double> expected_x(x_size), expected_weight(weight_size), expected_y(y_size);
  Array<double> expected_bias(channels);
  for (std::int64_t i = 0; i < y_size; ++i) {
    expected_y[i] = static_cast<double>(bias[i / c.pixels() % channels]);
    expected_bias[i / c.pixels() % channels] += static_cast<double>(float(y[i]));
  }
  for_each_product(c, [&](std::int64_t at_x, std::int64_t at_weight, std::int64_t at_y) {
    const double a = float(x[at_x]), b = float(weight[at_weight]), g = float(y[at_y]);
    expected_y[at_y] += a * b;
    expected_x[at_x] += g * b;
    expected_weight[at_weight] += g * a;
  });
  const auto expect = [&](const Array<T>& halves, const Array<double>& expected) {
    Array<float> wide(halves.size);
    for (std::int64_t i = 0; i < halves.size; ++i) wide[i] = float(halves[i]);
    expect_close(wide, expected, wide.size, step / 2, 1e-4);  // half a step, and the sums' own
  };
  for_each_isa([&](Isa isa) {
    Conv2d args = c;
    Array<T> result_y(y_size), result_x(x_size), result_weight(weight_size);
    args.x = x.data(), args.weight = weight.data(), args.y = result_y.data();
    args.bias = bias.data();
    run_on(isa, conv2d_kernel, args);
    expect(result_y, expected_y);
    args.x = result_x.data(), args.y = y.data(), args.bias = nullptr;
    run_on(isa, conv2d_grad_input_kernel, args);
    expect(result_x, expected_x);
    Array<float> result_bias(channels);
    args.x = x.data(), args.weight = result_weight.data(), args.bias_gradient = result_bias.data();
    run_on(isa, conv2d_grad_weight_kernel, args);
    expect(result_weight, expected_weight);
    expect_close(result_bias, expected_bias, channels, 1e-5, 1e-4);
  });
}

template <class T>
void test_all_halves(DType dtype, double step) {
  if (!testing_cuda()) return;  // elsewhere halves are computed in float32, see src/gate.h
  test_halves<T>(make_case(1, 1, 1, 1, 1, 1, 1, 0, 1), dtype, step);
  test_halves<T>(make_case(3, 1, 2, 5, 7, 3, 1, 1, 1), dtype, step);
  test_halves<T>(make_case(2, 3, 2, 3, 9, 2, 2, 1, 2), dtype, step);
  test_halves<T>(make_case(1, 1, 5, 40, 12, 2, 4, 2, 6), dtype, step);
  test_halves<T>(make_case(3, 1, 3, 4, 21, 2, 1, 1, 1), dtype, step);  // pixels in several runs
  test_halves<T>(make_case(1, 1, 70, 66, 4, 2, 3, 1, 1), dtype, step);
  test_halves<T>(make_case(1, 2, 190, 5, 4, 2, 2, 1, 1), dtype, step);  // taps in several runs
  test_halves<T>(make_case(1, 1, 3, 350, 5, 3, 2, 1, 1), dtype, step);
  // Enough for Hopper's warpgroups, forward and in both gradients.
  if (dtype == DType::bfloat16)
    test_halves<T>(make_case(5, 1, 32, 32, 64, 2, 1, 0, 1), dtype, step);
}

template <class T>
void test_all() {
  test_case<T>(make_case(1, 1, 1, 1, 1, 1, 1, 0, 1));
  test_case<T>(make_case(3, 1, 2, 5, 7, 3, 1, 1, 1));
  test_case<T>(make_case(2, 3, 2, 3, 9, 2, 2, 1, 2));
  test_case<T>(make_case(5, 1, 3, 33, 5, 2, 1, 0, 1));   // several tiles of filters
  test_case<T>(make_case(2, 1, 50, 4, 4, 3, 1, 2, 1));   // several blocks of taps
  test_case<T>(make_case(1, 2, 1, 2, 27, 3, 1, 1, 1));   // several bands
  test_case<T>(make_case(1, 1, 5, 6, 27, 3, 2, 1, 1));   // the same with stride
  test_case<T>(make_case(2, 1, 5, 6, 20, 3, 4, 2, 6));   // taps of four kinds in grad_input
  test_case<T>(make_case(2, 1, 6, 5, 45, 2, 1, 0, 20));  // taps far apart
  test_case<T>(make_case(1, 1, 70, 66, 4, 2, 3, 1, 1));  // the tallest tiles of CUDA's kernels
  test_case<T>(make_case(1, 2, 190, 5, 4, 2, 2, 1, 1));  // taps in several runs
  test_case<T>(make_case(1, 1, 3, 350, 5, 3, 2, 1, 1));  // the same in grad_input, one run empty
  for (const std::int64_t batch : {1, 2, 19}) {
    test_case<T>(make_whole_case(batch, 5, 37, 4, 1));
    test_case<T>(make_whole_case(batch, 70, 3, 1, 2));
  }
}

TEST(Conv2d, Winograd) {
  test_case<float>(make_winograd_case(3, 1, 16, 16, 8, 3, 1, 1));
  test_case<float>(make_winograd_case(5, 1, 17, 35, 7, 3, 1, 0));
  if (testing_cuda()) return;  // has no transforms: what they are asked to do is done directly
  test_case<float>(make_winograd_case(2, 1, 18, 16, 6, 3, 1, 3));   // padding wider than the filter
  test_case<float>(make_winograd_case(2, 2, 16, 21, 9, 3, 1, 1));   // groups
  test_case<float>(make_winograd_case(2, 1, 16, 65, 21, 3, 1, 1));  // several chunks and panels
  test_case<float>(make_winograd_case(2, 1, 19, 16, 8, 5, 1, 2));
  test_case<float>(make_winograd_case(7, 1, 16, 33, 15, 3, 2, 1));
  test_case<float>(make_winograd_case(8, 2, 17, 16, 16, 3, 2, 1));
  test_case<float>(make_winograd_case(8, 1, 16, 16, 13, 3, 2, 0));
}

TEST(Conv2d, Tf32) {
  if (!testing_cuda()) return;
  const auto test = [](Conv2d c) {
    c.allow_tf32 = true;
    test_case<float>(c);
  };
  test(make_case(1, 2, 3, 40, 9, 2, 2, 1, 2));
  test(make_case(1, 1, 70, 66, 4, 2, 3, 1, 1));
  test(make_case(1, 2, 190, 5, 4, 2, 2, 1, 1));
}

TEST(Conv2d, BFloat16) { test_all_halves<BFloat16>(DType::bfloat16, 0x1p-7); }
TEST(Conv2d, Float16) { test_all_halves<Half>(DType::float16, 0x1p-10); }

TEST(Conv2d, Float32) { test_all<float>(); }
TEST(Conv2d, Float64) { test_all<double>(); }

}  // namespace
}  // namespace tilegrad
