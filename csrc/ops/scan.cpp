// Scans along one dimension: a block of columns side by side, each with its running value. Products
// and sums of float32 run in double, because a scan cannot be arranged as a tree.
#include "scan.h"

#include <algorithm>
#include <cmath>

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kColumns = 64;

// The columns of (outer, length, inner) in blocks: columns(first, width) from the element `first`
// on.
template <class Columns>
static void for_each_block(std::int64_t outer, std::int64_t length, std::int64_t inner,
                           const Columns& columns) {
  const std::int64_t blocks = (inner + kColumns - 1) / kColumns;
  const std::int64_t work = std::max<std::int64_t>(1, length * std::min(inner, kColumns));
  parallel_for(outer * blocks, std::max<std::int64_t>(1, kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % blocks * kColumns;
                   columns(task / blocks * length * inner + first,
                           std::min(kColumns, inner - first));
                 }
               });
}

// y[i] = the state after step(state, x[i]), which starts as `initial`.
template <class T, class State, class Step>
static void scan_values(const Scan& args, State initial, const Step& step) {
  const std::int64_t stride = args.reverse ? -args.inner : args.inner;
  for_each_block(args.outer, args.length, args.inner, [&](std::int64_t at, std::int64_t width) {
    if (args.reverse) at += (args.length - 1) * args.inner;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    if (width == 1) {  // one running value in a register
      State state = initial;
      for (std::int64_t i = 0; i < args.length; ++i, at += stride) {
        state = step(state, static_cast<State>(x[at]));
        y[at] = static_cast<T>(state);
      }
      return;
    }
    State state[kColumns];
    std::fill_n(state, width, initial);
    for (std::int64_t i = 0; i < args.length; ++i, at += stride)
      for (std::int64_t j = 0; j < width; ++j) {
        state[j] = step(state[j], static_cast<State>(x[at + j]));
        y[at + j] = static_cast<T>(state[j]);
      }
  });
}

// The running extreme and where it stands: the last of equal ones, and the last NaN, as in PyTorch.
template <class T, class Beats>
static void scan_extremes(const Scan& args, const Beats& beats) {
  for_each_block(args.outer, args.length, args.inner, [&](std::int64_t at, std::int64_t width) {
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    if (width == 1 && args.length > 0) {
      T best = x[at];
      std::int64_t where = 0;
      for (std::int64_t i = 0; i < args.length; ++i, at += args.inner) {
        const T value = x[at];
        if (value != value || beats(value, best)) best = value, where = i;
        y[at] = best;
        args.index[at] = where;
      }
      return;
    }
    T best[kColumns];
    std::int64_t where[kColumns];
    for (std::int64_t i = 0; i < args.length; ++i, at += args.inner)
      for (std::int64_t j = 0; j < width; ++j) {
        const T value = x[at + j];
        const bool wins = i == 0 || value != value || beats(value, best[j]);
        best[j] = wins ? value : best[j];
        where[j] = wins ? i : where[j];
        y[at + j] = best[j];
        args.index[at + j] = where[j];
      }
  });
}

// log(exp(a) + exp(b)); of two equal infinities, that one.
static double log_add_exp(double a, double b) {
  if (a != a || b != b) return a + b;
  const double low = std::min(a, b), high = std::max(a, b);
  if (low == high && !std::isfinite(low)) return low;
  return high + std::log1p(std::exp(low - high));
}

template <class T, class Product>
static void scan_numbers(const Scan& args) {
  switch (args.op) {
    case ScanOp::prod:
      return scan_values<T>(args, Product{1}, [](Product a, Product b) { return a * b; });
    case ScanOp::max:
      return scan_extremes<T>(args, [](T x, T best) { return x >= best; });
    case ScanOp::min:
      return scan_extremes<T>(args, [](T x, T best) { return x <= best; });
    case ScanOp::log_sum_exp:
      return scan_values<T>(args, -static_cast<double>(INFINITY), log_add_exp);
  }
}

void scan(const Scan& args) {
  if (args.dtype == DType::float32) return scan_numbers<float, double>(args);
  if (args.dtype == DType::float64) return scan_numbers<double, double>(args);
  scan_numbers<std::int64_t, std::uint64_t>(args);  // products wrap around
}

template <class T>
static void cumprod_columns(const CumprodBackward& args) {
  for_each_block(args.outer, args.length, args.inner, [&](std::int64_t at, std::int64_t width) {
    const T *x = static_cast<const T*>(args.x), *grad = static_cast<const T*>(args.grad);
    T* grad_x = static_cast<T*>(args.grad_x);
    double state[kColumns];
    std::fill_n(state, width, 1.0);
    for (std::int64_t i = 0; i < args.length; ++i, at += args.inner)
      for (std::int64_t j = 0; j < width; ++j) {
        grad_x[at + j] = static_cast<T>(state[j]);
        state[j] *= static_cast<double>(x[at + j]);
      }
    double next[kColumns] = {};  // x[i + 1]
    std::fill_n(state, width, 0.0);
    for (std::int64_t i = args.length; i > 0; --i) {
      at -= args.inner;
      for (std::int64_t j = 0; j < width; ++j) {
        state[j] = static_cast<double>(grad[at + j]) + next[j] * state[j];
        next[j] = static_cast<double>(x[at + j]);
        grad_x[at + j] = static_cast<T>(static_cast<double>(grad_x[at + j]) * state[j]);
      }
    }
  });
}

void cumprod_backward(const CumprodBackward& args) {
  if (args.dtype == DType::float32) return cumprod_columns<float>(args);
  cumprod_columns<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
