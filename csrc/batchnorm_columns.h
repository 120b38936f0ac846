// Batch normalization where the rows of a channel are short: every sample is one row of columns.
// Included once per instruction set.
#pragma once

#include <algorithm>

#include "batchnorm_parts.h"
#include "host_memory.h"
#include "parallel.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Columns and rows of a tile; ranges of rows.
static constexpr std::int64_t kColumns = 1024, kRows = 64, kMaxParts = 64;

// Samples of channels * length columns, cut into `parts` ranges of rows and `groups` of columns.
struct Columns {
  explicit Columns(const BatchNorm& args) : batch(args.batch), count(args.channels * args.length) {
    const std::int64_t least = std::max(kRows, kGrain / std::max<std::int64_t>(1, count));
    rows = std::max((batch + kMaxParts - 1) / kMaxParts, least);
    parts = std::max<std::int64_t>(1, (batch + rows - 1) / rows);
    groups = (count + kColumns - 1) / kColumns;
  }
  double rows_of(std::int64_t part) const {
    return static_cast<double>(std::min(rows, batch - part * rows));
  }
  // Calls visit(part, first column, width) for every part and group, in parallel.
  template <class Visit>
  void for_each(const Visit& visit) const {
    parallel_for(parts * groups, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t first = i % groups * kColumns;
        visit(i / groups, first, std::min(kColumns, count - first));
      }
    });
  }
  // Calls visit(first row, end) for pieces of a part's rows, in order.
  template <class Visit>
  void for_each_piece(std::int64_t part, const Visit& visit) const {
    const std::int64_t end = std::min((part + 1) * rows, batch);
    for (std::int64_t row = part * rows; row < end; row += kRows)
      visit(row, std::min(row + kRows, end));
  }

  std::int64_t batch, count, rows, parts, groups;
};

// Moments of columns, each in an array of its own so that merging is vectorized.
struct ColumnMoments {
  double *mean, *squares, *total;
};

template <class T>
[[gnu::noinline]] static void sum_columns(const T* x, std::int64_t stride, std::int64_t rows,
                                          std::int64_t width, T* sums) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < width; ++c) sums[c] += x[r * stride + c];
}

template <class T>
[[gnu::noinline]] static void sum_column_squares(const T* x, std::int64_t stride, std::int64_t rows,
                                                 std::int64_t width, const T* center, T* squares) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < width; ++c) {
      const T deviation = x[r * stride + c] - center[c];
      squares[c] += deviation * deviation;
    }
}

template <class T>
static void column_moments(const BatchNorm& args, const Columns& columns, std::int64_t part,
                           std::int64_t first, std::int64_t width, const ColumnMoments& moments) {
  double before = 0;
  columns.for_each_piece(part, [&](std::int64_t row, std::int64_t end) {
    const T* x = static_cast<const T*>(args.x) + row * columns.count + first;
    T sums[kColumns] = {}, squares[kColumns] = {}, center[kColumns] = {};
    sum_columns(x, columns.count, end - row, width, sums);
    const auto count = static_cast<double>(end - row);
    for (std::int64_t c = 0; c < width; ++c) center[c] = sums[c] / static_cast<T>(count);
    sum_column_squares(x, columns.count, end - row, width, center, squares);
    const double share = count / (before + count);
    for (std::int64_t c = 0; c < width; ++c) {
      Moments merged{moments.mean[c], moments.squares[c], moments.total[c]};
      merged.merge(static_cast<double>(sums[c]), count, static_cast<double>(squares[c]), share,
                   share * before);
      moments.mean[c] = merged.mean;
      moments.squares[c] = merged.squares;
      moments.total[c] = merged.total;
    }
    before += count;
  });
}

template <class T>
static void column_statistics(const BatchNorm& args) {
  const Columns columns(args);
  const std::int64_t all = columns.parts * columns.count;
  auto* scratch = static_cast<double*>(
      thread_scratch(static_cast<std::size_t>(3 * all + 3 * args.channels) * sizeof(double)));
  const ColumnMoments moments{scratch, scratch + all, scratch + 2 * all};
  std::fill_n(scratch, 3 * all, 0.0);
  columns.for_each([&](std::int64_t part, std::int64_t first, std::int64_t width) {
    const std::int64_t at = part * columns.count + first;
    column_moments<T>(args, columns, part, first, width,
                      {moments.mean + at, moments.squares + at, moments.total + at});
  });
  auto* merged = reinterpret_cast<Moments*>(scratch + 3 * all);
  std::fill_n(merged, args.channels, Moments{});
  double before = 0;
  for (std::int64_t part = 0; part < columns.parts; ++part)
    for (std::int64_t i = 0; i < args.length; ++i) {
      const double count = columns.rows_of(part), share = count / (before + count);
      for (std::int64_t c = 0; c < args.channels; ++c) {
        const std::int64_t at = part * columns.count + c * args.length + i;
        merged[c].merge(moments.total[at], count, moments.squares[at], share, share * before);
      }
      before += count;
    }
  for (std::int64_t c = 0; c < args.channels; ++c) finish_channel<T>(args, c, merged[c]);
}

// Calls visit(offset) for every sample, in parallel.
template <class Visit>
static void for_each_sample(const BatchNorm& args, const Visit& visit) {
  const std::int64_t count = args.channels * args.length;
  parallel_for(args.batch, std::max<std::int64_t>(1, kGrain / count), [&](auto begin, auto end) {
    for (std::int64_t n = begin; n < end; ++n) visit(n * count);
    finish_streams();
  });
}

// An array with value(c) in each column of channel c.
template <class T, class Value>
static T* spread(const BatchNorm& args, T* columns, const Value& value) {
  for (std::int64_t c = 0; c < args.channels; ++c)
    std::fill_n(columns + c * args.length, args.length, value(c));
  return columns;
}

template <class T>
[[gnu::noinline]] static void write_columns(const BatchNorm& args) {
  const Arrays<T> a(args);
  const std::int64_t count = args.channels * args.length;
  T* scratch = static_cast<T*>(thread_scratch(3 * static_cast<std::size_t>(count) * sizeof(T)));
  const T* means = spread(args, scratch, [&](auto c) { return a.mean[c]; });
  const T* scales = spread(args, scratch + count, [&](auto c) { return a.scale(c); });
  const T* shifts = spread(args, scratch + 2 * count, [&](auto c) { return a.shift(c); });
  const bool past = past_caches(args);
  for_each_sample(args, [&](std::int64_t at) {
    const T *x = a.x + at, *residual = a.residual ? a.residual + at : nullptr;
    write_row(a.y + at, count, args.relu, residual, past, [=](auto place) {
      // Loaded first: what a sanitizer puts around loads must not keep the product from the sum,
      // which are rounded once, as where a convolution does this (conv_epilogue.h).
      const Vec<T> scale = place(scales), shift = place(shifts);
      return (place(x) - place(means)) * scale + shift;
    });
  });
}

template <class T, bool kRelu>
[[gnu::noinline]] static void add_column_gradients(const Arrays<T>& a, std::int64_t at,
                                                   std::int64_t width, const T* center, T* sums,
                                                   T* products) {
  const T *x = a.x + at, *grad_y = a.grad_y + at, *y = a.y + at;
  for (std::int64_t c = 0; c < width; ++c) {
    T grad = grad_y[c];
    if constexpr (kRelu) grad = y[c] <= T{0} ? T{0} : grad;
    sums[c] += grad;
    products[c] += grad * (x[c] - center[c]);
  }
}

// Adds up gradients and products over the batch, per column of each part.
template <class T, bool kRelu>
static void sum_column_gradients(const BatchNorm& args, const Columns& columns, const T* centers,
                                 double* grads, double* all_products) {
  const Arrays<T> a(args);
  columns.for_each([&](std::int64_t part, std::int64_t first, std::int64_t width) {
    const std::int64_t out = part * columns.count + first;
    std::fill_n(grads + out, width, 0.0);
    std::fill_n(all_products + out, width, 0.0);
    columns.for_each_piece(part, [&](std::int64_t row, std::int64_t end) {
      T sums[kColumns] = {}, products[kColumns] = {};
      for (; row < end; ++row) {
        const std::int64_t at = row * columns.count + first;
        add_column_gradients<T, kRelu>(a, at, width, centers + first, sums, products);
        if (a.grad_residual)
          map_row(a.grad_residual + at, width, Incoming<T, kRelu>{a.grad_y + at, a.y + at});
      }
      for (std::int64_t c = 0; c < width; ++c) {
        grads[out + c] += static_cast<double>(sums[c]);
        all_products[out + c] += static_cast<double>(products[c]);
      }
    });
  });
}

template <class T, bool kRelu>
[[gnu::noinline]] static void write_column_gradients(const BatchNorm& args, const T* means,
                                                     T* scratch) {
  const Arrays<T> a(args);
  const std::int64_t count = args.channels * args.length;
  const T part = T{1} / static_cast<T>(args.batch * args.length);
  const T* scales = spread(args, scratch, [&](auto c) { return a.scale(c); });
  const T* averages = spread(args, scratch + count, [&](auto c) { return a.grad_bias[c] * part; });
  const T* slopes = spread(args, scratch + 2 * count,
                           [&](auto c) { return a.grad_weight[c] * part * a.rstd[c]; });
  const bool past = past_caches(args);
  for_each_sample(args, [&](std::int64_t at) {
    const T* x = a.x + at;
    const Incoming<T, kRelu> incoming{a.grad_y + at, a.y + at};
    if (args.training)
      map_row(
          a.grad_x + at, count,
          [=](auto place) {
            return place(scales) *
                   (incoming(place) - place(averages) - (place(x) - place(means)) * place(slopes));
          },
          past);
    else
      map_row(
          a.grad_x + at, count, [=](auto place) { return place(scales) * incoming(place); }, past);
  });
}

template <class T, bool kRelu>
static void column_backward(const BatchNorm& args) {
  const Arrays<T> a(args);
  const Columns columns(args);
  const std::int64_t all = columns.parts * columns.count;
  auto* grads =
      static_cast<double*>(thread_scratch(static_cast<std::size_t>(2 * all) * sizeof(double) +
                                          4 * static_cast<std::size_t>(columns.count) * sizeof(T)));
  double* products = grads + all;
  T* scratch = reinterpret_cast<T*>(products + all);
  const T* means = spread(args, scratch, [&](auto c) { return a.mean[c]; });
  sum_column_gradients<T, kRelu>(args, columns, means, grads, products);
  for (std::int64_t c = 0; c < args.channels; ++c) {
    double grad = 0, product = 0;
    for (std::int64_t part = 0; part < columns.parts; ++part)
      for (std::int64_t i = 0; i < args.length; ++i) {
        grad += grads[part * columns.count + c * args.length + i];
        product += products[part * columns.count + c * args.length + i];
      }
    a.grad_bias[c] = static_cast<T>(grad);
    a.grad_weight[c] = static_cast<T>(product * static_cast<double>(a.rstd[c]));
  }
  if (a.grad_x) write_column_gradients<T, kRelu>(args, means, scratch + columns.count);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
