// dropout: the published numbers of the generator, one mask for every instruction set and number of
// threads, rates, and what happens to NaN and infinity.
#include "ops/dropout.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
Array<T> apply(Isa isa, Array<T>& x, std::uint32_t threshold, std::uint64_t key) {
  Array<T> y(x.size);
  run_on(isa, dropout_kernel,
         Dropout{.dtype = DTypeOf<T>::value,
                 .y = y.data(),
                 .x = x.data(),
                 .size = x.size,
                 .threshold = threshold,
                 .scale = 4,
                 .key = key});
  return y;
}

// The test vectors that the authors publish with their code, for counter 0: key 0.
TEST(Dropout, DrawsThePublishedNumbers) {
  const std::uint32_t numbers[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  Array<float> x(64, 1.0f);
  for_each_isa([&](Isa isa) {
    for (std::int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(apply(isa, x, numbers[i], 0)[16 * i], 0.0f);
      EXPECT_EQ(apply(isa, x, numbers[i] + 1, 0)[16 * i], 4.0f);
    }
  });
}

TEST(Dropout, OneMaskForEverySetDtypeAndNumberOfThreads) {
  constexpr std::int64_t count = 100'003;
  constexpr std::uint64_t key = 0x123456789abcdef0;
  Array<float> x(count, 1.0f);
  Array<double> wide(count, 1.0);
  const Array<float> first = apply(supported_isas().front(), x, 1u << 30, key);
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    ASSERT_TRUE(first[i] == 0.0f || first[i] == 4.0f);
    kept += first[i] != 0.0f;
  }
  EXPECT_NEAR(static_cast<double>(kept) / count, 0.25, 0.01);
  for_each_isa([&](Isa isa) {
    for_each_thread_count([&] {
      EXPECT_TRUE(apply(isa, x, 1u << 30, key) == first);
      const Array<double> y = apply(isa, wide, 1u << 30, key);
      for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(y[i], static_cast<double>(first[i]));
    });
    EXPECT_FALSE(apply(isa, x, 1u << 30, key + 1) == first);
  });
}

TEST(Dropout, NaNAndInfinityAreMultiplied) {
  Array<float> x(70, NAN);
  for (std::int64_t i = 0; i < 70; i += 2) x[i] = INFINITY;
  for_each_isa([&](Isa isa) {
    const Array<float> none = apply(isa, x, 0, 1), all = apply(isa, x, 0xffffffffu, 1);
    for (std::int64_t i = 0; i < 70; ++i) {
      EXPECT_TRUE(std::isnan(none[i]));
      EXPECT_EQ(std::isnan(all[i]), i % 2 == 1);
    }
  });
}

}  // namespace
}  // namespace tilegrad
