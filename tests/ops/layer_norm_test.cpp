// Layer and root mean square normalization on every instruction set against double-precision loops:
// rows shorter than a register, rows of several pieces, many rows, results past the caches.
#include "ops/layer_norm.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t rows, size;
  std::int64_t count() const { return rows * size; }
};
const Sizes kSizes[] = {{1, 1},   {3, 2},    {5, 7},   {2, 16},     {9, 31},   {4, 64},
                        {6, 129}, {700, 20}, {3, 513}, {131, 1000}, {2, 4097}, {1, 9001}};
const Sizes kLarge[] = {{5000, 512}, {2100, 1031}};

struct Kind {
  bool centered, weight, bias;
};
const Kind kKinds[] = {{true, true, true},  {true, false, false}, {true, true, false},
                       {true, false, true}, {false, true, false}, {false, false, false}};

template <class T>
struct Case {
  Case(const Sizes& s, const Kind& k)
      : sizes(s),
        kind(k),
        x(Array<T>::random(s.count(), 1)),
        grad(Array<T>::random(s.count(), 2)),
        weight(Array<T>::random(s.size, 3)),
        bias(Array<T>::random(s.size, 4)),
        y(s.count()),
        grad_x(s.count()),
        mean(s.rows),
        rstd(s.rows),
        grad_weight(s.size),
        grad_bias(s.size) {
    for (std::int64_t row = 0; row < s.rows; ++row) expect_row(row);
  }

  double factor(std::int64_t i) const { return kind.weight ? static_cast<double>(weight[i]) : 1; }

  // The definition.
  void expect_row(std::int64_t row) {
    const std::int64_t first = row * sizes.size;
    const auto count = static_cast<double>(sizes.size);
    double variance = 0, grads = 0, products = 0;
    for (std::int64_t i = 0; kind.centered && i < sizes.size; ++i)
      mean[row] += static_cast<double>(x[first + i]) / count;
    for (std::int64_t i = 0; i < sizes.size; ++i) {
      const double deviation = static_cast<double>(x[first + i]) - mean[row];
      variance += deviation * deviation / count;
    }
    rstd[row] = 1 / std::sqrt(variance + 1e-3);
    for (std::int64_t i = 0; i < sizes.size; ++i) {
      const double z = (static_cast<double>(x[first + i]) - mean[row]) * rstd[row];
      const double g = static_cast<double>(grad[first + i]);
      y[first + i] = z * factor(i) + (kind.bias ? static_cast<double>(bias[i]) : 0);
      grads += g * factor(i);
      products += g * factor(i) * z;
      grad_weight[i] += g * z;
      grad_bias[i] += g;
    }
    for (std::int64_t i = 0; i < sizes.size; ++i) {
      const double z = (static_cast<double>(x[first + i]) - mean[row]) * rstd[row];
      const double g = static_cast<double>(grad[first + i]) * factor(i);
      grad_x[first + i] =
          rstd[row] * (g - (kind.centered ? grads / count : 0) - z * products / count);
    }
  }

  LayerNorm args() const {
    return {.dtype = DTypeOf<T>::value,
            .rows = sizes.rows,
            .size = sizes.size,
            .centered = kind.centered,
            .eps = 1e-3,
            .x = x.values.get(),
            .weight = kind.weight ? weight.values.get() : nullptr,
            .bias = kind.bias ? bias.values.get() : nullptr};
  }

  void run(Isa isa, double tolerance) const {
    Array<T> out(sizes.count()), means(sizes.rows), rstds(sizes.rows), gx(sizes.count()),
        gw(sizes.size), gb(sizes.size);
    LayerNorm a = args();
    a.y = out.data();
    a.mean = kind.centered ? means.data() : nullptr;
    a.rstd = rstds.data();
    run_on(isa, layer_norm_kernel, a);
    expect_close(out, y, sizes.count(), 4 * tolerance, 4 * tolerance);
    expect_close(rstds, rstd, sizes.rows, 4 * tolerance, tolerance);
    if (kind.centered) expect_close(means, mean, sizes.rows, tolerance, tolerance);
    a.grad_y = grad.values.get();
    a.grad_x = gx.data();
    a.grad_weight = gw.data();
    a.grad_bias = gb.data();
    run_on(isa, layer_norm_backward_kernel, a);
    const double sums = 10 * tolerance * std::sqrt(static_cast<double>(sizes.rows));
    expect_close(gx, grad_x, sizes.count(), 40 * tolerance, 40 * tolerance);
    expect_close(gw, grad_weight, sizes.size, sums, sums);
    expect_close(gb, grad_bias, sizes.size, sums, sums);
  }

  Sizes sizes;
  Kind kind;
  Array<T> x, grad, weight, bias;
  Array<double> y, grad_x, mean, rstd, grad_weight, grad_bias;
};

template <class T>
void check(const Sizes& s, const Kind& kind, double tolerance) {
  SCOPED_TRACE(testing::Message() << s.rows << " x " << s.size << (kind.centered ? "" : " RMS")
                                  << (kind.weight ? " with weight" : "")
                                  << (kind.bias ? " with bias" : ""));
  const Case<T> expected(s, kind);
  for_each_isa([&](Isa isa) { expected.run(isa, tolerance); });
}

TEST(LayerNorm, AgreesWithPlainLoops) {
  for (const Sizes& s : kSizes)
    for (const Kind& kind : kKinds) {
      check<double>(s, kind, 1e-12);
      check<float>(s, kind, 1e-5);
    }
}

TEST(LayerNorm, AgreesWithPlainLoopsPastTheCaches) {
  for (const Sizes& s : kLarge) {
    check<float>(s, {true, true, true}, 1e-5);
    if (testing_cuda()) return;  // the caches are the processor's; one large case will do
  }
}

// A mean that is large beside the deviations must not swallow them.
TEST(LayerNorm, IsSafeAgainstCancellation) {
  const std::int64_t size = 5000;
  Array<float> x = Array<float>::random(size, 1);
  for (std::int64_t i = 0; i < size; ++i) x[i] = 1000 + std::round(8 * x[i]) / 8;  // exact
  double mean = 0, variance = 0;
  for (std::int64_t i = 0; i < size; ++i) mean += static_cast<double>(x[i]) / size;
  for (std::int64_t i = 0; i < size; ++i)
    variance += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean) / size;
  for_each_isa([&](Isa isa) {
    Array<float> y(size), found_mean(1), rstd(1);
    run_on(isa, layer_norm_kernel,
           LayerNorm{.dtype = DType::float32,
                     .rows = 1,
                     .size = size,
                     .centered = true,
                     .eps = 0,
                     .x = x.data(),
                     .y = y.data(),
                     .mean = found_mean.data(),
                     .rstd = rstd.data()});
    EXPECT_NEAR(static_cast<double>(rstd[0]) * std::sqrt(variance), 1, 1e-5);
    EXPECT_NEAR(static_cast<double>(found_mean[0]), mean, 1e-3);
  });
}

}  // namespace
}  // namespace tilegrad
