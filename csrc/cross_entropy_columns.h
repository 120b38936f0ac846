// Cross-entropy where the scores of a row lie `inner` elements apart, as those of an image's pixels
// do: neighbouring rows are taken side by side, one per lane of a register, so that nothing has to
// be transposed. Rows that do not fill a register are gathered. Included once per instruction set.
#pragma once

#include "cross_entropy_rows.h"
#include "wide.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Rows of one task: row `n` and its width - 1 neighbours, whose first scores are x[offset + k].
struct ColumnGroup {
  std::int64_t n, offset;
};

// What the gradient of each of kWidth rows needs; 0 where its target is to be ignored.
template <class T, int kWidth>
struct ColumnFactors {
  T hard[kWidth], soft[kWidth], slope[kWidth];
  T counted[kWidth];  // 1 or 0

  ColumnFactors(const CrossEntropyRows& in, const Gradient<T>& g, std::int64_t n, const T* factor,
                const T* sum) {
    const T* weight = static_cast<const T*>(in.weight);
    const T smoothing = static_cast<T>(in.label_smoothing);
    for (int k = 0; k < kWidth; ++k) {
      const std::int64_t target = in.target[n + k];
      const bool counts = target != in.ignore_index;
      counted[k] = counts ? T{1} : T{0};
      hard[k] = counts ? factor[k] * (1 - smoothing) * (weight ? weight[target] : T{1}) : T{0};
      soft[k] = counts ? factor[k] * smoothing / static_cast<T>(in.classes) : T{0};
      slope[k] = (hard[k] + soft[k] * g.weight_sum) / sum[k];
    }
  }
};

// body(v, c, at) for kVectors registers of each class c.
template <class T, int kVectors, class Body>
TILEGRAD_INLINE void each_score(const CrossEntropyRows& in, const Body& body) {
  for (std::int64_t c = 0; c < in.classes; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) body(v, c, c * in.inner + v * kLanes<T>);
}

// The gradient of these rows as gradient_row() writes it; power(v, at) are exponentials.
template <class T, int kVectors, class Power>
TILEGRAD_INLINE void gradient_columns(const CrossEntropyRows& in, T* grad_x, std::int64_t n,
                                      const ColumnFactors<T, kVectors * kLanes<T>>& factors,
                                      const Power& power) {
  constexpr int lanes = kLanes<T>;
  const T* weight = static_cast<const T*>(in.weight);
  const bool smooth = in.label_smoothing != 0;
  each_score<T, kVectors>(in, [&](int v, std::int64_t c, std::int64_t at) {
    Vec<T> value = power(v, at) * load(factors.slope + v * lanes);
    if (smooth) value -= load(factors.soft + v * lanes) * (weight ? weight[c] : T{1});
    store(grad_x + at, keep<T>(load(factors.counted + v * lanes) != T{0}, value));
  });
  for (int k = 0; k < kVectors * lanes; ++k)
    if (factors.counted[k] != 0) grad_x[in.target[n + k] * in.inner + k] -= factors.hard[k];
}

// exp(x - shift) summed over the classes; with kKeep the terms go to y.
template <class T, int kVectors, bool kKeep>
TILEGRAD_INLINE void column_sums(const CrossEntropyRows& in, T* y, const T* x, T* shift, T* sum) {
  Vec<T> most[kVectors], total[kVectors]{};
#pragma GCC unroll 4
  for (Vec<T>& value : most) value = splat(kMinusInfinity<T>);
  each_score<T, kVectors>(in, [&](int v, std::int64_t, std::int64_t at) {
    const Vec<T> value = load(x + at);
    most[v] = value > most[v] ? value : most[v];  // a NaN is caught by the sum
  });
  each_score<T, kVectors>(in, [&](int v, std::int64_t, std::int64_t at) {
    const Vec<T> term = exponential_below<T>(load(x + at) - most[v]);
    if constexpr (kKeep) store(y + at, term);
    total[v] += term;
  });
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    store(shift + v * kLanes<T>, most[v]);
    store(sum + v * kLanes<T>, total[v]);
  }
}

// The losses of rows whose log-sum-exp is known.
template <class T, int kVectors>
TILEGRAD_INLINE void column_losses(const CrossEntropyRows& in, T* losses, const T* x, const T* lse,
                                   std::int64_t n) {
  constexpr int lanes = kLanes<T>;
  const T* weight = static_cast<const T*>(in.weight);
  const T smoothing = static_cast<T>(in.label_smoothing);
  Vec<T> spread[kVectors]{};
  if (smoothing != 0)
    each_score<T, kVectors>(in, [&](int v, std::int64_t c, std::int64_t at) {
      spread[v] += (load(lse + v * lanes) - load(x + at)) * (weight ? weight[c] : T{1});
    });
  for (int k = 0; k < kVectors * lanes; ++k) {
    const std::int64_t target = in.target[n + k];
    losses[k] = 0;
    if (target == in.ignore_index) continue;
    losses[k] =
        (1 - smoothing) * (weight ? weight[target] : T{1}) * (lse[k] - x[target * in.inner + k]);
    if (smoothing != 0)
      losses[k] += smoothing / static_cast<T>(in.classes) * spread[k / lanes][k % lanes];
  }
}

template <class T, int kVectors>
[[gnu::noinline]] static void forward_columns(const CrossEntropy& args, const Gradient<T>& g,
                                              ColumnGroup group) {
  constexpr int kWidth = kVectors * kLanes<T>;
  const CrossEntropyRows& in = args.in;
  const T* x = static_cast<const T*>(in.x) + group.offset;
  T* grad_x = g.grad_x ? g.grad_x + group.offset : nullptr;
  T *losses = static_cast<T*>(args.losses) + group.n, *lse = static_cast<T*>(args.lse) + group.n;
  T shift[kWidth], sum[kWidth], factor[kWidth];
  if (in.normalized) {
    std::fill_n(lse, kWidth, T{0});
  } else {
    if (grad_x) column_sums<T, kVectors, true>(in, grad_x, x, shift, sum);
    else column_sums<T, kVectors, false>(in, nullptr, x, shift, sum);
    for (int k = 0; k < kWidth; ++k) lse[k] = shift[k] + natural_log(sum[k]);
  }
  column_losses<T, kVectors>(in, losses, x, lse, group.n);
  for (int k = 0; k < kWidth; ++k)
    if (in.target[group.n + k] == in.ignore_index) lse[k] = 0;
  if (grad_x == nullptr) return;
  std::fill_n(factor, kWidth, g.scale);
  gradient_columns<T, kVectors>(in, grad_x, group.n, {in, g, group.n, factor, sum},
                                [&](int, std::int64_t at) { return load(grad_x + at); });
}

template <class T, int kVectors>
[[gnu::noinline]] static void backward_columns(const CrossEntropyBackward& args,
                                               const Gradient<T>& g, ColumnGroup group) {
  constexpr int kWidth = kVectors * kLanes<T>;
  const CrossEntropyRows& in = args.in;
  const T* x = static_cast<const T*>(in.x) + group.offset;
  const T *grad = static_cast<const T*>(args.grad), *lse = static_cast<const T*>(args.lse);
  T factor[kWidth], one[kWidth];
  std::fill_n(one, kWidth, T{1});
  for (int k = 0; k < kWidth; ++k)
    factor[k] = g.scale * (in.reduction == Reduction::none ? grad[group.n + k] : *grad);
  const ColumnFactors<T, kWidth> factors(in, g, group.n, factor, one);
  T* grad_x = g.grad_x + group.offset;
  if (in.normalized)
    return gradient_columns<T, kVectors>(in, grad_x, group.n, factors,
                                         [](int, std::int64_t) { return Vec<T>{}; });
  gradient_columns<T, kVectors>(in, grad_x, group.n, factors, [&](int v, std::int64_t at) {
    return exponential_below<T>(load(x + at) - load(lse + group.n + v * kLanes<T>));
  });
}

// A few neighbouring rows, copied so that each one's scores lie side by side, and what the kernels
// of rows need for them.
template <class T>
struct GatheredRows {
  CrossEntropyRows in;
  Gradient<T> gradient;
  T *x, *grad_x;

  GatheredRows(const CrossEntropyRows& from, const Gradient<T>& g, ColumnGroup group,
               std::int64_t width)
      : in(from), gradient(g) {
    const std::int64_t elements = width * from.classes;
    x = static_cast<T*>(thread_scratch(2 * static_cast<std::size_t>(elements) * sizeof(T)));
    grad_x = x + elements;
    const T* scores = static_cast<const T*>(from.x) + group.offset;
    for (std::int64_t k = 0; k < width; ++k)
      for (std::int64_t c = 0; c < from.classes; ++c)
        x[k * from.classes + c] = scores[c * from.inner + k];
    in.x = x;
    in.target += group.n;
    in.inner = 1;
    in.rows = width;
    gradient.grad_x = g.grad_x ? grad_x : nullptr;
    gradient.stream = false;
  }

  void scatter(T* to, std::int64_t inner) const {
    for (std::int64_t k = 0; k < in.rows; ++k)
      for (std::int64_t c = 0; c < in.classes; ++c) to[c * inner + k] = grad_x[k * in.classes + c];
  }
};

// Calls run.template columns<kVectors>(group) for groups of 4 registers and of 1, and
// run.rest(group, width) for what is left of an image.
template <class T, class Run>
static void for_each_columns(const CrossEntropyRows& in, const Run& run) {
  constexpr std::int64_t lanes = kLanes<T>, kGroup = 4 * lanes;
  if (in.rows == 0) return;
  const std::int64_t groups = (in.inner + kGroup - 1) / kGroup;
  const std::int64_t work = std::max<std::int64_t>(1, in.classes * std::min(in.inner, kGroup));
  parallel_for(in.rows / in.inner * groups, std::max<std::int64_t>(1, kGrain / 4 / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t image = task / groups, first = task % groups * kGroup;
                   const std::int64_t width = std::min(kGroup, in.inner - first);
                   ColumnGroup at{image * in.inner + first, image * in.classes * in.inner + first};
                   if (width == kGroup) {
                     run.template columns<4>(at);
                     continue;
                   }
                   std::int64_t k = 0;
                   for (; k + lanes <= width; k += lanes, at.n += lanes, at.offset += lanes)
                     run.template columns<1>(at);
                   if (k < width) run.rest(at, width - k);
                 }
               });
}

template <class T>
struct ForwardColumns {
  const CrossEntropy& args;
  const Gradient<T>& gradient;

  template <int kVectors>
  void columns(ColumnGroup group) const {
    forward_columns<T, kVectors>(args, gradient, group);
  }
  void rest(ColumnGroup group, std::int64_t width) const {
    const GatheredRows<T> rows(args.in, gradient, group, width);
    CrossEntropy some = args;
    some.in = rows.in;
    some.losses = static_cast<T*>(args.losses) + group.n;
    some.lse = static_cast<T*>(args.lse) + group.n;
    for (std::int64_t k = 0; k < width; ++k) forward_row(some, rows.gradient, k);
    if (gradient.grad_x) rows.scatter(gradient.grad_x + group.offset, args.in.inner);
  }
};

template <class T>
struct BackwardColumns {
  const CrossEntropyBackward& args;
  const Gradient<T>& gradient;

  template <int kVectors>
  void columns(ColumnGroup group) const {
    backward_columns<T, kVectors>(args, gradient, group);
  }
  void rest(ColumnGroup group, std::int64_t width) const {
    const GatheredRows<T> rows(args.in, gradient, group, width);
    CrossEntropyBackward some = args;
    some.in = rows.in;
    some.lse = static_cast<const T*>(args.lse) + group.n;
    if (args.in.reduction == Reduction::none)
      some.grad = static_cast<const T*>(args.grad) + group.n;
    for (std::int64_t k = 0; k < width; ++k) backward_row(some, rows.gradient, k);
    rows.scatter(gradient.grad_x + group.offset, args.in.inner);
  }
};

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
