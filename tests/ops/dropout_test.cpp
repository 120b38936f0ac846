// dropout: the mask's two values, its rate, and one mask for every instruction set.
#include "ops/dropout.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

TEST(Dropout, MaskIsZeroOrScale) {
  constexpr std::int64_t count = 20'000;
  Array<float> first(count);
  for_each_isa([&](Isa isa) {
    RandomState state;
    for (std::uint32_t i = 0; i < 624; ++i) state.words[i] = i * 2654435761u + 1;
    Array<float> mask(count);
    run_on(isa, dropout_mask_kernel,
           DropoutMask{.dtype = DType::float32,
                       .mask = mask.data(),
                       .size = count,
                       .keep = 0.25,
                       .scale = 4,
                       .state = &state});
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      ASSERT_TRUE(mask[i] == 0.0f || mask[i] == 4.0f);
      kept += mask[i] != 0.0f;
    }
    EXPECT_NEAR(static_cast<double>(kept) / count, 0.25, 0.02);
    if (isa == supported_isas().front()) first = std::move(mask);
    else EXPECT_TRUE(mask == first);
  });
}

}  // namespace
}  // namespace tilegrad
