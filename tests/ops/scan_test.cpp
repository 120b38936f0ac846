// Scans on every instruction set and thread count against plain loops of higher precision.
#include "ops/scan.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t outer, length, inner;
};
const Sizes kSizes[] = {{3, 1, 1}, {4, 50, 1},   {1, 3000, 1}, {1, 9001, 1},
                        {3, 7, 5}, {2, 40, 130}, {2, 600, 3},  {0, 3, 2}};

// The place of element i of a column, counted in scan order.
std::int64_t place(const Sizes& s, std::int64_t column, std::int64_t i, bool reverse) {
  const std::int64_t step = reverse ? s.length - 1 - i : i;
  return (column / s.inner * s.length + step) * s.inner + column % s.inner;
}

template <class T>
void check_values(ScanOp op, bool reverse, double tolerance) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(testing::Message() << s.outer << " x " << s.length << " x " << s.inner);
    const std::int64_t count = s.outer * s.length * s.inner;
    Array<T> x = Array<T>::random(count, 1);
    for (std::int64_t i = 0; i < count; ++i)
      x[i] = op == ScanOp::prod ? T{1} + x[i] / 32 : 9 * x[i];
    Array<double> expected(count);
    for (std::int64_t column = 0; column < s.outer * s.inner; ++column) {
      long double state = op == ScanOp::prod ? 1 : 0;  // of log_sum_exp the sum itself: no overflow
      for (std::int64_t i = 0; i < s.length; ++i) {
        const std::int64_t at = place(s, column, i, reverse);
        const long double value = x[at];
        state = op == ScanOp::prod ? state * value : state + std::exp(value);
        expected[at] = static_cast<double>(op == ScanOp::prod ? state : std::log(state));
      }
    }
    for_each_isa([&](Isa isa) {
      for_each_thread_count([&] {
        Array<T> y(count, T{-7});
        run_on(isa, scan_kernel,
               Scan{op, DTypeOf<T>::value, reverse, y.data(), nullptr, x.data(), s.outer, s.length,
                    s.inner});
        expect_close(y, expected, count, tolerance, tolerance);
      });
    });
  }
}

TEST(Scan, ProductsAndLogSums) {
  for (bool reverse : {false, true})
    for (ScanOp op : {ScanOp::prod, ScanOp::log_sum_exp}) {
      check_values<float>(op, reverse, 1e-7);
      check_values<double>(op, reverse, 2e-12);
    }
}

TEST(Scan, ExtremesAreTheLastOfEqualOnes) {
  for (const Sizes& s : kSizes) {
    const std::int64_t count = s.outer * s.length * s.inner;
    Array<float> x = Array<float>::random(count, 2);
    for (std::int64_t i = 0; i < count; ++i) x[i] = i % 97 == 96 ? NAN : std::floor(4 * x[i]);
    for (ScanOp op : {ScanOp::max, ScanOp::min}) {
      Array<float> expected(count);
      Array<std::int64_t> where(count);
      for (std::int64_t column = 0; column < s.outer * s.inner; ++column) {
        float best = 0;
        std::int64_t last = 0;
        for (std::int64_t i = 0; i < s.length; ++i) {
          const std::int64_t at = place(s, column, i, false);
          const float v = x[at];
          const bool better = op == ScanOp::max ? v >= best : v <= best;
          if (i == 0 || std::isnan(v) || better) best = v, last = i;
          expected[at] = best;
          where[at] = last;
        }
      }
      for_each_isa([&](Isa isa) {
        Array<float> y(count, -7.0f);
        Array<std::int64_t> index(count, -7);
        run_on(isa, scan_kernel,
               Scan{op, DType::float32, false, y.data(), index.data(), x.data(), s.outer, s.length,
                    s.inner});
        expect_close(y, expected, count, 0, 0);
        EXPECT_TRUE(index == where);
      });
    }
  }
}

void check_cumprod_backward(const Sizes& s) {
  const std::int64_t count = s.outer * s.length * s.inner;
  Array<double> x = Array<double>::random(count, 3), grad = Array<double>::random(count, 4);
  for (std::int64_t i = 0; i < count; ++i)
    x[i] = i % 211 == 11 ? 0 : s.length > 100 ? 1 + x[i] / 8 : x[i];
  Array<double> expected(count);
  for (std::int64_t column = 0; column < s.outer * s.inner; ++column)
    for (std::int64_t k = 0; k < s.length; ++k)
      for (std::int64_t i = k; i < s.length; ++i) {
        double product = grad[place(s, column, i, false)];
        for (std::int64_t j = 0; j <= i; ++j)
          if (j != k) product *= x[place(s, column, j, false)];
        expected[place(s, column, k, false)] += product;
      }
  for_each_isa([&](Isa isa) {
    Array<double> grad_x(count, -7.0);
    run_on(isa, cumprod_backward_kernel,
           CumprodBackward{DType::float64, grad_x.data(), grad.data(), x.data(), s.outer, s.length,
                           s.inner});
    expect_close(grad_x, expected, count, 1e-13, 1e-13);
  });
}

TEST(Scan, CumprodBackwardOfZerosNeedsNoDivision) {
  check_cumprod_backward({2, 9, 70});
  check_cumprod_backward({1, 300, 2});
}

}  // namespace
}  // namespace tilegrad
