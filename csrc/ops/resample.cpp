// Resampling along one dimension. Where elements lie beside each other that share a place in the
// dimension, registers hold them. Along the last dimension there are none: several rows are
// computed together, so that places and weights are read once for all of them.
#include "resample.h"

#include <algorithm>

#include "../parallel.h"
#include "../strided.h"
#include "../vec.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T, int kRows>
static void resample_rows(const Resample& args, const T* x, T* y) {
  const auto* weight = static_cast<const T*>(args.weight);
  for (std::int64_t j = 0; j < args.size; ++j) {
    T sum[kRows] = {};
    for (std::int64_t k = args.begin[j]; k < args.begin[j + 1]; ++k) {
      const T w = weight[k];
      const T* column = x + args.index[k];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r] += w * column[r * args.length];
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) y[r * args.size + j] = sum[r];
  }
}

template <class T>
static void resample_last(const Resample& args) {
  constexpr int kRows = 8;
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  const std::int64_t groups = (args.outer + kRows - 1) / kRows;
  parallel_for(groups, std::max<std::int64_t>(1, kGrain / (kRows * args.size)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin * kRows; row < std::min(end * kRows, args.outer);) {
                   const bool whole = row + kRows <= args.outer;
                   const T* from = x + row * args.length;
                   T* to = y + row * args.size;
                   whole ? resample_rows<T, kRows>(args, from, to)
                         : resample_rows<T, 1>(args, from, to);
                   row += whole ? kRows : 1;
                 }
               });
}

// One place of the dimension: `inner` elements side by side.
template <class T>
static void resample_place(const Resample& args, std::int64_t j, const T* x, T* y) {
  const auto* weight = static_cast<const T*>(args.weight);
  const std::int64_t begin = args.begin[j], end = args.begin[j + 1];
  std::int64_t i = 0;
  for (; i + 2 * kLanes<T> <= args.inner; i += 2 * kLanes<T>) {
    Vec<T> first{}, second{};
    for (std::int64_t k = begin; k < end; ++k) {
      const T* row = x + args.index[k] * args.inner + i;
      first += weight[k] * load(row);
      second += weight[k] * load(row + kLanes<T>);
    }
    store(y + i, first);
    store(y + i + kLanes<T>, second);
  }
  for (; i < args.inner; ++i) {
    T sum = 0;
    for (std::int64_t k = begin; k < end; ++k) sum += weight[k] * x[args.index[k] * args.inner + i];
    y[i] = sum;
  }
}

template <class T>
static void resample_inner(const Resample& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  parallel_for(args.outer * args.size, std::max<std::int64_t>(1, kGrain / args.inner),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t o = task / args.size, j = task % args.size;
                   resample_place(args, j, x + o * args.length * args.inner, y + task * args.inner);
                 }
               });
}

void resample(const Resample& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    args.inner == 1 ? resample_last<T>(args) : resample_inner<T>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
