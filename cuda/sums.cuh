// What elements are summed in: halves in float32, rounded once at the end, all others in their
// type.
#pragma once

#include <type_traits>

#include "half.h"
#include "launch.cuh"

namespace tilegrad::cuda {

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, BFloat16> || std::is_same_v<T, Half>;
template <class T>
using Sum = std::conditional_t<kIsHalf<T>, float, T>;

// visit_floating, and halves.
template <class Function>
static void visit_stored(DType dtype, const Function& function) {
  if (dtype == DType::bfloat16) return function(Type<BFloat16>{});
  if (dtype == DType::float16) return function(Type<Half>{});
  visit_floating(dtype, function);
}

}  // namespace tilegrad::cuda
