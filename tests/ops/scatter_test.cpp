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
