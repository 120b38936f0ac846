// softmax, log_softmax and their gradients on every instruction set against double-precision loops.
#include "ops/softmax.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t outer, length, inner;
  std::int64_t count() const { return outer * length * inner; }
};
const Sizes kSizes[] = {{3, 1, 1},   {4, 10, 1}, {2, 1000, 1}, {3, 7, 5},
                        {2, 40, 70}, {0, 3, 2},  {2, 0, 3}};

// The definition, element by element.
Array<double> softmax_of(const Sizes& s, const Array<double>& x, bool log) {
  Array<double> y(s.count());
  for (std::int64_t column = 0; column < s.outer * s.inner; ++column) {
    const std::int64_t first = column / s.inner * s.length * s.inner + column % s.inner;
    double sum = 0;
    for (std::int64_t i = 0; i < s.length; ++i) sum += std::exp(x[first + i * s.inner]);
    for (std::int64_t i = 0; i < s.length; ++i) {
      const double value = x[first + i * s.inner];
      y[first + i * s.inner] = log ? value - std::log(sum) : std::exp(value) / sum;
    }
  }
  return y;
}

template <class T>
void check(double tolerance) {
  for (const Sizes& s : kSizes)
    for (bool log : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << s.outer << " x " << s.length << " x " << s.inner << " " << log);
      const Array<T> x = Array<T>::random(s.count(), 1), grad = Array<T>::random(s.count(), 2);
      Array<double> wide(s.count()), slope(s.count());
      for (std::int64_t i = 0; i < s.count(); ++i) wide[i] = static_cast<double>(x[i]);
      const Array<double> expected = softmax_of(s, wide, log);
      // The Jacobian times grad: sum_i grad[i] * dy[i]/dx[k], with p the probabilities.
      const Array<double> p = softmax_of(s, wide, false);
      for (std::int64_t k = 0; k < s.count(); ++k)
        for (std::int64_t i = 0; i < s.length; ++i) {
          const std::int64_t block = s.length * s.inner;
          const std::int64_t other = k / block * block + i * s.inner + k % s.inner;
          const double same = other == k ? 1.0 : 0.0;
          slope[k] +=
              static_cast<double>(grad[other]) * (log ? same - p[k] : p[other] * (same - p[k]));
        }
      for_each_isa([&](Isa isa) {
        Array<T> y(s.count(), T{-7}), grad_x(s.count(), T{-7});
        run_on(
            isa, softmax_kernel,
            Softmax{log, DTypeOf<T>::value, y.data(), x.values.get(), s.outer, s.length, s.inner});
        expect_close(y, expected, s.count(), tolerance, tolerance);
        run_on(isa, softmax_backward_kernel,
               SoftmaxBackward{log, DTypeOf<T>::value, grad_x.data(), grad.values.get(), y.data(),
                               s.outer, s.length, s.inner});
        expect_close(grad_x, slope, s.count(), 10 * tolerance, 10 * tolerance);
      });
    }
}

TEST(Softmax, Float32) { check<float>(2e-6); }
TEST(Softmax, Float64) { check<double>(1e-13); }

}  // namespace
}  // namespace tilegrad
