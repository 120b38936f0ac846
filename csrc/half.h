// The 16-bit floating types as storage: conversion from and to float, in integer arithmetic that
// compilers vectorize; on a card by its own instructions, which differ in the bits of NaNs only.
// Nothing is computed in them. (constexpr: CUDA's device code may call them.)
#pragma once

#include <bit>
#include <cstdint>

namespace tilegrad {
// Internal linkage: this header is compiled under the flags of several instruction sets.
namespace {

// The upper 16 bits of a float: its range, 8 bits of precision.
struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;
  // To the nearest, ties to even; a NaN stays one.
  constexpr explicit BFloat16(float value) : bits() {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (whole + 0x7fff + (whole >> 16 & 1)) >> 16;
    const std::uint32_t nan = whole >> 16 | 0x40;
    bits = static_cast<std::uint16_t>((whole & 0x7fffffff) > 0x7f800000 ? nan : rounded);
#endif
  }
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

// IEEE 754 binary16: 5 bits of exponent, 11 of precision, largest number 65504.
struct Half {
  std::uint16_t bits;

  Half() = default;
  // To the nearest, ties to even; too large ones become infinite, a NaN stays one.
  constexpr explicit Half(float value) : bits() {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t size = whole & 0x7fffffff;
    // Normal: 13 bits of the fraction go, the exponent's bias falls from 127 to 15.
    const std::uint32_t normal = (size + 0xfff + (size >> 13 & 1) - (112u << 23)) >> 13;
    // Below 2^-14: in 0.5 + size the last bit counts 2^-24, as in a subnormal half.
    const std::uint32_t tiny =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000;
    std::uint32_t half = size < 0x38800000 ? tiny : normal;
    half = size >= 0x477ff000 ? 0x7c00 : half;  // 65520, halfway to 2^16, and above
    half = size > 0x7f800000 ? 0x7e00 | (size >> 13 & 0x3ff) : half;
    bits = static_cast<std::uint16_t>(whole >> 16 & 0x8000u) | static_cast<std::uint16_t>(half);
#endif
  }
  constexpr explicit operator float() const {
#if defined(__CUDA_ARCH__)
    float value = 0;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    const std::uint32_t sign = (bits & 0x8000u) << 16, size = (bits & 0x7fffu) << 13;
    // 2^112 restores the exponent's bias, and is exact for subnormal numbers too.
    const auto number = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) * 0x1p112f);
    return std::bit_cast<float>(sign | (size >= 0x7c00u << 13 ? size | 0x7f800000 : number));
#endif
  }
};

}  // namespace
}  // namespace tilegrad
