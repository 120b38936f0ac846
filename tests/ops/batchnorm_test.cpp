// Batch normalization on every instruction set against double-precision loops: long and short rows,
// results that are written past the caches, ReLU and residual.
#include "ops/batchnorm.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t batch, channels, length;
  std::int64_t count() const { return batch * channels * length; }
};
const Sizes kSizes[] = {{5, 3, 1},  {200, 70, 1}, {4, 5, 2},    {3, 40, 49}, {7, 3, 63},
                        {3, 2, 64}, {2, 9, 333},  {1, 2, 9001}, {2, 20, 100}};
const Sizes kLarge[] = {{40, 64, 1024}, {9000, 257, 1}, {9000, 272, 1}};

// Visits the elements of channel c in order.
template <class Visit>
void for_each_in(const Sizes& s, std::int64_t c, const Visit& visit) {
  for (std::int64_t n = 0; n < s.batch; ++n)
    for (std::int64_t i = 0; i < s.length; ++i) visit((n * s.channels + c) * s.length + i);
}

template <class T>
struct Case {
  Case(const Sizes& s, bool relu_and_residual)
      : sizes(s),
        fused(relu_and_residual),
        x(Array<T>::random(s.count(), 1)),
        residual(Array<T>::random(s.count(), 2)),
        grad(Array<T>::random(s.count(), 3)),
        weight(Array<T>::random(s.channels, 4)),
        bias(Array<T>::random(s.channels, 5)),
        y(s.count()),
        grad_x(s.count()),
        grad_residual(s.count()),
        grad_weight(s.channels),
        grad_bias(s.channels) {
    for (std::int64_t c = 0; c < s.channels; ++c) expect_channel(c);
  }

  // The definition.
  void expect_channel(std::int64_t c) {
    const auto count = static_cast<double>(sizes.batch * sizes.length);
    const auto w = static_cast<double>(weight[c]);
    double mean = 0, variance = 0;
    for_each_in(sizes, c, [&](auto i) { mean += static_cast<double>(x[i]) / count; });
    for_each_in(sizes, c, [&](auto i) {
      const double deviation = static_cast<double>(x[i]) - mean;
      variance += deviation * deviation / count;
    });
    const double rstd = 1 / std::sqrt(variance + 1e-3);
    for_each_in(sizes, c, [&](auto i) {
      const double z = (static_cast<double>(x[i]) - mean) * rstd;
      y[i] = z * w + static_cast<double>(bias[c]);
      if (fused) y[i] = std::max(0.0, y[i] + static_cast<double>(residual[i]));
      const double g = fused && y[i] <= 0 ? 0 : static_cast<double>(grad[i]);
      grad_residual[i] = g;
      grad_bias[c] += g;
      grad_weight[c] += g * z;
    });
    for_each_in(sizes, c, [&](auto i) {
      const double z = (static_cast<double>(x[i]) - mean) * rstd;
      grad_x[i] = w * rstd * (grad_residual[i] - grad_bias[c] / count - z * grad_weight[c] / count);
    });
  }

  void run(Isa isa, double tolerance) const {
    const Sizes& s = sizes;
    Array<T> out(s.count()), mean(s.channels), rstd(s.channels), gx(s.count()), gr(s.count()),
        gw(s.channels), gb(s.channels);
    BatchNorm args{.dtype = DTypeOf<T>::value,
                   .batch = s.batch,
                   .channels = s.channels,
                   .length = s.length,
                   .eps = 1e-3,
                   .x = x.values.get(),
                   .weight = weight.values.get(),
                   .bias = bias.values.get(),
                   .residual = fused ? residual.values.get() : nullptr,
                   .relu = fused,
                   .y = out.data(),
                   .mean = mean.data(),
                   .rstd = rstd.data()};
    run_on(isa, batchnorm_train_kernel, args);
    expect_close(out, y, s.count(), tolerance, tolerance);
    Array<T> again(s.count());
    args.y = again.data();
    run_on(isa, batchnorm_forward_kernel, args);
    EXPECT_TRUE(again == out);
    args.grad_y = grad.values.get();
    args.grad_x = gx.data();
    args.grad_residual = fused ? gr.data() : nullptr;
    args.grad_weight = gw.data();
    args.grad_bias = gb.data();
    args.training = true;
    run_on(isa, batchnorm_backward_kernel, args);
    const double sums = tolerance * std::sqrt(static_cast<double>(s.batch * s.length));
    expect_close(gx, grad_x, s.count(), 20 * tolerance, 20 * tolerance);
    if (fused) expect_close(gr, grad_residual, s.count(), 0, 0);
    expect_close(gw, grad_weight, s.channels, 10 * sums, 10 * sums);
    expect_close(gb, grad_bias, s.channels, 10 * sums, 10 * sums);
  }

  Sizes sizes;
  bool fused;
  Array<T> x, residual, grad, weight, bias;
  Array<double> y, grad_x, grad_residual, grad_weight, grad_bias;
};

template <class T>
void check(const Sizes& s, bool fused, double tolerance) {
  SCOPED_TRACE(testing::Message() << s.batch << " x " << s.channels << " x " << s.length
                                  << (fused ? " with ReLU and residual" : ""));
  const Case<T> expected(s, fused);
  for_each_isa([&](Isa isa) { expected.run(isa, tolerance); });
}

template <class T>
void check_running_rstd(std::int64_t channels, double tolerance) {
  Array<T> variance = Array<T>::random(channels, 6), rstd(channels);
  Array<double> expected(channels);
  for (std::int64_t c = 0; c < channels; ++c) {
    variance[c] *= variance[c];
    expected[c] = 1 / std::sqrt(static_cast<double>(variance[c]) + 1e-5);
  }
  for_each_isa([&](Isa isa) {
    BatchNorm args{.dtype = DTypeOf<T>::value, .batch = 1, .channels = channels, .length = 1};
    args.eps = 1e-5;
    args.running_var = variance.data();
    args.rstd = rstd.data();
    run_on(isa, batchnorm_rstd_kernel, args);
    expect_close(rstd, expected, channels, tolerance, 0);
  });
}

TEST(BatchNorm, RstdOfRunningVariance) {
  for (std::int64_t channels : {1, 3, 64, 77}) {
    check_running_rstd<float>(channels, 1e-6);
    check_running_rstd<double>(channels, 1e-15);
  }
}

TEST(BatchNorm, AgreesWithPlainLoops) {
  for (const Sizes& s : kSizes)
    for (bool fused : {false, true}) {
      check<double>(s, fused, 1e-12);
      check<float>(s, false, 1e-5);
    }
}

TEST(BatchNorm, AgreesWithPlainLoopsPastTheCaches) {
  for (const Sizes& s : kLarge) {
    check<float>(s, false, 1e-5);
    if (testing_cuda()) return;  // the caches are the processor's; one large case will do
  }
  check<double>({20, 64, 1024}, true, 1e-11);
}

// Samples far apart from each other, and a mean that is large beside the deviations.
TEST(BatchNorm, IsSafeAgainstCancellation) {
  const Sizes s{80, 2, 100};
  Array<float> x = Array<float>::random(s.count(), 1);
  for (std::int64_t i = 0; i < s.count(); ++i)
    x[i] = (i < s.channels * s.length ? 2000.f : -1000.f) + std::round(8 * x[i]) / 8;  // exact
  for_each_isa([&](Isa isa) {
    for (std::int64_t length : {s.length, std::int64_t{1}}) {  // rows, columns
      const std::int64_t channels = s.channels * s.length / length;
      Array<float> y(s.count()), mean(channels), rstd(channels);
      run_on(isa, batchnorm_train_kernel,
             BatchNorm{.dtype = DType::float32,
                       .batch = s.batch,
                       .channels = channels,
                       .length = length,
                       .x = x.data(),
                       .y = y.data(),
                       .mean = mean.data(),
                       .rstd = rstd.data()});
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto count = static_cast<double>(s.batch * length);
        double average = 0, variance = 0;
        for_each_in({s.batch, channels, length}, c,
                    [&](auto i) { average += static_cast<double>(x[i]) / count; });
        for_each_in({s.batch, channels, length}, c, [&](auto i) {
          variance += (static_cast<double>(x[i]) - average) * (static_cast<double>(x[i]) - average);
        });
        EXPECT_NEAR(static_cast<double>(mean[c]), average, 1e-3);
        // Squares of up to 80 times the variance are summed with 24 bits.
        EXPECT_NEAR(static_cast<double>(rstd[c]) * std::sqrt(variance / count), 1, 6e-5);
      }
    }
  });
}

}  // namespace
}  // namespace tilegrad
