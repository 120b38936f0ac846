// Running products, extremes and recurrences: a block of columns side by side, so that the inner
// loop runs over independent chains.
#include "scan.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "../parallel.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kScanColumns = 64;

// Calls start(at, width) at the first row of each block of columns and step(at, width) at the
// others, `at` being the position of the block's first element in that row.
template <class Block>
static void scan_blocks(const Scan& args, const Block& block) {
  const std::int64_t blocks = (args.inner + kScanColumns - 1) / kScanColumns;
  const std::int64_t work =
      std::max<std::int64_t>(1, args.length * std::min(args.inner, kScanColumns));
  const std::int64_t step = args.reverse ? -args.inner : args.inner;
  parallel_for(args.outer * blocks, std::max<std::int64_t>(1, kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % blocks * kScanColumns;
                   std::int64_t at = task / blocks * args.length * args.inner + first;
                   if (args.reverse) at += (args.length - 1) * args.inner;
                   block(at, step, std::min(kScanColumns, args.inner - first));
                 }
               });
}

// float32 is multiplied in double, as cumsum sums: a chain cannot be arranged as a tree.
template <class T>
static void running_product(const Scan& args) {
  using A =
      std::conditional_t<std::is_floating_point_v<T>, double,
                         std::conditional_t<std::is_same_v<T, std::int64_t>, std::uint64_t, T>>;
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  scan_blocks(args, [=, &args](std::int64_t at, std::int64_t step, std::int64_t width) {
    A product[kScanColumns];
    std::fill(product, product + width, A(1));
    for (std::int64_t i = 0; i < args.length; ++i, at += step)
      for (std::int64_t j = 0; j < width; ++j) {
        product[j] = static_cast<A>(product[j] * static_cast<A>(x[at + j]));
        y[at + j] = static_cast<T>(product[j]);
      }
  });
}

template <bool kLargest, class T>
static void running_extreme(const Scan& args) {
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  std::int64_t* place = args.place;
  scan_blocks(args, [=, &args](std::int64_t at, std::int64_t step, std::int64_t width) {
    for (std::int64_t i = 0; i < args.length; ++i, at += step)
      for (std::int64_t j = 0; j < width; ++j) {
        const T value = x[at + j];
        bool taken = i == 0;
        if (!taken) {
          const T best = y[at - step + j];
          taken = value != value || (!(best != best) && (kLargest ? value >= best : value <= best));
        }
        y[at + j] = taken ? value : y[at - step + j];
        place[at + j] = taken ? i : place[at - step + j];
      }
  });
}

template <class T>
static void running_log_sum_exp(const Scan& args) {
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  scan_blocks(args, [=, &args](std::int64_t at, std::int64_t step, std::int64_t width) {
    double sum[kScanColumns];
    std::fill(sum, sum + width, -INFINITY);
    for (std::int64_t i = 0; i < args.length; ++i, at += step)
      for (std::int64_t j = 0; j < width; ++j) {
        const double value = static_cast<double>(x[at + j]);
        const double high = std::max(sum[j], value), low = std::min(sum[j], value);
        if (value != value || sum[j] != sum[j]) sum[j] = NAN;
        else if (high != low || std::isfinite(high))
          sum[j] = high + std::log1p(std::exp(low - high));
        y[at + j] = static_cast<T>(sum[j]);
      }
  });
}

template <class T>
static void recurrence(const Scan& args) {
  const T* x = static_cast<const T*>(args.x);
  const T* factor = static_cast<const T*>(args.factor);
  T* y = static_cast<T*>(args.y);
  scan_blocks(args, [=, &args](std::int64_t at, std::int64_t step, std::int64_t width) {
    double value[kScanColumns] = {};
    for (std::int64_t i = 0; i < args.length; ++i, at += step)
      for (std::int64_t j = 0; j < width; ++j) {
        const double before = i == 0 ? 0 : static_cast<double>(factor[at + j]) * value[j];
        value[j] = static_cast<double>(x[at + j]) + before;
        y[at + j] = static_cast<T>(value[j]);
      }
  });
}

void scan(const Scan& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(scan, args, args.dtype);
  switch (args.op) {
    case ScanOp::product:
      return visit_once(args.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        if constexpr (!std::is_same_v<T, bool>) running_product<T>(args);
      });
    case ScanOp::maximum:
      return visit_once(args.dtype, [&](auto type) {
        running_extreme<true, typename decltype(type)::type>(args);
      });
    case ScanOp::minimum:
      return visit_once(args.dtype, [&](auto type) {
        running_extreme<false, typename decltype(type)::type>(args);
      });
    case ScanOp::log_sum_exp:
      return visit_floating(
          args.dtype, [&](auto type) { running_log_sum_exp<typename decltype(type)::type>(args); });
    case ScanOp::recurrence:
      return visit_floating(args.dtype,
                            [&](auto type) { recurrence<typename decltype(type)::type>(args); });
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
