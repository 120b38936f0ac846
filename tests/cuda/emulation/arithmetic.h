// CUDA's arithmetic that the C library lacks: bit operations, reciprocal roots, fast functions.
//
// The fast functions are exact here. On a card they are not, so a kernel that uses one has its
// tolerance measured there.
#pragma once

#include <math.h>  // also puts the overloads for float into the global namespace, as CUDA does

#include <bit>
#include <cstdint>

template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }

// The sine and cosine of x half turns; exact at multiples of a quarter turn, as in CUDA.
inline void sincospi(double x, double* sine, double* cosine) {
  const auto sine_of = [](double turn) {
    turn = remainder(turn, 2.0);
    if (turn == rint(turn)) return 0.0;
    if (fabs(turn) == 0.5) return turn < 0 ? -1.0 : 1.0;
    return sin(3.14159265358979323846 * turn);
  };
  *sine = sine_of(x);
  *cosine = sine_of(x + 0.5);
}
inline void sincospi(float x, float* sine, float* cosine) {
  double sine_of, cosine_of;
  sincospi(double{x}, &sine_of, &cosine_of);
  *sine = static_cast<float>(sine_of);
  *cosine = static_cast<float>(cosine_of);
}

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }

inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((std::uint64_t{x} * y) >> 32);
}

// Loads that bypass or keep to a cache are loads.
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}

// Where kernels find it before the C library's, which writes the sign to a global variable.
namespace tilegrad::cuda {
inline double lgamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}
}  // namespace tilegrad::cuda
