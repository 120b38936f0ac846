// Contract of isa_probe: names the instruction set for which its translation unit was compiled.
//
// No operation: tilegrad.config() and the tests call it through the dispatch table that every
// kernel uses, so its answer is what really runs, whatever active_isa() believes.
#pragma once

#include "../kernel.h"

namespace tilegrad {

struct IsaProbe {
  const char** compiled_for;  // receives a string literal
};

}  // namespace tilegrad

TILEGRAD_CPU_KERNEL(isa_probe, IsaProbe)
