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
}

TEST(SearchSorted, CountsBoundariesBelow) {
  double boundaries[] = {0, 1, 1, 2.5};
  double value[] = {-1, 0, 1, 2, 3, NAN};
  const std::int64_t left[] = {0, 0, 1, 3, 4, 4}, right[] = {0, 1, 3, 3, 4, 4};
  Array<std::int64_t> place(6);
  for_each_isa([&](Isa isa) {
    for (bool from_right : {false, true}) {
      run_on(isa, search_sorted_kernel,
             SearchSorted{.dtype = DType::float64,
                          .boundaries = boundaries,
                          .value = value,
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
  std::int32_t x[] = {-1, -1, 2, 5, 5, 5};
  const std::int64_t index[] = {4, 5, 0, 1, 2, 3};
  Array<std::int32_t> y(6);
  Array<std::int64_t> group(6), counts(6);
  for_each_isa([&](Isa isa) {
    std::int64_t groups = 0;
    run_on(isa, unique_kernel,
           Unique{.dtype = DType::int32,
                  .x = x,
                  .index = index,
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

}  // namespace
}  // namespace tilegrad
