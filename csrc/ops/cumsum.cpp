// Cumulative sums: one running sum per column, a block of columns side by side. float32 is summed
// in double, because a running sum cannot be arranged as a tree.
#include "cumsum.h"

#include <algorithm>

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kColumns = 64;

template <class T, class A>
static void scan(const Cumsum& args) {
  const std::int64_t blocks = (args.inner + kColumns - 1) / kColumns;
  const std::int64_t work = std::max<std::int64_t>(1, args.length * std::min(args.inner, kColumns));
  const std::int64_t step = args.reverse ? -args.inner : args.inner;
  parallel_for(args.outer * blocks, std::max<std::int64_t>(1, kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % blocks * kColumns;
                   const std::int64_t width = std::min(kColumns, args.inner - first);
                   std::int64_t at = task / blocks * args.length * args.inner + first;
                   if (args.reverse) at += (args.length - 1) * args.inner;
                   const T* x = static_cast<const T*>(args.x);
                   T* y = static_cast<T*>(args.y);
                   A sum[kColumns] = {};
                   for (std::int64_t i = 0; i < args.length; ++i, at += step)
                     for (std::int64_t j = 0; j < width; ++j) {
                       sum[j] += static_cast<A>(x[at + j]);
                       y[at + j] = static_cast<T>(sum[j]);
                     }
                 }
               });
}

void cumsum(const Cumsum& args) {
  if (args.dtype == DType::float32) return scan<float, double>(args);
  if (args.dtype == DType::float64) return scan<double, double>(args);
  scan<std::int64_t, std::uint64_t>(args);  // wraps around
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
