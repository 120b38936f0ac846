// What softmax, cross-entropy and attention share: exp of vectors of numbers that are not positive,
// the maximum and the sum of exponentials of a row, and writing rows past the caches. Included once
// per instruction set.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "register_functions.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
static constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();

// exp(x) for x <= 0 (and for small positive x): as `exponential`, but 0 where the result would not
// be a normal number, so that 2^n is one factor. Within 1 ulp; NaN stays.
template <class T>
TILEGRAD_INLINE Vec<T> exponential_below(Vec<T> x) {
  constexpr T kLeast = std::is_same_v<T, float> ? T(-87) : T(-708);
  const ReducedPower<T> parts(x);
  return keep<T>(~(x < kLeast), parts.rest_power() * parts.two_power());
}

// Writes an aligned register to memory without reading the line into the caches first.
template <class T>
TILEGRAD_INLINE void store_past_caches(T* to, Vec<T> value) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), std::bit_cast<__m512i>(value));
#elif defined(__AVX2__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), std::bit_cast<__m256i>(value));
#elif defined(__x86_64__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), std::bit_cast<__m128i>(value));
#else
  store(to, value);
#endif
}

// Results of this size leave nothing in the caches for their reader anyway.
static constexpr std::int64_t kStreamBytes = std::int64_t{16} << 20;

static inline void finish_stream() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// A place in a row, as in row_sums.h: part(x) loads the elements of row x that stand there.
template <class T>
struct Part {
  std::int64_t begin, count;
  Vec<T> operator()(const T* row) const { return load_part(row + begin, count); }
};

// y[i] = element(at) for a row, in order, each place once: y may be among the rows that are read.
template <class T, class Element>
TILEGRAD_INLINE void write_row(T* y, std::int64_t count, bool stream, const Element& element) {
  constexpr std::int64_t lanes = kLanes<T>;
  std::int64_t i = 0;
  if (stream) {
    const auto beyond = reinterpret_cast<std::uintptr_t>(y) % TILEGRAD_VECTOR_BYTES / sizeof(T);
    const std::int64_t head = std::min<std::int64_t>((lanes - beyond) % lanes, count);
    if (head > 0) store_part(y, element(Part<T>{0, head}), head);
    for (i = head; i + lanes <= count; i += lanes) store_past_caches(y + i, element(Whole<T>{i}));
  } else {
    for (; i + lanes <= count; i += lanes) store(y + i, element(Whole<T>{i}));
  }
  if (i < count) store_part(y + i, element(Part<T>{i, count - i}), count - i);
}

// y[i] = f(x[i]); y may be x. In registers where f takes them, else in a loop for the compiler.
template <class T, class Function>
TILEGRAD_INLINE void apply_row(T* y, const T* x, std::int64_t count, const Function& f) {
  if constexpr (std::is_invocable_v<Function, Vec<T>>) {
    write_row(y, count, false, [&](auto at) { return f(at(x)); });
  } else {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(x[i]);
  }
}

// sum(term(at)) of a row, whose term is 0 where it reads zeros. The last argument only tells the
// type.
template <class T, class Term>
TILEGRAD_INLINE T sum_row(std::int64_t count, const Term& term) {
  constexpr std::int64_t lanes = kLanes<T>;
  Vec<T> sum[4]{};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes)
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) sum[part] += term(Whole<T>{i + part * lanes});
  for (; i + lanes <= count; i += lanes) sum[0] += term(Whole<T>{i});
  if (i < count) sum[1] += term(Part<T>{i, count - i});
  return sum_lanes<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <class T>
TILEGRAD_INLINE T largest_lane(Vec<T> value) {
#pragma GCC unroll 4
  for (int step = kLanes<T> / 2; step > 0; step /= 2) {
    const Vec<T> other = __builtin_shuffle(value, lane_numbers<T>() + step);
    value = other > value ? other : value;
  }
  return value[0];
}

// The largest element; those that are NaN do not count. Minus infinity for an empty row.
template <class T>
TILEGRAD_INLINE T largest_of(const T* x, std::int64_t count) {
  constexpr std::int64_t lanes = kLanes<T>;
  Vec<T> largest[4];
#pragma GCC unroll 4
  for (Vec<T>& part : largest) part = splat(kMinusInfinity<T>);
  const auto include = [](Vec<T>& part, Vec<T> value) { part = value > part ? value : part; };
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes)
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) include(largest[part], load(x + i + part * lanes));
  for (; i + lanes <= count; i += lanes) include(largest[0], load(x + i));
  if (i < count)
    include(largest[1], lane_numbers<T>() < static_cast<int>(count - i)
                            ? load_part(x + i, count - i)
                            : splat(kMinusInfinity<T>));
  include(largest[0], largest[1]);
  include(largest[2], largest[3]);
  include(largest[0], largest[2]);
  return largest_lane<T>(largest[0]);
}

// sum(exp(x - shift)); with kKeep the terms go to y. Meanwhile the row behind x is asked for: the
// next one, which comes from memory while this one keeps the arithmetic busy.
template <class T, bool kKeep>
TILEGRAD_INLINE T sum_exponentials(T* y, const T* x, std::int64_t count, T shift) {
  constexpr std::int64_t lanes = kLanes<T>;
  Vec<T> sum[2]{};
  const auto add = [&](int part, std::int64_t at) {
    __builtin_prefetch(x + count + at, 0, 2);
    const Vec<T> term = exponential_below<T>(load(x + at) - shift);
    if constexpr (kKeep) store(y + at, term);
    sum[part] += term;
  };
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    add(0, i);
    add(1, i + lanes);
  }
  for (; i + lanes <= count; i += lanes) add(0, i);
  if (i < count) {
    const Vec<T> term = exponential_below<T>(load_part(x + i, count - i) - shift);
    if constexpr (kKeep) store_part(y + i, term, count - i);
    sum[1] += keep<T>(lane_numbers<T>() < static_cast<int>(count - i), term);
  }
  return sum_lanes<T>(sum[0] + sum[1]);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
