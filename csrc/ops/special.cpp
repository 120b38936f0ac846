// Special functions (csrc/special_functions.h), one element after the other.
#include "special.h"

#include <cmath>

#include "../parallel.h"
#include "../special_functions.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static double log_gamma(double x) {
  int sign;
  return ::lgamma_r(x, &sign);  // std::lgamma writes to a global variable
}

template <class T, class Function>
static void special_loop(const Special& args, const Function& function) {
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  parallel_for(args.size, kGrain / 32, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      y[i] = static_cast<T>(function(static_cast<double>(x[i])));
  });
}

template <class T>
static void special_of(const Special& args) {
  switch (args.op) {
    case SpecialOp::lgamma:
      return special_loop<T>(args, log_gamma);
    case SpecialOp::digamma:
      return special_loop<T>(args, digamma);
    case SpecialOp::erfinv:
      return special_loop<T>(args, inverse_erf);
    case SpecialOp::i0:
      return special_loop<T>(args,
                             [](double x) { return scaled_bessel<0>(x) * std::exp(std::fabs(x)); });
    case SpecialOp::i0e:
      return special_loop<T>(args, scaled_bessel<0>);
    case SpecialOp::i1:
      return special_loop<T>(args,
                             [](double x) { return scaled_bessel<1>(x) * std::exp(std::fabs(x)); });
    case SpecialOp::i1e:
      return special_loop<T>(args, scaled_bessel<1>);
    case SpecialOp::ndtri:
      return special_loop<T>(args, normal_quantile);
    case SpecialOp::erfcx:
      return special_loop<T>(args, scaled_erfc);
    case SpecialOp::log_ndtr:
      return special_loop<T>(args, log_normal_cdf);
    case SpecialOp::zeta: {
      const T* x = static_cast<const T*>(args.x);
      const T* q = static_cast<const T*>(args.other);
      T* y = static_cast<T*>(args.y);
      return parallel_for(args.size, kGrain / 32, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
          y[i] = static_cast<T>(hurwitz_zeta(static_cast<double>(x[i]), static_cast<double>(q[i])));
      });
    }
  }
}

void special(const Special& args) {
  visit_floating(args.dtype, [&](auto type) { special_of<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
