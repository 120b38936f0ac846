// index: offsets, reads through them and nonzero, on every instruction set.
#include "ops/index.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

TEST(IndexOffsets, AddUpAndWrapNegativeIndices) {
  constexpr std::int64_t count = 70001;  // several chunks
  Array<std::int64_t> rows(count), columns(count), offsets(count);
  for (std::int64_t i = 0; i < count; ++i) {
    rows[i] = i % 14 - 7;
    columns[i] = i % 5;
  }
  for_each_isa([&](Isa isa) {
    for_each_thread_count([&] {
      std::atomic<bool> out_of_range{false};
      IndexOffsets args{.offsets = offsets.data(),
                        .size = count,
                        .count = 2,
                        .index = {rows.data(), columns.data()},
                        .sizes = {7, 5},
                        .strides = {40, 8},
                        .wrap = true,
                        .out_of_range = &out_of_range};
      run_on(isa, index_offsets_kernel, args);
      EXPECT_FALSE(out_of_range);
      for (std::int64_t i = 0; i < count; ++i)
        ASSERT_EQ(offsets[i], (rows[i] + 7) % 7 * 40 + columns[i] * 8) << i;
      args.wrap = false;
      run_on(isa, index_offsets_kernel, args);
      EXPECT_TRUE(out_of_range) << "negative indices without wrap";
    });
  });
}

TEST(IndexOffsets, ReportsASingleBadIndex) {
  for_each_isa([&](Isa isa) {
    for (std::int64_t bad : {std::int64_t{3}, std::int64_t{-4}, INT64_MAX, INT64_MIN}) {
      Array<std::int64_t> index(50000), offsets(50000);
      index[49999] = bad;
      std::atomic<bool> out_of_range{false};
      run_on(isa, index_offsets_kernel,
             IndexOffsets{.offsets = offsets.data(),
                          .size = 50000,
                          .count = 1,
                          .index = {index.data()},
                          .sizes = {3},
                          .strides = {8},
                          .wrap = true,
                          .out_of_range = &out_of_range});
      EXPECT_TRUE(out_of_range) << bad;
    }
  });
}

template <class T>
void test_get(std::int64_t columns) {
  constexpr std::int64_t rows = 37, picked = 53;
  const Array<T> x = Array<T>::random(rows * columns, 1);
  Array<T> y(picked * columns);
  Array<std::int64_t> offsets(picked);
  for (std::int64_t i = 0; i < picked; ++i)
    offsets[i] = i * 7 % rows * columns * static_cast<std::int64_t>(sizeof(T));
  T* source = const_cast<T*>(x.values.get());
  for_each_isa([&](Isa isa) {
    for (bool transposed : {false, true}) {  // rows in one piece, or an offset per element
      const auto loop =
          transposed
              ? loop_over({columns, picked}, Strided<T>{y.data(), {1, columns}},
                          Strided<T>{source, {1, 0}}, Strided<std::int64_t>{offsets.data(), {0, 1}})
              : loop_over({picked, columns}, Strided<T>{y.data(), {columns, 1}},
                          Strided<T>{source, {0, 1}},
                          Strided<std::int64_t>{offsets.data(), {1, 0}});
      run_on(isa, index_get_kernel, IndexGet{.element_size = sizeof(T), .loop = loop});
      for (std::int64_t i = 0; i < picked; ++i)
        for (std::int64_t j = 0; j < columns; ++j)
          ASSERT_EQ(y[i * columns + j], x[i * 7 % rows * columns + j]);
    }
  });
}

TEST(IndexGet, EveryElementSize) {
  for (std::int64_t columns : {11, 75}) {  // rows shorter and longer than a register
    test_get<std::uint8_t>(columns);
    test_get<std::int16_t>(columns);
    test_get<float>(columns);
    test_get<double>(columns);
  }
}

TEST(Nonzero, PositionsInRowMajorOrder) {
  constexpr std::int64_t shape[] = {3, 5, 7};
  const Array<bool> x = Array<bool>::random(3 * 5 * 7, 4);
  for_each_isa([&](Isa isa) {
    std::int64_t count = 0;
    run_on(isa, count_nonzero_elements_kernel,
           CountNonzero{.x = x.values.get(), .size = x.size, .count = &count});
    Array<std::int64_t> coordinates(3 * count);
    run_on(isa, nonzero_kernel,
           Nonzero{.x = x.values.get(),
                   .ndim = 3,
                   .shape = {shape[0], shape[1], shape[2]},
                   .count = count,
                   .coordinates = coordinates.data()});
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < x.size; ++i) {
      if (!x[i]) continue;
      EXPECT_EQ(coordinates[found], i / 35);
      EXPECT_EQ(coordinates[count + found], i / 7 % 5);
      EXPECT_EQ(coordinates[2 * count + found], i % 7);
      ++found;
    }
    EXPECT_EQ(found, count);
  });
}

TEST(Nonzero, ManyElements) {
  constexpr std::int64_t rows = 300, columns = 101;
  Array<bool> x = Array<bool>::random(rows * columns, 5);
  Array<std::int64_t> coordinates(2 * rows * columns);
  for_each_isa([&](Isa isa) {
    std::int64_t count = 0, found = 0;
    run_on(isa, count_nonzero_elements_kernel,
           CountNonzero{.x = x.data(), .size = x.size, .count = &count});
    run_on(isa, nonzero_kernel,
           Nonzero{.x = x.data(),
                   .ndim = 2,
                   .shape = {rows, columns},
                   .count = count,
                   .coordinates = coordinates.data()});
    for (std::int64_t i = 0; i < x.size; ++i) {
      if (!x[i]) continue;
      ASSERT_EQ(coordinates[found], i / columns);
      ASSERT_EQ(coordinates[count + found], i % columns);
      ++found;
    }
    EXPECT_EQ(found, count);
  });
}

// The offsets are the indices themselves, checked while they are used.
TEST(IndexGet, RaisesTheFlagOfABadIndex) {
  constexpr std::int64_t count = 3000;
  Array<float> x = Array<float>::random(10, 1), y(count);
  Array<std::int64_t> index(count);
  for (std::int64_t i = 0; i < count; ++i) index[i] = i % 10;
  for_each_isa([&](Isa isa) {
    for (std::int64_t bad : {std::int64_t{0}, std::int64_t{10}, std::int64_t{-1}}) {
      index[count - 2] = bad;
      std::atomic<bool> out_of_range{false};
      run_on(isa, index_get_kernel,
             IndexGet{.element_size = 4,
                      .scale = 4,
                      .size = 10,
                      .out_of_range = &out_of_range,
                      .loop = loop_over({count}, Strided<float>{y.data(), {1}},
                                        Strided<float>{x.data(), {0}},
                                        Strided<std::int64_t>{index.data(), {1}})});
      EXPECT_EQ(out_of_range, bad != 0) << bad;
      for (std::int64_t i = 0; bad == 0 && i < count; ++i) ASSERT_EQ(y[i], x[index[i]]);
    }
  });
}

}  // namespace
}  // namespace tilegrad
