// Sorting of packed (key, position) entries, binary search, and grouping.
#include "sort.h"

#include "../host_memory.h"
#include "../order.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// One row: y and index in sorted order.
template <class T, class Entry>
static void sort_row(const T* x, std::int64_t size, bool descending, T* y, std::int64_t* index) {
  auto* entries =
      static_cast<Entry*>(thread_scratch(2 * static_cast<std::size_t>(size) * sizeof(Entry)));
  make_entries(x, size, descending, entries);
  const Entry* sorted = sort_entries(entries, entries + size, size);
  for (std::int64_t i = 0; i < size; ++i) {
    index[i] = position_of(sorted[i]);
    y[i] = x[index[i]];
  }
}

void sort(const Sort& args) {
  const std::int64_t size = args.size;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / 16 / std::max<std::int64_t>(size, 1));
  visit(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    parallel_for(args.rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* x = static_cast<const T*>(args.x) + row * size;
        T* y = static_cast<T*>(args.y) + row * size;
        std::int64_t* index = args.index + row * size;
        with_entry<T>(size, [&](auto entry) {
          sort_row<T, decltype(entry)>(x, size, args.descending, y, index);
        });
      }
    });
  });
}

// NaN is the largest value and equal to itself.
template <class T>
static bool less(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return (a < b) | ((b != b) & (a == a));
  else return a < b;
}

// Binary search by halving a span, without branches that depend on the values.
template <class T>
static std::int64_t find_place(const T* sorted, std::int64_t size, T value, bool right) {
  const T* first = sorted;
  const auto above = [=](T boundary) {
    return right ? !less(value, boundary) : less(boundary, value);
  };
  while (size > 1) {
    const std::int64_t half = size / 2;
    first += half & -static_cast<std::int64_t>(above(first[half - 1]));
    size -= half;
  }
  return first - sorted + (size == 1 && above(*first));
}

void search_sorted(const SearchSorted& args) {
  visit(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const T *boundaries = static_cast<const T*>(args.boundaries),
            *value = static_cast<const T*>(args.value);
    parallel_for(args.rows * args.count, kGrain / 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = args.shared ? 0 : i / args.count;
        args.place[i] = find_place(boundaries + row * args.size, args.size, value[i], args.right);
      }
    });
  });
}

void unique(const Unique& args) {
  visit(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    std::int64_t groups = 0;
    for (std::int64_t i = 0; i < args.size; ++i) {
      if (i == 0 || x[i] != x[i - 1]) {  // every NaN is a group of its own
        y[groups] = x[i];
        args.counts[groups++] = 0;
      }
      ++args.counts[groups - 1];
      args.group[args.index[i]] = groups - 1;
    }
    *args.groups = groups;
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
