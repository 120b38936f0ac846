// Pooling of small planes: one plane in each lane of a register. Included once per instruction set.
//
// The rows of small planes do not fill registers, and windows that differ in size or lie more than
// two columns apart suit no register of columns. So as many planes as there are lanes are
// transposed: every element becomes a register, and windows of any kind are plain loops.
#pragma once

#include "pool_uneven_max.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kLanePlanesBytes = 256 * 1024;  // both planes stay in the L2 cache

// Whether these windows are worth it: the planes fill the lanes and fit the cache.
template <class T>
static bool fits_lanes(const Pool& p) {
  const std::int64_t bytes = (p.in_size() + p.out_size()) * kLanes<T> * 2 * sizeof(T);
  const bool rows_are_better = p.width.stride <= 2 && p.width.out >= 16;  // they fill registers
  return 2 * p.planes >= kLanes<T> && bytes <= kLanePlanesBytes && has_ranges<T>(p) &&
         (p.width.adaptive || !rows_are_better);
}

// task(first plane, how many, workspace), in parallel.
template <class T, class Task>
static void for_each_lanes(const Pool& p, std::size_t bytes, const Task& task) {
  constexpr std::int64_t lanes = kLanes<T>;
  const std::int64_t groups = (p.planes + lanes - 1) / lanes;
  const std::int64_t grain = kGrain / (lanes * (p.in_size() + p.out_size()));
  parallel_for(groups, std::max<std::int64_t>(1, grain), [&](std::int64_t begin, std::int64_t end) {
    task(Cutter{static_cast<char*>(thread_scratch(bytes))}, begin * lanes,
         std::min(end * lanes, p.planes));
  });
}

// The sums of ranges as registers: `result` from `source`, both of whole planes. First come the
// sums of rows, in the space for columns.
template <class T, bool kGrad>
[[gnu::noinline]] static void sum_lane_ranges(const RangeSums<T, kGrad>& s, T* source, T* result) {
  const Ranges &d = s.depth, &h = s.height, &w = s.width;
  T* const line = s.columns;
  constexpr std::int64_t lanes = kLanes<T>;
  if constexpr (kGrad)
    for (std::int64_t z = 0; z < d.in; ++z)
      for (std::int64_t y = 0; y < h.in; ++y)
        for (std::int64_t x = 0; x < w.in; ++x) {
          T* at = source + ((z * h.in + y) * w.in + x) * lanes;
          store<T>(at, load(at) * (s.depth_share[z] * s.height_share[y] * s.width_share[x]));
        }
  for (std::int64_t oz = 0; oz < d.out; ++oz)
    for (std::int64_t oy = 0; oy < h.out; ++oy) {
      for (std::int64_t x = 0; x < w.in; ++x) {
        Vec<T> sum{};
        for (std::int64_t z = d.first[oz]; z < d.last[oz]; ++z)
          for (std::int64_t y = h.first[oy]; y < h.last[oy]; ++y)
            sum += load(source + ((z * h.in + y) * w.in + x) * lanes);
        store(line + x * lanes, sum);
      }
      const T share = kGrad ? T{1} : s.depth_share[oz] * s.height_share[oy];
      for (std::int64_t ox = 0; ox < w.out; ++ox, result += lanes) {
        Vec<T> sum{};
        for (std::int64_t x = w.first[ox]; x < w.last[ox]; ++x) sum += load(line + x * lanes);
        store<T>(result, kGrad ? sum : sum * (share * s.width_share[ox]));
      }
    }
}

template <class T, bool kGrad>
static void avg_lanes(const Pool& p) {
  constexpr std::int64_t lanes = kLanes<T>;
  const std::int64_t in = kGrad ? p.out_size() : p.in_size();
  const std::int64_t out = kGrad ? p.in_size() : p.out_size();
  const std::size_t bytes = RangeSums<T, kGrad>::bytes(p) + Cutter::bytes<T>((in + out) * lanes);
  for_each_lanes<T>(p, bytes, [&](Cutter memory, std::int64_t plane, std::int64_t end) {
    T* source = memory.take<T>((in + out) * lanes);
    const RangeSums<T, kGrad> s(p, memory);
    const T* from = static_cast<const T*>(kGrad ? p.y : p.x);
    T* to = static_cast<T*>(kGrad ? p.x : p.y);
    for (; plane < end; plane += lanes) {
      const std::int64_t count = std::min(lanes, end - plane);
      transpose(from + plane * in, in, count, in, source, lanes);
      sum_lane_ranges(s, source, source + in * lanes);
      transpose(source + in * lanes, lanes, out, count, to + plane * out, out);
    }
  });
}

// How places are told: element (z, y, x) under window (oz, oy, ox) has the number z * slice + y *
// row + x, counted from where the window starts for taps, which `from_start` says.
struct PlaceNumbers {
  explicit PlaceNumbers(const Pool& p)
      : from_start(p.indices == nullptr),
        row(from_start ? p.width.kernel : p.width.in),
        slice(row * (from_start ? p.height.kernel : p.height.in)) {}
  std::int64_t start(const PoolAxis& axis, std::int64_t o) const {
    return from_start ? axis.start(o) : 0;
  }
  bool from_start;
  std::int64_t row, slice;
};

template <class T, MaxRule kRule>
[[gnu::noinline]] static void max_lane_ranges(const RangeMaxima<T>& s, const Pool& p,
                                              const T* source, T* maxima, T* places) {
  const Ranges &d = s.depth, &h = s.height, &w = s.width;
  constexpr std::int64_t lanes = kLanes<T>;
  const PlaceNumbers numbers(p);
  for (std::int64_t oz = 0; oz < d.out; ++oz)
    for (std::int64_t oy = 0; oy < h.out; ++oy)
      for (std::int64_t ox = 0; ox < w.out; ++ox, maxima += lanes, places += lanes) {
        const std::int64_t start = numbers.start(p.depth, oz) * numbers.slice +
                                   numbers.start(p.height, oy) * numbers.row +
                                   numbers.start(p.width, ox);
        Vec<T> best{};
        VecInt<T> place{};
        bool first = true;
        for (std::int64_t z = d.first[oz]; z < d.last[oz]; ++z)
          for (std::int64_t y = h.first[oy]; y < h.last[oy]; ++y) {
            const T* row = source + (z * h.in + y) * w.in * lanes;
            std::int64_t x = w.first[ox];
            VecInt<T> number = VecInt<T>{} + static_cast<typename RangeMaxima<T>::Int>(
                                                 z * numbers.slice + y * numbers.row + x - start);
            if (first) best = load(row + x * lanes), place = number, first = false;
            for (; x < w.last[ox]; ++x, number += 1)
              choose_larger<T, kRule>(load(row + x * lanes), number, best, place);
          }
        store(maxima, best);
        if constexpr (kRule.places) store(places, std::bit_cast<Vec<T>>(place));
      }
}

// Writes places, told as integers as wide as T, as taps or indices.
template <class T>
static void store_places(const T* places, std::int64_t count, const Pool& p, std::int64_t at) {
  typedef typename RangeMaxima<T>::Int Int;
  if (p.indices)
    for (std::int64_t i = 0; i < count; ++i) p.indices[at + i] = std::bit_cast<Int>(places[i]);
  else
    for (std::int64_t i = 0; i < count; ++i)
      p.taps[at + i] = static_cast<std::uint8_t>(std::bit_cast<Int>(places[i]));
}

template <class T>
static void max_lanes(const Pool& p) {
  constexpr std::int64_t lanes = kLanes<T>;
  const std::int64_t in = p.in_size(), out = p.out_size();
  const bool wants_places = p.indices || p.taps;
  const std::size_t bytes = RangeMaxima<T>::bytes(p) + Cutter::bytes<T>((in + 3 * out) * lanes);
  for_each_lanes<T>(p, bytes, [&](Cutter memory, std::int64_t plane, std::int64_t end) {
    T* source = memory.take<T>((in + 3 * out) * lanes);
    T *maxima = source + in * lanes, *places = maxima + out * lanes, *rows = places + out * lanes;
    const RangeMaxima<T> s(p, memory);
    const T* x = static_cast<const T*>(p.x);
    const bool nan = may_hold_nan(x + plane * in, (end - plane) * in);
    const auto find = wants_places ? nan ? max_lane_ranges<T, MaxRule{true, true}>
                                         : max_lane_ranges<T, MaxRule{true, false}>
                      : nan        ? max_lane_ranges<T, MaxRule{false, true}>
                                   : max_lane_ranges<T, MaxRule{false, false}>;
    for (; plane < end; plane += lanes) {
      const std::int64_t count = std::min(lanes, end - plane);
      transpose(x + plane * in, in, count, in, source, lanes);
      find(s, p, source, maxima, places);
      transpose(maxima, lanes, out, count, static_cast<T*>(p.y) + plane * out, out);
      if (!wants_places) continue;
      transpose(places, lanes, out, count, rows, out);
      store_places(rows, count * out, p, plane * out);
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
