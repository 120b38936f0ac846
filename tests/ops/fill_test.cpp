// fill and arange, on every instruction set.
#include "ops/fill.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
void test_fill(T value) {
  for (std::int64_t stride : {1, 3}) {
    constexpr std::int64_t count = 301;
    for_each_isa([&](Isa isa) {
      Array<T> y(count * stride, T{7});
      Fill args{.element_size = sizeof(T),
                .value = {},
                .loop = loop_over({count}, Strided<T>{y.data(), {stride}})};
      std::memcpy(args.value, &value, sizeof(T));
      run_on(isa, fill_kernel, args);
      for (std::int64_t i = 0; i < count * stride; ++i)
        ASSERT_EQ(y[i], i % stride == 0 ? value : T{7}) << i;
    });
  }
}

TEST(Fill, EveryElementSizeAndStride) {
  test_fill<std::uint8_t>(200);
  test_fill<std::int16_t>(-12345);
  test_fill<float>(0.1f);
  test_fill<double>(-1e300);
}

TEST(Arange, FloatsAreStartPlusMultiplesOfStep) {
  constexpr std::int64_t count = kGrain + 101;
  for_each_isa([&](Isa isa) {
    Array<double> y(count);
    run_on(isa, arange_kernel,
           Arange{.dtype = DType::float64,
                  .y = y.data(),
                  .size = count,
                  .whole_start = 0,
                  .whole_step = 0,
                  .start = 0.25,
                  .step = -0.125});
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], 0.25 - 0.125 * static_cast<double>(i));
  });
}

TEST(Arange, IntegersStayExactBeyondTheReachOfDoubles) {
  constexpr std::int64_t start = (std::int64_t{1} << 60) + 1;
  for_each_isa([&](Isa isa) {
    Array<std::int64_t> y(9);
    run_on(isa, arange_kernel,
           Arange{.dtype = DType::int64,
                  .y = y.data(),
                  .size = 9,
                  .whole_start = start,
                  .whole_step = -3,
                  .start = 0,
                  .step = 0});
    for (std::int64_t i = 0; i < 9; ++i) ASSERT_EQ(y[i], start - 3 * i);
  });
}

}  // namespace
}  // namespace tilegrad
