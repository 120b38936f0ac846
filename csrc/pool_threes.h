// Maxima over windows of 3 x 3 elements two apart, the commonest ones that overlap. Included once
// per instruction set.
//
// A row of x is read once: its even and odd columns, the latter shifted by one output, give the
// maxima over columns in registers, and those of a row that two windows share wait in a buffer.
// Everything read is added up as well: only if that is a number is there no NaN.
#pragma once

#include "pool_rows.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The elements of a row from `begin` on, nothing behind its end.
template <class T>
TILEGRAD_INLINE Vec<T> load_inside(const T* row, std::int64_t begin, std::int64_t end) {
  if (begin + kLanes<T> <= end) return load(row + begin);
  Vec<T> value = splat(kNothing<T>);
#if defined(__AVX512F__)
  if (begin >= end) return value;
  const auto inside = (1u << (end - begin)) - 1;
  if constexpr (sizeof(T) == 4)
    return _mm512_mask_loadu_ps(value, static_cast<__mmask16>(inside), row + begin);
  else return _mm512_mask_loadu_pd(value, static_cast<__mmask8>(inside), row + begin);
#else
  for (std::int64_t k = 0; k < end - begin; ++k) value[k] = row[begin + k];
  return value;
#endif
}

// Of `first` and `second` side by side, the elements from number kBegin on.
template <class T, int kBegin, int... k>
TILEGRAD_INLINE Vec<T> side_by_side(Vec<T> first, Vec<T> second, std::integer_sequence<int, k...>) {
  return __builtin_shuffle(first, second, VecInt<T>{(kBegin + k)...});
}

// A register of maxima, and the columns or taps where they lie.
template <class T>
struct Maxima {
  Vec<T> best;
  VecInt<T> tap;
};

template <class T, bool kPlaces, int kPad>
struct Threes {
  typedef std::remove_reference_t<decltype(VecInt<T>{}[0])> Int;
  static constexpr MaxRule kRule{kPlaces, false};
  using Lanes = std::make_integer_sequence<int, kLanes<T>>;

  // The maxima over columns for outputs from m on; `before`: the odd columns left of these.
  [[gnu::always_inline]] Maxima<T> columns(const T* row, std::int64_t m, Vec<T>& before) {
    constexpr int lanes = kLanes<T>;
    using P = Pack<T, lanes>;
    constexpr typename P::Mask evens = P::even(Lanes{}), odds = P::odd(Lanes{});
    const Vec<T> left = load_inside(row, 2 * m, in), right = load_inside(row, 2 * m + lanes, in);
    const Vec<T> even = __builtin_shuffle(left, right, evens);
    const Vec<T> odd = __builtin_shuffle(left, right, odds);
    sum += even + odd;
    Maxima<T> found{even, VecInt<T>{}};
    if constexpr (kPad == 1) {
      found.best = side_by_side<T, lanes - 1>(before, odd, Lanes{});
      if (m == 0) found.tap -= lane_numbers<T>() == 0;  // column -1 is padding
      before = odd;
      choose_larger<T, kRule>(even, VecInt<T>{} + 1, found.best, found.tap);
      choose_larger<T, kRule>(odd, VecInt<T>{} + 2, found.best, found.tap);
    } else {
      const std::int64_t next = 2 * (m + lanes);
      const Vec<T> behind = splat(next < in ? row[next] : kNothing<T>);
      choose_larger<T, kRule>(odd, VecInt<T>{} + 1, found.best, found.tap);
      choose_larger<T, kRule>(side_by_side<T, 1>(even, behind, Lanes{}), VecInt<T>{} + 2,
                              found.best, found.tap);
    }
    return found;
  }

  // A row of outputs. `rows_left`: how many rows of their windows there are from the second one on.
  // The first one's maxima are in the buffer unless it is padding.
  [[gnu::always_inline]] void output_row(const T* second, int rows_left, bool has_first,
                                         std::int64_t room, T* y, std::uint8_t* taps) {
    constexpr int lanes = kLanes<T>;
    Vec<T> before[2] = {splat(kNothing<T>), splat(kNothing<T>)};
    for (std::int64_t m = 0; m < out; m += lanes, room -= lanes) {
      Maxima<T> all{load(maxima + m), {}};
      if constexpr (kPlaces) std::memcpy(&all.tap, numbers + m, sizeof(all.tap));
      const Maxima<T> middle = columns(second, m, before[0]);
      if (has_first) choose_larger<T, kRule>(middle.best, middle.tap + 3, all.best, all.tap);
      else all = {middle.best, middle.tap + 3};
      if (rows_left > 1) {
        const Maxima<T> last = columns(second + in, m, before[1]);
        store(maxima + m, last.best);
        if constexpr (kPlaces) std::memcpy(numbers + m, &last.tap, sizeof(last.tap));
        choose_larger<T, kRule>(last.best, last.tap + 6, all.best, all.tap);
      }
      if (room >= lanes) {
        store(y + m, all.best);
        if constexpr (kPlaces) store_as_bytes(taps + m, all.tap);
        continue;
      }
      store_part(y + m, all.best, room);
      if constexpr (kPlaces)
        for (int k = 0; k < room; ++k) taps[m + k] = static_cast<std::uint8_t>(all.tap[k]);
    }
  }

  // A plane; false if there may be a NaN.
  [[gnu::noinline]] bool plane(const Pool& p, const T* x, std::int64_t room, T* y,
                               std::uint8_t* taps) {
    Threes own = *this;  // a copy: bytes may overlap anything
    const std::int64_t height = p.height.in, pad = p.height.pad, rows = p.height.out;
    Vec<T> before = splat(kNothing<T>);
    for (std::int64_t m = 0; m < own.out && pad == 0; m += kLanes<T>) {
      const Maxima<T> first = own.columns(x, m, before);
      store(maxima + m, first.best);
      if constexpr (kPlaces) std::memcpy(numbers + m, &first.tap, sizeof(first.tap));
    }
    for (std::int64_t o = 0; o < rows; ++o, room -= own.out) {
      const std::int64_t second = 2 * o - pad + 1;
      own.output_row(x + second * own.in, second + 1 < height ? 2 : 1, o > 0 || pad == 0, room,
                     y + o * own.out, taps + (kPlaces ? o * own.out : 0));
    }
    const T total = sum_lanes<T>(own.sum);
    return total == total;
  }

  std::int64_t in, out;  // columns
  T* maxima;
  Int* numbers;
  Vec<T> sum{};
};

template <class T>
static bool fits_threes(const Pool& p) {
  const auto three = [](const PoolAxis& a) {
    return a.kernel == 3 && a.stride == 2 && a.dilation == 1 && a.pad <= 1 && !a.adaptive &&
           2 * (a.out - 1) + 1 - a.pad < a.in;  // the middle of each window is an element
  };
  return p.depth.trivial() && three(p.height) && three(p.width) && 2 * p.width.out >= kLanes<T>;
}

template <class T, bool kPlaces, int kPad>
static void max_threes_planes(const Pool& p) {
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    Threes<T, kPlaces, kPad> threes{p.width.in, p.width.out, nullptr, nullptr};
    MaxStrip<T> strip(p);
    const std::int64_t padded = strip.padded, size = p.out_size();
    const std::size_t row = static_cast<std::size_t>(2 * padded) * sizeof(T);
    threes.maxima = static_cast<T*>(thread_scratch(row + strip.bytes()));
    threes.numbers = reinterpret_cast<decltype(threes.numbers)>(threes.maxima + padded);
    bool placed = false;
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const T* x = static_cast<const T*>(p.x) + plane * p.in_size();
      T* y = static_cast<T*>(p.y) + plane * size;
      std::uint8_t* taps = p.taps ? p.taps + plane * size : nullptr;
      if (threes.plane(p, x, (end - plane) * size, y, taps)) continue;
      if (!placed) strip.place(threes.maxima + 2 * padded), placed = true;
      max_plane(strip, x, (end - plane) * size, y, taps);
    }
  });
}

template <class T>
static void max_threes(const Pool& p) {
  if (p.taps) p.width.pad ? max_threes_planes<T, true, 1>(p) : max_threes_planes<T, true, 0>(p);
  else p.width.pad ? max_threes_planes<T, false, 1>(p) : max_threes_planes<T, false, 0>(p);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
