// topk: selections against a stable sort, on every instruction set and number of threads.
#include "ops/topk.h"

#include <algorithm>
#include <numeric>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
std::vector<std::int64_t> stable_order(const T* x, std::int64_t size, bool descending) {
  const auto less = [](T a, T b) { return a < b || (b != b && a == a); };
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return descending ? less(x[b], x[a]) : less(x[a], x[b]);
  });
  return order;
}

template <class T>
Array<T> sample(std::int64_t count) {
  Array<T> x = Array<T>::random(count, 1);
  for (std::int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_floating_point_v<T>) x[i] = i % 41 == 3 ? T(NAN) : std::round(x[i] * 64);
    else x[i] = static_cast<T>(x[i] & 63);
  }
  return x;
}

template <class T>
void test_topk(std::int64_t rows, std::int64_t size, std::int64_t k) {
  Array<T> x = sample<T>(rows * size), y(rows * k);
  Array<std::int64_t> index(rows * k);
  for_each_isa([&](Isa isa) {
    for_each_thread_count([&] {
      for (bool largest : {false, true}) {
        run_on(isa, topk_kernel,
               TopK{.dtype = DTypeOf<T>::value,
                    .x = x.data(),
                    .y = y.data(),
                    .index = index.data(),
                    .rows = rows,
                    .size = size,
                    .k = k,
                    .largest = largest});
        for (std::int64_t row = 0; row < rows; ++row) {
          const auto order = stable_order(x.data() + row * size, size, largest);
          for (std::int64_t i = 0; i < k; ++i)
            ASSERT_EQ(index[row * k + i], order[static_cast<std::size_t>(i)]) << "at " << i;
        }
      }
    });
  });
}

TEST(TopK, TakesTheFirstOfAStableOrder) {
  for (std::int64_t size : {1, 31, 100, 1000, 4099})
    for (std::int64_t k : {1, 5, 70, 300, 1000})
      if (k <= size) {
        test_topk<float>(3, size, k);
        test_topk<double>(2, size, k);
        test_topk<std::int16_t>(2, size, k);
        test_topk<std::int64_t>(2, size, k);
      }
}

TEST(TopK, LongRowsAndManyOfThem) {
  test_topk<float>(2, 9001, 1500);
  test_topk<std::uint8_t>(1, 5000, 700);
}

void check_select_at(std::int64_t size) {
  constexpr std::int64_t kRows = 3;
  Array<float> x = sample<float>(kRows * size), y(kRows);
  for (std::int64_t i = 0; i < size; ++i) x[i] = static_cast<float>(i * 7 % 100);  // no NaN
  Array<std::int64_t> index(kRows);
  for_each_isa([&](Isa isa) {
    for (std::int64_t position : {std::int64_t{0}, size / 2, size - 1})
      for (bool nan_wins : {false, true}) {
        run_on(isa, select_at_kernel,
               SelectAt{.dtype = DType::float32,
                        .x = x.data(),
                        .y = y.data(),
                        .index = index.data(),
                        .rows = kRows,
                        .size = size,
                        .position = position,
                        .nan_wins = nan_wins});
        for (std::int64_t row = 0; row < kRows; ++row) {
          const float* values = x.data() + row * size;
          std::int64_t expected =
              stable_order(values, size, false)[static_cast<std::size_t>(position)];
          if (nan_wins && row > 0)
            for (expected = 0; !std::isnan(values[expected]);) ++expected;
          EXPECT_EQ(index[row], expected);
        }
      }
  });
}

TEST(SelectAt, TakesThePositionOrTheFirstNaN) {
  check_select_at(1013);
  check_select_at(3001);
}

}  // namespace
}  // namespace tilegrad
