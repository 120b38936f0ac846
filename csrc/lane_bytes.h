// Bytes as integers as wide as the lanes of a register, and back: GCC 12 makes conversions of
// vectors whose elements differ so much in size element by element. Included once per instruction
// set. (With masks: GCC 12 warns about what its unmasked functions leave undefined.)
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "elementary.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The first bytes of a register. Copied into one that is zero they would wait for that in memory.
#if defined(__SSE2__)
template <int kBytes>
TILEGRAD_INLINE __m128i load_bytes(const std::uint8_t* from) {
  if constexpr (kBytes == 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  if constexpr (kBytes == 8) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  int four;
  std::memcpy(&four, from, sizeof(four));
  return _mm_cvtsi32_si128(four);
}
template <int kBytes>
TILEGRAD_INLINE void store_bytes(std::uint8_t* to, __m128i bytes) {
  if constexpr (kBytes == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  } else if constexpr (kBytes == 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
  } else {
    const int four = _mm_cvtsi128_si32(bytes);
    std::memcpy(to, &four, sizeof(four));
  }
}
#endif

// Lanes: a vector of 32- or 64-bit integers of 16 to 64 bytes; reads one byte for each.
template <class Lanes>
TILEGRAD_INLINE Lanes widen_bytes(const std::uint8_t* from) {
  constexpr int element = sizeof(Lanes{}[0]), size = sizeof(Lanes);
  typedef std::uint8_t Bytes __attribute__((vector_size(size / element)));
#if defined(__AVX512F__)
  if constexpr (size == 64 && element == 4)
    return (Lanes)_mm512_maskz_cvtepu8_epi32(0xffff, load_bytes<16>(from));
  if constexpr (size == 64 && element == 8)
    return (Lanes)_mm512_maskz_cvtepu8_epi64(0xff, load_bytes<8>(from));
#endif
#if defined(__AVX2__)
  if constexpr (size == 32 && element == 4) return (Lanes)_mm256_cvtepu8_epi32(load_bytes<8>(from));
  if constexpr (size == 32 && element == 8) return (Lanes)_mm256_cvtepu8_epi64(load_bytes<4>(from));
#endif
#if defined(__SSE2__)
  if constexpr (size == 16 && element == 4) {
    const __m128i zero = _mm_setzero_si128();
    return (Lanes)_mm_unpacklo_epi16(_mm_unpacklo_epi8(load_bytes<4>(from), zero), zero);
  }
#endif
  Bytes bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
  return __builtin_convertvector(bytes, Lanes);
}

// Writes one byte for each element, which are 0 to 255.
template <class Lanes>
TILEGRAD_INLINE void store_as_bytes(std::uint8_t* to, Lanes lanes) {
  constexpr int element = sizeof(Lanes{}[0]), size = sizeof(Lanes);
  typedef std::uint8_t Bytes __attribute__((vector_size(size / element)));
#if defined(__AVX512F__)
  if constexpr (size == 64 && element == 4)
    return store_bytes<16>(to, _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)lanes));
  if constexpr (size == 64 && element == 8)
    return store_bytes<8>(to, _mm512_maskz_cvtepi64_epi8(0xff, (__m512i)lanes));
#endif
#if defined(__AVX2__)
  if constexpr (size == 32) {
    const __m128i low = _mm256_castsi256_si128((__m256i)lanes);
    const __m128i high = _mm256_extracti128_si256((__m256i)lanes, 1);
    if constexpr (element == 4) {
      const __m128i words = _mm_packs_epi32(low, high);
      return store_bytes<8>(to, _mm_packus_epi16(words, words));
    } else {
      const __m128i ints = (__m128i)_mm_shuffle_ps((__m128)low, (__m128)high, 0x88);
      const __m128i words = _mm_packs_epi32(ints, ints);
      return store_bytes<4>(to, _mm_packus_epi16(words, words));
    }
  }
#endif
#if defined(__SSE2__)
  if constexpr (size == 16 && element == 4) {
    const __m128i words = _mm_packs_epi32((__m128i)lanes, (__m128i)lanes);
    return store_bytes<4>(to, _mm_packus_epi16(words, words));
  }
#endif
  const Bytes bytes = __builtin_convertvector(lanes, Bytes);
  std::memcpy(to, &bytes, sizeof(bytes));
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
