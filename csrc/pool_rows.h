// Maxima over any windows of fixed shape, in whole registers. Included once per instruction set.
//
// The maximum is separable: each row of the input gives a row of maxima over columns, and those
// give the result. Windows that overlap share them, and the first of equal maxima is still the one
// found: it lies in the first row that has it. Before that a row is dealt out to `stride` lines,
// surrounded by padding, so that the elements which one tap meets in neighbouring windows lie side
// by side.
#pragma once

#include <limits>

#include "host_memory.h"
#include "ops/pool.h"
#include "pool_lines.h"
#include "pool_tasks.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
inline constexpr T kNothing = -std::numeric_limits<T>::infinity();

// NaN wins; of equal maxima the first one, of several NaN the last one, as in PyTorch. `places`:
// whether the numbers of taps are wanted; `nan`: whether there may be a NaN.
struct MaxRule {
  bool places, nan;
};

template <class T, MaxRule kRule>
TILEGRAD_INLINE void choose_larger(Vec<T> value, VecInt<T> number, Vec<T>& best, VecInt<T>& tap) {
  VecInt<T> wins = value > best;
  if constexpr (kRule.nan) wins |= value != value;
  best = wins ? value : best;
  if constexpr (kRule.places) tap = wins ? number : tap;
}

// Some rows of the maxima over columns, where each lies, and the number of its first tap.
struct WindowRows {
  std::int64_t offset[kMaxTaps];
  std::int64_t tap[kMaxTaps];
  std::int64_t count = 0;
};

// The workspace of one task, for the output rows of a strip.
template <class T>
struct MaxStrip : Lines<T> {
  typedef std::remove_reference_t<decltype(VecInt<T>{}[0])> Int;

  explicit MaxStrip(const Pool& p) : Lines<T>(p), padded(round_up(p.width.out)) {
    const std::int64_t row = 2 * padded * p.depth.kernel + this->size;  // elements
    outputs = this->strip(p.height, row);
    rows = (outputs - 1) * p.height.stride + p.height.span();
  }
  static std::int64_t round_up(std::int64_t count) {
    return (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  }
  std::size_t bytes() const {
    const std::int64_t elements =
        padded + rows * (2 * padded * this->p.depth.kernel + this->size) + 16;
    return static_cast<std::size_t>(elements) * sizeof(T);
  }
  void place(void* memory) {
    maxima = static_cast<T*>(memory);
    numbers = reinterpret_cast<Int*>(maxima + this->p.depth.kernel * rows * padded);
    first_taps = numbers + this->p.depth.kernel * rows * padded;
    dealt = reinterpret_cast<T*>(first_taps + padded);
    std::fill_n(dealt, rows * this->size, kNothing<T>);
    const PoolAxis& w = this->p.width;
    for (std::int64_t o = 0; o < padded; ++o)
      first_taps[o] = static_cast<Int>(w.first_tap(std::min(o, w.out - 1)));
  }

  std::int64_t padded, outputs, rows;  // a row of maxima; rows of y, of x
  T *maxima, *dealt;
  Int *numbers, *first_taps;
};

// kKernel 0: windows of any width. Fetches `ahead`, the rows of x that follow: they arrive while
// these are worked on.
template <class T, MaxRule kRule, int kKernel>
[[gnu::noinline]] static void max_of_columns(const MaxStrip<T>& strip, const T* ahead,
                                             std::int64_t rows, std::int64_t to) {
  typedef typename MaxStrip<T>::Int Int;
  const std::int64_t kernel = kKernel ? kKernel : strip.p.width.kernel, padded = strip.padded;
  std::int64_t offsets[kKernel ? kKernel : kMaxTaps];
  for (std::int64_t j = 0; j < kernel; ++j) offsets[j] = strip.offset(j);
  const T* line = strip.dealt;
  const Int* first_taps = strip.first_taps;
  T* maxima = strip.maxima + to;
  Int* numbers = strip.numbers + to;
  const std::int64_t in = strip.p.width.in, size = strip.size;
  constexpr int cache_line = 64 / sizeof(T);
  for (std::int64_t row = 0; row < rows; ++row, line += size, ahead += in) {
    for (std::int64_t i = 0; i < in; i += cache_line) __builtin_prefetch(ahead + i);
    for (std::int64_t o = 0; o < padded; o += kLanes<T>, maxima += kLanes<T>) {
      Vec<T> best = load(line + offsets[0] + o);
      VecInt<T> tap{}, number{};
      std::memcpy(&tap, first_taps + o, sizeof(tap));
#pragma GCC unroll 3
      for (std::int64_t j = 1; j < kernel; ++j) {
        number += 1;
        choose_larger<T, kRule>(load(line + offsets[j] + o), number, best, tap);
      }
      store(maxima, best);
      if constexpr (kRule.places) std::memcpy(numbers, &tap, sizeof(tap)), numbers += kLanes<T>;
    }
  }
}

// One row of `out` outputs. Up to `room` elements may be written: what is too much is overwritten
// later. kCount 0: any number of rows.
template <class T, MaxRule kRule, int kCount>
TILEGRAD_INLINE void max_of_rows(const MaxStrip<T>& strip, const WindowRows& rows, std::int64_t out,
                                 std::int64_t room, T* y, std::uint8_t* taps) {
  const std::int64_t count = kCount ? kCount : rows.count;
  const T* maxima = strip.maxima;
  const auto *numbers = strip.numbers, *first_taps = strip.first_taps;
  Vec<T> best = splat(kNothing<T>);
  VecInt<T> tap{}, number{};
  const auto find = [&](std::int64_t o) {
    if (count == 0) std::memcpy(&tap, first_taps + o, sizeof(tap));
#pragma GCC unroll 3
    for (std::int64_t r = 0; r < count; ++r) {
      if constexpr (kRule.places) {
        std::memcpy(&number, numbers + rows.offset[r] + o, sizeof(number));
        number += static_cast<int>(rows.tap[r]);
      }
      const Vec<T> value = load(maxima + rows.offset[r] + o);
      if (r == 0) best = value, tap = number;
      else choose_larger<T, kRule>(value, number, best, tap);
    }
  };
  std::int64_t o = 0;
  for (; o < out && room - o >= kLanes<T>; o += kLanes<T>) {
    find(o);
    store(y + o, best);
    if constexpr (kRule.places) store_as_bytes(taps + o, tap);
  }
  if (o >= out) return;
  find(o);
  store_part(y + o, best, room - o);
  if constexpr (kRule.places)
    for (int k = 0; k < room - o; ++k) taps[o + k] = static_cast<std::uint8_t>(tap[k]);
}

template <class T, MaxRule kRule>
static void max_of_columns(const MaxStrip<T>& strip, const T* ahead, std::int64_t rows,
                           std::int64_t to) {
  const std::int64_t kernel = strip.p.width.kernel;
  if constexpr (!kRule.nan) {
    if (kernel == 2) return max_of_columns<T, kRule, 2>(strip, ahead, rows, to);
    if (kernel == 3) return max_of_columns<T, kRule, 3>(strip, ahead, rows, to);
  }
  max_of_columns<T, kRule, 0>(strip, ahead, rows, to);
}

// The rows under the windows of row oy; `top` is the first one of the strip.
template <class T>
TILEGRAD_INLINE void find_rows(const MaxStrip<T>& strip, const PoolAxis& d, const PoolAxis& h,
                               std::int64_t oz, std::int64_t oy, std::int64_t top,
                               WindowRows& rows) {
  rows.count = 0;
  const std::int64_t start = h.start(oy), first = h.first_tap(oy);
  for (std::int64_t a = d.first_tap(oz); a < d.kernel && d.start(oz) + a * d.dilation < d.in; ++a) {
    std::int64_t row = start + first * h.dilation;
    for (std::int64_t b = first; b < h.kernel && row < h.in; ++b, row += h.dilation) {
      rows.offset[rows.count] = (a * strip.rows + row - top) * strip.padded;
      rows.tap[rows.count++] = (a * h.kernel + b) * strip.p.width.kernel;
    }
  }
}

// Output rows oy to end of slice oz of a plane x. `room`: what may be written from y on.
template <class T, MaxRule kRule>
[[gnu::noinline]] static void max_of_strip(const MaxStrip<T>& strip, const T* x, std::int64_t oz,
                                           std::int64_t oy, std::int64_t end, std::int64_t room,
                                           T* y, std::uint8_t* taps) {
  const PoolAxis d = strip.p.depth, h = strip.p.height;  // copies: bytes may overlap anything
  const std::int64_t out = strip.p.width.out;
  const std::int64_t top = std::max<std::int64_t>(h.start(oy), 0), bottom = h.last(end - 1);
  for (std::int64_t a = d.first_tap(oz); a < d.kernel && d.start(oz) + a * d.dilation < d.in; ++a) {
    const std::int64_t slice = d.start(oz) + a * d.dilation;
    const T* from = x + (slice * h.in + top) * strip.p.width.in;
    const std::int64_t rows = bottom - top;
    strip.deal(from, rows, strip.dealt);
    max_of_columns<T, kRule>(strip, from + rows * strip.p.width.in, rows,
                             a * strip.rows * strip.padded);
  }
  WindowRows rows;
  for (; oy < end; ++oy, y += out, room -= out) {
    find_rows(strip, d, h, oz, oy, top, rows);
    if (rows.count == 3) max_of_rows<T, kRule, 3>(strip, rows, out, room, y, taps);
    else max_of_rows<T, kRule, 0>(strip, rows, out, room, y, taps);
    if constexpr (kRule.places) taps += out;
  }
}

// Whether there is a NaN, or infinities of both signs.
template <class T>
[[gnu::noinline]] static bool may_hold_nan(const T* x, std::int64_t count) {
  Vec<T> sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * kLanes<T> <= count; i += 4 * kLanes<T>)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] += load(x + i + k * kLanes<T>);
  T total = sum_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < count; ++i) total += x[i];
  return total != total;
}

// Output rows oy to end of slice oz of a plane x; `at` is where they begin in y, `end_of_task` what
// must not be written.
template <class T>
static void max_strip(const MaxStrip<T>& strip, const T* x, std::int64_t oz, std::int64_t oy,
                      std::int64_t end, std::int64_t room, T* y, std::uint8_t* taps) {
  const Pool& p = strip.p;
  const std::int64_t slice = p.height.in * p.width.in;
  const std::int64_t top = p.height.first(oy), bottom = p.height.last(end - 1);
  bool nan = false;
  for (std::int64_t z = p.depth.first(oz); z < p.depth.last(oz); z += p.depth.dilation)
    nan |= may_hold_nan(x + z * slice + top * p.width.in, (bottom - top) * p.width.in);
  const auto run =
      taps  ? nan ? max_of_strip<T, MaxRule{true, true}> : max_of_strip<T, MaxRule{true, false}>
      : nan ? max_of_strip<T, MaxRule{false, true}>
            : max_of_strip<T, MaxRule{false, false}>;
  run(strip, x, oz, oy, end, room, y, taps);
}

// A plane. `room`: what may be written from y on.
template <class T>
static void max_plane(const MaxStrip<T>& strip, const T* x, std::int64_t room, T* y,
                      std::uint8_t* taps) {
  const Pool& p = strip.p;
  for (std::int64_t oz = 0; oz < p.depth.out; ++oz)
    for (std::int64_t oy = 0; oy < p.height.out; oy += strip.outputs) {
      const std::int64_t rows = std::min(strip.outputs, p.height.out - oy);
      max_strip<T>(strip, x, oz, oy, oy + rows, room, y, taps);
      const std::int64_t done = rows * p.width.out;
      y += done, room -= done, taps += taps ? done : 0;
    }
}

template <class T>
static void max_pool_rows(const Pool& p) {
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    MaxStrip<T> strip(p);
    strip.place(thread_scratch(strip.bytes()));
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const std::int64_t at = plane * p.out_size();
      max_plane(strip, static_cast<const T*>(p.x) + plane * p.in_size(), end * p.out_size() - at,
                static_cast<T*>(p.y) + at, p.taps ? p.taps + at : nullptr);
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
