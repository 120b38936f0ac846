// sort: order, stability, binary search and grouping on every instruction set.
#include "ops/sort.h"

#include <algorithm>
#include <numeric>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
bool less(T a, T b) {
  return a < b || (b != b && a == a);
}

template <class T>
void test_sort(std::int64_t rows, std::int64_t size) {
  Array<T> x = Array<T>::random(rows * size, 1);
  for (std::int64_t i = 0; i < rows * size; ++i) {  // few values: many ties
    if constexpr (std::is_floating_point_v<T>) x[i] = i % 17 == 3 ? T(NAN) : std::round(x[i] * 4);
    else x[i] = static_cast<T>(x[i] & 7);
  }
  Array<T> y(rows * size);
  Array<std::int64_t> index(rows * size);
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  for_each_isa([&](Isa isa) {
    for (bool descending : {false, true}) {
      run_on(isa, sort_kernel,
             Sort{.dtype = DTypeOf<T>::value,
                  .x = x.data(),
                  .y = y.data(),
                  .index = index.data(),
                  .rows = rows,
                  .size = size,
                  .descending = descending});
      for (std::int64_t row = 0; row < rows; ++row) {
        const T* values = x.data() + row * size;
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
          return descending ? less(values[b], values[a]) : less(values[a], values[b]);
        });
        for (std::int64_t i = 0; i < size; ++i) {
          ASSERT_EQ(index[row * size + i], order[static_cast<std::size_t>(i)]) << size;
          const T actual = y[row * size + i], expected = values[order[static_cast<std::size_t>(i)]];
          ASSERT_TRUE(actual == expected || (actual != actual && expected != expected));
        }
      }
    }
  });
}

TEST(Sort, StableInBothDirections) {
  for (std::int64_t size : {1, 2, 15, 16, 17, 32, 33, 100, 1000}) {
    test_sort<float>(3, size);
    test_sort<std::int64_t>(2, size);
    test_sort<std::uint8_t>(1, size);
  }
  test_sort<double>(500, 64);
  test_sort<float>(2, 5001);  // longer than what a block of CUDA's threads sorts
  test_sort<double>(1, 4097);
  test_sort<std::int16_t>(1, 2049);
  test_sort<std::uint8_t>(2, 3000);
}

TEST(SearchSorted, CountsBoundariesBelow) {
  const double some_boundaries[] = {0, 1, 1, 2.5}, some_values[] = {-1, 0, 1, 2, 3, NAN};
  Array<double> boundaries(4), value(6);
  std::copy_n(some_boundaries, 4, boundaries.data());
  std::copy_n(some_values, 6, value.data());
  const std::int64_t left[] = {0, 0, 1, 3, 4, 4}, right[] = {0, 1, 3, 3, 4, 4};
  Array<std::int64_t> place(6);
  for_each_isa([&](Isa isa) {
    for (bool from_right : {false, true}) {
      run_on(isa, search_sorted_kernel,
             SearchSorted{.dtype = DType::float64,
                          .boundaries = boundaries.data(),
                          .value = value.data(),
                          .place = place.data(),
                          .rows = 1,
                          .size = 4,
                          .count = 6,
                          .shared = true,
                          .right = from_right});
      for (int i = 0; i < 6; ++i) EXPECT_EQ(place[i], from_right ? right[i] : left[i]) << value[i];
    }
  });
}

TEST(Unique, GroupsEqualNeighbours) {
  const std::int32_t values[] = {-1, -1, 2, 5, 5, 5};
  const std::int64_t places[] = {4, 5, 0, 1, 2, 3};
  Array<std::int32_t> x(6), y(6);
  Array<std::int64_t> index(6), group(6), counts(6);
  std::copy_n(values, 6, x.data());
  std::copy_n(places, 6, index.data());
  for_each_isa([&](Isa isa) {
    std::int64_t groups = 0;
    run_on(isa, unique_kernel,
           Unique{.dtype = DType::int32,
                  .x = x.data(),
                  .index = index.data(),
                  .size = 6,
                  .y = y.data(),
                  .group = group.data(),
                  .counts = counts.data(),
                  .groups = &groups});
    ASSERT_EQ(groups, 3);
    const std::int64_t expected_groups[] = {1, 2, 2, 2, 0, 0}, expected_counts[] = {2, 1, 3};
    for (int i = 0; i < 6; ++i) EXPECT_EQ(group[i], expected_groups[i]);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(counts[i], expected_counts[i]);
    EXPECT_EQ(y[0], -1);
    EXPECT_EQ(y[2], 5);
  });
}

TEST(Unique, GroupsManyElements) {
  constexpr std::int64_t kSize = 20000;
  Array<float> x(kSize), y(kSize);
  Array<std::int64_t> index(kSize), group(kSize), counts(kSize);
  for (std::int64_t i = 0; i < kSize; ++i) {
    x[i] = i >= kSize - 3 ? NAN : static_cast<float>(i / 7);  // every NaN is a group of its own
    index[i] = kSize - 1 - i;
  }
  for_each_isa([&](Isa isa) {
    std::int64_t groups = 0;
    run_on(isa, unique_kernel,
           Unique{.dtype = DType::float32,
                  .x = x.data(),
                  .index = index.data(),
                  .size = kSize,
                  .y = y.data(),
                  .group = group.data(),
                  .counts = counts.data(),
                  .groups = &groups});
    const std::int64_t numbers = (kSize - 3 + 6) / 7;
    ASSERT_EQ(groups, numbers + 3);
    for (std::int64_t i = 0; i < kSize; ++i)
      ASSERT_EQ(group[kSize - 1 - i], i >= kSize - 3 ? numbers + i - kSize + 3 : i / 7);
    for (std::int64_t g = 0; g < groups; ++g) {
      ASSERT_EQ(counts[g], g >= numbers ? 1 : std::min<std::int64_t>(7, kSize - 3 - 7 * g));
      ASSERT_TRUE(g >= numbers ? std::isnan(y[g]) : y[g] == static_cast<float>(g));
    }
  });
}

}  // namespace
}  // namespace tilegrad
