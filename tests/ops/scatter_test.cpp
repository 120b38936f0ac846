// scatter: every mode with repeated positions against a plain loop, on every instruction set.
#include "ops/scatter.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr ScatterMode kModes[] = {ScatterMode::assign, ScatterMode::add, ScatterMode::multiply,
                                  ScatterMode::maximum, ScatterMode::minimum};

// Wide enough for sums and products of the integers tested here.
template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>;

template <class T>
T combine(ScatterMode mode, T a, T b) {
  switch (mode) {
    case ScatterMode::assign:
      return b;
    case ScatterMode::add:
      return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
    case ScatterMode::multiply:
      return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b));
    case ScatterMode::maximum:
      return a > b || a != a ? a : b;
    default:
      return a < b || a != a ? a : b;
  }
}

// Rows of `source` go to rows of x, some several times, in order.
template <class T>
void test_modes() {
  constexpr std::int64_t rows = 9, columns = 13, written = 40;
  const Array<T> start = Array<T>::random(rows * columns, 1);
  Array<T> source = Array<T>::random(written * columns, 2);
  Array<std::int64_t> offsets(written);
  const auto row_of = [](std::int64_t i) { return i * i % rows; };
  for (std::int64_t i = 0; i < written; ++i)
    offsets[i] = row_of(i) * columns * static_cast<std::int64_t>(sizeof(T));
  for (ScatterMode mode : kModes) {
    Array<T> expected(rows * columns);
    for (std::int64_t i = 0; i < rows * columns; ++i) expected[i] = start[i];
    for (std::int64_t i = 0; i < written; ++i)
      for (std::int64_t j = 0; j < columns; ++j) {
        T& at = expected[row_of(i) * columns + j];
        at = combine(mode, at, source[i * columns + j]);
      }
    for_each_isa([&](Isa isa) {
      for_each_thread_count([&] {
        for (bool transposed : {false, true}) {  // rows in one piece, or an offset per element
          Array<T> x(rows * columns);
          for (std::int64_t i = 0; i < rows * columns; ++i) x[i] = start[i];
          const auto loop = transposed ? loop_over({columns, written}, Strided<T>{x.data(), {1, 0}},
                                                   Strided<T>{source.data(), {1, columns}},
                                                   Strided<std::int64_t>{offsets.data(), {0, 1}})
                                       : loop_over({written, columns}, Strided<T>{x.data(), {0, 1}},
                                                   Strided<T>{source.data(), {columns, 1}},
                                                   Strided<std::int64_t>{offsets.data(), {1, 0}});
          run_on(isa, scatter_kernel,
                 Scatter{.mode = mode, .dtype = DTypeOf<T>::value, .loop = loop});
          EXPECT_TRUE(x == expected) << "mode " << static_cast<int>(mode);
        }
      });
    });
  }
}

TEST(Scatter, EveryModeInOrder) {
  test_modes<float>();
  test_modes<double>();
  test_modes<std::int32_t>();
  test_modes<std::uint8_t>();
}

// More writes than a block of CUDA's threads sorts, many of them to the same elements; `width` of
// them go to neighbours.
template <class T>
void test_many(std::int64_t width) {
  constexpr std::int64_t rows = 50, written = 3000;
  const Array<T> start = Array<T>::random(rows * width, 1);
  Array<T> source = Array<T>::random(written * width, 2);
  Array<std::int64_t> offsets(written);
  const auto row_of = [](std::int64_t i) { return i % 2 ? i * i % rows : i < 1000 ? 7 : 11; };
  for (std::int64_t i = 0; i < written; ++i)
    offsets[i] = row_of(i) * width * static_cast<std::int64_t>(sizeof(T));
  for (ScatterMode mode : kModes) {
    Array<T> expected(rows * width);
    for (std::int64_t i = 0; i < rows * width; ++i) expected[i] = start[i];
    for (std::int64_t i = 0; i < written * width; ++i) {
      T& at = expected[row_of(i / width) * width + i % width];
      at = combine(mode, at, source[i]);
    }
    for_each_isa([&](Isa isa) {
      for (std::int64_t span : {std::int64_t{0}, rows * width * std::int64_t{sizeof(T)}}) {
        Array<T> x(rows * width);
        for (std::int64_t i = 0; i < rows * width; ++i) x[i] = start[i];
        run_on(isa, scatter_kernel,
               Scatter{.mode = mode,
                       .dtype = DTypeOf<T>::value,
                       .span = span,
                       .loop = loop_over({written, width}, Strided<T>{x.data(), {0, 1}},
                                         Strided<T>{source.data(), {width, 1}},
                                         Strided<std::int64_t>{offsets.data(), {1, 0}})});
        // Only sums depend on their order, and only in their last places.
        expect_close(x, expected, rows * width, 0, std::is_same_v<T, double> ? 1e-11 : 0);
      }
    });
  }
}

TEST(Scatter, ManyWritesToOneElement) {
  for (std::int64_t width : {1, 37}) {
    test_many<std::int32_t>(width);
    test_many<double>(width);
  }
}

// Positions that change along with the offsets, as in gather's gradient.
TEST(Scatter, OffsetsAlongOneOfTwoDimensions) {
  constexpr std::int64_t rows = 6, columns = 5, written = 40;
  Array<std::int32_t> source = Array<std::int32_t>::random(written * columns, 2);
  Array<std::int64_t> index(written * columns);
  Array<std::int32_t> expected(rows * columns);
  for (std::int64_t i = 0; i < written * columns; ++i) {
    index[i] = i * 7 % rows;
    source[i] %= 1000;
    expected[index[i] * columns + i % columns] += source[i];
  }
  for_each_isa([&](Isa isa) {
    Array<std::int32_t> x(rows * columns);
    run_on(isa, scatter_kernel,
           Scatter{.mode = ScatterMode::add,
                   .dtype = DType::int32,
                   .scale = columns * 4,
                   .loop = loop_over({written, columns}, Strided<std::int32_t>{x.data(), {0, 1}},
                                     Strided<std::int32_t>{source.data(), {columns, 1}},
                                     Strided<std::int64_t>{index.data(), {columns, 1}})});
    EXPECT_TRUE(x == expected);
  });
}

TEST(Scatter, NaNWinsMaximumAndMinimum) {
  Array<float> source(2);
  source[0] = NAN, source[1] = 1;
  Array<std::int64_t> offsets(2);
  for_each_isa([&](Isa isa) {
    for (ScatterMode mode : {ScatterMode::maximum, ScatterMode::minimum}) {
      Array<float> x(1);
      run_on(isa, scatter_kernel,
             Scatter{.mode = mode,
                     .dtype = DType::float32,
                     .loop = loop_over({2}, Strided<float>{x.data(), {0}},
                                       Strided<float>{source.data(), {1}},
                                       Strided<std::int64_t>{offsets.data(), {1}})});
      EXPECT_TRUE(std::isnan(x[0]));
    }
  });
}

}  // namespace
}  // namespace tilegrad
