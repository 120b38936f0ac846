// Extremes and their positions on every instruction set against plain loops.
#include "ops/arg_reduce.h"

#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t outer, reduced, inner;
};
const Sizes kSizes[] = {{3, 1, 1}, {4, 50, 1}, {2, 10000, 1}, {3, 7, 5}, {2, 40, 70}, {0, 3, 2}};

// Few different values, so that ties abound; NaN in some floating columns.
template <class T>
Array<T> operand(const Sizes& s) {
  Array<T> x(s.outer * s.reduced * s.inner);
  Random random(1);
  for (std::int64_t i = 0; i < x.size; ++i) {
    x[i] = static_cast<T>(static_cast<double>(random.next() % 19) - 9.0);
    if constexpr (std::is_floating_point_v<T>)
      if (random.next() % 501 == 0) x[i] = std::numeric_limits<T>::quiet_NaN();
  }
  return x;
}

template <class T>
void check(bool largest) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(testing::Message() << s.outer << " x " << s.reduced << " x " << s.inner);
    const Array<T> x = operand<T>(s);
    const std::int64_t count = s.outer * s.inner;
    for_each_isa([&](Isa isa) {
      Array<T> values(count);
      Array<std::int64_t> indices(count, -1);
      run_on(isa, arg_reduce_kernel,
             ArgReduce{largest, DTypeOf<T>::value, values.data(), indices.data(), x.values.get(),
                       s.outer, s.reduced, s.inner});
      for (std::int64_t o = 0; o < count; ++o) {
        const std::int64_t first = o / s.inner * s.reduced * s.inner + o % s.inner;
        std::int64_t best = 0;
        for (std::int64_t i = 1; i < s.reduced; ++i) {
          const T value = x[first + i * s.inner], known = x[first + best * s.inner];
          if (known != known) break;
          if (value != value || (largest ? value > known : value < known)) best = i;
        }
        const T expected = x[first + best * s.inner];
        ASSERT_EQ(indices[o], best) << o;
        ASSERT_TRUE(values[o] == expected || (values[o] != values[o] && expected != expected)) << o;
      }
    });
  }
}

TEST(ArgReduce, FirstExtreme) {
  for (bool largest : {false, true}) {
    check<float>(largest);
    check<double>(largest);
    check<std::int64_t>(largest);
  }
}

}  // namespace
}  // namespace tilegrad
