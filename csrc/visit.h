// Turns a run-time dtype into a compile-time type. Included by kernels, once per instruction set.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct Type {
  using type = T;
};

// visit(dtype, [&](auto type) { using T = typename decltype(type)::type; ... });
template <class Function>
static inline void visit_floating(DType dtype, const Function& function) {
  if (dtype == DType::float64) return function(Type<double>{});
  function(Type<float>{});
}

template <class Function>
static inline void visit_integer(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::boolean:
      return function(Type<bool>{});
    case DType::uint8:
      return function(Type<std::uint8_t>{});
    case DType::int8:
      return function(Type<std::int8_t>{});
    case DType::int16:
      return function(Type<std::int16_t>{});
    case DType::int32:
      return function(Type<std::int32_t>{});
    default:
      return function(Type<std::int64_t>{});
  }
}

template <class Function>
static inline void visit(DType dtype, const Function& function) {
  if (is_floating(dtype)) return visit_floating(dtype, function);
  visit_integer(dtype, function);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
