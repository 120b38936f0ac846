// Large results written past the caches. Included once per instruction set, and by strided.cpp.
//
// A plain store reads its cache line from memory before it overwrites it, and a result larger than
// the caches is gone from there before anybody reads it, having pushed out what others still need.
// Stores past the caches save a third of the traffic of a copy, half of that of a fill.
#pragma once

#include <cstring>

#if defined(TILEGRAD_ISA_NAMESPACE) && defined(__SSE2__)
#include <immintrin.h>
#endif

#include "strided.h"

namespace tilegrad {

// Copies bytes to memory past the caches, or with zero bytes completes what was copied before.
using CopyOut = void (*)(char* to, const char* from, std::int64_t bytes);

// walk_strided, but where possible rows get a buffer for their results, which `copy_out` takes
// away.
void walk_strided(const std::int64_t* shape, const std::int64_t (*strides)[kMaxDims],
                  char* const* data, int ndim, int operands, std::int64_t grain, RowBody body,
                  const void* context, CopyOut copy_out);

}  // namespace tilegrad

#if defined(TILEGRAD_ISA_NAMESPACE)
namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Results of this size and more are written past the caches. Smaller ones stay in part in a last
// cache of 32 MB, where the next operation finds them: in chains of operations the two ways break
// even at this size, for one thread and for two.
static constexpr std::int64_t kLargeResult = std::int64_t{16} << 20;

// A whole cache line; `to` is aligned to it.
static inline void copy_line_past_caches(char* to, const char* from) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
#elif defined(__AVX2__)
  for (int part = 0; part < 64; part += 32)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + part),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + part)));
#elif defined(__SSE2__)
  for (int part = 0; part < 64; part += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + part),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + part)));
#else
  std::memcpy(to, from, 64);
#endif
}

// Other threads may read what was written after this.
static inline void finish_past_caches() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Any bytes: lines that are covered in part are stored as usual. Zero bytes: finish_past_caches.
static void copy_past_caches(char* to, const char* from, std::int64_t bytes) {
  if (bytes == 0) return finish_past_caches();
  const std::int64_t beyond = reinterpret_cast<std::intptr_t>(to) & 63;
  std::int64_t i = 0;
  if (beyond != 0) {
    i = 64 - beyond < bytes ? 64 - beyond : bytes;
    std::memcpy(to, from, static_cast<std::size_t>(i));
  }
  for (; i + 64 <= bytes; i += 64) copy_line_past_caches(to + i, from + i);
  if (i < bytes) std::memcpy(to + i, from + i, static_cast<std::size_t>(bytes - i));
}

// walk_rows for rows that wait for memory rather than for arithmetic. Operand 0 is the result, and
// if it is large, side by side in memory and none of the inputs, the rows get a buffer in its
// place, which is then written past the caches: a row may not read its result.
template <int kOperands, class Row>
static inline void walk_light_rows(const StridedLoop<kOperands>& loop, const Row& row) {
  const bool large = loop.size() * loop.inner_stride(0) >= kLargeResult;
  walk_strided(loop.shape, loop.strides, loop.data, loop.ndim, kOperands, kGrain, row_body<Row>,
               &row, large ? copy_past_caches : nullptr);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
#endif
