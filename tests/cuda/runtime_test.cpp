// The allocator, copies and errors of the CUDA runtime layer. (The kernels are tested by the case
// tables in tests/ops, see tests/test_device.h.)
#include "runtime.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << cuda::unavailable_reason();
    cuda::use_device(0);
  }
};

TEST_F(Cuda, CopiesGoThereAndBack) {
  const Array<float> x = Array<float>::random(1000, 1);
  Array<float> y(1000);
  void* first = cuda::allocate(4000, 0);
  void* second = cuda::allocate(4000, 0);
  cuda::copy(first, 0, x.values.get(), -1, 4000);
  cuda::copy(second, 0, first, 0, 4000);
  cuda::copy(y.data(), -1, second, 0, 4000);
  EXPECT_TRUE(y == x);
  cuda::free(first, 0);
  cuda::free(second, 0);
}

TEST_F(Cuda, TheAllocatorReusesBlocksAndFailsWithAnError) {
  void* first = cuda::allocate(1000, 0);
  cuda::free(first, 0);
  EXPECT_EQ(cuda::allocate(900, 0), first);
  cuda::free(first, 0);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(std::size_t{1} << 45, 0); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([] { cuda::require_device(99, "test"); }), ErrorKind::runtime);
}

TEST(CudaRuntime, WithoutACardThereIsAReasonAndAnError) {
  if (cuda::device_count() > 0) GTEST_SKIP() << "this machine has a card";
  EXPECT_FALSE(cuda::unavailable_reason().empty());
  EXPECT_EQ(error_kind_of([] { cuda::require_device(0, "test"); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(8, 0); }), ErrorKind::runtime);
}

}  // namespace
}  // namespace tilegrad
