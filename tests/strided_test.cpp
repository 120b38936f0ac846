// walk_rows: every element of a strided loop exactly once, in rows that depend on the shape alone.
#include "strided.h"

#include <atomic>
#include <map>
#include <mutex>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

std::vector<std::int64_t> row_major(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0; step *= shape[d]) strides[d] = step;
  return strides;
}

TEST(Strided, EveryElementIsVisitedOnceWithItsPartners) {
  const std::vector<std::vector<std::int64_t>> shapes = {{},
                                                         {1},
                                                         {5},
                                                         {0},
                                                         {3, 0, 2},
                                                         {2 * kGrain + 17},
                                                         {3, 4},
                                                         {5, 1, 3},
                                                         {2, 3, 4, 5},
                                                         {kGrain + 3, 2},
                                                         {3, kGrain + 1},
                                                         {2, 2, 2, 2, 2, 2, 2, 2}};
  for (const auto& shape : shapes) {
    std::int64_t count = 1;
    for (std::int64_t size : shape) count *= size;
    Array<std::int32_t> written(count), source(count);
    for (std::int64_t i = 0; i < count; ++i) source[i] = static_cast<std::int32_t>(i + 1);
    const auto strides = row_major(shape);
    const auto loop = loop_over(shape, Strided<std::int32_t>{written.data(), strides},
                                Strided<std::int32_t>{source.data(), strides});
    for_each_thread_count([&] {
      written = Array<std::int32_t>(count);
      auto current = loop;
      current.data[0] = reinterpret_cast<char*>(written.data());
      const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1);
      walk_rows(current, [=](char** pointers, std::int64_t length) {
        for (std::int64_t i = 0; i < length; ++i)
          *reinterpret_cast<std::int32_t*>(pointers[0] + i * sy) +=
              *reinterpret_cast<std::int32_t*>(pointers[1] + i * sx);
      });
      EXPECT_TRUE(written == source);
    });
  }
}

TEST(Strided, BroadcastOperandsStayInPlace) {
  // y (3, 4) contiguous, column (3, 1), row (1, 4)
  Array<double> y(12), column(3), row(4);
  for (int i = 0; i < 3; ++i) column[i] = 10 * i;
  for (int j = 0; j < 4; ++j) row[j] = j;
  const auto loop =
      loop_over({3, 4}, Strided<double>{y.data(), {4, 1}}, Strided<double>{column.data(), {1, 0}},
                Strided<double>{row.data(), {0, 1}});
  walk_rows(loop, [&](char** pointers, std::int64_t length) {
    for (std::int64_t i = 0; i < length; ++i)
      *reinterpret_cast<double*>(pointers[0] + i * loop.inner_stride(0)) =
          *reinterpret_cast<double*>(pointers[1] + i * loop.inner_stride(1)) +
          *reinterpret_cast<double*>(pointers[2] + i * loop.inner_stride(2));
  });
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 4; ++j) EXPECT_EQ(y[4 * i + j], 10 * i + j);
}

TEST(Strided, RowsDoNotDependOnTheNumberOfThreads) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{5 * kGrain + 1}, {1000, 333}, {70, 40, 50}}) {
    std::int64_t count = 1;
    for (std::int64_t size : shape) count *= size;
    Array<char> data(count);
    const auto loop = loop_over(shape, Strided<char>{data.data(), row_major(shape)});
    std::map<char*, std::int64_t> first;
    for_each_thread_count([&] {
      std::mutex mutex;
      std::map<char*, std::int64_t> rows;
      walk_rows(loop, [&](char** pointers, std::int64_t length) {
        std::lock_guard<std::mutex> lock(mutex);
        rows[pointers[0]] = length;
      });
      if (first.empty()) first = rows;
      EXPECT_EQ(rows, first);
    });
  }
}

}  // namespace
}  // namespace tilegrad
