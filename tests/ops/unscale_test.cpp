// unscale and update_scale on every instruction set and on CUDA.
#include "ops/unscale.h"

#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
void check_unscale(DType dtype, std::int64_t broken_at, T broken) {
  constexpr std::int64_t kSizes[] = {1, 7, 0, 5000, 40000};
  for_each_isa([&](Isa isa) {
    std::vector<Array<T>> arrays, before;
    std::vector<UnscaleEntry> entries;
    for (std::int64_t size : kSizes) {
      arrays.push_back(Array<T>::random(size, 3));
      if (size > broken_at && broken_at >= 0) arrays.back()[broken_at] = broken;
    }
    for (Array<T>& array : arrays) {
      before.emplace_back(array.size);
      for (std::int64_t i = 0; i < array.size; ++i) before.back()[i] = array[i] * T(0.125);
      entries.push_back({dtype, array.size, array.data()});
    }
    Array<float> inverse(1, 0.125f), found(1, 0.0f);
    run_on(isa, unscale_kernel,
           Unscale{entries.data(), static_cast<std::int64_t>(entries.size()), inverse.data(),
                   found.data()});
    EXPECT_EQ(found[0], broken_at >= 0 ? 1.0f : 0.0f);
    for (std::size_t k = 0; k < arrays.size(); ++k)
      expect_close(arrays[k], before[k], arrays[k].size, 0, 0);
  });
}

TEST(Unscale, MultipliesAndFindsWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  check_unscale<float>(DType::float32, -1, 0);
  check_unscale<double>(DType::float64, -1, 0);
  for (std::int64_t at : {0, 6, 4999, 39999}) {
    check_unscale<float>(DType::float32, at, infinity);
    check_unscale<float>(DType::float32, at, -infinity);
    check_unscale<float>(DType::float32, at, std::numeric_limits<float>::quiet_NaN());
    check_unscale<double>(DType::float64, at, std::numeric_limits<double>::infinity());
  }
}

TEST(Unscale, TheScaleGrowsAndShrinks) {
  for_each_isa([&](Isa isa) {
    Array<float> scale(1, 8.0f), found(1, 0.0f);
    Array<std::int32_t> tracker(1, 0);
    const UpdateScale args{scale.data(), tracker.data(), found.data(), 2.0, 0.5, 2};
    const auto step = [&](float flag, float expected, std::int32_t count) {
      found[0] = flag;
      run_on(isa, update_scale_kernel, args);
      EXPECT_EQ(scale[0], expected);
      EXPECT_EQ(tracker[0], count);
    };
    step(0, 8, 1);
    step(0, 16, 0);
    step(0, 16, 1);
    step(1, 8, 0);
    scale[0] = std::numeric_limits<float>::max();
    step(0, scale[0], 1);
    step(0, scale[0], 0);
  });
}

}  // namespace
}  // namespace tilegrad
