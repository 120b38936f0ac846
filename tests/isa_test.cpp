// Instruction sets: names, detection and the choice at load time.
#include "isa.h"

#include <algorithm>

#include "kernel_testing.h"
#include "ops/binary.h"

namespace tilegrad {
namespace {

TEST(Isa, TheWorstSetRunsEverywhere) {
  const std::vector<Isa> usable = supported_isas();
  ASSERT_FALSE(usable.empty());
  EXPECT_EQ(usable.front(), Isa{0});
  EXPECT_LE(usable.size(), static_cast<std::size_t>(kIsaCount));
}

TEST(Isa, WithoutARequestTheBestIsChosen) { EXPECT_EQ(choose_isa(""), supported_isas().back()); }

TEST(Isa, EverySupportedSetCanBeRequestedByName) {
  for (Isa isa : supported_isas()) EXPECT_EQ(choose_isa(isa_name(isa)), isa);
}

TEST(Isa, UnknownNamesAreValueErrors) {
  for (const char* name : {"sse9", "AVX2", "avx2 ", "avx"})
    EXPECT_EQ(error_kind_of([&] { choose_isa(name); }), ErrorKind::value) << name;
}

TEST(Isa, SetsThatTheProcessorLacksAreRuntimeErrors) {
  const std::vector<Isa> usable = supported_isas();
  if (static_cast<int>(usable.size()) == kIsaCount)
    GTEST_SKIP() << "this processor runs every compiled set";
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (std::find(usable.begin(), usable.end(), isa) != usable.end()) continue;
    EXPECT_EQ(error_kind_of([&] { choose_isa(isa_name(isa)); }), ErrorKind::runtime);
  }
}

TEST(Isa, TheActiveSetIsTheOneThatWasSet) {
  const Isa before = active_isa();
  for (Isa isa : supported_isas()) {
    set_active_isa(isa);
    EXPECT_EQ(active_isa(), isa);
  }
  set_active_isa(before);
}

TEST(Isa, KernelsHaveOneFunctionPerSet) {
  for (int i = 0; i < kIsaCount; ++i) {
    ASSERT_NE(binary_kernel.cpu[i], nullptr);
    for (int j = 0; j < i; ++j) EXPECT_NE(binary_kernel.cpu[i], binary_kernel.cpu[j]);
  }
}

}  // namespace
}  // namespace tilegrad
