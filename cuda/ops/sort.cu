// Sorting of rows (order.cuh), places in sorted rows, and groups of equal neighbours.
//
// A place takes a binary search by one thread. Groups are numbered by a scan over the beginnings of
// groups (scan.cuh), whose store writes what is known of each: some 40 bytes an element and a few
// integer operations. Up to 64 registers, 4 blocks of 256 threads on a multiprocessor.
#include "ops/sort.h"

#include "flag.cuh"
#include "order.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct SortedRows {
  using Key = decltype(key_of(T{}));
  const T* x;
  T* y;
  std::int64_t* index;
  std::int64_t size;
  Key flip;
  __device__ Key key(std::int64_t row, std::int64_t i) const {
    return key_of(x[row * size + i]) ^ flip;
  }
  __device__ void put(std::int64_t row, std::int64_t rank, Key, std::int64_t i) const {
    y[row * size + rank] = x[row * size + i];
    index[row * size + rank] = i;
  }
};

template <class T>
struct FindPlace {
  SearchSorted args;
  // NaN is the largest value and equal to itself.
  __device__ static bool less(T a, T b) { return a < b || (b != b && a == a); }
  __device__ void operator()(std::int64_t i) const {
    const T* boundaries = static_cast<const T*>(args.boundaries);
    if (!args.shared) boundaries += divide(i, args.count).quotient * args.size;
    const T value = static_cast<const T*>(args.value)[i];
    std::int64_t first = 0, count = args.size;
    while (count > 0) {
      const std::int64_t half = count / 2;
      const T boundary = boundaries[first + half];
      if (args.right ? !less(value, boundary) : less(boundary, value)) {
        first += half + 1;
        count -= half + 1;
      } else {
        count = half;
      }
    }
    args.place[i] = first;
  }
};

// The state is the number of groups that have begun.
template <class T>
struct NumberGroups {
  using State = std::int64_t;
  Unique args;
  std::int64_t* starts;  // (size + 1): of each group, and behind the last
  std::int64_t* total;
  __device__ State identity() const { return 0; }
  __device__ State lift(std::int64_t at, std::int64_t) const {
    const T* x = static_cast<const T*>(args.x);
    return at == 0 || x[at] != x[at - 1];  // every NaN is a group of its own
  }
  __device__ State operator()(State a, State b) const { return a + b; }
  __device__ void store(std::int64_t at, State before, State with) const {
    args.group[args.index[at]] = with - 1;
    if (with != before) {
      static_cast<T*>(args.y)[before] = static_cast<const T*>(args.x)[at];
      starts[before] = at;
    }
    if (at != args.size - 1) return;
    starts[with] = args.size;
    *total = with;
  }
};

struct CountGroup {
  std::int64_t* counts;
  const std::int64_t* starts;
  __device__ void operator()(std::int64_t group) const {
    counts[group] = starts[group + 1] - starts[group];
  }
};

}  // namespace

void sort(const Sort& args) {
  visit(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using Key = typename SortedRows<T>::Key;
    const Key flip = args.descending ? static_cast<Key>(~Key{0}) : Key{0};
    const bool one_byte = std::is_same_v<T, bool> || std::is_same_v<T, std::uint8_t>;
    sort_rows(SortedRows<T>{static_cast<const T*>(args.x), static_cast<T*>(args.y), args.index,
                            args.size, flip},
              args.rows, args.size, one_byte ? 8 : 8 * static_cast<int>(sizeof(Key)));
  });
}

void search_sorted(const SearchSorted& args) {
  visit(args.dtype, [&](auto type) {
    for_each_index(args.rows * args.count, FindPlace<typename decltype(type)::type>{args});
  });
}

void unique(const Unique& args) {
  const Scratch memory(static_cast<std::size_t>(args.size + 2) * sizeof(std::int64_t));
  auto* const starts = static_cast<std::int64_t*>(memory.data);
  std::int64_t* const total = starts + args.size + 1;
  visit(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    scan_lines(NumberGroups<T>{args, starts, total}, {1, args.size, 1});
  });
  read_back(args.groups, total, sizeof(std::int64_t));
  for_each_index(*args.groups, CountGroup{args.counts, starts});
}

}  // namespace tilegrad::cuda
