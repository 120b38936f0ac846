// Cross-entropy on every instruction set: the loss against a double-precision loop, the gradient
// against differences of that loop.
#include "ops/cross_entropy.h"

#include <algorithm>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kIgnored = -100;

struct Problem {
  std::int64_t rows, classes, inner;
  bool normalized;
  double smoothing;
  Array<double> x, weight;
  Array<std::int64_t> target;

  Problem(std::int64_t rows, std::int64_t classes, bool normalized, double smoothing,
          std::int64_t inner = 1)
      : rows(rows),
        classes(classes),
        inner(inner),
        normalized(normalized),
        smoothing(smoothing),
        x(Array<double>::random(rows * classes, 1)),
        weight(Array<double>::random(classes, 2)),
        target(rows) {
    Random random(3);
    for (std::int64_t c = 0; c < classes; ++c) weight[c] += 1.5;
    for (std::int64_t n = 0; n < rows; ++n)
      target[n] = n % 5 == 4 ? kIgnored : static_cast<std::int64_t>(random.next() % 1000) % classes;
  }

  double score(std::int64_t n, std::int64_t c) const {
    return x[(n / inner * classes + c) * inner + n % inner];
  }
  double row_loss(std::int64_t n) const {
    if (target[n] == kIgnored) return 0;
    double sum = 0, smooth = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(score(n, c));
    const double lse = normalized ? 0 : std::log(sum);
    for (std::int64_t c = 0; c < classes; ++c) smooth += weight[c] * (lse - score(n, c));
    return (1 - smoothing) * weight[target[n]] * (lse - score(n, target[n])) +
           smoothing / static_cast<double>(classes) * smooth;
  }
  double mean_loss() const {
    double loss = 0, total = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      loss += row_loss(n);
      if (target[n] != kIgnored) total += weight[target[n]];
    }
    return loss / total;
  }
};

template <class T>
Array<T> converted(const Array<double>& from) {
  Array<T> to(from.size);
  for (std::int64_t i = 0; i < from.size; ++i) to[i] = static_cast<T>(from[i]);
  return to;
}

template <class T>
void check(Problem p, double tolerance) {
  SCOPED_TRACE(testing::Message() << p.rows << " x " << p.classes << ", smoothing " << p.smoothing);
  const double expected = p.mean_loss();
  Array<double> slope(p.rows * p.classes), losses(p.rows);
  for (std::int64_t n = 0; n < p.rows; ++n) losses[n] = p.row_loss(n);
  for (std::int64_t i = 0; i < p.x.size; ++i) {
    const double step = 1e-5, middle = p.x[i];
    p.x[i] = middle + step;
    const double above = p.mean_loss();
    p.x[i] = middle - step;
    slope[i] = (above - p.mean_loss()) / (2 * step);
    p.x[i] = middle;
  }
  const Array<T> x = converted<T>(p.x), weight = converted<T>(p.weight);
  const CrossEntropyRows in{DTypeOf<T>::value,
                            p.normalized,
                            Reduction::mean,
                            x.values.get(),
                            p.target.values.get(),
                            weight.values.get(),
                            kIgnored,
                            p.smoothing,
                            p.rows,
                            p.classes,
                            p.inner};
  for_each_isa([&](Isa isa) {
    Array<T> row_losses(p.rows), lse(p.rows), grad_x(p.x.size, T{-7});
    Array<T> loss(1), total(1), grad(1, T{2});
    run_on(isa, cross_entropy_kernel,
           CrossEntropy{in, row_losses.data(), lse.data(), loss.data(), total.data(), nullptr});
    expect_close(row_losses, losses, p.rows, tolerance, tolerance);
    EXPECT_NEAR(static_cast<double>(loss[0]), expected,
                tolerance * std::max(1.0, std::abs(expected)));
    run_on(isa, cross_entropy_backward_kernel,
           CrossEntropyBackward{in, grad_x.data(), grad.data(), lse.data(), total.data()});
    for (std::int64_t i = 0; i < p.x.size; ++i)
      ASSERT_NEAR(static_cast<double>(grad_x[i]), 2 * slope[i], 3e-7) << i;
    if (p.normalized) return;
    run_on(
        isa, cross_entropy_kernel,  // the gradient in the same pass
        CrossEntropy{in, row_losses.data(), lse.data(), loss.data(), total.data(), grad_x.data()});
    expect_close(row_losses, losses, p.rows, tolerance, tolerance);
    for (std::int64_t i = 0; i < p.x.size; ++i)
      ASSERT_NEAR(static_cast<double>(grad_x[i]), slope[i], 3e-7) << i;
  });
}

TEST(CrossEntropy, LossAndGradient) {
  for (bool normalized : {false, true})
    for (double smoothing : {0.0, 0.2})
      for (std::int64_t classes : {1, 3, 31, 32, 100}) {
        check<float>(Problem(7, classes, normalized, smoothing), 2e-6);
        check<double>(Problem(7, classes, normalized, smoothing), 1e-13);
      }
}

template <class T>
void check_shares(std::int64_t classes, double tolerance) {
  constexpr std::int64_t kRows = 6;
  const double epsilon = 1e-3;
  Array<T> x(kRows * classes);
  Array<std::int64_t> target(kRows);
  for (std::int64_t i = 0; i < x.size; ++i) x[i] = static_cast<T>(i * 37 % 101 + 1);
  for (std::int64_t n = 0; n < kRows; ++n) target[n] = n % classes;
  x[target[0]] = 0;  // below epsilon: the loss is constant there
  for_each_isa([&](Isa isa) {
    Array<T> losses(kRows), loss(1), grad_x(x.size, T{-7});
    run_on(isa, cross_entropy_shares_kernel,
           CrossEntropyShares{DTypeOf<T>::value, Reduction::mean, x.data(), target.data(), epsilon,
                              kRows, classes, losses.data(), loss.data(), grad_x.data()});
    double mean = 0;
    for (std::int64_t n = 0; n < kRows; ++n) {
      double sum = 0;
      for (std::int64_t c = 0; c < classes; ++c) sum += x[n * classes + c];
      const double chosen = x[n * classes + target[n]], share = chosen / sum;
      const bool inside = share >= epsilon && share <= 1 - epsilon;
      const double expected = -std::log(std::clamp(share, epsilon, 1 - epsilon));
      EXPECT_NEAR(static_cast<double>(losses[n]), expected, tolerance);
      mean += expected / kRows;
      for (std::int64_t c = 0; c < classes; ++c) {
        const double slope = 1 / sum - (c == target[n] ? 1 / chosen : 0);
        ASSERT_NEAR(static_cast<double>(grad_x[n * classes + c]), inside ? slope / kRows : 0,
                    tolerance)
            << n << ", " << c;
      }
    }
    EXPECT_NEAR(static_cast<double>(loss[0]), mean, tolerance);
  });
}

TEST(CrossEntropy, SharesOfAWhole) {
  for (std::int64_t classes : {2, 10, 33, 1500}) {
    check_shares<float>(classes, 2e-6);
    check_shares<double>(classes, 1e-13);
  }
}

// Images: two whole groups of registers, single registers and what fills none.
TEST(CrossEntropy, ScoresOfARowApart) {
  for (bool normalized : {false, true})
    for (double smoothing : {0.0, 0.2})
      for (std::int64_t inner : {2, 7, 16, 64, 151}) {
        check<float>(Problem(2 * inner, 5, normalized, smoothing, inner), 2e-6);
        check<double>(Problem(2 * inner, 5, normalized, smoothing, inner), 1e-13);
      }
}

}  // namespace
}  // namespace tilegrad
