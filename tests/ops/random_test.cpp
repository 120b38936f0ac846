// random: the generator's bits against the standard library's Mersenne Twister, and one sequence on
// every instruction set.
#include "ops/random.h"

#include <random>

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

TEST(Random, MultinomialNeverPicksWeightZero) {
  const double weights[] = {0, 1, 0, 2, 0};
  constexpr std::int64_t samples = 500;
  for_each_isa([&](Isa isa) {
    RandomState state = seeded(2);
    Array<std::int64_t> y(samples);
    double sums[5];
    run_on(isa, multinomial_kernel,
           Multinomial{.weights = weights,
                       .y = y.data(),
                       .sums = sums,
                       .rows = 1,
                       .categories = 5,
                       .samples = samples,
                       .replacement = true,
                       .state = &state});
    for (std::int64_t i = 0; i < samples; ++i) ASSERT_TRUE(y[i] == 1 || y[i] == 3) << y[i];
  });
}

}  // namespace
}  // namespace tilegrad
