// Special functions (csrc/special_functions.h): one thread per element, in double as on the CPU.
//
// 2 * sizeof(T) bytes an element and some hundred operations in double, by which they are bound
// whatever the occupancy. Up to 56 registers, 4 blocks of 256 threads on a multiprocessor.
#include "ops/special.h"

#include "launch.cuh"
#include "special_functions.h"

namespace tilegrad::cuda {
namespace {

__device__ double log_gamma(double x) { return lgamma(x); }
__device__ double bessel_i0e(double x) { return scaled_bessel<0>(x); }
__device__ double bessel_i1e(double x) { return scaled_bessel<1>(x); }
__device__ double bessel_i0(double x) { return scaled_bessel<0>(x) * exp(fabs(x)); }
__device__ double bessel_i1(double x) { return scaled_bessel<1>(x) * exp(fabs(x)); }

// A functor for each, since pointers to device functions cannot be arguments.
#define TILEGRAD_SPECIAL_FUNCTION(name, function)                         \
  struct name##_of {                                                      \
    __device__ static double of(double x, double) { return function(x); } \
  };
TILEGRAD_SPECIAL_FUNCTION(lgamma, log_gamma)
TILEGRAD_SPECIAL_FUNCTION(digamma, digamma)
TILEGRAD_SPECIAL_FUNCTION(erfinv, inverse_erf)
TILEGRAD_SPECIAL_FUNCTION(i0, bessel_i0)
TILEGRAD_SPECIAL_FUNCTION(i0e, bessel_i0e)
TILEGRAD_SPECIAL_FUNCTION(i1, bessel_i1)
TILEGRAD_SPECIAL_FUNCTION(i1e, bessel_i1e)
TILEGRAD_SPECIAL_FUNCTION(ndtri, normal_quantile)
TILEGRAD_SPECIAL_FUNCTION(erfcx, scaled_erfc)
TILEGRAD_SPECIAL_FUNCTION(log_ndtr, log_normal_cdf)
#undef TILEGRAD_SPECIAL_FUNCTION
struct zeta_of {
  __device__ static double of(double x, double other) { return hurwitz_zeta(x, other); }
};

template <class Function, class T>
struct SpecialElement {
  const T *x, *other;
  T* y;
  __device__ void operator()(std::int64_t i) const {
    const T second = other ? other[i] : T{0};
    y[i] = static_cast<T>(Function::of(static_cast<double>(x[i]), static_cast<double>(second)));
  }
};

template <class Function>
void apply(const Special& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_index<2>(args.size, SpecialElement<Function, T>{static_cast<const T*>(args.x),
                                                             static_cast<const T*>(args.other),
                                                             static_cast<T*>(args.y)});
  });
}

}  // namespace

void special(const Special& args) {
  switch (args.op) {
#define TILEGRAD_CASE(name) \
  case SpecialOp::name:     \
    return apply<name##_of>(args);
    TILEGRAD_FOR_EACH_SPECIAL(TILEGRAD_CASE)
    TILEGRAD_CASE(zeta)
#undef TILEGRAD_CASE
  }
}

}  // namespace tilegrad::cuda
