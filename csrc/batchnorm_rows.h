// Batch normalization where the elements of a channel come in long rows. Included once per
// instruction set.
//
// Statistics are sums over x - center, in one pass that is safe against cancellation. The first
// center is the mean of the channel's first row, which is at most sqrt(rows) standard deviations
// from the mean of all `rows`; so what is subtracted in the end is at most `rows` times the
// variance. After some rows their moments are merged (csrc/moments.h), and the next center is the
// mean so far.
#pragma once

#include <algorithm>

#include "batchnorm_parts.h"
#include "host_memory.h"
#include "parallel.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Elements of a channel that are summed in T; samples that are merged at once, at least.
static constexpr std::int64_t kInT = 1024, kSamples = 16;

// Channels and samples that a task takes.
struct Region {
  std::int64_t first, channels, sample, samples;
};

template <class Number, int kCount>
struct Several {
  typedef Number type __attribute__((vector_size(kCount * sizeof(Number))));
};

// Two sums per channel: of some rows in T, before that in double.
template <class T>
struct ChannelSums {
  using Wide = typename Several<double, kLanes<T>>::type;

  TwoTerms<T> lanes{};
  Wide wide[2] = {};
  double first = 0, second = 0;
  T center = 0;

  void settle() {
    wide[0] += __builtin_convertvector(lanes.first, Wide);
    wide[1] += __builtin_convertvector(lanes.second, Wide);
    lanes = {};
  }
  void finish() {
    for (int k = 0; k < kLanes<T>; ++k) {
      first += wide[0][k];
      second += wide[1][k];
    }
  }
};

// Adds the terms of all rows of a region to sums[channel]. term(place, offset of the row, channel)
// returns a TwoTerms.
template <class T, class Term>
TILEGRAD_INLINE void add_region(const BatchNorm& args, const Region& region, ChannelSums<T>* sums,
                                const Term& term) {
  const std::int64_t length = args.length, all = args.channels;
  const std::int64_t unsettled = std::max<std::int64_t>(1, kInT / length);  // rows in T
  for (std::int64_t n = 0; n < region.samples; ++n) {
    const bool settles = (n + 1) % unsettled == 0 || n + 1 == region.samples;
    for (std::int64_t c = 0; c < region.channels; ++c) {
      const std::int64_t row = ((region.sample + n) * all + region.first + c) * length;
      for (std::int64_t begin = 0; begin < length; begin += kInT) {
        const std::int64_t at = row + begin;
        sums[c].lanes = add_row_twice<T>(sums[c].lanes, std::min(kInT, length - begin),
                                         [&](auto place) { return term(place, at, c); });
        if (settles) sums[c].settle();
      }
    }
  }
  for (std::int64_t c = 0; c < region.channels; ++c) sums[c].finish();
}

template <class T>
static T mean_of_row(const T* row, std::int64_t length) {
  double sum = 0;
  for (std::int64_t begin = 0; begin < length; begin += kPiece) {
    const T* piece = row + begin;
    sum += static_cast<double>(sum_lanes<T>(add_row<T>(
        Vec<T>{}, std::min(kPiece, length - begin), [piece](auto place) { return place(piece); })));
  }
  return static_cast<T>(sum / static_cast<double>(length));
}

// The moments of a region's channels; `sums` is workspace.
template <class T>
[[gnu::noinline]] static void region_moments(const BatchNorm& args, Region region,
                                             ChannelSums<T>* sums, Moments* moments) {
  const T* x = static_cast<const T*>(args.x);
  const std::int64_t end = region.sample + region.samples;
  const std::int64_t together = std::max(kSamples, kPiece / args.length);
  double before = 0;
  for (; region.sample < end; region.sample += together) {
    region.samples = std::min(together, end - region.sample);
    for (std::int64_t c = 0; c < region.channels; ++c) {
      const std::int64_t row = (region.sample * args.channels + region.first + c) * args.length;
      const T center =
          before > 0 ? static_cast<T>(moments[c].mean) : mean_of_row(x + row, args.length);
      sums[c] = {};
      if (std::isfinite(center)) sums[c].center = center;  // else all would become NaN
    }
    add_region<T>(args, region, sums, [&](auto place, std::int64_t at, std::int64_t c) {
      const Vec<T> deviation = place(x + at) - splat(sums[c].center);
      return TwoTerms<T>{deviation, deviation * deviation};
    });
    const auto count = static_cast<double>(region.samples * args.length);
    const double share = count / (before + count);
    for (std::int64_t c = 0; c < region.channels; ++c) {
      const double sum = sums[c].first, rest = sums[c].second - sum * sum / count;
      moments[c].merge(sum + count * static_cast<double>(sums[c].center), count,
                       rest < 0 ? 0 : rest, share, share * before);
    }
    before += count;
  }
}

template <class T, bool kRelu>
static Incoming<T, kRelu> incoming_at(const Arrays<T>& a, std::int64_t row) {
  return {a.grad_y + row, kRelu ? a.y + row : nullptr};
}

// Sums of the gradient and of its product with x - mean; writes grad_residual on the way, unless
// null.
template <class T, bool kRelu>
[[gnu::noinline]] static void region_gradients(const BatchNorm& args, const Region& region,
                                               ChannelSums<T>* sums) {
  const Arrays<T> a(args);
  for (std::int64_t c = 0; c < region.channels; ++c) {
    sums[c] = {};
    sums[c].center = a.mean[region.first + c];
  }
  add_region<T>(args, region, sums, [&](auto place, std::int64_t at, std::int64_t c) {
    const Vec<T> grad = incoming_at<T, kRelu>(a, at)(place);
    return TwoTerms<T>{grad, grad * (place(a.x + at) - splat(sums[c].center))};
  });
  if (a.grad_residual == nullptr) return;
  for (std::int64_t n = region.sample; n < region.sample + region.samples; ++n) {
    const std::int64_t row = (n * args.channels + region.first) * args.length;
    map_row(a.grad_residual + row, region.channels * args.length, incoming_at<T, kRelu>(a, row));
  }
}

template <class T>
[[gnu::noinline]] static void write_region(const BatchNorm& args, const Region& region) {
  const Arrays<T> a(args);
  const bool past = past_caches(args);
  for (std::int64_t n = region.samples - 1; n >= 0; --n)
    for (std::int64_t c = region.first; c < region.first + region.channels; ++c) {
      const std::int64_t row = ((region.sample + n) * args.channels + c) * args.length;
      const Vec<T> center = splat(a.mean[c]), scale = splat(a.scale(c)), shift = splat(a.shift(c));
      const T* x = a.x + row;
      write_row(a.y + row, args.length, args.relu, a.residual ? a.residual + row : nullptr, past,
                [=](auto place) { return (place(x) - center) * scale + shift; });
    }
}

// With z = (x - mean) * rstd, averages over the batch and everything per channel:
//   grad_bias = sum(grad), grad_weight = sum(grad * z)
//   grad_x = weight * rstd * (grad - average(grad) - z * average(grad * z))
// and without the two averages where mean and rstd are constants: then x has no part in grad_x, be
// it infinite.
template <class T, bool kRelu>
[[gnu::noinline]] static void write_gradients(const BatchNorm& args, const Region& region) {
  const Arrays<T> a(args);
  const bool past = past_caches(args);
  const T part = T{1} / static_cast<T>(args.batch * args.length);
  for (std::int64_t n = region.samples - 1; n >= 0; --n)
    for (std::int64_t c = region.first; c < region.first + region.channels; ++c) {
      const std::int64_t row = ((region.sample + n) * args.channels + c) * args.length;
      const T* x = a.x + row;
      const Incoming<T, kRelu> incoming = incoming_at<T, kRelu>(a, row);
      const Vec<T> scale = splat(a.scale(c)), center = splat(a.mean[c]),
                   average = splat(a.grad_bias[c] * part),
                   slope = splat(a.grad_weight[c] * part * a.rstd[c]);
      if (args.training)
        map_row(
            a.grad_x + row, args.length,
            [=](auto place) {
              return scale * (incoming(place) - average - (place(x) - center) * slope);
            },
            past);
      else
        map_row(
            a.grad_x + row, args.length, [=](auto place) { return scale * incoming(place); }, past);
    }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
