// Maxima with their places over windows that differ in size or have more taps than a byte counts.
// Included once per instruction set.
//
// Like averages over such windows (csrc/pool_uneven.h): the maxima of rows come first, together
// with the row each lies in; as many lines as a register has lanes are transposed, and the maxima
// of columns follow. Of equal maxima the first one is found, so ties go by place.
#pragma once

#include <limits>

#include "pool_rows.h"
#include "pool_uneven.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The workspace of one task. Places are numbers of elements in their plane, as wide as T.
template <class T>
struct RangeMaxima {
  typedef typename MaxStrip<T>::Int Int;
  static constexpr std::int64_t lanes = kLanes<T>;

  RangeMaxima(const Pool& p, Cutter memory)
      : depth(Ranges::under(p.depth, memory)),
        height(Ranges::under(p.height, memory)),
        width(Ranges::under(p.width, memory)),
        in(whole_registers<T>(width.in)),
        out(whole_registers<T>(width.out)),
        lines(memory.take<T>(lanes * in)),
        columns(memory.take<T>(lanes * in)),
        maxima(memory.take<T>(lanes * out)),
        rows(memory.take<T>(lanes * out)),
        line_places(memory.take<T>(lanes * in)),
        column_places(memory.take<T>(lanes * in)),
        places(memory.take<T>(lanes * out)),
        row_places(memory.take<T>(lanes * out)) {
    for (T* array : {lines, line_places}) std::fill_n(array, lanes * in, T{0});
    for (T* array : {maxima, places}) std::fill_n(array, lanes * out, T{0});
  }
  static std::size_t bytes(const Pool& p) {
    std::size_t total = 0;
    for (const PoolAxis* axis : {&p.depth, &p.height, &p.width}) total += Ranges::bytes(*axis);
    const std::int64_t row = whole_registers<T>(p.width.in) + whole_registers<T>(p.width.out);
    return total + 4 * Cutter::bytes<T>(lanes * row) + 8 * 64;
  }

  const Ranges depth, height, width;
  const std::int64_t in, out;                                  // rows of whole registers
  T *const lines, *const columns, *const maxima, *const rows;  // as in RangeSums
  // The bits of integers, which only move here.
  T *const line_places, *const column_places, *const places, *const row_places;
};

// Whether these windows can be taken as ranges: none is empty or has gaps, and places fit an Int.
template <class T>
static bool has_ranges(const Pool& p) {
  for (const PoolAxis* axis : {&p.depth, &p.height, &p.width}) {
    if (axis->dilation != 1) return false;
    for (const std::int64_t o : {std::int64_t{0}, axis->out - 1})
      if (axis->first(o) >= axis->last(o)) return false;
  }
  return p.in_size() <= std::numeric_limits<typename RangeMaxima<T>::Int>::max();
}

template <class T>
TILEGRAD_INLINE VecInt<T> load_places(const T* address) {
  return std::bit_cast<VecInt<T>>(load(address));
}

// The maxima of the rows of plane x under row (oz, oy) of windows, column by column. `room`: how
// many elements of x may be read.
template <class T, bool kNan>
[[gnu::noinline]] static void maxima_of_rows(const RangeMaxima<T>& s, const T* x, std::int64_t room,
                                             std::int64_t oz, std::int64_t oy, T* line, T* places) {
  typedef typename RangeMaxima<T>::Int Int;
  const std::int64_t in = s.width.in, height = s.height.in;
  const std::int64_t first_row = s.depth.first[oz] * height + s.height.first[oy];
  const std::int64_t last_row = (s.depth.last[oz] - 1) * height + s.height.last[oy] - 1;
  for (std::int64_t c = 0; c < in; c += s.lanes) {
    const bool whole = last_row * in + c + s.lanes <= room;
    const auto element = [&](std::int64_t row) {
      return whole ? load(x + row * in + c) : Short<T>{in - c}(x + row * in + c);
    };
    Vec<T> best = element(first_row);
    VecInt<T> place = VecInt<T>{} + static_cast<Int>(first_row * in);
    for (std::int64_t z = s.depth.first[oz]; z < s.depth.last[oz]; ++z)
      for (std::int64_t y = s.height.first[oy]; y < s.height.last[oy]; ++y) {
        const std::int64_t row = z * height + y;
        choose_larger<T, MaxRule{true, kNan}>(
            element(row), VecInt<T>{} + static_cast<Int>(row * in), best, place);
      }
    store(line + c, best);
    place += lane_numbers<T>() + static_cast<Int>(c);
    store(places + c, std::bit_cast<Vec<T>>(place));
  }
}

// The first of equal maxima lies in the first row that has it; the last NaN wins.
template <class T, bool kNan>
TILEGRAD_INLINE void choose_by_place(Vec<T> value, VecInt<T> place, Vec<T>& best,
                                     VecInt<T>& best_place) {
  VecInt<T> wins = (value > best) | ((value == best) & (place < best_place));
  if constexpr (kNan) wins |= (value != value) & ((best == best) | (place > best_place));
  best = wins ? value : best;
  best_place = wins ? place : best_place;
}

template <class T, bool kNan>
[[gnu::noinline]] static void maxima_of_columns(const RangeMaxima<T>& s) {
  constexpr std::int64_t lanes = kLanes<T>;
  for (std::int64_t c = 0; c < s.in; c += lanes) {
    transpose_square(s.lines + c, s.in, s.columns + c * lanes, lanes);
    transpose_square(s.line_places + c, s.in, s.column_places + c * lanes, lanes);
  }
  for (std::int64_t o = 0; o < s.width.out; ++o) {
    std::int64_t c = s.width.first[o];
    Vec<T> best = load(s.columns + c * lanes);
    VecInt<T> place = load_places(s.column_places + c * lanes);
    for (++c; c < s.width.last[o]; ++c)
      choose_by_place<T, kNan>(load(s.columns + c * lanes),
                               load_places(s.column_places + c * lanes), best, place);
    store(s.maxima + o * lanes, best);
    store(s.places + o * lanes, std::bit_cast<Vec<T>>(place));
  }
  for (std::int64_t o = 0; o < s.out; o += lanes) {
    transpose_square(s.maxima + o * lanes, lanes, s.rows + o, s.out);
    transpose_square(s.places + o * lanes, lanes, s.row_places + o, s.out);
  }
}

// Indices of 64 bits from rows of places.
template <class T>
static void join_places(const RangeMaxima<T>& s, std::int64_t count, std::int64_t* indices) {
  for (std::int64_t k = 0; k < count; ++k, indices += s.width.out)
    for (std::int64_t o = 0; o < s.width.out; ++o)
      indices[o] = std::bit_cast<typename RangeMaxima<T>::Int>(s.row_places[k * s.out + o]);
}

template <class T, bool kNan>
static void max_ranges_of(const RangeMaxima<T>& s, const Pool& p, std::int64_t plane,
                          std::int64_t end) {
  const std::int64_t size = p.in_size(), width = s.width.out;
  std::int64_t rest = (end - plane) * s.depth.out * s.height.out, at = plane * p.out_size();
  RowCursor row{s.depth.out, s.height.out, plane};
  for (; rest > 0; rest -= s.lanes, at += s.lanes * width) {
    const std::int64_t count = std::min(s.lanes, rest);
    for (std::int64_t k = 0; k < count; ++k, row.next())
      maxima_of_rows<T, kNan>(s, static_cast<const T*>(p.x) + row.plane * size,
                              (p.planes - row.plane) * size, row.z, row.y, s.lines + k * s.in,
                              s.line_places + k * s.in);
    maxima_of_columns<T, kNan>(s);
    join_rows(s.rows, s.out, count, width, rest * width, static_cast<T*>(p.y) + at);
    join_places(s, count, p.indices + at);
  }
}

template <class T>
static void max_ranges(const Pool& p) {
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    const RangeMaxima<T> s(p, {static_cast<char*>(thread_scratch(RangeMaxima<T>::bytes(p)))});
    const bool nan =
        may_hold_nan(static_cast<const T*>(p.x) + begin * p.in_size(), (end - begin) * p.in_size());
    nan ? max_ranges_of<T, true>(s, p, begin, end) : max_ranges_of<T, false>(s, p, begin, end);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
