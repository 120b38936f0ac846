// Group normalization on every instruction set against double-precision loops: long and short rows,
// one channel and all channels to a group, results that are written past the caches.
#include "ops/group_norm.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

struct Sizes {
  std::int64_t batch, channels, groups, length;
  std::int64_t count() const { return batch * channels * length; }
};
const Sizes kSizes[] = {{1, 1, 1, 1},   {3, 4, 2, 1},    {2, 6, 3, 7},
                        {5, 8, 8, 16},  {2, 5, 1, 31},   {2, 4, 2, 64},
                        {1, 6, 2, 333}, {2, 2, 1, 5000}, {40, 3, 3, 49}};
const Sizes kLarge[] = {{40, 64, 8, 1024}, {33, 64, 64, 1039}};

template <class T>
struct Case {
  Case(const Sizes& s, bool has_weight)
      : sizes(s),
        weighted(has_weight),
        x(Array<T>::random(s.count(), 1)),
        grad(Array<T>::random(s.count(), 2)),
        weight(Array<T>::random(s.channels, 3)),
        bias(Array<T>::random(s.channels, 4)),
        y(s.count()),
        grad_x(s.count()),
        mean(s.batch * s.groups),
        rstd(s.batch * s.groups),
        grad_weight(s.channels),
        grad_bias(s.channels) {
    for (std::int64_t group = 0; group < s.batch * s.groups; ++group) expect_group(group);
  }

  // The definition; elements of a group lie side by side.
  void expect_group(std::int64_t group) {
    const std::int64_t size = sizes.channels / sizes.groups * sizes.length, first = group * size;
    const auto count = static_cast<double>(size);
    double variance = 0;
    for (std::int64_t i = first; i < first + size; ++i)
      mean[group] += static_cast<double>(x[i]) / count;
    for (std::int64_t i = first; i < first + size; ++i) {
      const double deviation = static_cast<double>(x[i]) - mean[group];
      variance += deviation * deviation / count;
    }
    rstd[group] = 1 / std::sqrt(variance + 1e-3);
    double grads = 0, products = 0;
    for (std::int64_t i = first; i < first + size; ++i) {
      const std::int64_t c = i / sizes.length % sizes.channels;
      const double z = (static_cast<double>(x[i]) - mean[group]) * rstd[group];
      const double w = weighted ? static_cast<double>(weight[c]) : 1,
                   g = static_cast<double>(grad[i]);
      y[i] = z * w + (weighted ? static_cast<double>(bias[c]) : 0);
      grads += g * w;
      products += g * w * z;
      grad_weight[c] += g * z;
      grad_bias[c] += g;
    }
    for (std::int64_t i = first; i < first + size; ++i) {
      const std::int64_t c = i / sizes.length % sizes.channels;
      const double z = (static_cast<double>(x[i]) - mean[group]) * rstd[group];
      const double w = weighted ? static_cast<double>(weight[c]) : 1;
      grad_x[i] =
          rstd[group] * (static_cast<double>(grad[i]) * w - grads / count - z * products / count);
    }
  }

  void run(Isa isa, double tolerance) const {
    const Sizes& s = sizes;
    Array<T> out(s.count()), means(s.batch * s.groups), rstds(s.batch * s.groups), gx(s.count()),
        gw(s.channels), gb(s.channels);
    GroupNorm args{.dtype = DTypeOf<T>::value,
                   .batch = s.batch,
                   .channels = s.channels,
                   .groups = s.groups,
                   .length = s.length,
                   .eps = 1e-3,
                   .x = x.values.get(),
                   .weight = weighted ? weight.values.get() : nullptr,
                   .bias = weighted ? bias.values.get() : nullptr,
                   .y = out.data(),
                   .mean = means.data(),
                   .rstd = rstds.data()};
    run_on(isa, group_norm_kernel, args);
    expect_close(out, y, s.count(), 4 * tolerance, 4 * tolerance);
    expect_close(means, mean, means.size, tolerance, tolerance);
    expect_close(rstds, rstd, rstds.size, 4 * tolerance, tolerance);
    args.grad_y = grad.values.get();
    args.grad_x = gx.data();
    args.grad_weight = gw.data();
    args.grad_bias = gb.data();
    run_on(isa, group_norm_backward_kernel, args);
    const double sums = tolerance * std::sqrt(static_cast<double>(s.batch * s.length));
    expect_close(gx, grad_x, s.count(), 40 * tolerance, 40 * tolerance);
    expect_close(gw, grad_weight, s.channels, 10 * sums, 10 * sums);
    expect_close(gb, grad_bias, s.channels, 10 * sums, 10 * sums);
  }

  Sizes sizes;
  bool weighted;
  Array<T> x, grad, weight, bias;
  Array<double> y, grad_x, mean, rstd, grad_weight, grad_bias;
};

template <class T>
void check(const Sizes& s, bool weighted, double tolerance) {
  SCOPED_TRACE(testing::Message() << s.batch << " x " << s.channels << " in " << s.groups << " x "
                                  << s.length << (weighted ? " with weights" : ""));
  const Case<T> expected(s, weighted);
  for_each_isa([&](Isa isa) { expected.run(isa, tolerance); });
}

TEST(GroupNorm, AgreesWithPlainLoops) {
  for (const Sizes& s : kSizes)
    for (bool weighted : {false, true}) {
      check<double>(s, weighted, 1e-12);
      check<float>(s, weighted, 1e-5);
    }
}

TEST(GroupNorm, AgreesWithPlainLoopsPastTheCaches) {
  for (const Sizes& s : kLarge) {
    check<float>(s, true, 1e-5);
    if (testing_cuda()) return;  // the caches are the processor's; one large case will do
  }
}

TEST(GroupNorm, IsTheSameForEveryNumberOfThreads) {
  const Sizes s{30, 12, 4, 300};
  const Array<float> x = Array<float>::random(s.count(), 7);
  for_each_isa([&](Isa isa) {
    Array<float> first(s.channels);
    bool known = false;
    for_each_thread_count([&] {
      Array<float> y(s.count()), mean(s.batch * s.groups), rstd(s.batch * s.groups), gx(s.count()),
          gw(s.channels), gb(s.channels);
      GroupNorm args{.dtype = DType::float32,
                     .batch = s.batch,
                     .channels = s.channels,
                     .groups = s.groups,
                     .length = s.length,
                     .eps = 1e-5,
                     .x = x.values.get(),
                     .y = y.data(),
                     .mean = mean.data(),
                     .rstd = rstd.data(),
                     .grad_y = x.values.get(),
                     .grad_x = gx.data(),
                     .grad_weight = gw.data(),
                     .grad_bias = gb.data()};
      run_on(isa, group_norm_kernel, args);
      run_on(isa, group_norm_backward_kernel, args);
      if (known) EXPECT_TRUE(gw == first);
      else std::swap(gw, first);
      known = true;
    });
  });
}

}  // namespace
}  // namespace tilegrad
