// Order by unsigned keys: sorting and selecting (key, position) pairs packed into one integer.
// Included once per instruction set.
//
// With the position in the lower half no two entries are equal, so every algorithm on them is
// stable, and none needs to know the dtype. The standard library's algorithms would allocate, and
// leave weak symbols that instruction sets share.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "order_key.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

__extension__ typedef unsigned __int128 uint128;

// The entries of rows whose keys and positions fit into 32 bits, and of the others.
using NarrowEntry = std::uint64_t;
using WideEntry = uint128;

// Calls function(Entry{}) with the entry type for rows of `size` values of type T.
template <class T, class Function>
static inline void with_entry(std::int64_t size, const Function& function) {
  if constexpr (sizeof(T) <= 4)
    if (size <= std::numeric_limits<std::uint32_t>::max()) return function(NarrowEntry{});
  function(WideEntry{});
}

template <class Entry>
using HalfOf = std::conditional_t<sizeof(Entry) == 8, std::uint32_t, std::uint64_t>;
template <class Entry>
inline constexpr int kHalfBits = 4 * static_cast<int>(sizeof(Entry));

// entries[i] = (key of x[i], i), with keys reversed for descending order.
template <class T, class Entry>
static void make_entries(const T* x, std::int64_t count, bool descending, Entry* entries) {
  using Half = HalfOf<Entry>;
  const decltype(key_of(T{})) flip = descending ? ~decltype(key_of(T{})){0} : 0;
  for (std::int64_t i = 0; i < count; ++i)
    entries[i] = static_cast<Entry>(static_cast<Half>(key_of(x[i]) ^ flip)) << kHalfBits<Entry> |
                 static_cast<Half>(i);
}

template <class Entry>
static inline std::int64_t position_of(Entry entry) {
  return static_cast<std::int64_t>(static_cast<HalfOf<Entry>>(entry));
}

template <class Entry>
static inline void order_pair(Entry& first, Entry& second) {
  const Entry low = second < first ? second : first, high = second < first ? first : second;
  first = low;
  second = high;
}

// Merges two sorted neighbours into `to`, without branches that depend on the values.
template <class Entry>
static void merge_entries(const Entry* left, const Entry* left_end, const Entry* right,
                          const Entry* right_end, Entry* to) {
  while (left < left_end && right < right_end) {
    const bool take_right = *right < *left;
    *to++ = take_right ? *right : *left;
    right += take_right;
    left += !take_right;
  }
  while (left < left_end) *to++ = *left++;
  while (right < right_end) *to++ = *right++;
}

// Bottom-up merges of runs of four, which a network of five exchanges sorts.
template <class Entry>
static Entry* merge_sort_entries(Entry* entries, Entry* spare, std::int64_t count) {
  std::int64_t start = 0;
  for (; start + 4 <= count; start += 4) {
    Entry* e = entries + start;
    order_pair(e[0], e[1]);
    order_pair(e[2], e[3]);
    order_pair(e[0], e[2]);
    order_pair(e[1], e[3]);
    order_pair(e[1], e[2]);
  }
  for (std::int64_t i = start + 1; i < count; ++i)
    for (std::int64_t j = i; j > start; --j) order_pair(entries[j - 1], entries[j]);
  for (std::int64_t width = 4; width < count; width *= 2) {
    for (start = 0; start < count; start += 2 * width) {
      const std::int64_t middle = std::min(start + width, count);
      const std::int64_t end = std::min(start + 2 * width, count);
      merge_entries(entries + start, entries + middle, entries + middle, entries + end,
                    spare + start);
    }
    std::swap(entries, spare);
  }
  return entries;
}

// Distributes by 11 bits of the key at a time, from the lowest; digits that all entries share cost
// nothing. Stable, so the positions need no pass of their own.
template <class Entry>
static Entry* radix_sort_entries(Entry* entries, Entry* spare, std::int64_t count) {
  using Half = HalfOf<Entry>;
  constexpr int kDigit = 11, kValues = 1 << kDigit;
  constexpr int kPasses = (kHalfBits<Entry> + kDigit - 1) / kDigit;
  const auto digit_of = [](Entry entry, int pass) {
    return static_cast<Half>(entry >> kHalfBits<Entry>) >> (pass * kDigit) & (kValues - 1);
  };
  Half counts[kPasses][kValues] = {};
  for (std::int64_t i = 0; i < count; ++i)
    for (int pass = 0; pass < kPasses; ++pass) ++counts[pass][digit_of(entries[i], pass)];
  for (int pass = 0; pass < kPasses; ++pass) {
    Half* places = counts[pass];
    if (places[digit_of(entries[0], pass)] == static_cast<Half>(count)) continue;
    Half place = 0;
    for (int value = 0; value < kValues; ++value) {
      const Half here = places[value];
      places[value] = place;
      place += here;
    }
    for (std::int64_t i = 0; i < count; ++i)
      spare[places[digit_of(entries[i], pass)]++] = entries[i];
    std::swap(entries, spare);
  }
  return entries;
}

// Sorts `entries` with the help of `spare`, both of `count` entries in ascending positions; returns
// which of the two holds the result.
template <class Entry>
static Entry* sort_entries(Entry* entries, Entry* spare, std::int64_t count) {
  constexpr std::int64_t kRadixPays = sizeof(Entry) == 8 ? 512 : 2048;
  return count < kRadixPays ? merge_sort_entries(entries, spare, count)
                            : radix_sort_entries(entries, spare, count);
}

template <class Entry>
static Entry middle_of(Entry a, Entry b, Entry c) {
  order_pair(a, b);
  order_pair(b, c);
  return a < b ? b : a;
}

// Reorders `entries` so that the `wanted` smallest come first, and the next one at entries[wanted].
// Quickselect with partitions free of branches (Lomuto's); should its pivots be unlucky, the rest
// is sorted.
template <class Entry>
static void select_entries(Entry* entries, Entry* spare, std::int64_t count, std::int64_t wanted) {
  for (int rounds = 2 * std::bit_width(static_cast<std::uint64_t>(count)); count > 1; --rounds) {
    if (count <= 16 || rounds == 0) {
      const Entry* sorted = merge_sort_entries(entries, spare, count);
      if (sorted != entries) std::copy_n(sorted, count, entries);
      return;
    }
    const Entry pivot = middle_of(entries[count / 4], entries[count / 2], entries[3 * count / 4]);
    std::int64_t below = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Entry entry = entries[i];
      entries[i] = entries[below];
      entries[below] = entry;
      below += entry < pivot;
    }
    // The pivot is a median of three: at least one entry lies below it, one does not.
    if (wanted < below) {
      count = below;
    } else {
      entries += below;
      count -= below;
      wanted -= below;
    }
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
