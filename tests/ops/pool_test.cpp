// Pooling on every instruction set against double-precision loops over windows, and what lies
// behind the results: whole registers are written there only where a later row follows.
#include "ops/pool.h"

#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kGuard = 64;  // elements behind each result

Pool pool_of(DType dtype, std::int64_t height, std::int64_t width, std::int64_t kernel,
             std::int64_t stride, std::int64_t pad) {
  const auto axis = [&](std::int64_t in) {
    return PoolAxis{.in = in,
                    .out = (in + 2 * pad - kernel) / stride + 1,
                    .kernel = kernel,
                    .stride = stride,
                    .pad = pad};
  };
  return {.dtype = dtype, .planes = 3, .depth = {}, .height = axis(height), .width = axis(width)};
}

// Calls visit(output, first row, first column of its window) for every output of all planes.
template <class Visit>
void for_each_window(const Pool& p, const Visit& visit) {
  std::int64_t at = 0;
  for (std::int64_t plane = 0; plane < p.planes; ++plane)
    for (std::int64_t row = 0; row < p.height.out; ++row)
      for (std::int64_t column = 0; column < p.width.out; ++column)
        visit(at++, plane * p.in_size(), p.height.start(row), p.width.start(column));
}

// Calls visit(tap, offset of the element in x) for the taps of a window that lie in the input.
template <class Visit>
void for_each_tap(const Pool& p, std::int64_t plane, std::int64_t y, std::int64_t x,
                  const Visit& visit) {
  for (std::int64_t i = 0; i < p.height.kernel; ++i)
    for (std::int64_t j = 0; j < p.width.kernel; ++j)
      if (y + i >= 0 && y + i < p.height.in && x + j >= 0 && x + j < p.width.in)
        visit(i * p.width.kernel + j, plane + (y + i) * p.width.in + x + j);
}

struct Expected {
  explicit Expected(const Pool& p)
      : maxima(p.planes * p.out_size()),
        averages(p.planes * p.out_size()),
        taps(p.planes * p.out_size()),
        grad_max(p.planes * p.in_size()),
        grad_average(p.planes * p.in_size()) {}
  Array<double> maxima, averages;
  Array<std::uint8_t> taps;
  Array<double> grad_max, grad_average;
};

template <class T>
Expected expected_of(const Pool& p, const Array<T>& x, const Array<T>& grad) {
  Expected e(p);
  const auto size = static_cast<double>(p.window_size());
  for_each_window(p, [&](std::int64_t at, std::int64_t plane, std::int64_t y, std::int64_t column) {
    double best = -std::numeric_limits<double>::infinity(), sum = 0;
    std::int64_t place = -1;
    for_each_tap(p, plane, y, column, [&](std::int64_t tap, std::int64_t from) {
      const auto value = static_cast<double>(x[from]);
      sum += value;
      if (place >= 0 && !(value > best || std::isnan(value))) return;
      best = value;
      place = from;
      e.taps[at] = static_cast<std::uint8_t>(tap);
    });
    e.maxima[at] = best;
    e.averages[at] = sum / size;
    const auto g = static_cast<double>(grad[at]);
    e.grad_max[place] += g;
    for_each_tap(p, plane, y, column,
                 [&](std::int64_t, std::int64_t from) { e.grad_average[from] += g / size; });
  });
  return e;
}

template <class T>
void expect_untouched(const Array<T>& array, std::int64_t from) {
  for (std::int64_t i = from; i < array.size; ++i) ASSERT_EQ(array[i], T{77}) << "behind the end";
}

template <class T>
void check(Pool p, double tolerance) {
  const std::int64_t in = p.planes * p.in_size(), out = p.planes * p.out_size();
  Array<T> x = Array<T>::random(in, 1);
  const Array<T> grad = Array<T>::random(out, 2);
  for (std::int64_t i = 0; i < in; ++i)
    x[i] = i % 97 == 5 ? std::numeric_limits<T>::quiet_NaN() : std::round(4 * x[i]);  // ties
  const Expected expected = expected_of(p, x, grad);
  for_each_isa([&](Isa isa) {
    Array<T> y(out + kGuard, T{77}), gx(in + kGuard, T{77});
    Array<std::uint8_t> taps(out + kGuard, 77);
    p.x = x.data();
    p.y = y.data();
    p.taps = taps.data();
    run_on(isa, max_pool_kernel, p);
    expect_close(y, expected.maxima, out, 0, 0);
    expect_close(taps, expected.taps, out, 0, 0);
    expect_untouched(y, out);
    expect_untouched(taps, out);
    run_on(isa, avg_pool_kernel, p);
    expect_close(y, expected.averages, out, tolerance, tolerance);
    expect_untouched(y, out);
    Array<T> upstream = Array<T>::random(out, 2);
    p.x = gx.data();
    p.y = upstream.data();
    run_on(isa, max_pool_grad_kernel, p);
    expect_close(gx, expected.grad_max, in, tolerance, tolerance);
    run_on(isa, avg_pool_grad_kernel, p);
    expect_close(gx, expected.grad_average, in, tolerance, tolerance);
    expect_untouched(gx, in);
  });
}

TEST(Pool, AgreesWithPlainLoopsForEveryWidth) {
  const std::int64_t windows[][3] = {{2, 2, 0}, {3, 2, 1}, {3, 1, 1}, {5, 3, 2}};
  for (const auto& [kernel, stride, pad] : windows)
    for (std::int64_t width = kernel; width < 75; ++width) {
      SCOPED_TRACE(testing::Message() << "kernel " << kernel << " width " << width);
      check<float>(pool_of(DType::float32, 7, width, kernel, stride, pad), 1e-5);
      check<double>(pool_of(DType::float64, 6, width, kernel, stride, pad), 1e-13);
    }
}

TEST(Pool, AgreesWithPlainLoopsForManySmallPlanes) {
  const std::int64_t windows[][3] = {{2, 2, 1}, {3, 2, 1}, {3, 1, 1}, {4, 4, 0}, {5, 3, 2}};
  for (const auto& [kernel, stride, pad] : windows)
    for (std::int64_t width : {5, 6, 13, 16, 30})
      for (std::int64_t planes : {8, 16, 37}) {
        SCOPED_TRACE(testing::Message() << "kernel " << kernel << " width " << width);
        Pool p = pool_of(DType::float32, 7, width, kernel, stride, pad);
        p.planes = planes;
        check<float>(p, 1e-5);
        p.dtype = DType::float64;
        check<double>(p, 1e-13);
      }
}

// Maxima without a NaN, some windows of which hold nothing but minus infinity, and their gradients.
template <class T>
void check_numbers(Pool p, double tolerance) {
  const std::int64_t in = p.planes * p.in_size(), out = p.planes * p.out_size();
  Array<T> x = Array<T>::random(in, 1), grad = Array<T>::random(out, 2);
  for (std::int64_t i = 0; i < in; ++i)
    x[i] = i / p.width.in % 11 < 4 ? -std::numeric_limits<T>::infinity() : std::round(4 * x[i]);
  const Expected expected = expected_of(p, x, grad);
  for_each_isa([&](Isa isa) {
    Array<T> y(out + kGuard, T{77}), gx(in + kGuard, T{77});
    Array<std::uint8_t> taps(out + kGuard, 77);
    p.x = x.data();
    p.y = y.data();
    for (const bool with_taps : {false, true}) {
      p.taps = with_taps ? taps.data() : nullptr;
      run_on(isa, max_pool_kernel, p);
      for (std::int64_t i = 0; i < out; ++i) ASSERT_EQ(y[i], expected.maxima[i]) << i;
      expect_untouched(y, out);
    }
    expect_close(taps, expected.taps, out, 0, 0);
    expect_untouched(taps, out);
    p.x = gx.data();
    p.y = grad.data();
    run_on(isa, max_pool_grad_kernel, p);
    expect_close(gx, expected.grad_max, in, tolerance, tolerance);
    expect_untouched(gx, in);
  });
}

TEST(Pool, AgreesWithPlainLoopsForNumbersAndTallPlanes) {
  const std::int64_t windows[][3] = {{3, 2, 0}, {3, 2, 1}, {3, 1, 0}, {3, 1, 1}, {2, 1, 0},
                                     {5, 2, 2}, {4, 2, 1}, {2, 2, 0}, {3, 3, 1}};
  for (const auto& [kernel, stride, pad] : windows)
    for (std::int64_t height : {5, 6, 333})
      for (std::int64_t width : {13, 16, 31, 32, 33, 64, 75, 130}) {
        SCOPED_TRACE(testing::Message() << "kernel " << kernel << " stride " << stride << " pad "
                                        << pad << ": " << height << " x " << width);
        check_numbers<float>(pool_of(DType::float32, height, width, kernel, stride, pad), 1e-5);
        check_numbers<double>(pool_of(DType::float64, height, width, kernel, stride, pad), 1e-13);
      }
}

// (batch, channels, size) as (batch, size, channels).
template <class T>
Array<T> channels_last(const Array<T>& x, std::int64_t batch, std::int64_t channels) {
  const std::int64_t size = x.size / (batch * channels);
  Array<T> y(x.size);
  for (std::int64_t i = 0; i < x.size; ++i)
    y[(i / (channels * size) * size + i % size) * channels + i / size % channels] = x[i];
  return y;
}

template <class T>
void check_channels_last(Pool p, std::int64_t batch, std::int64_t channels, double tolerance) {
  p.planes = batch * channels;
  const std::int64_t in = p.planes * p.in_size(), out = p.planes * p.out_size();
  Array<T> x = Array<T>::random(in, 1);
  const Array<T> grad = Array<T>::random(out, 2);
  for (std::int64_t i = 0; i < in; ++i)
    x[i] = i % 97 == 5 ? std::numeric_limits<T>::quiet_NaN() : std::round(4 * x[i]);  // ties
  const Expected e = expected_of(p, x, grad);
  const auto last = [&](const auto& array) { return channels_last(array, batch, channels); };
  p.planes = batch;
  p.channels = channels;
  for_each_isa([&](Isa isa) {
    Array<T> y(out + kGuard, T{77}), gx(in + kGuard, T{77}), images = last(x),
                                                             upstream = last(grad);
    Array<std::uint8_t> taps(out + kGuard, 77);
    p.x = images.data();
    p.y = y.data();
    p.taps = taps.data();
    run_on(isa, max_pool_kernel, p);
    expect_close(y, last(e.maxima), out, 0, 0);
    expect_close(taps, last(e.taps), out, 0, 0);
    run_on(isa, avg_pool_kernel, p);
    expect_close(y, last(e.averages), out, tolerance, tolerance);
    expect_untouched(y, out);
    expect_untouched(taps, out);
    p.x = gx.data();
    p.y = upstream.data();
    run_on(isa, max_pool_grad_kernel, p);
    expect_close(gx, last(e.grad_max), in, tolerance, tolerance);
    run_on(isa, avg_pool_grad_kernel, p);
    expect_close(gx, last(e.grad_average), in, tolerance, tolerance);
    expect_untouched(gx, in);
  });
}

TEST(Pool, AgreesWithPlainLoopsForChannelsLast) {
  const std::int64_t windows[][3] = {{2, 2, 0}, {3, 2, 1}, {3, 1, 1}, {5, 3, 2}, {2, 3, 0}};
  for (const auto& [kernel, stride, pad] : windows)
    for (std::int64_t channels : {1, 3, 8, 17, 64, 70}) {
      SCOPED_TRACE(testing::Message() << "kernel " << kernel << " channels " << channels);
      check_channels_last<float>(pool_of(DType::float32, 8, 11, kernel, stride, pad), 2, channels,
                                 1e-5);
      check_channels_last<double>(pool_of(DType::float64, 7, 6, kernel, stride, pad), 3, channels,
                                  1e-13);
    }
}

// Windows of different sizes and large ones, which are told in places instead of taps.
struct ExpectedRanges {
  Array<double> maxima, averages, grad_average;
  Array<std::int64_t> places;
};

template <class T>
ExpectedRanges expected_ranges(const Pool& p, const Array<T>& x, const Array<T>& grad) {
  const std::int64_t size = p.planes * p.out_size();
  ExpectedRanges e{Array<double>(size), Array<double>(size), Array<double>(p.planes * p.in_size()),
                   Array<std::int64_t>(size)};
  std::int64_t at = 0;
  const auto visit = [&](std::int64_t plane, std::int64_t oz, std::int64_t oy, std::int64_t ox) {
    double best = -std::numeric_limits<double>::infinity(), sum = 0;
    const PoolAxis &d = p.depth, &h = p.height, &w = p.width;
    const auto count = static_cast<double>((d.last(oz) - d.first(oz)) * (h.last(oy) - h.first(oy)) *
                                           (w.last(ox) - w.first(ox)));
    e.places[at] = -1;
    for (std::int64_t z = d.first(oz); z < d.last(oz); ++z)
      for (std::int64_t i = h.first(oy); i < h.last(oy); ++i)
        for (std::int64_t j = w.first(ox); j < w.last(ox); ++j) {
          const std::int64_t place = (z * h.in + i) * w.in + j, from = plane * p.in_size() + place;
          const auto value = static_cast<double>(x[from]);
          sum += value;
          e.grad_average[from] += static_cast<double>(grad[at]) / count;
          if (e.places[at] >= 0 && !(value > best || std::isnan(value))) continue;
          best = value;
          e.places[at] = place;
        }
    e.maxima[at] = best;
    e.averages[at++] = sum / count;
  };
  for (std::int64_t plane = 0; plane < p.planes; ++plane)
    for (std::int64_t oz = 0; oz < p.depth.out; ++oz)
      for (std::int64_t oy = 0; oy < p.height.out; ++oy)
        for (std::int64_t ox = 0; ox < p.width.out; ++ox) visit(plane, oz, oy, ox);
  return e;
}

template <class T>
void check_ranges(Pool p, bool with_nan, double tolerance) {
  const std::int64_t in = p.planes * p.in_size(), out = p.planes * p.out_size();
  Array<T> x = Array<T>::random(in, 1), grad = Array<T>::random(out, 2);
  for (std::int64_t i = 0; i < in; ++i)
    x[i] = with_nan && i % 97 == 5 ? std::numeric_limits<T>::quiet_NaN()
                                   : std::round(4 * x[i]);  // ties
  const ExpectedRanges expected = expected_ranges(p, x, grad);
  for_each_isa([&](Isa isa) {
    Array<T> y(out + kGuard, T{77}), gx(in + kGuard, T{77});
    Array<std::int64_t> places(out + kGuard, 77);
    p.x = x.data();
    p.y = y.data();
    p.indices = places.data();
    run_on(isa, max_pool_kernel, p);
    expect_close(y, expected.maxima, out, 0, 0);
    expect_close(places, expected.places, out, 0, 0);
    expect_untouched(y, out);
    expect_untouched(places, out);
    if (!p.width.adaptive) return;
    run_on(isa, avg_pool_kernel, p);
    expect_close(y, expected.averages, out, tolerance, tolerance);
    expect_untouched(y, out);
    p.x = gx.data();
    p.y = grad.data();
    run_on(isa, avg_pool_grad_kernel, p);
    expect_close(gx, expected.grad_average, in, tolerance, tolerance);
    expect_untouched(gx, in);
  });
}

Pool adaptive_of(DType dtype, std::int64_t planes, const PoolAxis& depth, const PoolAxis& height,
                 const PoolAxis& width) {
  Pool p{.dtype = dtype, .planes = planes, .depth = depth, .height = height, .width = width};
  for (PoolAxis* axis : {&p.depth, &p.height, &p.width}) axis->adaptive = true;
  return p;
}

TEST(Pool, AgreesWithPlainLoopsForUnevenWindows) {
  const PoolAxis one{};
  for (const bool with_nan : {false, true})
    for (std::int64_t in : {1, 2, 3, 7, 8, 13, 16, 31, 33, 70})
      for (std::int64_t out : {1, 2, 3, 5, 6, 9, 17, 40}) {
        SCOPED_TRACE(testing::Message() << in << " to " << out);
        const PoolAxis axis{.in = in, .out = out}, other{.in = 7, .out = 3},
            deep{.in = 4, .out = 3};
        for (std::int64_t planes : {1, 19}) {
          check_ranges<float>(adaptive_of(DType::float32, planes, one, other, axis), with_nan,
                              1e-5);
          check_ranges<float>(adaptive_of(DType::float32, planes, one, axis, other), with_nan,
                              1e-5);
          check_ranges<double>(adaptive_of(DType::float64, planes, deep, other, axis), with_nan,
                               1e-13);
        }
      }
}

TEST(Pool, AgreesWithPlainLoopsForWindowsOfManyTaps) {
  for (std::int64_t width : {17, 18, 24, 40})
    for (std::int64_t stride : {1, 5, 17}) {
      check_ranges<float>(pool_of(DType::float32, 20, width, 17, stride, 8), true, 0);
      check_ranges<double>(pool_of(DType::float64, 19, width, 16, stride, 0), false, 0);
    }
}

TEST(Pool, IsTheSameForEveryNumberOfThreads) {
  Pool p = pool_of(DType::float32, 65, 130, 3, 2, 1);
  p.planes = 40;
  Array<float> x = Array<float>::random(p.planes * p.in_size(), 3);
  const std::int64_t out = p.planes * p.out_size();
  for_each_isa([&](Isa isa) {
    Array<float> first(out);
    bool known = false;
    for_each_thread_count([&] {
      Array<float> y(out);
      Array<std::uint8_t> taps(out);
      p.x = x.data();
      p.y = y.data();
      p.taps = taps.data();
      run_on(isa, max_pool_kernel, p);
      if (known) EXPECT_TRUE(y == first);
      else std::swap(first, y);
      known = true;
    });
  });
}

}  // namespace
}  // namespace tilegrad
