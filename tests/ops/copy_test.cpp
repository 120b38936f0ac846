// copy: every pair of dtypes and any strides, on every instruction set.
#include "ops/copy.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

// Values that both types of a conversion can hold.
template <class From, class To>
void test_conversion() {
  constexpr std::int64_t count = 203;
  Array<From> x(count);
  Array<To> y(2 * count);
  for (std::int64_t i = 0; i < count; ++i) x[i] = static_cast<From>(i % 101);
  for_each_isa([&](Isa isa) {
    for (std::int64_t stride : {1, 2}) {
      run_on(isa, copy_kernel,
             Copy{.to = DTypeOf<To>::value,
                  .from = DTypeOf<From>::value,
                  .loop = loop_over({count}, Strided<To>{y.data(), {stride}},
                                    Strided<From>{x.data(), {1}})});
      for (std::int64_t i = 0; i < count; ++i) {
        const To expected = std::is_same_v<To, bool>     ? static_cast<To>(i % 101 != 0)
                            : std::is_same_v<From, bool> ? static_cast<To>(i % 101 != 0)
                                                         : static_cast<To>(i % 101);
        ASSERT_EQ(y[i * stride], expected) << info(DTypeOf<From>::value).name << " to "
                                           << info(DTypeOf<To>::value).name << ", element " << i;
      }
    }
  });
}

template <class From, class... To>
void test_from() {
  (test_conversion<From, To>(), ...);
}

template <class... T>
void test_every_pair() {
  (test_from<T, T...>(), ...);
}

TEST(Copy, EveryPairOfDtypes) {
  test_every_pair<bool, std::uint8_t, std::int8_t, std::int16_t, std::int32_t, std::int64_t, float,
                  double>();
}

TEST(Copy, FloatsAreTruncatedAndIntegersWrap) {
  const double values[] = {-1.9, 1.9, 255.5, 256.0, 300.0, -3.0};
  const int expected[] = {255, 1, 255, 0, 44, 253};
  Array<double> x(6);
  Array<std::uint8_t> y(6);
  for (int i = 0; i < 6; ++i) x[i] = values[i];
  for_each_isa([&](Isa isa) {
    run_on(isa, copy_kernel,
           Copy{.to = DType::uint8,
                .from = DType::float64,
                .loop = loop_over({6}, Strided<std::uint8_t>{y.data(), {1}},
                                  Strided<double>{x.data(), {1}})});
    for (int i = 0; i < 6; ++i) EXPECT_EQ(y[i], expected[i]) << values[i];
  });
}

TEST(Copy, NaNAndInfinityAreTrueAndSurviveWidening) {
  Array<float> x(3);
  x[0] = NAN, x[1] = INFINITY, x[2] = -0.0f;
  Array<bool> flags(3);
  Array<double> wide(3);
  for_each_isa([&](Isa isa) {
    run_on(isa, copy_kernel,
           Copy{.to = DType::boolean,
                .from = DType::float32,
                .loop = loop_over({3}, Strided<bool>{flags.data(), {1}},
                                  Strided<float>{x.data(), {1}})});
    EXPECT_TRUE(flags[0] && flags[1] && !flags[2]);
    run_on(isa, copy_kernel,
           Copy{.to = DType::float64,
                .from = DType::float32,
                .loop = loop_over({3}, Strided<double>{wide.data(), {1}},
                                  Strided<float>{x.data(), {1}})});
    EXPECT_TRUE(std::isnan(wide[0]) && std::isinf(wide[1]) && std::signbit(wide[2]));
  });
}

template <class T>
void test_transposed() {
  constexpr std::int64_t rows = 37, columns = 53;
  Array<T> x = Array<T>::random(rows * columns, 11), y(rows * columns);
  for_each_isa([&](Isa isa) {
    run_on(isa, copy_kernel,
           Copy{.to = DTypeOf<T>::value,
                .from = DTypeOf<T>::value,
                .loop = loop_over({columns, rows}, Strided<T>{y.data(), {rows, 1}},
                                  Strided<T>{x.data(), {1, columns}})});
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j)
        ASSERT_EQ(std::memcmp(&y[j * rows + i], &x[i * columns + j], sizeof(T)), 0);
  });
}

// Several matrices, between two dimensions that stay where they are, read from every second row and
// written into wider rows; and the other way round, so that it is the source that is in order.
TEST(Copy, TransposedInTheMiddle) {
  constexpr std::int64_t outer = 3, rows = 70, columns = 9, inner = 2, wide = 80;
  Array<std::int32_t> x = Array<std::int32_t>::random(outer * 2 * rows * columns * inner, 12);
  Array<std::int32_t> y(outer * inner * columns * wide), back(outer * rows * columns * inner);
  // x (outer, 2 * rows, inner, columns) to y (outer, inner, columns, wide)
  const std::vector<std::int64_t> x_strides = {2 * rows * inner * columns, columns, 1,
                                               2 * inner * columns},
                                  y_strides = {inner * columns * wide, columns * wide, wide, 1},
                                  back_strides = {rows * columns * inner, columns * rows, 1,
                                                  columns};
  for_each_isa([&](Isa isa) {
    for (std::int64_t i = 0; i < y.size; ++i) y[i] = -1;
    const auto copy = [&](const Strided<std::int32_t>& to, const Strided<std::int32_t>& from) {
      run_on(isa, copy_kernel,
             Copy{.to = DType::int32,
                  .from = DType::int32,
                  .loop = loop_over({outer, inner, columns, rows}, to, from)});
    };
    copy({y.data(), y_strides}, {x.data(), x_strides});
    copy({back.data(), back_strides}, {y.data(), y_strides});
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t i = 0; i < inner; ++i)
        for (std::int64_t c = 0; c < columns; ++c)
          for (std::int64_t r = 0; r < wide; ++r) {
            const std::int32_t found = y[((o * inner + i) * columns + c) * wide + r];
            if (r >= rows) {
              ASSERT_EQ(found, -1);
              continue;
            }
            ASSERT_EQ(found, x[((o * 2 * rows + 2 * r) * inner + i) * columns + c]);
            ASSERT_EQ(found,
                      back[o * rows * columns * inner + i * columns * rows + r * columns + c]);
          }
  });
}

TEST(Copy, TransposedOfEveryElementSize) {
  test_transposed<std::int8_t>();
  test_transposed<std::int16_t>();
  test_transposed<float>();
  test_transposed<double>();
}

TEST(Copy, EmptyLoopsTouchNothing) {
  Array<float> x(1, 1.0f), y(1, 2.0f);
  for_each_isa([&](Isa isa) {
    run_on(isa, copy_kernel,
           Copy{.to = DType::float32,
                .from = DType::float32,
                .loop = loop_over({3, 0}, Strided<float>{y.data(), {0, 1}},
                                  Strided<float>{x.data(), {0, 1}})});
    EXPECT_EQ(y[0], 2.0f);
  });
}

}  // namespace
}  // namespace tilegrad
