// random: the CPU's bits against the standard library's Mersenne Twister, CUDA's against published
// numbers, and what every device's distributions have in common.
#include "ops/random.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

RandomState seeded(std::uint32_t seed) {
  RandomState state;
  state.words[0] = seed;
  for (std::uint32_t i = 1; i < 624; ++i)
    state.words[i] = 1812433253u * (state.words[i - 1] ^ (state.words[i - 1] >> 30)) + i;
  return state;
}

TEST(Random, BitsAreTheMersenneTwisters) {
  constexpr std::int64_t count = 2000;  // refills three times
  if (testing_cuda()) return;           // it has a generator of its own
  for_each_isa([&](Isa isa) {
    RandomState state = seeded(5489);
    std::mt19937 reference(5489);
    Array<float> y(count);
    run_on(isa, random_kernel,
           RandomFill{.op = RandomOp::uniform,
                      .dtype = DType::float32,
                      .y = y.data(),
                      .size = count,
                      .a = 0,
                      .b = 1,
                      .state = &state});
    for (std::int64_t i = 0; i < count; ++i)
      ASSERT_EQ(y[i], static_cast<float>(reference() & 0xffffff) * 0x1p-24f) << "draw " << i;
  });
}

TEST(Random, PermutationsHoldEveryNumber) {
  constexpr std::int64_t count = 1000;
  for_each_isa([&](Isa isa) {
    RandomState state = seeded(1);
    Array<std::int64_t> y(count);
    run_on(isa, random_kernel,
           RandomFill{.op = RandomOp::permutation,
                      .dtype = DType::int64,
                      .y = y.data(),
                      .size = count,
                      .state = &state});
    std::vector<bool> seen(count);
    for (std::int64_t i = 0; i < count; ++i) {
      ASSERT_TRUE(y[i] >= 0 && y[i] < count && !seen[static_cast<std::size_t>(y[i])]);
      seen[static_cast<std::size_t>(y[i])] = true;
    }
  });
}

// The test vectors that the authors of Philox publish, for key 0 and counter 0.
TEST(Random, CudasBitsAreThePublishedNumbers) {
  if (!testing_cuda()) return;
  const std::uint32_t numbers[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  Array<float> y(100);
  Array<double> wide(100);
  for_each_isa([&](Isa isa) {
    RandomFill args{.op = RandomOp::uniform, .dtype = DType::float32, .y = y.data(), .size = 100};
    args.b = 1;
    run_on(isa, random_kernel, args);
    args.dtype = DType::float64;
    args.y = wide.data();
    run_on(isa, random_kernel, args);
    for (int k = 0; k < 4; ++k)
      EXPECT_EQ(y[16 * k], static_cast<float>(numbers[k] & 0xffffff) * 0x1p-24f);
    for (int k = 0; k < 2; ++k) {
      const std::uint64_t bits = std::uint64_t{numbers[2 * k]} << 32 | numbers[2 * k + 1];
      EXPECT_EQ(wide[16 * k], static_cast<double>(bits & 0x1fffffffffffff) * 0x1p-53);
    }
  });
}

struct Moments {
  double mean, deviation, low, high;
};
template <class T>
Moments moments_of(Isa isa, RandomFill args) {
  constexpr std::int64_t kCount = 50'001;
  Array<T> y(kCount + 10, T{77});
  RandomState state = seeded(3);
  args.dtype = DTypeOf<T>::value;
  args.y = y.data();
  args.size = kCount;
  args.state = &state;
  args.key = 12345;
  run_on(isa, random_kernel, args);
  Moments m{0, 0, static_cast<double>(y[0]), static_cast<double>(y[0])};
  double squares = 0;
  for (std::int64_t i = 0; i < kCount; ++i) {
    const auto value = static_cast<double>(y[i]);
    m.mean += value / kCount;
    squares += value * value / kCount;
    m.low = std::min(m.low, value);
    m.high = std::max(m.high, value);
  }
  m.deviation = std::sqrt(squares - m.mean * m.mean);
  for (std::int64_t i = kCount; i < kCount + 10; ++i) EXPECT_EQ(y[i], T{77}) << "behind the end";
  return m;
}

template <class T>
void check_floating(Isa isa) {
  Moments m = moments_of<T>(isa, {.op = RandomOp::uniform, .a = -2, .b = 6});
  EXPECT_NEAR(m.mean, 2, 0.05);
  EXPECT_NEAR(m.deviation, 8 / std::sqrt(12.0), 0.05);
  EXPECT_GE(m.low, -2);
  EXPECT_LT(m.high, 6);
  m = moments_of<T>(isa, {.op = RandomOp::normal, .a = 5, .b = 3});
  EXPECT_NEAR(m.mean, 5, 0.08);
  EXPECT_NEAR(m.deviation, 3, 0.05);
  EXPECT_LT(m.low, 5 - 3 * 3.5);
  EXPECT_GT(m.high, 5 + 3 * 3.5);
  m = moments_of<T>(isa, {.op = RandomOp::exponential, .a = 4});
  EXPECT_NEAR(m.mean, 0.25, 0.006);
  EXPECT_NEAR(m.deviation, 0.25, 0.01);
  EXPECT_GE(m.low, 0);
}

TEST(Random, DistributionsHaveTheirMoments) {
  for_each_isa([&](Isa isa) {
    check_floating<float>(isa);
    check_floating<double>(isa);
    Moments m = moments_of<float>(isa, {.op = RandomOp::bernoulli, .a = 0.3});
    EXPECT_NEAR(m.mean, 0.3, 0.01);
    EXPECT_EQ(moments_of<std::uint8_t>(isa, {.op = RandomOp::bernoulli, .a = 0}).high, 0);
    EXPECT_EQ(moments_of<std::uint8_t>(isa, {.op = RandomOp::bernoulli, .a = 1}).low, 1);
    m = moments_of<std::int16_t>(isa, {.op = RandomOp::integer, .first = -5, .range = 11});
    EXPECT_NEAR(m.mean, 0, 0.08);
    EXPECT_EQ(m.low, -5);
    EXPECT_EQ(m.high, 5);
    m = moments_of<std::int64_t>(
        isa, {.op = RandomOp::integer, .first = -(1ll << 40), .range = 1ull << 41});
    EXPECT_NEAR(m.mean, 0, 0x1p40 / 50);
    EXPECT_LT(m.low, -0x1p40 * 0.99);
    EXPECT_LT(m.high, 0x1p40);
    m = moments_of<std::int8_t>(isa, {.op = RandomOp::full_range});
    EXPECT_EQ(m.low, 0);
    EXPECT_EQ(m.high, 127);
    EXPECT_NEAR(m.mean, 63.5, 1);
  });
}

TEST(Random, ChoosesByProbability) {
  constexpr std::int64_t count = 30'000;
  Array<double> p(count), y(count);
  for (std::int64_t i = 0; i < count; ++i) p[i] = static_cast<double>(i % 3) / 2;
  for_each_isa([&](Isa isa) {
    RandomState state = seeded(4);
    run_on(isa, random_choice_kernel,
           RandomChoice{.dtype = DType::float64,
                        .y = y.data(),
                        .p = p.data(),
                        .size = count,
                        .state = &state,
                        .key = 9});
    double chosen = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      if (i % 3 == 1) chosen += y[i];
      else ASSERT_EQ(y[i], p[i]);
    }
    EXPECT_NEAR(chosen / (count / 3.0), 0.5, 0.02);
  });
}

// Two rows of categories, `samples` of each; returns how often each came first.
std::vector<double> draw(Isa isa, std::int64_t samples, bool replacement, std::uint64_t key) {
  const double relative[] = {0, 1, 0, 2, 0};
  constexpr std::int64_t rows = 400;
  Array<double> weights(5 * rows), sums(5);
  for (std::int64_t i = 0; i < 5 * rows; ++i) weights[i] = relative[i % 5];
  Array<std::int64_t> y(rows * samples);
  RandomState state = seeded(static_cast<std::uint32_t>(key));
  run_on(isa, multinomial_kernel,
         Multinomial{.weights = weights.data(),
                     .y = y.data(),
                     .sums = sums.data(),
                     .rows = rows,
                     .categories = 5,
                     .samples = samples,
                     .replacement = replacement,
                     .state = &state,
                     .key = key});
  std::vector<double> share(5);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t s = 0; s < samples; ++s)
      EXPECT_TRUE(y[i * samples + s] == 1 || y[i * samples + s] == 3) << y[i * samples + s];
    EXPECT_TRUE(replacement || samples == 1 || y[2 * i] != y[2 * i + 1]);
    share[static_cast<std::size_t>(y[i * samples])] += 1.0 / rows;
  }
  return share;
}

TEST(Random, MultinomialDrawsByWeight) {
  for_each_isa([&](Isa isa) {
    EXPECT_NEAR(draw(isa, 7, true, 1)[3], 2.0 / 3, 0.1);
    EXPECT_NEAR(draw(isa, 1, false, 2)[3], 2.0 / 3, 0.1);
    EXPECT_NEAR(draw(isa, 2, false, 3)[3], 2.0 / 3, 0.1);
  });
}

}  // namespace
}  // namespace tilegrad
