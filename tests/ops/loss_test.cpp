// Elementwise losses, their sums and slopes on every instruction set against the definitions in
// double precision.
#include "ops/loss.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr LossKind kKinds[] = {LossKind::squared, LossKind::absolute,    LossKind::smooth_l1,
                               LossKind::huber,   LossKind::probability, LossKind::logit};

double value_of(LossKind kind, double x, double t, double p) {
  const double d = std::abs(x - t);
  switch (kind) {
    case LossKind::squared:
      return d * d;
    case LossKind::absolute:
      return d;
    case LossKind::smooth_l1:
      return d < p ? d * d / (2 * p) : d - p / 2;
    case LossKind::huber:
      return d <= p ? d * d / 2 : p * (d - p / 2);
    case LossKind::probability:
      return -t * std::max(std::log(x), -100.0) - (1 - t) * std::max(std::log1p(-x), -100.0);
    case LossKind::logit:
      return (1 - t) * x + std::log1p(std::exp(-std::abs(x))) + std::max(-x, 0.0);
  }
  return 0;
}

double slope_of(LossKind kind, double x, double t, double p) {
  const double d = x - t, sign = d > 0 ? 1 : d < 0 ? -1 : 0;
  switch (kind) {
    case LossKind::squared:
      return 2 * d;
    case LossKind::absolute:
      return sign;
    case LossKind::smooth_l1:
      return std::abs(d) < p ? d / p : sign;
    case LossKind::huber:
      return std::abs(d) <= p ? d : p * sign;
    case LossKind::probability:
      return d / std::max(x * (1 - x), 1e-12);
    case LossKind::logit:
      return 1 / (1 + std::exp(-x)) - t;
  }
  return 0;
}

template <class T>
struct Case {
  Case(LossKind loss_kind, std::int64_t count)
      : kind(loss_kind),
        size(count),
        x(Array<T>::random(count, 1)),
        target(Array<T>::random(count, 2)),
        grad(Array<T>::random(count, 3)),
        y(count),
        slope(count) {
    for (std::int64_t i = 0; i < count; ++i) {
      target[i] = std::abs(target[i]);
      if (kind == LossKind::probability) x[i] = std::abs(x[i]);
      else if (i % 5 == 0) x[i] = target[i];
      else x[i] *= 3;
      if (kind == LossKind::probability && i % 7 < 2) x[i] = static_cast<T>(i % 7);
      y[i] = value_of(kind, static_cast<double>(x[i]), static_cast<double>(target[i]), p);
      slope[i] = slope_of(kind, static_cast<double>(x[i]), static_cast<double>(target[i]), p);
      total += y[i];
    }
  }

  Loss args(T* out) {
    return {.kind = kind,
            .dtype = DTypeOf<T>::value,
            .parameter = p,
            .size = size,
            .x = x.data(),
            .target = target.data(),
            .y = out};
  }

  void run(Isa isa, double tolerance) {
    Array<T> out(size, T{-7}), sum(1);
    run_on(isa, loss_kernel, args(out.data()));
    expect_close(out, y, size, tolerance, tolerance);
    Loss of_sum = args(sum.data());
    of_sum.scale = 0.5;
    run_on(isa, loss_sum_kernel, of_sum);
    EXPECT_NEAR(static_cast<double>(sum[0]), total / 2, tolerance * (1 + total));
    for (bool one : {false, true}) {
      SCOPED_TRACE(one ? "one gradient for all" : "a gradient each");
      Array<double> expected(size);
      for (std::int64_t i = 0; i < size; ++i)
        expected[i] = slope[i] * static_cast<double>(grad[one ? 0 : i]) * (one ? 0.25 : 1);
      Loss of_slope = args(nullptr);
      of_slope.scale = 0.25;
      of_slope.grad = grad.data();
      of_slope.one_grad = one;
      of_slope.grad_x = out.data();
      run_on(isa, loss_backward_kernel, of_slope);
      expect_close(out, expected, size, 4 * tolerance, tolerance);
    }
  }

  static constexpr double p = 0.75;
  LossKind kind;
  std::int64_t size;
  Array<T> x, target, grad;
  Array<double> y, slope;
  double total = 0;
};

template <class T>
void check(std::int64_t size, double tolerance) {
  for (LossKind kind : kKinds) {
    SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(kind) << " of " << size);
    Case<T> drawn(kind, size);
    for_each_isa([&](Isa isa) { drawn.run(isa, tolerance); });
  }
}

TEST(Loss, AgreesWithItsDefinition) {
  for (std::int64_t size : {1, 3, 17, 100, 1000}) {
    check<float>(size, 2e-6);
    check<double>(size, 1e-14);
  }
}

TEST(Loss, ManyChunks) {
  check<float>(100'001, 2e-6);
  check<double>(70'000, 1e-14);
}

TEST(Loss, SumsDoNotDependOnThreads) {
  Case<float> drawn(LossKind::squared, 200'000);
  for_each_isa([&](Isa isa) {
    if (isa == kCuda) return;
    Array<float> expected(1);
    run_on(isa, loss_sum_kernel, drawn.args(expected.data()));
    for_each_thread_count([&] {
      Array<float> sum(1);
      run_on(isa, loss_sum_kernel, drawn.args(sum.data()));
      EXPECT_TRUE(sum == expected);
    });
  });
}

}  // namespace
}  // namespace tilegrad
