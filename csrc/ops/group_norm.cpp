// Group normalization after Wu and He, "Group Normalization" (2018). The elements of a group lie
// side by side, so a task reads them from memory once and finds them in the cache afterwards.
#include "group_norm.h"

#include <algorithm>
#include <cmath>

#include "../host_memory.h"
#include "../moments.h"
#include "../parallel.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static bool past_caches(const GroupNorm& args) {
  return args.batch * args.channels * args.length * (args.dtype == DType::float64 ? 8 : 4) >
         kPastCaches;
}

// Calls visit(number of the group in the batch, its first channel) for every group, in parallel.
template <class Visit>
static void for_each_group(const GroupNorm& args, const Visit& visit) {
  const std::int64_t size = args.together() * args.length;
  parallel_for(args.batch * args.groups, std::max<std::int64_t>(1, kGrain / size),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t group = begin; group < end; ++group)
                   visit(group, group % args.groups * args.together());
                 finish_streams();
               });
}

template <class T>
[[gnu::noinline]] static void normalize_group(const GroupNorm& args, std::int64_t group,
                                              std::int64_t first, bool past) {
  const std::int64_t size = args.together() * args.length;
  const T* x = static_cast<const T*>(args.x) + group * size;
  const T* weight = static_cast<const T*>(args.weight);
  const T* bias = static_cast<const T*>(args.bias);
  T* y = static_cast<T*>(args.y) + group * size;
  const Moments moments = row_moments(x, size);
  const auto count = static_cast<double>(size);
  const T mean = static_cast<T>(moments.total / count);
  const T rstd = static_cast<T>(1 / std::sqrt(moments.squares / count + args.eps));
  static_cast<T*>(args.mean)[group] = mean;
  static_cast<T*>(args.rstd)[group] = rstd;
  const Vec<T> center = splat(mean);
  for (std::int64_t c = first; c < first + args.together(); ++c) {
    const Vec<T> scale = splat(weight ? rstd * weight[c] : rstd),
                 shift = splat(bias ? bias[c] : T{0});
    map_row(y, args.length, [=](auto place) { return (place(x) - center) * scale + shift; }, past);
    x += args.length;
    y += args.length;
  }
}

// Of one channel of one sample: sums of grad_y and of grad_y * (x - mean).
struct ChannelSums {
  double grad = 0, product = 0;
};

template <class T>
[[gnu::noinline]] static ChannelSums channel_sums(const T* x, const T* grad_y, std::int64_t length,
                                                  T mean) {
  ChannelSums sums;
  const Vec<T> center = splat(mean);
  for (std::int64_t begin = 0; begin < length; begin += kPiece) {
    const T *piece = x + begin, *grad = grad_y + begin;
    const TwoTerms<T> terms =
        add_row_twice<T>({}, std::min(kPiece, length - begin), [=](auto place) {
          return TwoTerms<T>{place(grad), place(grad) * (place(piece) - center)};
        });
    sums.grad += static_cast<double>(sum_lanes<T>(terms.first));
    sums.product += static_cast<double>(sum_lanes<T>(terms.second));
  }
  return sums;
}

// With z = (x - mean) * rstd and g = grad_y * weight, averages over the group:
//   grad_x = rstd * (g - average(g) - z * average(g * z))
template <class T>
[[gnu::noinline]] static void grad_group(const GroupNorm& args, std::int64_t group,
                                         std::int64_t first, ChannelSums* sums, bool past) {
  const std::int64_t size = args.together() * args.length;
  const T* x = static_cast<const T*>(args.x) + group * size;
  const T* grad_y = static_cast<const T*>(args.grad_y) + group * size;
  const T* weight = static_cast<const T*>(args.weight);
  const T mean = static_cast<const T*>(args.mean)[group];
  const T rstd = static_cast<const T*>(args.rstd)[group];
  double grads = 0, products = 0;
  for (std::int64_t c = 0; c < args.together(); ++c) {
    const std::int64_t at = c * args.length;
    sums[c] = channel_sums(x + at, grad_y + at, args.length, mean);
    const double factor = weight ? static_cast<double>(weight[first + c]) : 1;
    grads += sums[c].grad * factor;
    products += sums[c].product * factor;
    sums[c].product *= static_cast<double>(rstd);
  }
  if (args.grad_x == nullptr) return;
  T* grad_x = static_cast<T*>(args.grad_x) + group * size;
  const double r = static_cast<double>(rstd), count = static_cast<double>(size);
  const Vec<T> center = splat(mean), average = splat(static_cast<T>(grads * r / count)),
               slope = splat(static_cast<T>(products * r * r * r / count));
  for (std::int64_t c = first; c < first + args.together(); ++c) {
    const Vec<T> scale = splat(weight ? rstd * weight[c] : rstd);
    map_row(
        grad_x, args.length,
        [=](auto place) { return scale * place(grad_y) - average - (place(x) - center) * slope; },
        past);
    x += args.length;
    grad_y += args.length;
    grad_x += args.length;
  }
}

void group_norm(const GroupNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const bool past = past_caches(args);
    for_each_group(args, [&](std::int64_t group, std::int64_t first) {
      normalize_group<T>(args, group, first, past);
    });
  });
}

void group_norm_backward(const GroupNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const bool past = past_caches(args);
    auto* sums = static_cast<ChannelSums*>(
        thread_scratch(static_cast<std::size_t>(args.batch * args.channels) * sizeof(ChannelSums)));
    for_each_group(args, [&](std::int64_t group, std::int64_t first) {
      grad_group<T>(args, group, first, sums + group * args.together(), past);
    });
    for (std::int64_t c = 0; c < args.channels; ++c) {
      ChannelSums total;
      for (std::int64_t n = 0; n < args.batch; ++n) {
        total.grad += sums[n * args.channels + c].grad;
        total.product += sums[n * args.channels + c].product;
      }
      static_cast<T*>(args.grad_weight)[c] = static_cast<T>(total.product);
      static_cast<T*>(args.grad_bias)[c] = static_cast<T>(total.grad);
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
