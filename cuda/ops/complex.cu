// Products, quotients and absolute values of complex numbers, pairs of parts side by side:
// 6 * sizeof(part) bytes an element, or 3, and 6 operations for a product. Quotients of float32
// take two divisions in double. Up to 48 registers, 5 blocks of 256 threads on a multiprocessor.
#include "ops/complex.h"

#include "elementwise.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct alignas(2 * sizeof(T)) Parts {
  T real, imaginary;
};

template <class T>
struct ComplexProductOf {
  using P = Parts<T>;
  __device__ P operator()(P x, P other) const {
    return {x.real * other.real - x.imaginary * other.imaginary,
            x.real * other.imaginary + x.imaginary * other.real};
  }
};

// No intermediate value overflows: float32 is computed in double, whose exponents suffice, and a
// divisor in double is scaled by its larger part first.
__device__ inline Parts<double> scaled_quotient(Parts<double> x, Parts<double> other,
                                                double scale) {
  const Parts<double> by = {other.real / scale, other.imaginary / scale};
  const double size = by.real * by.real + by.imaginary * by.imaginary;
  return {(x.real / scale * by.real + x.imaginary / scale * by.imaginary) / size,
          (x.imaginary / scale * by.real - x.real / scale * by.imaginary) / size};
}
struct QuotientOfFloats {
  using P = Parts<float>;
  __device__ P operator()(P x, P other) const {
    const double real = other.real, imaginary = other.imaginary;
    const double size = real * real + imaginary * imaginary;
    return {static_cast<float>((x.real * real + x.imaginary * imaginary) / size),
            static_cast<float>((x.imaginary * real - x.real * imaginary) / size)};
  }
};
struct QuotientOfDoubles {
  using P = Parts<double>;
  __device__ P operator()(P x, P other) const {
    return scaled_quotient(x, other, fmax(fabs(other.real), fabs(other.imaginary)));
  }
};

struct AbsoluteOfFloats {
  __device__ float operator()(Parts<float> x) const {
    const double real = x.real, imaginary = x.imaginary;  // their squares fit
    if (isinf(x.real) || isinf(x.imaginary))              // beside a NaN too
      return __int_as_float(0x7f800000);
    return static_cast<float>(sqrt(real * real + imaginary * imaginary));
  }
};
struct AbsoluteOfDoubles {
  __device__ double operator()(Parts<double> x) const { return hypot(x.real, x.imaginary); }
};

}  // namespace

void complex_product(const ComplexProduct& args) {
  using Narrow = Parts<float>;
  using Wide = Parts<double>;
  if (args.part == DType::float32) {
    if (args.divides) return map_elements<Narrow, Narrow, Narrow>(args.loop, QuotientOfFloats{});
    return map_elements<Narrow, Narrow, Narrow>(args.loop, ComplexProductOf<float>{});
  }
  if (args.divides) return map_elements<Wide, Wide, Wide>(args.loop, QuotientOfDoubles{});
  map_elements<Wide, Wide, Wide>(args.loop, ComplexProductOf<double>{});
}

void complex_abs(const ComplexAbs& args) {
  if (args.part == DType::float32)
    return map_elements<float, Parts<float>>(args.loop, AbsoluteOfFloats{});
  map_elements<double, Parts<double>>(args.loop, AbsoluteOfDoubles{});
}

}  // namespace tilegrad::cuda
