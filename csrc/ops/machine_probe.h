// Contract of the machine probes: how fast this machine multiplies and reads memory at best, so
// that benchmarks can say what share of that a kernel reaches. No operations.
#pragma once

#include <cstdint>

#include "../kernel.h"

namespace tilegrad {

// `tasks` parallel tasks of `steps` float32 multiply-adds on each of several registers.
struct FmaProbe {
  std::int64_t tasks, steps;
  float* sums;         // (tasks): keeps the compiler from dropping the work
  double* operations;  // receives the multiplications and additions done
};

// y = x + 0.5 * other, or, if `reads_only`, sums of x: dense float32, in parallel.
struct MemoryProbe {
  float* y;  // one element per 65536 if `reads_only`
  const float *x, *other;
  std::int64_t size;
  bool reads_only;
};

}  // namespace tilegrad

TILEGRAD_CPU_KERNEL(fma_probe, FmaProbe)
TILEGRAD_CPU_KERNEL(memory_probe, MemoryProbe)
