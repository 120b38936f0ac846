// The element types: one table row each, shared by every floor from the bindings down to CUDA.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tilegrad {

// Order matters: within one category a later type is wider (promotion in src/promote.cpp uses it).
enum class DType : std::uint8_t {
  boolean,
  uint8,
  int8,
  int16,
  int32,
  int64,
  float16,  // the halves: few kernels take them, see src/halves.h
  bfloat16,
  float32,
  float64,
  complex64,  // pairs of float32 or float64: few kernels take them, see src/gate.h
  complex128,
};

enum class DTypeCategory : std::uint8_t { boolean, integer, floating, complex };

struct DTypeInfo {
  const char* name;
  std::size_t size;  // bytes
  DTypeCategory category;
};

inline constexpr DTypeInfo kDTypes[] = {
    {"bool", 1, DTypeCategory::boolean},      {"uint8", 1, DTypeCategory::integer},
    {"int8", 1, DTypeCategory::integer},      {"int16", 2, DTypeCategory::integer},
    {"int32", 4, DTypeCategory::integer},     {"int64", 8, DTypeCategory::integer},
    {"float16", 2, DTypeCategory::floating},  {"bfloat16", 2, DTypeCategory::floating},
    {"float32", 4, DTypeCategory::floating},  {"float64", 8, DTypeCategory::floating},
    {"complex64", 8, DTypeCategory::complex}, {"complex128", 16, DTypeCategory::complex},
};
inline constexpr int kDTypeCount = sizeof(kDTypes) / sizeof(kDTypes[0]);

constexpr const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<int>(dtype)]; }
constexpr std::size_t size_of(DType dtype) { return info(dtype).size; }
constexpr bool is_floating(DType dtype) { return info(dtype).category == DTypeCategory::floating; }
constexpr bool is_complex(DType dtype) { return info(dtype).category == DTypeCategory::complex; }
// Whether there are gradients of this dtype.
constexpr bool is_differentiable(DType dtype) { return is_floating(dtype) || is_complex(dtype); }
constexpr bool is_half(DType dtype) { return dtype == DType::float16 || dtype == DType::bfloat16; }

// The dtype of the two parts of a complex number, and back.
constexpr DType part_dtype(DType dtype) {
  return dtype == DType::complex128 ? DType::float64 : DType::float32;
}
constexpr DType complex_dtype(DType part) {
  return part == DType::float64 ? DType::complex128 : DType::complex64;
}

// Maps a C++ type to its row.
template <class T>
struct DTypeOf;
// clang-format off
template <> struct DTypeOf<bool>          { static constexpr DType value = DType::boolean; };
template <> struct DTypeOf<std::uint8_t>  { static constexpr DType value = DType::uint8; };
template <> struct DTypeOf<std::int8_t>   { static constexpr DType value = DType::int8; };
template <> struct DTypeOf<std::int16_t>  { static constexpr DType value = DType::int16; };
template <> struct DTypeOf<std::int32_t>  { static constexpr DType value = DType::int32; };
template <> struct DTypeOf<std::int64_t>  { static constexpr DType value = DType::int64; };
template <> struct DTypeOf<float>         { static constexpr DType value = DType::float32; };
template <> struct DTypeOf<double>        { static constexpr DType value = DType::float64; };
// clang-format on

}  // namespace tilegrad
