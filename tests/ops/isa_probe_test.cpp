// The dispatch table's row for an instruction set holds code compiled for that set.
#include "ops/isa_probe.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

TEST(IsaProbe, EachRowWasCompiledForItsOwnSet) {
  for_each_isa([](Isa isa) {
    const char* compiled_for = nullptr;
    run_on(isa, isa_probe_kernel, IsaProbe{&compiled_for});
    EXPECT_STREQ(compiled_for, isa_name(isa));
  });
}

}  // namespace
}  // namespace tilegrad
