// How a thread treats numbers below the smallest normal one: computes with them, or takes them for
// zero. Intel's processors need more than a hundred cycles for an instruction that meets one.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tilegrad {

// The thread's control register without what it notes of earlier results: rounding, and what
// becomes of small numbers.
inline std::uint64_t float_mode() {
#if defined(__x86_64__)
  return _mm_getcsr() & ~_MM_EXCEPT_MASK;
#elif defined(__aarch64__)
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
#else
  return 0;
#endif
}

inline void set_float_mode([[maybe_unused]] std::uint64_t mode) {
  asm volatile("" ::: "memory");  // no computation moves to the other side
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(mode) | (_mm_getcsr() & _MM_EXCEPT_MASK));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(mode));
#endif
  asm volatile("" ::: "memory");
}

// The bits that take small numbers for zero, operands and results.
#if defined(__x86_64__)
constexpr std::uint64_t kFlushToZero = 0x8040;
#elif defined(__aarch64__)
constexpr std::uint64_t kFlushToZero = std::uint64_t{1} << 24;
#else
constexpr std::uint64_t kFlushToZero = 0;
#endif

// Small numbers are zero in this thread as long as the object lives.
class FlushedToZero {
 public:
  FlushedToZero() : before_(float_mode()) { set_float_mode(before_ | kFlushToZero); }
  ~FlushedToZero() { set_float_mode(before_); }
  FlushedToZero(const FlushedToZero&) = delete;
  FlushedToZero& operator=(const FlushedToZero&) = delete;

 private:
  const std::uint64_t before_;
};

}  // namespace tilegrad
