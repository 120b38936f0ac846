// One SIMD register as a type, for the few kernels that the compiler does not vectorize by itself.
// Included once per instruction set; the widths follow from the compiler flags of that set.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>

#define TILEGRAD_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define TILEGRAD_VECTOR_BYTES 32
#else
#define TILEGRAD_VECTOR_BYTES 16
#endif

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(TILEGRAD_VECTOR_BYTES)));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(TILEGRAD_VECTOR_BYTES)));
};

// A GCC vector: + - * / work lane by lane, and a * b + c becomes a fused multiply-add.
template <class T>
using Vec = typename VecOf<T>::type;

template <class T>
inline constexpr int kLanes = TILEGRAD_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class T>
static inline Vec<T> load(const T* address) {  // unaligned
  Vec<T> value;
  std::memcpy(&value, address, sizeof(value));
  return value;
}

template <class T>
static inline void store(T* address, Vec<T> value) {
  std::memcpy(address, &value, sizeof(value));
}

// The first `count` elements, zeros beyond; memory behind them is not touched.
#if defined(__AVX512F__)
static inline Vec<float> load_part(const float* row, std::int64_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), row);
}
static inline Vec<double> load_part(const double* row, std::int64_t count) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), row);
}
static inline void store_part(float* row, Vec<float> value, std::int64_t count) {
  _mm512_mask_storeu_ps(row, static_cast<__mmask16>((1u << count) - 1), value);
}
static inline void store_part(double* row, Vec<double> value, std::int64_t count) {
  _mm512_mask_storeu_pd(row, static_cast<__mmask8>((1u << count) - 1), value);
}
// to[2 * i] = from[i] + shift for i < count; whole halves of vectors are read.
static inline void store_every_other(float* to, const float* from, std::int64_t count,
                                     float shift) {
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (std::int64_t i = 0; i < count; i += 8) {
    const __m512 values = _mm512_castps256_ps512(_mm256_loadu_ps(from + i));
    const std::int64_t rest = count - i;
    const auto even = static_cast<__mmask16>(rest >= 8 ? 0x5555 : 0x5555 & ((1 << 2 * rest) - 1));
    _mm512_mask_storeu_ps(to + 2 * i, even,
                          _mm512_permutexvar_ps(twice, values) + _mm512_set1_ps(shift));
  }
}
#else
template <class T>
static inline Vec<T> load_part(const T* row, std::int64_t count) {
  Vec<T> value{};
  for (std::int64_t k = 0; k < count; ++k) value[k] = row[k];
  return value;
}
template <class T>
static inline void store_part(T* row, Vec<T> value, std::int64_t count) {
  for (std::int64_t k = 0; k < count; ++k) row[k] = value[k];
}
#endif

template <class T>
static inline void store_every_other(T* to, const T* from, std::int64_t count, T shift) {
  for (std::int64_t i = 0; i < count; ++i) to[2 * i] = from[i] + shift;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
