// Sums and maps over rows of numbers in vector registers, tails included: what normalizations
// share. Included once per instruction set.
//
// The caller writes a lambda that computes one register from a place: `at(x)` loads the elements of
// row x at that place. Whole registers and the shorter ends of rows so have one formula:
//
//   Vec<T> squares = add_row<T>({}, count, [&](auto at) { return at(x) * at(x); });
#pragma once

#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "elementary.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct LaneInteger;
template <>
struct LaneInteger<float> {
  typedef std::int32_t type __attribute__((vector_size(TILEGRAD_VECTOR_BYTES)));
};
template <>
struct LaneInteger<double> {
  typedef std::int64_t type __attribute__((vector_size(TILEGRAD_VECTOR_BYTES)));
};
// Integers as wide as T, one per lane: comparisons of vectors give these.
template <class T>
using VecInt = typename LaneInteger<T>::type;

template <class T>
TILEGRAD_INLINE VecInt<T> lane_numbers() {
  return []<int... k>(std::integer_sequence<int, k...>) {
    return VecInt<T>{k...};
  }(std::make_integer_sequence<int, kLanes<T>>{});
}

template <class T>
TILEGRAD_INLINE Vec<T> keep(VecInt<T> mask, Vec<T> value) {  // 0 where the mask is 0
  return std::bit_cast<Vec<T>>(std::bit_cast<VecInt<T>>(value) & mask);
}

template <class T>
TILEGRAD_INLINE Vec<T> splat(T value) {
  return value - Vec<T>{};
}

// The sum of all lanes, added pairwise.
template <class T>
TILEGRAD_INLINE T sum_lanes(Vec<T> value) {
#pragma GCC unroll 4
  for (int step = kLanes<T> / 2; step > 0; step /= 2)
    value += __builtin_shuffle(value, lane_numbers<T>() + step);
  return value[0];
}

// A whole register of a row, from its element `begin` on.
template <class T>
struct Whole {
  std::int64_t begin;
  Whole moved(std::int64_t by) const { return {begin + by}; }
  Vec<T> operator()(const T* row) const { return load(row + begin); }
};

// The `count` elements of a row that is shorter than a register; zeros beyond.
template <class T>
struct Short {
  std::int64_t count, begin = 0;
  Short moved(std::int64_t by) const { return {count, begin + by}; }
  Vec<T> operator()(const T* row) const {
    Vec<T> value{};
    for (int k = 0; k < count; ++k) value[k] = row[begin + k];
    return value;
  }
};

// Sums kept apart in a loop: one would wait for each addition.
static constexpr int kApart = 4;

// sum + term(at) for all places of a row of `count` elements; lanes stay apart.
template <class T, class Term>
TILEGRAD_INLINE Vec<T> add_row(Vec<T> sum, std::int64_t count, const Term& term) {
  constexpr int lanes = kLanes<T>;
  std::int64_t i = 0;
  if (count >= 2 * kApart * lanes) {
    Vec<T> sums[kApart] = {};
    for (; i + kApart * lanes <= count; i += kApart * lanes)
#pragma GCC unroll 4
      for (int k = 0; k < kApart; ++k) sums[k] += term(Whole<T>{i + k * lanes});
    sum += (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  for (; i + lanes <= count; i += lanes) sum += term(Whole<T>{i});
  if (i == count) return sum;
  const auto rest = static_cast<int>(count - i);
  if (count < lanes) return sum + keep<T>(lane_numbers<T>() < rest, term(Short<T>{count}));
  // The last register overlaps the one before; lanes that were counted are dropped.
  return sum + keep<T>(lane_numbers<T>() >= lanes - rest, term(Whole<T>{count - lanes}));
}

// The same for two sums; term returns a TwoTerms.
template <class T>
struct TwoTerms {
  Vec<T> first{}, second{};
};
template <class T, class Term>
TILEGRAD_INLINE TwoTerms<T> add_row_twice(TwoTerms<T> sums, std::int64_t count, const Term& term) {
  constexpr int lanes = kLanes<T>;
  const auto add = [&](TwoTerms<T> terms, VecInt<T> mask) {
    sums.first += keep<T>(mask, terms.first);
    sums.second += keep<T>(mask, terms.second);
  };
  std::int64_t i = 0;
  if (count >= 2 * kApart * lanes) {
    TwoTerms<T> apart[kApart];
    for (; i + kApart * lanes <= count; i += kApart * lanes)
#pragma GCC unroll 4
      for (int k = 0; k < kApart; ++k) {
        const TwoTerms<T> terms = term(Whole<T>{i + k * lanes});
        apart[k].first += terms.first;
        apart[k].second += terms.second;
      }
    sums.first += (apart[0].first + apart[1].first) + (apart[2].first + apart[3].first);
    sums.second += (apart[0].second + apart[1].second) + (apart[2].second + apart[3].second);
  }
  for (; i + lanes <= count; i += lanes) {
    const TwoTerms<T> terms = term(Whole<T>{i});
    sums.first += terms.first;
    sums.second += terms.second;
  }
  if (i == count) return sums;
  const auto rest = static_cast<int>(count - i);
  if (count < lanes) add(term(Short<T>{count}), lane_numbers<T>() < rest);
  else add(term(Whole<T>{count - lanes}), lane_numbers<T>() >= lanes - rest);
  return sums;
}

// Results of more bytes than this are written past the caches: they would push out what is still to
// be read, and be gone themselves before anybody reads them.
inline constexpr std::int64_t kPastCaches = std::int64_t{8} << 20;

// A store past the caches where there is one; the address is aligned to the register's size. Other
// threads may read it after finish_streams.
template <class T>
TILEGRAD_INLINE void stream(T* address, Vec<T> value) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(address), std::bit_cast<__m512i>(value));
#elif defined(__AVX2__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(address), std::bit_cast<__m256i>(value));
#elif defined(__SSE2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(address), std::bit_cast<__m128i>(value));
#else
  store(address, value);
#endif
}

TILEGRAD_INLINE void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// y[i] = element(at) for a row. The last registers may overlap, so y must not be among the rows
// that `element` reads. With `past_caches`, whole cache lines are streamed.
template <class T, class Element>
TILEGRAD_INLINE void map_row(T* y, std::int64_t count, const Element& element,
                             bool past_caches = false) {
  constexpr int lanes = kLanes<T>;
  if (count < lanes) {
    const Vec<T> value = element(Short<T>{count});
    for (int k = 0; k < count; ++k) y[k] = value[k];
    return;
  }
  const bool lines = (reinterpret_cast<std::uintptr_t>(y) | (count * sizeof(T))) % 64 == 0;
  if (past_caches && lines) {
    for (std::int64_t i = 0; i < count; i += lanes) stream(y + i, element(Whole<T>{i}));
    return;
  }
  for (std::int64_t i = 0; i + lanes <= count; i += lanes) store(y + i, element(Whole<T>{i}));
  if (count % lanes != 0) store(y + count - lanes, element(Whole<T>{count - lanes}));
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
