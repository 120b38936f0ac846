// Machine probes: loops that do nothing but multiply-adds, or nothing but loads and stores.
#include "machine_probe.h"

#include <algorithm>

#include "../parallel.h"
#include "../vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Enough independent sums to hide the latency of two multiply-adds per cycle, few enough to stay in
// 16 registers.
static constexpr int kSums = 12;

[[gnu::noinline]] static float multiply_add(std::int64_t steps) {
  const volatile float unknown[2] = {0.999f, 1e-3f};  // to the compiler
  const Vec<float> factor = Vec<float>{} + unknown[0], term = Vec<float>{} + unknown[1];
  Vec<float> sums[kSums];
#pragma GCC unroll 12
  for (int i = 0; i < kSums; ++i) sums[i] = Vec<float>{} + static_cast<float>(i);
  for (std::int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + term;
  Vec<float> total = sums[0];
#pragma GCC unroll 12
  for (int i = 1; i < kSums; ++i) total += sums[i];
  return total[0];
}

void fma_probe(const FmaProbe& args) {
  parallel_for(args.tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) args.sums[task] = multiply_add(args.steps);
  });
  *args.operations = 2.0 * kSums * kLanes<float> * static_cast<double>(args.steps * args.tasks);
}

void memory_probe(const MemoryProbe& args) {
  constexpr std::int64_t piece = 65536;
  constexpr int sums = 4;
  parallel_for(args.size, piece, [&](std::int64_t begin, std::int64_t end) {
    if (!args.reads_only) {
      for (std::int64_t i = begin; i < end; ++i) args.y[i] = args.x[i] + 0.5f * args.other[i];
      return;
    }
    for (; begin < end; begin += piece) {
      Vec<float> total[sums] = {};
      std::int64_t i = begin;
      const std::int64_t last = std::min(begin + piece, end);
      for (; i + sums * kLanes<float> <= last; i += sums * kLanes<float>)
#pragma GCC unroll 4
        for (int k = 0; k < sums; ++k) total[k] += load(args.x + i + k * kLanes<float>);
      args.y[begin / piece] = (total[0] + total[1] + total[2] + total[3])[0];
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
