// What elements are summed in: halves in float32, rounded once at the end, all others in their
// type. And their sums (reduce.cuh).
#pragma once

#include <type_traits>

#include "half.h"
#include "reduce.cuh"

namespace tilegrad::cuda {

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, BFloat16> || std::is_same_v<T, Half>;
template <class T>
using Sum = std::conditional_t<kIsHalf<T>, float, T>;

// function(type) of one of the halves; false if the dtype is another.
template <class Function>
static bool visit_halves(DType dtype, const Function& function) {
  if (dtype == DType::bfloat16) function(Type<BFloat16>{});
  else if (dtype == DType::float16) function(Type<Half>{});
  else return false;
  return true;
}

// visit_floating, and halves.
template <class Function>
static void visit_stored(DType dtype, const Function& function) {
  if (!visit_halves(dtype, function)) visit_floating(dtype, function);
}

// f, a function of floats, for halves.
template <class T, class F>
struct OfHalves {
  F f;
  template <class... X>
  __device__ T operator()(X... x) const {
    return static_cast<T>(f(static_cast<float>(x)...));
  }
};

// Adds numbers up in order.
template <class From, class To>
struct SumTo : Add {
  using Accumulator = Sum<From>;
  const From* from;
  To* to;
  __device__ Accumulator identity() const { return Accumulator{0}; }
  __device__ Accumulator lift(std::int64_t offset, std::int64_t) const {
    return static_cast<Accumulator>(from[offset]);
  }
  __device__ void store(std::int64_t output, Accumulator sum) const {
    to[output] = static_cast<To>(sum);
  }
};

}  // namespace tilegrad::cuda
