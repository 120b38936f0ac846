// Elementwise losses: one function each, around which the compiler vectorizes the loop. Their sum
// is taken of blocks that stay in the first cache, so that no array of losses goes through memory.
#include "loss.h"

#include <algorithm>
#include <cmath>

#include "../host_memory.h"
#include "../parallel.h"
#include "../row_sums.h"
#include "../strided.h"
#include "../visit.h"
#include "../wide.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kBlock = 512;    // elements that are summed at once
static constexpr std::int64_t kChunk = 32768;  // elements of one task: fixed, as are the sums

template <class T>
TILEGRAD_INLINE T bounded_log(T x) {
  const T y = natural_log(x);
  return choose(y < T{-100}, T{-100}, y);
}

// f(kind's value) with a function of (x, target).
template <class T, class Function>
static void with_value(const Loss& args, const Function& f) {
  const T p = static_cast<T>(args.parameter);
  switch (args.kind) {
    case LossKind::squared:
      return f([](T x, T t) { return (x - t) * (x - t); });
    case LossKind::absolute:
      return f([](T x, T t) { return std::fabs(x - t); });
    case LossKind::smooth_l1:
      return f([p](T x, T t) {
        const T d = std::fabs(x - t);
        return choose(d < p, d * d * (T{0.5} / p), d - T{0.5} * p);
      });
    case LossKind::huber:
      return f([p](T x, T t) {
        const T d = std::fabs(x - t);
        return choose(d <= p, T{0.5} * d * d, p * (d - T{0.5} * p));
      });
    case LossKind::probability:
      return f([](T x, T t) { return (t - T{1}) * bounded_log(T{1} - x) - t * bounded_log(x); });
    case LossKind::logit:
      return f([](T x, T t) {
        const T negative = choose(x < T{0}, -x, T{0});
        return (T{1} - t) * x + (negative + log1p_of_exp_negative(std::fabs(x)));
      });
  }
}

// f(kind's slope) with a function of (x, target).
template <class T, class Function>
static void with_slope(const Loss& args, const Function& f) {
  const T p = static_cast<T>(args.parameter);
  switch (args.kind) {
    case LossKind::squared:
      return f([](T x, T t) { return T{2} * (x - t); });
    case LossKind::absolute:
      return f([](T x, T t) { return choose(x > t, T{1}, choose(x < t, T{-1}, T{0})); });
    case LossKind::smooth_l1:
      return f([p](T x, T t) {
        const T d = x - t;
        return choose(std::fabs(d) >= p, std::copysign(T{1}, d), d / p);  // NaN stays
      });
    case LossKind::huber:
      return f([p](T x, T t) {
        const T d = x - t;
        return choose(std::fabs(d) > p, std::copysign(p, d), d);
      });
    case LossKind::probability:  // the denominator is 0 where the logarithm has no slope
      return f([](T x, T t) {
        const T product = x * (T{1} - x);
        return (x - t) / choose(product < T{1e-12}, T{1e-12}, product);
      });
    case LossKind::logit:
      return f([](T x, T t) { return logistic(x) - t; });
  }
}

template <class T, class Value>
static void fill(T* __restrict y, const T* x, const T* target, std::int64_t count,
                 const Value& value) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = value(x[i], target[i]);
}

template <class T>
static void values(const Loss& args) {
  const auto *x = static_cast<const T*>(args.x), *target = static_cast<const T*>(args.target);
  with_value<T>(args, [&](const auto& value) {
    parallel_for(args.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
      fill(static_cast<T*>(args.y) + begin, x + begin, target + begin, end - begin, value);
    });
  });
}

template <class T>
static void sum(const Loss& args) {
  const auto *x = static_cast<const T*>(args.x), *target = static_cast<const T*>(args.target);
  const std::int64_t chunks = (args.size + kChunk - 1) / kChunk;
  auto* sums =
      static_cast<double*>(thread_scratch(static_cast<std::size_t>(chunks) * sizeof(double)));
  with_value<T>(args, [&](const auto& value) {
    parallel_for(chunks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t chunk = begin; chunk < end; ++chunk) {
        double total = 0;
        const std::int64_t last = std::min((chunk + 1) * kChunk, args.size);
        for (std::int64_t first = chunk * kChunk; first < last; first += kBlock) {
          T block[kBlock];
          const std::int64_t count = std::min(kBlock, last - first);
          fill(block, x + first, target + first, count, value);
          const T* row = block;
          total += static_cast<double>(
              sum_lanes<T>(add_row<T>(Vec<T>{}, count, [=](auto at) { return at(row); })));
        }
        sums[chunk] = total;
      }
    });
  });
  double total = 0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) total += sums[chunk];
  *static_cast<T*>(args.y) = static_cast<T>(args.scale * total);
}

template <class T>
static void backward(const Loss& args) {
  const auto *x = static_cast<const T*>(args.x), *target = static_cast<const T*>(args.target),
             *grad = static_cast<const T*>(args.grad);
  with_slope<T>(args, [&](const auto& slope) {
    parallel_for(args.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
      T* __restrict grad_x = static_cast<T*>(args.grad_x);
      if (args.one_grad) {
        const T scale = *grad * static_cast<T>(args.scale);
        for (std::int64_t i = begin; i < end; ++i) grad_x[i] = scale * slope(x[i], target[i]);
      } else {
        for (std::int64_t i = begin; i < end; ++i) grad_x[i] = grad[i] * slope(x[i], target[i]);
      }
    });
  });
}

void loss(const Loss& args) {
  visit_floating(args.dtype, [&](auto t) { values<typename decltype(t)::type>(args); });
}
void loss_sum(const Loss& args) {
  visit_floating(args.dtype, [&](auto t) { sum<typename decltype(t)::type>(args); });
}
void loss_backward(const Loss& args) {
  visit_floating(args.dtype, [&](auto t) { backward<typename decltype(t)::type>(args); });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
