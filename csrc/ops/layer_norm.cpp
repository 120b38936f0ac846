// Normalization over rows: layer normalization after Ba, Kiros and Hinton, "Layer Normalization"
// (2016), and root mean square after Zhang and Sennrich, "Root Mean Square Layer Normalization"
// (2019). A row is read from memory once; further passes find it in the cache.
#include "layer_norm.h"

#include <algorithm>
#include <cmath>

#include "../host_memory.h"
#include "../moments.h"
#include "../parallel.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kMaxParts = 64;  // ranges of rows that sum up weight gradients
static constexpr std::int64_t kTogether = 4;   // rows added to weight gradients at once
static constexpr std::int64_t kRowsInT = 128;  // rows summed in T before a sum in double

static bool past_caches(const LayerNorm& args) {
  return args.rows * args.size * (args.dtype == DType::float64 ? 8 : 4) > kPastCaches;
}

template <class T>
static double mean_of_squares(const T* x, std::int64_t size) {
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += kPiece) {
    const T* piece = x + begin;
    const auto squares = [piece](auto place) { return place(piece) * place(piece); };
    sum += static_cast<double>(
        sum_lanes<T>(add_row<T>(Vec<T>{}, std::min(kPiece, size - begin), squares)));
  }
  return sum / static_cast<double>(size);
}

template <class T>
[[gnu::noinline]] static void normalize_row(const LayerNorm& args, std::int64_t row, bool past) {
  const T* x = static_cast<const T*>(args.x) + row * args.size;
  const T* weight = static_cast<const T*>(args.weight);
  const T* bias = static_cast<const T*>(args.bias);
  T* y = static_cast<T*>(args.y) + row * args.size;
  double average = 0, variance;
  if (args.centered) {
    const Moments moments = row_moments(x, args.size);
    average = moments.total / static_cast<double>(args.size);
    variance = moments.squares / static_cast<double>(args.size);
    static_cast<T*>(args.mean)[row] = static_cast<T>(average);
  } else {
    variance = mean_of_squares(x, args.size);
  }
  const T scale_value = static_cast<T>(1 / std::sqrt(variance + args.eps));
  static_cast<T*>(args.rstd)[row] = scale_value;
  const Vec<T> center = splat(static_cast<T>(average)), scale = splat(scale_value);
  const auto normal = [=](auto place) { return (place(x) - center) * scale; };
  if (weight && bias)
    map_row(
        y, args.size, [=](auto place) { return normal(place) * place(weight) + place(bias); },
        past);
  else if (weight)
    map_row(y, args.size, [=](auto place) { return normal(place) * place(weight); }, past);
  else if (bias)
    map_row(y, args.size, [=](auto place) { return normal(place) + place(bias); }, past);
  else map_row(y, args.size, normal, past);
}

// With z = (x - mean) * rstd and g = grad_y * weight, averages over the row:
//   grad_x = rstd * (g - average(g) - z * average(g * z))
// without the first average where nothing was centered.
template <class T>
[[gnu::noinline]] static void grad_row(const LayerNorm& args, std::int64_t row, bool past) {
  const T* x = static_cast<const T*>(args.x) + row * args.size;
  const T* grad_y = static_cast<const T*>(args.grad_y) + row * args.size;
  const T* weight = static_cast<const T*>(args.weight);
  T* grad_x = static_cast<T*>(args.grad_x) + row * args.size;
  const T rstd = static_cast<const T*>(args.rstd)[row];
  const Vec<T> center = splat(args.centered ? static_cast<const T*>(args.mean)[row] : T{0});
  const auto run = [&](auto grad) {
    double first = 0, second = 0;
    for (std::int64_t begin = 0; begin < args.size; begin += kPiece) {
      const TwoTerms<T> sums =
          add_row_twice<T>({}, std::min(kPiece, args.size - begin), [=](auto place) {
            const Vec<T> g = grad(place.moved(begin));
            return TwoTerms<T>{g, g * (place.moved(begin)(x) - center)};
          });
      first += static_cast<double>(sum_lanes<T>(sums.first));
      second += static_cast<double>(sum_lanes<T>(sums.second));
    }
    const double share = 1 / static_cast<double>(args.size), r = static_cast<double>(rstd);
    const Vec<T> average = splat(static_cast<T>(args.centered ? first * share : 0)),
                 slope = splat(static_cast<T>(second * share * r * r)), scale = splat(rstd);
    map_row(
        grad_x, args.size,
        [=](auto place) { return scale * (grad(place) - average - (place(x) - center) * slope); },
        past);
  };
  if (weight) run([=](auto place) { return place(grad_y) * place(weight); });
  else run([=](auto place) { return place(grad_y); });
}

// Adds the shares of kCount rows to grad_weight and grad_bias.
template <class T, int kCount>
[[gnu::noinline]] static void add_weight_gradients(const LayerNorm& args, std::int64_t row,
                                                   T* grad_weight, T* grad_bias) {
  const std::int64_t size = args.size;
  const T* x = static_cast<const T*>(args.x) + row * size;
  const T* grad_y = static_cast<const T*>(args.grad_y) + row * size;
  T center[kCount], scale[kCount];
  for (int k = 0; k < kCount; ++k) {
    center[k] = args.centered ? static_cast<const T*>(args.mean)[row + k] : T{0};
    scale[k] = static_cast<const T*>(args.rstd)[row + k];
  }
#pragma GCC ivdep
  for (std::int64_t i = 0; i < size; ++i) {
    T weight = 0, bias = 0;
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) {
      const T grad = grad_y[k * size + i];
      bias += grad;
      weight += grad * ((x[k * size + i] - center[k]) * scale[k]);
    }
    grad_weight[i] += weight;
    grad_bias[i] += bias;
  }
}

// Where the parts of the weight gradients are summed up: doubles per part, numbers in T beside.
template <class T>
struct WeightGradients {
  explicit WeightGradients(const LayerNorm& args) : size(args.size) {
    const std::int64_t least = std::max<std::int64_t>(kGrain / args.size, kTogether);
    rows = std::max((args.rows + kMaxParts - 1) / kMaxParts, least);
    rows = (rows + kTogether - 1) / kTogether * kTogether;
    parts = std::max<std::int64_t>(1, (args.rows + rows - 1) / rows);
    const auto count = static_cast<std::size_t>(2 * parts * size);
    sums = static_cast<double*>(thread_scratch(count * (sizeof(double) + sizeof(T))));
    lines = reinterpret_cast<T*>(sums + count);
    std::fill_n(sums, count, 0.0);
  }
  // Adds what a part has in T to its doubles.
  void settle(std::int64_t part) const {
    double* sum = sums + 2 * part * size;
    T* line = lines + 2 * part * size;
    for (std::int64_t i = 0; i < 2 * size; ++i) sum[i] += static_cast<double>(line[i]);
    std::fill_n(line, 2 * size, T{0});
  }
  void write(const LayerNorm& args) const {
    for (std::int64_t part = 1; part < parts; ++part)
      for (std::int64_t i = 0; i < 2 * size; ++i) sums[i] += sums[2 * part * size + i];
    for (std::int64_t i = 0; i < size; ++i) {
      if (args.grad_weight) static_cast<T*>(args.grad_weight)[i] = static_cast<T>(sums[i]);
      if (args.grad_bias) static_cast<T*>(args.grad_bias)[i] = static_cast<T>(sums[size + i]);
    }
  }

  std::int64_t size, rows, parts;
  double* sums;
  T* lines;
};

template <class T>
static void backward_part(const LayerNorm& args, const WeightGradients<T>& weights,
                          std::int64_t part) {
  const std::int64_t begin = part * weights.rows, end = std::min(begin + weights.rows, args.rows);
  const bool wants_weights = args.grad_weight || args.grad_bias, past = past_caches(args);
  T* line = weights.lines + 2 * part * args.size;
  std::fill_n(line, 2 * args.size, T{0});
  for (std::int64_t row = begin; row < end; row += kTogether) {
    const std::int64_t last = std::min(row + kTogether, end);
    if (args.grad_x)
      for (std::int64_t r = row; r < last; ++r) grad_row<T>(args, r, past);
    if (!wants_weights) continue;
    if (last - row == kTogether)
      add_weight_gradients<T, kTogether>(args, row, line, line + args.size);
    else
      for (std::int64_t r = row; r < last; ++r)
        add_weight_gradients<T, 1>(args, r, line, line + args.size);
    if ((row - begin) % kRowsInT == kRowsInT - kTogether) weights.settle(part);
  }
  if (wants_weights) weights.settle(part);
  finish_streams();
}

void layer_norm(const LayerNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const bool past = past_caches(args);
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / args.size);
    parallel_for(args.rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) normalize_row<T>(args, row, past);
      finish_streams();
    });
  });
}

void layer_norm_backward(const LayerNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const WeightGradients<T> weights(args);
    parallel_for(weights.parts, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) backward_part(args, weights, part);
    });
    weights.write(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
