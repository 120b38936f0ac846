// Cumulative sums: one running sum per column, a block of columns side by side. float32 is summed
// in double, because a running sum cannot be arranged as a tree.
#include "cumsum.h"

#include <algorithm>

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kColumns = 64;

// The last dimension: sums within groups of eight do not wait for the sum of what precedes, which
// is then added to all of them. So one addition per group is the only chain.
template <class T, class A>
static void scan_rows(const Cumsum& args) {
  constexpr std::int64_t kGroup = 8;
  const std::int64_t step = args.reverse ? -1 : 1;
  parallel_for(args.outer,
               std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(args.length, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   std::int64_t at = row * args.length + (args.reverse ? args.length - 1 : 0);
                   const T* x = static_cast<const T*>(args.x);
                   T* y = static_cast<T*>(args.y);
                   A before = 0;
                   std::int64_t i = 0;
                   for (; i + kGroup <= args.length; i += kGroup, at += kGroup * step) {
                     A sum[kGroup];
                     sum[0] = static_cast<A>(x[at]);
#pragma GCC unroll 8
                     for (std::int64_t j = 1; j < kGroup; ++j)
                       sum[j] = sum[j - 1] + static_cast<A>(x[at + j * step]);
#pragma GCC unroll 8
                     for (std::int64_t j = 0; j < kGroup; ++j)
                       y[at + j * step] = static_cast<T>(before + sum[j]);
                     before += sum[kGroup - 1];
                   }
                   for (; i < args.length; ++i, at += step)
                     y[at] = static_cast<T>(before += static_cast<A>(x[at]));
                 }
               });
}

template <class T, class A>
static void scan(const Cumsum& args) {
  if (args.inner == 1) return scan_rows<T, A>(args);
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
