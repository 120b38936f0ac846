// Resampling on every instruction set against plain loops in double precision.
#include "ops/resample.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t outer, length, size, inner;
};
// Rows in groups of eight and a rest; registers, pairs of them and a rest.
const Sizes kSizes[] = {{1, 1, 1, 1},  {3, 7, 11, 1}, {8, 5, 3, 1},   {19, 30, 40, 1},
                        {2, 9, 4, 3},  {2, 5, 8, 16}, {17, 5, 20, 1}, {1, 6, 7, 45},
                        {3, 4, 9, 70}, {0, 4, 5, 2},  {2, 3, 0, 4}};

template <class T>
struct Case {
  explicit Case(const Sizes& s)
      : sizes(s),
        x(Array<T>::random(s.outer * s.length * s.inner, 1)),
        begin(s.size + 1),
        index(4 * s.size),
        weight(Array<T>::random(4 * s.size, 2)),
        expected(s.outer * s.size * s.inner) {
    Random generator(3);
    for (std::int64_t j = 0; j < s.size; ++j) {  // none to four places each
      const auto count = static_cast<std::int64_t>(generator.next() % 5);
      begin[j + 1] = begin[j] + count;
      for (std::int64_t k = begin[j]; k < begin[j + 1]; ++k)
        index[k] =
            static_cast<std::int64_t>(generator.next() % static_cast<std::uint64_t>(s.length));
    }
    for (std::int64_t at = 0; at < s.outer * s.size * s.inner; ++at) {
      const std::int64_t i = at % s.inner, j = at / s.inner % s.size, o = at / s.inner / s.size;
      for (std::int64_t k = begin[j]; k < begin[j + 1]; ++k)
        expected[at] += static_cast<double>(weight[k]) *
                        static_cast<double>(x[(o * s.length + index[k]) * s.inner + i]);
    }
  }

  void run(Isa isa, double tolerance) {
    Array<T> y(expected.size, T{-7});
    run_on(isa, resample_kernel,
           Resample{.dtype = DTypeOf<T>::value,
                    .y = y.data(),
                    .x = x.data(),
                    .outer = sizes.outer,
                    .length = sizes.length,
                    .size = sizes.size,
                    .inner = sizes.inner,
                    .begin = begin.data(),
                    .index = index.data(),
                    .weight = weight.data()});
    expect_close(y, expected, expected.size, tolerance, tolerance);
  }

  Sizes sizes;
  Array<T> x;
  Array<std::int64_t> begin, index;
  Array<T> weight;
  Array<double> expected;
};

template <class T>
void check(double tolerance) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(testing::Message()
                 << s.outer << " x " << s.length << " to " << s.size << " x " << s.inner);
    Case<T> drawn(s);
    for_each_isa([&](Isa isa) { drawn.run(isa, tolerance); });
  }
}

TEST(Resample, AgreesWithPlainLoops) {
  check<float>(1e-6);
  check<double>(1e-15);
}

}  // namespace
}  // namespace tilegrad
