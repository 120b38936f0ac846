// Reductions on every instruction set against plain double-precision loops.
#include "ops/reduce.h"

#include <algorithm>
#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

// x (outer, middle, inner), contiguous, reduced over its middle, or over its outer and inner sizes.
struct Case {
  std::int64_t outer, middle, inner;
  bool over_middle;

  std::int64_t kept() const { return over_middle ? outer * inner : middle; }
  std::int64_t reduced() const { return over_middle ? middle : outer * inner; }
  std::int64_t at(std::int64_t k, std::int64_t r) const {  // kept and reduced position -> element
    return over_middle ? (k / inner * middle + r) * inner + k % inner
                       : (r / inner * middle + k) * inner + r % inner;
  }
  ReduceShape shape() const {
    ReduceShape s;
    const auto add = [](int& n, std::int64_t* sizes, std::int64_t* strides, std::int64_t size,
                        std::int64_t stride) {
      if (size == 1) return;
      sizes[n] = size;
      strides[n++] = stride;
    };
    const auto keep = [&](std::int64_t size, std::int64_t stride) {
      add(s.kept_ndim, s.kept_shape, s.kept_strides, size, stride);
    };
    const auto reduce = [&](std::int64_t size, std::int64_t stride) {
      add(s.reduced_ndim, s.reduced_shape, s.reduced_strides, size, stride);
    };
    if (over_middle) {
      keep(inner, 1);
      keep(outer, middle * inner);
      reduce(middle, inner);
    } else {
      keep(middle, inner);
      reduce(inner, 1);
      reduce(outer, middle * inner);
    }
    return s;
  }
};

const Case kCases[] = {{1, 5, 1, true},     {3, 70, 1, true},    {2, 9001, 1, true},
                       {3, 2500, 7, true},  {2, 70, 300, true},  {4, 3, 5, false},
                       {9, 2, 700, false},  {2000, 4, 3, false}, {3, 1, 4, true},
                       {1, 20000, 1, true}, {2, 0, 3, true},     {1, 3000, 2, true}};

template <class T, class Fold>
void check_floating(ReduceOp op, double start, double tolerance, const Fold& fold) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.outer << " x " << c.middle << " x " << c.inner);
    Array<T> x = Array<T>::random(c.kept() * c.reduced(), 1),
             center = Array<T>::random(c.kept(), 2);
    Array<double> expected(c.kept(), start);
    double largest = 1;
    for (std::int64_t k = 0; k < c.kept(); ++k)
      for (std::int64_t r = 0; r < c.reduced(); ++r) {
        T& element = x[c.at(k, r)];
        if (op == ReduceOp::prod) element = T{1} + element / T(c.reduced());
        expected[k] =
            fold(expected[k], static_cast<double>(element), static_cast<double>(center[k]));
        largest = std::max(largest, std::abs(expected[k]));
      }
    for_each_isa([&](Isa isa) {
      Array<T> y(c.kept(), T{-7});
      run_on(
          isa, reduce_kernel,
          Reduce{op, DTypeOf<T>::value, y.data(), x.data(),
                 op == ReduceOp::sum_squared_deviations ? center.data() : nullptr, 1, c.shape()});
      expect_close(y, expected, c.kept(), tolerance, tolerance * largest);
    });
  }
}

template <class T>
void check_every_operation(double tolerance) {
  check_floating<T>(ReduceOp::sum, 0, tolerance, [](double a, double x, double) { return a + x; });
  check_floating<T>(ReduceOp::prod, 1, 100 * tolerance,
                    [](double a, double x, double) { return a * x; });
  check_floating<T>(ReduceOp::sum_abs, 0, tolerance,
                    [](double a, double x, double) { return a + std::abs(x); });
  check_floating<T>(ReduceOp::sum_squares, 0, tolerance,
                    [](double a, double x, double) { return a + x * x; });
  check_floating<T>(ReduceOp::sum_squared_deviations, 0, tolerance,
                    [](double a, double x, double m) { return a + (x - m) * (x - m); });
  const double infinity = std::numeric_limits<double>::infinity();
  check_floating<T>(ReduceOp::amax, -infinity, 0,
                    [](double a, double x, double) { return std::max(a, x); });
  check_floating<T>(ReduceOp::amin, infinity, 0,
                    [](double a, double x, double) { return std::min(a, x); });
}

TEST(Reduce, Float32) { check_every_operation<float>(2e-6); }
TEST(Reduce, Float64) { check_every_operation<double>(1e-14); }

TEST(Reduce, IntegersAndBools) {
  for (const Case& c : kCases) {
    const std::int64_t count = c.kept() * c.reduced();
    const Array<std::int64_t> x = Array<std::int64_t>::random(count, 1);
    const Array<bool> flags = Array<bool>::random(count, 2);
    Array<std::int64_t> sum(c.kept()), product(c.kept(), 1), trues(c.kept());
    for (std::int64_t k = 0; k < c.kept(); ++k)
      for (std::int64_t r = 0; r < c.reduced(); ++r) {
        const auto value = static_cast<std::uint64_t>(x[c.at(k, r)]);
        sum[k] = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum[k]) + value);
        product[k] = static_cast<std::int64_t>(static_cast<std::uint64_t>(product[k]) * value);
        trues[k] += flags[c.at(k, r)];
      }
    for_each_isa([&](Isa isa) {
      Array<std::int64_t> y(c.kept(), -7);
      const auto reduce = [&](ReduceOp op, DType dtype, const void* from) {
        run_on(isa, reduce_kernel, Reduce{op, dtype, y.data(), from, nullptr, 1, c.shape()});
      };
      reduce(ReduceOp::sum, DType::int64, x.values.get());
      EXPECT_TRUE(y == sum);
      reduce(ReduceOp::prod, DType::int64, x.values.get());
      EXPECT_TRUE(y == product);
      reduce(ReduceOp::sum, DType::boolean, flags.values.get());
      EXPECT_TRUE(y == trues);
    });
  }
}

TEST(Reduce, NanWinsInEveryPosition) {
  const std::int64_t size = 300;
  for_each_isa([&](Isa isa) {
    for (std::int64_t position = 0; position < size; position += 7) {
      Array<float> x = Array<float>::random(size, 3);
      x[position] = std::numeric_limits<float>::quiet_NaN();
      for (ReduceOp op : {ReduceOp::amax, ReduceOp::amin}) {
        Array<float> y(1);
        run_on(isa, reduce_kernel,
               Reduce{op, DType::float32, y.data(), x.data(), nullptr, 1,
                      Case{1, size, 1, true}.shape()});
        EXPECT_TRUE(std::isnan(y[0])) << position;
      }
    }
  });
}

TEST(Reduce, SameBitsForEveryThreadCount) {
  for (const Case& c :
       {Case{1, 1000000, 1, true}, Case{1, 20000, 50, true}, Case{50, 7, 3000, false}}) {
    const Array<float> x = Array<float>::random(c.kept() * c.reduced(), 4);
    for_each_isa([&](Isa isa) {
      Array<float> first(c.kept());
      bool have_first = false;
      for_each_thread_count([&] {
        Array<float> y(c.kept());
        run_on(
            isa, reduce_kernel,
            Reduce{ReduceOp::sum, DType::float32, y.data(), x.values.get(), nullptr, 3, c.shape()});
        if (have_first) EXPECT_TRUE(y == first);
        else first = std::move(y);
        have_first = true;
      });
    });
  }
}

}  // namespace
}  // namespace tilegrad
