// Cumulative sums on every instruction set against plain loops of higher precision.
#include "ops/cumsum.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t outer, length, inner;
};
const Sizes kSizes[] = {{3, 1, 1},    {4, 50, 1},   {1, 100000, 1}, {3, 7, 5},
                        {2, 40, 130}, {2, 1000, 3}, {0, 3, 2}};

template <class T>
void check(bool reverse, double tolerance) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(testing::Message() << s.outer << " x " << s.length << " x " << s.inner);
    const std::int64_t count = s.outer * s.length * s.inner;
    Array<T> x = Array<T>::random(count, 1);
    if constexpr (std::is_integral_v<T>)
      for (std::int64_t i = 0; i < count; ++i) x[i] %= 1000000;
    Array<double> expected(count);
    double largest = 0;  // every addition is rounded to its result's last place
    for (std::int64_t column = 0; column < s.outer * s.inner; ++column) {
      long double sum = 0;  // so that the reference errs less than the kernel
      for (std::int64_t i = 0; i < s.length; ++i) {
        const std::int64_t step = reverse ? s.length - 1 - i : i;
        const std::int64_t at = (column / s.inner * s.length + step) * s.inner + column % s.inner;
        sum += static_cast<long double>(x[at]);
        expected[at] = static_cast<double>(sum);
        largest = std::max(largest, std::abs(expected[at]));
      }
    }
    for_each_isa([&](Isa isa) {
      Array<T> y(count, T{-7});
      run_on(isa, cumsum_kernel,
             Cumsum{DTypeOf<T>::value, reverse, y.data(), x.data(), s.outer, s.length, s.inner});
      expect_close(y, expected, count, tolerance, 1e-13 * largest);
    });
  }
}

TEST(Cumsum, BothDirections) {
  for (bool reverse : {false, true}) {
    check<float>(reverse, 1e-7);
    check<double>(reverse, 1e-13);
    check<std::int64_t>(reverse, 0);
  }
}

}  // namespace
}  // namespace tilegrad
