// One SIMD register as a type, for the few kernels that the compiler does not vectorize by itself.
// Included once per instruction set; the widths follow from the compiler flags of that set.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
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

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
