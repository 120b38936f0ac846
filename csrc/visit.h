// Turns a run-time dtype into a compile-time type. Included by kernels, once per instruction set.
//
// Where a kernel has many operations, its integer arithmetic is compiled for the first instruction
// set only, and the others call it there: six more dtypes in every set would double the build for
// code that is seldom hot. Such a kernel uses the visit_..._once functions and begins with
//   TILEGRAD_INTEGERS_ELSEWHERE(binary, args, args.dtype);  // returns from the kernel if it
//   applies
#pragma once

#include <cstdint>

#include "dtype.h"

#if defined(TILEGRAD_IS_FIRST_ISA)
#define TILEGRAD_INTEGERS_ELSEWHERE(kernel, args, dtype)
#else
#define TILEGRAD_INTEGERS_ELSEWHERE(kernel, args, dtype) \
  if (!is_floating(dtype)) return tilegrad::cpu::TILEGRAD_FIRST_ISA::kernel(args)
#endif

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

// The same, compiled for the first instruction set only: after TILEGRAD_INTEGERS_ELSEWHERE.
template <class Function>
static inline void visit_integer_once([[maybe_unused]] DType dtype,
                                      [[maybe_unused]] const Function& function) {
#if defined(TILEGRAD_IS_FIRST_ISA)
  visit_integer(dtype, function);
#endif
}

template <class Function>
static inline void visit(DType dtype, const Function& function) {
  if (is_floating(dtype)) return visit_floating(dtype, function);
  visit_integer(dtype, function);
}

template <class Function>
static inline void visit_once(DType dtype, const Function& function) {
  if (is_floating(dtype)) return visit_floating(dtype, function);
  visit_integer_once(dtype, function);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
