// Pooling over 2 x 2 neighbours, the commonest windows: every element belongs to one window, so
// each row of the result comes from two rows in whole registers. Included once per instruction set.
#pragma once

#include <algorithm>
#include <type_traits>

#include "lane_bytes.h"
#include "ops/pool.h"
#include "row_sums.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// kCount numbers in a register or a part of one: short rows fill only part of a register.
template <class T, int kCount>
struct Pack {
  typedef T type __attribute__((vector_size(kCount * sizeof(T))));
  typedef VecInt<T> Lane;
  typedef std::remove_reference_t<decltype(Lane{}[0])> Int;
  typedef Int Mask __attribute__((vector_size(kCount * sizeof(T))));

  template <int... k>
  static constexpr Mask even(std::integer_sequence<int, k...>) {
    return Mask{2 * k...};
  }
  template <int... k>
  static constexpr Mask odd(std::integer_sequence<int, k...>) {
    return Mask{2 * k + 1 ...};
  }
  template <int... k>  // of a0 b0 a1 b1 ... the numbers from `begin` on
  static constexpr Mask zipped(int begin, std::integer_sequence<int, k...>) {
    return Mask{((begin + k) / 2 + (begin + k) % 2 * kCount)...};
  }
  using Numbers = std::make_integer_sequence<int, kCount>;

  static type load(const T* address) {
    type value;
    std::memcpy(&value, address, sizeof(value));
    return value;
  }
  static void store(T* address, type value) { std::memcpy(address, &value, sizeof(value)); }
};

// The elements of one window in kCount windows side by side: first row, second row.
template <class T, int kCount>
struct Quads {
  using P = Pack<T, kCount>;
  typename P::type value[4];

  Quads(const T* upper, const T* lower) {
    const T* rows[2] = {upper, lower};
    constexpr typename P::Mask even = P::even(typename P::Numbers{});
    constexpr typename P::Mask odd = P::odd(typename P::Numbers{});
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const auto left = P::load(rows[i]), right = P::load(rows[i] + kCount);
      value[2 * i] = __builtin_shuffle(left, right, even);
      value[2 * i + 1] = __builtin_shuffle(left, right, odd);
    }
  }
};

// Writes a0 b0 a1 b1 ...
template <class T, int kCount>
TILEGRAD_INLINE void store_zipped(T* address, typename Pack<T, kCount>::type a,
                                  typename Pack<T, kCount>::type b, bool past_caches) {
  using P = Pack<T, kCount>;
  constexpr typename P::Mask low = P::zipped(0, typename P::Numbers{});
  constexpr typename P::Mask high = P::zipped(kCount, typename P::Numbers{});
  if constexpr (kCount == kLanes<T>) {
    if (past_caches) {
      stream<T>(address, __builtin_shuffle(a, b, low));
      stream<T>(address + kCount, __builtin_shuffle(a, b, high));
      return;
    }
  }
  P::store(address, __builtin_shuffle(a, b, low));
  P::store(address + kCount, __builtin_shuffle(a, b, high));
}

// Calls visit(first output) for registers of kCount outputs that cover a row; the last may overlap.
template <int kCount, class Visit>
TILEGRAD_INLINE void for_each_pack(std::int64_t count, const Visit& visit) {
  for (std::int64_t i = 0; i + kCount <= count; i += kCount) visit(i);
  if (count % kCount != 0) visit(count - kCount);
}

// NaN wins; of equal maxima the first one, of several NaN the last one, as in PyTorch.
template <class T, int kCount>
TILEGRAD_INLINE void max_pairs_row(const T* upper, const T* lower, std::int64_t count, T* y,
                                   std::uint8_t* taps) {
  using P = Pack<T, kCount>;
  for_each_pack<kCount>(count, [=](std::int64_t i) {
    const Quads<T, kCount> quads(upper + 2 * i, lower + 2 * i);
    typename P::type best = quads.value[0];
    typename P::Mask tap{};
#pragma GCC unroll 3
    for (int k = 1; k < 4; ++k) {
      const auto value = quads.value[k];
      const typename P::Mask wins = (value > best) | (value != value);
      best = wins ? value : best;
      tap = wins ? typename P::Mask{} + static_cast<typename P::Int>(k) : tap;
    }
    P::store(y + i, best);
    if (taps == nullptr) return;
    store_as_bytes(taps + i, tap);
  });
}

// The same where there is no NaN: a tournament, in half as many comparisons. Adds everything it
// reads to `sum`.
template <class T, int kCount>
TILEGRAD_INLINE void max_numbers_row(const T* upper, const T* lower, std::int64_t count, T* y,
                                     std::uint8_t* taps, typename Pack<T, kCount>::type& sum) {
  using P = Pack<T, kCount>;
  for_each_pack<kCount>(count, [&sum, upper, lower, y, taps](std::int64_t i) {
    const auto [a, b, c, d] = Quads<T, kCount>(upper + 2 * i, lower + 2 * i).value;
    const auto above = b > a ? b : a, below = d > c ? d : c;
    sum += (a + b) + (c + d);
    P::store(y + i, below > above ? below : above);
    if (taps == nullptr) return;
    const typename P::Mask zero{}, first = b > a ? zero + 1 : zero,
                                   second = d > c ? zero + 3 : zero + 2;
    store_as_bytes<typename P::Mask>(taps + i, below > above ? second : first);
  });
}

template <class T, int kCount>
TILEGRAD_INLINE void max_pairs_grad_row(const T* y, const std::uint8_t* taps, std::int64_t count,
                                        T* upper, T* lower, bool past_caches) {
  using P = Pack<T, kCount>;
  for_each_pack<kCount>(count, [=](std::int64_t i) {
    const typename P::type grad = P::load(y + i), zero{};
    const auto tap = widen_bytes<typename P::Mask>(taps + i);
    store_zipped<T, kCount>(upper + 2 * i, tap == 0 ? grad : zero, tap == 1 ? grad : zero,
                            past_caches);
    store_zipped<T, kCount>(lower + 2 * i, tap == 2 ? grad : zero, tap == 3 ? grad : zero,
                            past_caches);
  });
}

template <class T, int kCount>
TILEGRAD_INLINE void avg_pairs_row(const T* upper, const T* lower, std::int64_t count, T share,
                                   T* y) {
  using P = Pack<T, kCount>;
  for_each_pack<kCount>(count, [=](std::int64_t i) {
    const Quads<T, kCount> quads(upper + 2 * i, lower + 2 * i);
    P::store(y + i,
             ((quads.value[0] + quads.value[1]) + (quads.value[2] + quads.value[3])) * share);
  });
}

template <class T, int kCount>
TILEGRAD_INLINE void avg_pairs_grad_row(const T* y, std::int64_t count, T share, T* upper, T* lower,
                                        bool past_caches) {
  using P = Pack<T, kCount>;
  for_each_pack<kCount>(count, [=](std::int64_t i) {
    const typename P::type part = P::load(y + i) * share;
    store_zipped<T, kCount>(upper + 2 * i, part, part, past_caches);
    store_zipped<T, kCount>(lower + 2 * i, part, part, past_caches);
  });
}

// The planes of a task, as pairs of rows.
struct PairsOfRows {
  PairsOfRows(const Pool& p, std::int64_t begin, std::int64_t end)
      : planes((end - begin) * p.depth.in),
        rows(p.height.out),
        in(p.width.in),
        count(p.width.out),
        first(begin * p.depth.in),
        plane(p.height.in * p.width.in) {}

  // Calls visit(offset of the upper row in x, offset of the result in y). By value: writes of bytes
  // would make the compiler read the sizes again for every row.
  template <class Visit>
  [[gnu::always_inline]] static void for_each(const PairsOfRows shape, const Visit& visit) {
    std::int64_t at = shape.first * shape.rows * shape.count;
    for (std::int64_t i = shape.first; i < shape.first + shape.planes; ++i)
      for (std::int64_t row = 0; row < shape.rows; ++row, at += shape.count)
        visit(i * shape.plane + 2 * row * shape.in, at);
  }
  // The same for gradients: what no window reaches becomes 0.
  template <class T, class Visit>
  [[gnu::always_inline]] static void for_each_grad(const PairsOfRows shape, T* x,
                                                   const Visit& visit) {
    const std::int64_t covered = 2 * shape.count, rest = shape.plane - 2 * shape.rows * shape.in;
    for_each(shape, [=](std::int64_t from, std::int64_t at) {
      visit(from, at);
      if (covered == shape.in) return;
      std::fill(x + from + covered, x + from + shape.in, T{0});
      std::fill(x + from + shape.in + covered, x + from + 2 * shape.in, T{0});
    });
    for (std::int64_t i = shape.first + 1; rest > 0 && i <= shape.first + shape.planes; ++i)
      std::fill_n(x + i * shape.plane - rest, rest, T{0});
  }

  std::int64_t planes, rows, in, count, first, plane;
};

// Rows of few outputs: elements are collected from as many rows as fill a register. The result has
// no gaps between rows.
template <class T>
[[gnu::noinline]] static void max_pairs_of_short_rows(const PairsOfRows shape, const T* x, T* y,
                                                      std::uint8_t* taps) {
  using P = Pack<T, kLanes<T>>;
  T elements[4][kLanes<T>] = {};
  std::int64_t filled = 0, done = shape.first * shape.rows * shape.count;
  const auto finish = [&] {
    Vec<T> best = load(elements[0]);
    typename P::Mask tap{};
#pragma GCC unroll 3
    for (int k = 1; k < 4; ++k) {
      const Vec<T> value = load(elements[k]);
      const typename P::Mask wins = (value > best) | (value != value);
      best = wins ? value : best;
      tap = wins ? typename P::Mask{} + k : tap;
    }
    for (std::int64_t k = 0; k < filled; ++k) y[done + k] = best[k];
    for (std::int64_t k = 0; taps && k < filled; ++k)
      taps[done + k] = static_cast<std::uint8_t>(tap[k]);
    done += filled;
    filled = 0;
  };
  PairsOfRows::for_each(shape, [&](std::int64_t from, std::int64_t) {
    for (std::int64_t i = 0; i < shape.count; ++i) {
      const T *upper = x + from + 2 * i, *lower = upper + shape.in;
      elements[0][filled] = upper[0];
      elements[1][filled] = upper[1];
      elements[2][filled] = lower[0];
      elements[3][filled] = lower[1];
      if (++filled == kLanes<T>) finish();
    }
  });
  if (filled > 0) finish();
}

template <class T>
[[gnu::noinline]] static void max_pairs_grad_of_short_rows(const PairsOfRows shape, const T* y,
                                                           const std::uint8_t* taps, T* x) {
  using P = Pack<T, kLanes<T>>;
  T shares[4][kLanes<T>];
  std::int64_t used = kLanes<T>;
  const std::int64_t end = (shape.first + shape.planes) * shape.rows * shape.count;
  const auto next = [&](std::int64_t at) {
    std::uint8_t bytes[kLanes<T>] = {};
    Vec<T> grad{};
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(end - at, kLanes<T>));
    std::memcpy(bytes, taps + at, count);
    std::memcpy(&grad, y + at, count * sizeof(T));
    const auto tap = widen_bytes<typename P::Mask>(bytes);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) store<T>(shares[k], tap == k ? grad : Vec<T>{});
    used = 0;
  };
  PairsOfRows::for_each_grad(shape, x, [&](std::int64_t to, std::int64_t at) {
    for (std::int64_t i = 0; i < shape.count; ++i, ++used) {
      if (used == kLanes<T>) next(at + i);
      T *upper = x + to + 2 * i, *lower = upper + shape.in;
      upper[0] = shares[0][used];
      upper[1] = shares[1][used];
      lower[0] = shares[2][used];
      lower[1] = shares[3][used];
    }
  });
}

template <class T, int kCount>
[[gnu::noinline]] static void max_pairs_planes(const PairsOfRows shape, const T* x, T* y,
                                               std::uint8_t* taps) {
  if constexpr (kCount == 1) return max_pairs_of_short_rows(shape, x, y, taps);
  typename Pack<T, kCount>::type sum{};
  PairsOfRows::for_each(shape, [=, &sum](std::int64_t from, std::int64_t at) {
    max_numbers_row<T, kCount>(x + from, x + from + shape.in, shape.count, y + at,
                               taps ? taps + at : nullptr, sum);
  });
  T total = 0;
  for (int k = 0; k < kCount; ++k) total += sum[k];
  if (total == total) return;  // neither NaN nor opposite infinities
  PairsOfRows::for_each(shape, [=](std::int64_t from, std::int64_t at) {
    max_pairs_row<T, kCount>(x + from, x + from + shape.in, shape.count, y + at,
                             taps ? taps + at : nullptr);
  });
}

template <class T, int kCount>
[[gnu::noinline]] static void max_pairs_grad_planes(const PairsOfRows shape, const T* y,
                                                    const std::uint8_t* taps, T* x,
                                                    bool past_caches) {
  if constexpr (kCount == 1) return max_pairs_grad_of_short_rows(shape, y, taps, x);
  PairsOfRows::for_each_grad(shape, x, [=](std::int64_t to, std::int64_t at) {
    max_pairs_grad_row<T, kCount>(y + at, taps + at, shape.count, x + to, x + to + shape.in,
                                  past_caches);
  });
}

template <class T, int kCount>
[[gnu::noinline]] static void avg_pairs_planes(const PairsOfRows shape, const T* x, T share, T* y) {
  PairsOfRows::for_each(shape, [=](std::int64_t from, std::int64_t at) {
    avg_pairs_row<T, kCount>(x + from, x + from + shape.in, shape.count, share, y + at);
  });
}

template <class T, int kCount>
[[gnu::noinline]] static void avg_pairs_grad_planes(const PairsOfRows shape, const T* y, T share,
                                                    T* x, bool past_caches) {
  PairsOfRows::for_each_grad(shape, x, [=](std::int64_t to, std::int64_t at) {
    avg_pairs_grad_row<T, kCount>(y + at, shape.count, share, x + to, x + to + shape.in,
                                  past_caches);
  });
}

// Calls visit(std::integral_constant) with the widest pack that a row of `count` outputs fills.
template <class T, class Visit>
TILEGRAD_INLINE void with_pack(std::int64_t count, const Visit& visit) {
  constexpr int lanes = kLanes<T>;
  constexpr int least = std::max(2, 16 / static_cast<int>(sizeof(T)));
  if (count >= lanes) return visit(std::integral_constant<int, lanes>{});
  if constexpr (lanes / 2 >= least)
    if (count >= lanes / 2) return visit(std::integral_constant<int, lanes / 2>{});
  if constexpr (lanes / 4 >= least)
    if (count >= lanes / 4) return visit(std::integral_constant<int, lanes / 4>{});
  visit(std::integral_constant<int, 1>{});
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
