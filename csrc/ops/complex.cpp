// Products, quotients and absolute values of complex numbers.
//
// Written out in real arithmetic: the compiler's own complex product tests every result for NaN.
#include "complex.h"

#include <cmath>

#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct Pair {
  T real, imaginary;
};

template <class T>
static inline Pair<T> product(Pair<T> x, Pair<T> other) {
  return {x.real * other.real - x.imaginary * other.imaginary,
          x.real * other.imaginary + x.imaginary * other.real};
}

// No intermediate value overflows: float32 is computed in double, whose exponents suffice, and a
// divisor in double is scaled by its larger part first.
static inline Pair<double> scaled_quotient(Pair<double> x, Pair<double> other, double scale) {
  const Pair<double> by{other.real / scale, other.imaginary / scale};
  const double size = by.real * by.real + by.imaginary * by.imaginary;
  return {(x.real / scale * by.real + x.imaginary / scale * by.imaginary) / size,
          (x.imaginary / scale * by.real - x.real / scale * by.imaginary) / size};
}
static inline Pair<double> quotient(Pair<double> x, Pair<double> other) {
  return scaled_quotient(x, other, std::fmax(std::fabs(other.real), std::fabs(other.imaginary)));
}
static inline Pair<float> quotient(Pair<float> x, Pair<float> other) {
  const Pair<double> y = scaled_quotient({x.real, x.imaginary}, {other.real, other.imaginary}, 1);
  return {static_cast<float>(y.real), static_cast<float>(y.imaginary)};
}

template <class T, class Operation>
static void pair_rows(const StridedLoop<3>& loop, const Operation& operation) {
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  constexpr std::int64_t unit = sizeof(Pair<T>);
  walk_rows(loop, [=](char** pointers, std::int64_t count) {
    Pair<T>* y = reinterpret_cast<Pair<T>*>(pointers[0]);
    const Pair<T>* x = reinterpret_cast<const Pair<T>*>(pointers[1]);
    const Pair<T>* other = reinterpret_cast<const Pair<T>*>(pointers[2]);
    if (sy == unit && sx == unit && so == unit) {
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = operation(x[i], other[i]);
    } else {
      for (std::int64_t i = 0; i < count; ++i)
        *reinterpret_cast<Pair<T>*>(pointers[0] + i * sy) =
            operation(*reinterpret_cast<const Pair<T>*>(pointers[1] + i * sx),
                      *reinterpret_cast<const Pair<T>*>(pointers[2] + i * so));
    }
  });
}

void complex_product(const ComplexProduct& args) {
  visit_floating(args.part, [&](auto type) {
    using T = typename decltype(type)::type;
    using P = Pair<T>;
    if (args.divides)
      return pair_rows<T>(args.loop, [](P x, P other) { return quotient(x, other); });
    pair_rows<T>(args.loop, [](P x, P other) { return product(x, other); });
  });
}

static inline float size_of_pair(Pair<float> x) {
  const double real = x.real, imaginary = x.imaginary;  // their squares fit
  const auto size = static_cast<float>(std::sqrt(real * real + imaginary * imaginary));
  return std::isinf(x.real) || std::isinf(x.imaginary) ? HUGE_VALF : size;  // beside a NaN too
}
static inline double size_of_pair(Pair<double> x) { return std::hypot(x.real, x.imaginary); }

void complex_abs(const ComplexAbs& args) {
  const std::int64_t sy = args.loop.inner_stride(0), sx = args.loop.inner_stride(1);
  visit_floating(args.part, [&](auto type) {
    using T = typename decltype(type)::type;
    walk_rows(args.loop, [=](char** pointers, std::int64_t count) {
      if (sy == sizeof(T) && sx == sizeof(Pair<T>)) {
        T* y = reinterpret_cast<T*>(pointers[0]);
        const Pair<T>* x = reinterpret_cast<const Pair<T>*>(pointers[1]);
#pragma GCC ivdep
        for (std::int64_t i = 0; i < count; ++i) y[i] = size_of_pair(x[i]);
        return;
      }
      for (std::int64_t i = 0; i < count; ++i)
        *reinterpret_cast<T*>(pointers[0] + i * sy) =
            size_of_pair(*reinterpret_cast<const Pair<T>*>(pointers[1] + i * sx));
    });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
