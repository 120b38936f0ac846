// Sorting by bottom-up merges of (value, position) pairs, binary search, and grouping.
//
// The merge sort is our own because std::stable_sort allocates, and because its instantiations
// would be weak symbols shared between instruction sets.
#include "sort.h"

#include <algorithm>

#include "../host_memory.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct Entry {
  T value;
  std::int64_t position;
};

// NaN is the largest value and equal to itself.
template <class T>
static bool less(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a < b || (b != b && a == a);
  else return a < b;
}

static constexpr std::int64_t kRun = 16;  // sorted by insertion before merging starts

template <class T, class Before>
static void insertion_sort(Entry<T>* entries, std::int64_t count, const Before& before) {
  for (std::int64_t i = 1; i < count; ++i) {
    const Entry<T> moving = entries[i];
    std::int64_t at = i;
    for (; at > 0 && before(moving.value, entries[at - 1].value); --at)
      entries[at] = entries[at - 1];
    entries[at] = moving;
  }
}

// Merges two sorted neighbours into `to`; equal values keep their order.
template <class T, class Before>
static void merge(const Entry<T>* left, std::int64_t left_count, const Entry<T>* right,
                  std::int64_t right_count, Entry<T>* to, const Before& before) {
  const Entry<T>*left_end = left + left_count, *right_end = right + right_count;
  while (left < left_end && right < right_end)
    *to++ = before(right->value, left->value) ? *right++ : *left++;
  while (left < left_end) *to++ = *left++;
  while (right < right_end) *to++ = *right++;
}

// Sorts `entries` with the help of `spare`, both of `count` entries; returns which of the two holds
// the result.
template <class T, class Before>
static Entry<T>* merge_sort(Entry<T>* entries, Entry<T>* spare, std::int64_t count,
                            const Before& before) {
  for (std::int64_t start = 0; start < count; start += kRun)
    insertion_sort(entries + start, std::min(kRun, count - start), before);
  for (std::int64_t width = kRun; width < count; width *= 2) {
    for (std::int64_t start = 0; start < count; start += 2 * width) {
      const std::int64_t left = std::min(width, count - start);
      const std::int64_t right = std::min(width, count - start - left);
      merge(entries + start, left, entries + start + left, right, spare + start, before);
    }
    std::swap(entries, spare);
  }
  return entries;
}

template <class T, class Before>
static void sort_rows(const Sort& args, const Before& before) {
  const std::int64_t size = args.size;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / 16 / std::max<std::int64_t>(size, 1));
  parallel_for(args.rows, grain, [&](std::int64_t begin, std::int64_t end) {
    auto* entries = static_cast<Entry<T>*>(
        thread_scratch(2 * static_cast<std::size_t>(size) * sizeof(Entry<T>)));
    for (std::int64_t row = begin; row < end; ++row) {
      const T* x = static_cast<const T*>(args.x) + row * size;
      for (std::int64_t i = 0; i < size; ++i) entries[i] = {x[i], i};
      const Entry<T>* sorted = merge_sort(entries, entries + size, size, before);
      T* y = static_cast<T*>(args.y) + row * size;
      for (std::int64_t i = 0; i < size; ++i) {
        y[i] = sorted[i].value;
        args.index[row * size + i] = sorted[i].position;
      }
    }
  });
}

void sort(const Sort& args) {
  visit(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.descending) sort_rows<T>(args, [](T a, T b) { return less(b, a); });
    else sort_rows<T>(args, [](T a, T b) { return less(a, b); });
  });
}

template <class T>
static std::int64_t find_place(const T* sorted, std::int64_t size, T value, bool right) {
  std::int64_t low = 0, high = size;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    const bool above = right ? !less(value, sorted[middle]) : less(sorted[middle], value);
    if (above) low = middle + 1;
    else high = middle;
  }
  return low;
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
