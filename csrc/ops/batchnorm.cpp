// Batch normalization after Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
// Training by Reducing Internal Covariate Shift" (2015).
//
// A task takes a block of channels and walks the batch in order, so sums have one fixed order. Two
// layouts: with length > 1 the elements of a channel come in contiguous rows; with length 1 the
// channels are contiguous, and the block's sums advance side by side.
#include "batchnorm.h"

#include <algorithm>
#include <cmath>

#include "../parallel.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kBlock = 32;  // channels per task, at most
static constexpr std::int64_t kPiece =
    512;  // elements summed in T before a sum in double takes over

// Calls task(first channel, end) for blocks of channels; sizes alone decide about the blocks.
template <class Task>
static void for_each_block(const BatchNorm& args, const Task& task) {
  const std::int64_t per_channel = std::max<std::int64_t>(1, args.batch * args.length);
  const std::int64_t block = std::clamp<std::int64_t>(kGrain / per_channel, 1, kBlock);
  parallel_for(args.channels, block, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += kBlock) task(begin, std::min(begin + kBlock, end));
  });
}

struct Sums {
  double first = 0, second = 0;
};

// Adds first(i) and second(i), i < count, to the sums: lanes within a piece, doubles across pieces.
template <class T, class Terms>
static void add_row(std::int64_t count, const Terms& terms, Sums& sums) {
  constexpr int lanes = 64 / static_cast<int>(sizeof(T));  // the same in every instruction set
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t end = std::min(begin + kPiece, count);
    T first[lanes] = {}, second[lanes] = {};
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes)
      for (int k = 0; k < lanes; ++k) terms(i + k, first[k], second[k]);
    for (; i < end; ++i) terms(i, first[i % lanes], second[i % lanes]);
    for (int k = 0; k < lanes; ++k) {
      sums.first += static_cast<double>(first[k]);
      sums.second += static_cast<double>(second[k]);
    }
  }
}

// The sums of two terms for every channel of a block. terms(channel, offset into x, &first,
// &second) adds one element's terms.
template <class T, class Terms>
static void sum_block(const BatchNorm& args, std::int64_t begin, std::int64_t end,
                      const Terms& terms, Sums* sums) {
  if (args.length == 1) {
    for (std::int64_t n = 0; n < args.batch; ++n)
      for (std::int64_t c = begin; c < end; ++c) {
        T first = 0, second = 0;
        terms(c, n * args.channels + c, first, second);
        sums[c - begin].first += static_cast<double>(first);
        sums[c - begin].second += static_cast<double>(second);
      }
    return;
  }
  for (std::int64_t c = begin; c < end; ++c)
    for (std::int64_t n = 0; n < args.batch; ++n) {
      const std::int64_t row = (n * args.channels + c) * args.length;
      add_row<T>(
          args.length,
          [&](std::int64_t i, T& first, T& second) { terms(c, row + i, first, second); },
          sums[c - begin]);
    }
}

// One pass, safe against cancellation: the sums are those of x - shift with the channel's first
// element as shift, which lies among the values, so the variance is not a difference of numbers
// much larger than itself.
template <class T>
static void statistics(const BatchNorm& args) {
  const T* x = static_cast<const T*>(args.x);
  T* mean = static_cast<T*>(args.mean);
  T* rstd = static_cast<T*>(args.rstd);
  T* running_mean = static_cast<T*>(args.running_mean);
  T* running_var = static_cast<T*>(args.running_var);
  const auto count = static_cast<double>(args.batch * args.length);
  for_each_block(args, [&](std::int64_t begin, std::int64_t end) {
    Sums sums[kBlock];
    sum_block<T>(
        args, begin, end,
        [&](std::int64_t c, std::int64_t at, T& first, T& second) {
          const T shifted = x[at] - x[c * args.length];
          first += shifted;
          second += shifted * shifted;
        },
        sums);
    for (std::int64_t c = begin; c < end; ++c) {
      const Sums& s = sums[c - begin];
      const double offset = s.first / count;
      const double average = static_cast<double>(x[c * args.length]) + offset;
      const double squares = s.second - s.first * offset;
      const double deviation = squares < 0 ? 0 : squares;  // sum of squares; NaN stays
      mean[c] = static_cast<T>(average);
      rstd[c] = static_cast<T>(1 / std::sqrt(deviation / count + args.eps));
      if (running_mean)
        running_mean[c] =
            static_cast<T>((1 - args.momentum) * running_mean[c] + args.momentum * average);
      if (running_var)
        running_var[c] = static_cast<T>((1 - args.momentum) * running_var[c] +
                                        args.momentum * (deviation / (count - 1)));
    }
  });
}

// y[i] = element(channel, i) for every element, in parallel over rows.
template <class T, class Element>
static void map_rows(const BatchNorm& args, T* y, const Element& make_element) {
  const std::int64_t rows = args.batch * args.channels;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(args.length, 1));
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto element = make_element(row % args.channels);
      const std::int64_t first = row * args.length;
#pragma GCC ivdep
      for (std::int64_t i = first; i < first + args.length; ++i) y[i] = element(i);
    }
  });
}

template <class T>
static void forward(const BatchNorm& args) {
  const T* x = static_cast<const T*>(args.x);
  const T* mean = static_cast<const T*>(args.mean);
  const T* rstd = static_cast<const T*>(args.rstd);
  const T* weight = static_cast<const T*>(args.weight);
  const T* bias = static_cast<const T*>(args.bias);
  map_rows(args, static_cast<T*>(args.y), [=](std::int64_t c) {
    const T center = mean[c], scale = weight ? rstd[c] * weight[c] : rstd[c];
    const T shift = bias ? bias[c] : T{0};
    return [=](std::int64_t i) { return (x[i] - center) * scale + shift; };
  });
}

// With z = (x - mean) * rstd, averages over the batch and everything per channel:
//   grad_bias = sum(grad_y), grad_weight = sum(grad_y * z)
//   grad_x = weight * rstd * (grad_y - average(grad_y) - z * average(grad_y * z))
// and without the two averages where mean and rstd are constants.
template <class T>
static void backward(const BatchNorm& args, T* sums_y, T* sums_yz) {
  const T* x = static_cast<const T*>(args.x);
  const T* grad_y = static_cast<const T*>(args.grad_y);
  const T* mean = static_cast<const T*>(args.mean);
  const T* rstd = static_cast<const T*>(args.rstd);
  const T* weight = static_cast<const T*>(args.weight);
  for_each_block(args, [&](std::int64_t begin, std::int64_t end) {
    Sums sums[kBlock];
    sum_block<T>(
        args, begin, end,
        [&](std::int64_t c, std::int64_t at, T& first, T& second) {
          first += grad_y[at];
          second += grad_y[at] * (x[at] - mean[c]);
        },
        sums);
    for (std::int64_t c = begin; c < end; ++c) {
      sums_y[c] = static_cast<T>(sums[c - begin].first);
      sums_yz[c] = static_cast<T>(sums[c - begin].second * static_cast<double>(rstd[c]));
    }
  });
  if (args.grad_x == nullptr) return;
  T* grad_x = static_cast<T*>(args.grad_x);
  if (!args.training)  // x has no part in it, be it infinite
    return map_rows(args, grad_x, [=](std::int64_t c) {
      const T scale = weight ? rstd[c] * weight[c] : rstd[c];
      return [=](std::int64_t i) { return scale * grad_y[i]; };
    });
  const T share = T{1} / static_cast<T>(args.batch * args.length);
  map_rows(args, grad_x, [=](std::int64_t c) {
    const T center = mean[c], scale = weight ? rstd[c] * weight[c] : rstd[c];
    const T average = sums_y[c] * share, slope = sums_yz[c] * share * rstd[c];
    return [=](std::int64_t i) { return scale * (grad_y[i] - average - (x[i] - center) * slope); };
  });
}

void batchnorm_statistics(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) { statistics<typename decltype(t)::type>(args); });
}
void batchnorm_forward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) { forward<typename decltype(t)::type>(args); });
}
void batchnorm_backward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    backward<T>(args, static_cast<T*>(args.grad_bias), static_cast<T*>(args.grad_weight));
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
