// Extremes with their positions. A row is searched in leaves of fixed size: first the value, by a
// loop that the compiler vectorizes, then its first position; columns are searched side by side.
#include "arg_reduce.h"

#include <algorithm>

#include "../host_memory.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kLeaf = 4096;
static constexpr std::int64_t kLanes = 32;
static constexpr std::int64_t kColumns = 64;

template <class T>
struct Found {
  T value;
  std::int64_t index;
};

// True if x must replace the best so far.
template <bool largest, class T>
static bool better(T x, T best) {
  if constexpr (std::is_floating_point_v<T>)
    return (largest ? x > best : x < best) | ((x != x) & (best == best));  // without branches
  else return largest ? x > best : x < best;
}

template <class T>
static bool same(T a, T b) {
  return a == b || (a != a && b != b);
}

// A few elements, one after the other: value and position together.
template <bool largest, class T>
static Found<T> search_few(const T* x, std::int64_t begin, std::int64_t end) {
  Found<T> found{x[begin], begin};
  for (std::int64_t i = begin + 1; i < end; ++i) {
    const bool replace = better<largest>(x[i], found.value);
    found.value = replace ? x[i] : found.value;
    found.index = replace ? i : found.index;
  }
  return found;
}

template <bool largest, class T>
static Found<T> search_leaf(const T* x, std::int64_t begin, std::int64_t end) {
  if (end - begin < 2 * kLanes) return search_few<largest>(x, begin, end);
  T best = x[begin], lanes[kLanes];
  std::int64_t i = begin;
  std::copy_n(x + begin, kLanes, lanes);
  for (i += kLanes; i + kLanes <= end; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j)
      lanes[j] = better<largest>(x[i + j], lanes[j]) ? x[i + j] : lanes[j];
  for (T value : lanes) best = better<largest>(value, best) ? value : best;
  for (; i < end; ++i) best = better<largest>(x[i], best) ? x[i] : best;
  std::int64_t index = begin;
  while (!same(x[index], best)) ++index;
  return {best, index};
}

template <bool largest, class T>
static void search_rows(const ArgReduce& args) {
  const T* x = static_cast<const T*>(args.x);
  T* values = static_cast<T*>(args.values);
  const std::int64_t leaves = (args.reduced + kLeaf - 1) / kLeaf;
  auto* found = static_cast<Found<T>*>(
      thread_scratch(static_cast<std::size_t>(args.outer * leaves) * sizeof(Found<T>)));
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::min(args.reduced, kLeaf));
  parallel_for(args.outer * leaves, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t first = task % leaves * kLeaf;
      found[task] = search_leaf<largest>(x + task / leaves * args.reduced, first,
                                         std::min(first + kLeaf, args.reduced));
    }
  });
  for (std::int64_t o = 0; o < args.outer; ++o) {
    Found<T> best = found[o * leaves];
    for (std::int64_t l = 1; l < leaves; ++l)
      if (better<largest>(found[o * leaves + l].value, best.value)) best = found[o * leaves + l];
    values[o] = best.value;
    args.indices[o] = best.index;
  }
}

template <bool largest, class T>
static void search_columns(const ArgReduce& args) {
  const std::int64_t blocks = (args.inner + kColumns - 1) / kColumns;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / (args.reduced * std::min(args.inner, kColumns)));
  parallel_for(args.outer * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t outer = task / blocks, first = task % blocks * kColumns;
      const std::int64_t width = std::min(kColumns, args.inner - first);
      const T* x = static_cast<const T*>(args.x) + outer * args.reduced * args.inner + first;
      T best[kColumns];
      std::int64_t index[kColumns] = {};
      std::copy_n(x, width, best);
      for (std::int64_t i = 1; i < args.reduced; ++i) {
        x += args.inner;
        for (std::int64_t j = 0; j < width; ++j) {
          const bool replace = better<largest>(x[j], best[j]);
          best[j] = replace ? x[j] : best[j];
          index[j] = replace ? i : index[j];
        }
      }
      std::copy_n(best, width, static_cast<T*>(args.values) + outer * args.inner + first);
      std::copy_n(index, width, args.indices + outer * args.inner + first);
    }
  });
}

template <class T>
static void search(const ArgReduce& args) {
  if (args.inner == 1)
    return args.largest ? search_rows<true, T>(args) : search_rows<false, T>(args);
  args.largest ? search_columns<true, T>(args) : search_columns<false, T>(args);
}

void arg_reduce(const ArgReduce& args) {
  if (args.outer == 0 || args.inner == 0) return;
  if (args.dtype == DType::float32) return search<float>(args);
  if (args.dtype == DType::float64) return search<double>(args);
  search<std::int64_t>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
