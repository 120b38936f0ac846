// Batch normalization after Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
// Training by Reducing Internal Covariate Shift" (2015).
//
// Two layouts. With length > 1 the elements of a channel come in rows, and a task takes all rows of
// a block of channels: what it summed is still in the cache when it writes the result. With length
// 1 (and channels-last images) channels lie side by side, so tasks take ranges of the batch and
// leave partial sums, which are merged in order.
//
// Mean and variance take one pass over memory that is safe against cancellation: a piece of some
// thousand elements is read from the cache a second time, for its squares about its own mean;
// pieces are merged by the rule of Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
// Algorithm for Computing Sample Variances" (1979).
#include "batchnorm.h"

#include <algorithm>
#include <cmath>

#include "../host_memory.h"
#include "../parallel.h"
#include "../row_sums.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kBlock = 32;     // channels per task, or columns side by side
static constexpr std::int64_t kPiece = 4096;   // elements: two passes over them stay in the cache
static constexpr std::int64_t kColumns = 64;   // channels-last: sums that advance together
static constexpr std::int64_t kRows = 64;      // channels-last: rows per piece
static constexpr std::int64_t kMaxParts = 64;  // channels-last: ranges of the batch

template <class T>
struct Arrays {
  explicit Arrays(const BatchNorm& a)
      : x(static_cast<const T*>(a.x)),
        weight(static_cast<const T*>(a.weight)),
        bias(static_cast<const T*>(a.bias)),
        residual(static_cast<const T*>(a.residual)),
        grad_y(static_cast<const T*>(a.grad_y)),
        y(static_cast<T*>(a.y)),
        mean(static_cast<T*>(a.mean)),
        rstd(static_cast<T*>(a.rstd)),
        grad_x(static_cast<T*>(a.grad_x)),
        grad_residual(static_cast<T*>(a.grad_residual)),
        grad_weight(static_cast<T*>(a.grad_weight)),
        grad_bias(static_cast<T*>(a.grad_bias)) {}

  T scale(std::int64_t c) const { return weight ? rstd[c] * weight[c] : rstd[c]; }
  T shift(std::int64_t c) const { return bias ? bias[c] : T{0}; }

  const T *x, *weight, *bias, *residual, *grad_y;
  T *y, *mean, *rstd, *grad_x, *grad_residual, *grad_weight, *grad_bias;
};

// Mean and sum of squared deviations of what was merged so far. `total` is the plain sum: unlike
// the merged mean it stays infinite where one element is.
struct Moments {
  double mean = 0, squares = 0, total = 0;

  // `share` is count / (all elements with these), `weight` is share * (elements before).
  void merge(double sum, double count, double more_squares, double share, double weight) {
    const double delta = sum / count - mean;
    mean += delta * share;
    squares += more_squares + delta * delta * weight;
    total += sum;
  }
};

// mean, rstd and the running statistics of channel c.
template <class T>
static void finish_channel(const BatchNorm& args, std::int64_t c, const Moments& moments) {
  T* running_mean = static_cast<T*>(args.running_mean);
  T* running_var = static_cast<T*>(args.running_var);
  const auto count = static_cast<double>(args.batch * args.length);
  const double average = moments.total / count;
  static_cast<T*>(args.mean)[c] = static_cast<T>(average);
  static_cast<T*>(args.rstd)[c] = static_cast<T>(1 / std::sqrt(moments.squares / count + args.eps));
  if (running_mean)
    running_mean[c] =
        static_cast<T>((1 - args.momentum) * running_mean[c] + args.momentum * average);
  if (running_var)
    running_var[c] = static_cast<T>((1 - args.momentum) * running_var[c] +
                                    args.momentum * (moments.squares / (count - 1)));
}

// ---- Rows: length > 1. -------------------------------------------------------------------------

// A block of channels, in a piece of the batch and of the rows.
struct Piece {
  std::int64_t first_channel, channels, first_sample, samples, begin, count;

  double elements() const { return static_cast<double>(samples * count); }
  // visit(number in the block, offset of the row's first element)
  template <class Visit>
  [[gnu::always_inline]] void for_each_row(const BatchNorm& args, const Visit& visit) const {
    for (std::int64_t n = first_sample; n < first_sample + samples; ++n)
      for (std::int64_t c = 0; c < channels; ++c)
        visit(c, (n * args.channels + first_channel + c) * args.length + begin);
  }
};

// Calls task(first channel, channels) for blocks of channels; sizes alone decide about the blocks.
// A block's rows are long enough for the hardware to fetch ahead.
template <class Task>
static void for_each_block(const BatchNorm& args, const Task& task) {
  const std::int64_t block = std::clamp<std::int64_t>(1024 / args.length, 1, kBlock);
  const std::int64_t blocks = (args.channels + block - 1) / block;
  const std::int64_t work = std::max<std::int64_t>(1, block * args.batch * args.length);
  parallel_for(blocks, std::max<std::int64_t>(1, kGrain / work), [&](auto begin, auto end) {
    for (std::int64_t first = begin * block; first < std::min(end * block, args.channels);
         first += block)
      task(first, std::min(block, args.channels - first));
  });
}

template <class Visit>
static void for_each_piece(const BatchNorm& args, std::int64_t first, std::int64_t channels,
                           const Visit& visit) {
  const std::int64_t count = std::min(args.length, kPiece);
  const std::int64_t samples = std::max<std::int64_t>(1, kPiece / (channels * count));
  for (std::int64_t n = 0; n < args.batch; n += samples)
    for (std::int64_t i = 0; i < args.length; i += count)
      visit(Piece{first, channels, n, std::min(samples, args.batch - n), i,
                  std::min(count, args.length - i)});
}

template <class T>
[[gnu::noinline]] static void sum_piece(const BatchNorm& args, const Piece& piece, Vec<T>* sums) {
  const T* x = static_cast<const T*>(args.x);
  piece.for_each_row(args, [&](std::int64_t c, std::int64_t at) {
    const T* row = x + at;
    sums[c] = add_row<T>(sums[c], piece.count, [row](auto place) { return place(row); });
  });
}

template <class T>
[[gnu::noinline]] static void sum_squares(const BatchNorm& args, const Piece& piece,
                                          const T* centers, Vec<T>* sums) {
  const T* x = static_cast<const T*>(args.x);
  piece.for_each_row(args, [&](std::int64_t c, std::int64_t at) {
    const T* row = x + at;
    const Vec<T> center = splat(centers[c]);
    sums[c] = add_row<T>(sums[c], piece.count, [row, center](auto place) {
      const Vec<T> deviation = place(row) - center;
      return deviation * deviation;
    });
  });
}

template <class T>
static void block_statistics(const BatchNorm& args, std::int64_t first, std::int64_t channels) {
  Moments moments[kBlock];
  double before = 0;
  for_each_piece(args, first, channels, [&](const Piece& piece) {
    Vec<T> sums[kBlock] = {}, squares[kBlock] = {};
    T sum[kBlock], center[kBlock];
    const double count = piece.elements();
    sum_piece<T>(args, piece, sums);
    for (std::int64_t c = 0; c < channels; ++c) {
      sum[c] = sum_lanes<T>(sums[c]);
      center[c] = sum[c] / static_cast<T>(count);
    }
    sum_squares<T>(args, piece, center, squares);
    const double share = count / (before + count);
    for (std::int64_t c = 0; c < channels; ++c)
      moments[c].merge(static_cast<double>(sum[c]), count,
                       static_cast<double>(sum_lanes<T>(squares[c])), share, share * before);
    before += count;
  });
  for (std::int64_t c = 0; c < channels; ++c) finish_channel<T>(args, first + c, moments[c]);
}

template <class T>
TILEGRAD_INLINE Vec<T> rectify(Vec<T> value) {  // NaN stays
  return keep<T>(~(value <= Vec<T>{}), value);
}

template <class T>
[[gnu::noinline]] static void write_block(const BatchNorm& args, std::int64_t first,
                                          std::int64_t channels) {
  const Arrays<T> a(args);
  const Piece all{first, channels, 0, args.batch, 0, args.length};
  all.for_each_row(args, [&](std::int64_t c, std::int64_t at) {
    const Vec<T> center = splat(a.mean[first + c]), scale = splat(a.scale(first + c)),
                 shift = splat(a.shift(first + c));
    const T *x = a.x + at, *residual = a.residual + at;
    const auto normal = [=](auto place) { return (place(x) - center) * scale + shift; };
    if (a.residual && args.relu)
      map_row(a.y + at, args.length,
              [=](auto place) { return rectify<T>(normal(place) + place(residual)); });
    else if (a.residual)
      map_row(a.y + at, args.length, [=](auto place) { return normal(place) + place(residual); });
    else if (args.relu)
      map_row(a.y + at, args.length, [=](auto place) { return rectify<T>(normal(place)); });
    else map_row(a.y + at, args.length, normal);
  });
}

// The gradient that arrives at the normalization: behind a ReLU, none where y is 0.
template <class T, bool kRelu>
struct Incoming {
  const T *grad, *y;

  template <class Place>
  [[gnu::always_inline]] Vec<T> operator()(const Place& place) const {
    if constexpr (kRelu) return keep<T>(~(place(y) <= Vec<T>{}), place(grad));
    else return place(grad);
  }
};

// Sums of the gradient and of its product with x - mean over a piece; writes grad_residual on the
// way.
template <class T, bool kRelu>
[[gnu::noinline]] static void sum_gradients(const BatchNorm& args, const Piece& piece,
                                            TwoTerms<T>* sums) {
  const Arrays<T> a(args);
  piece.for_each_row(args, [&](std::int64_t c, std::int64_t at) {
    const T* x = a.x + at;
    const Incoming<T, kRelu> incoming{a.grad_y + at, a.y + at};
    const Vec<T> center = splat(a.mean[piece.first_channel + c]);
    sums[c] = add_row_twice<T>(sums[c], piece.count, [=](auto place) {
      const Vec<T> grad = incoming(place);
      return TwoTerms<T>{grad, grad * (place(x) - center)};
    });
    if (a.grad_residual) map_row(a.grad_residual + at, piece.count, incoming);
  });
}

// With z = (x - mean) * rstd, averages over the batch and everything per channel:
//   grad_bias = sum(grad), grad_weight = sum(grad * z)
//   grad_x = weight * rstd * (grad - average(grad) - z * average(grad * z))
// and without the two averages where mean and rstd are constants: then x has no part in grad_x, be
// it infinite.
template <class T, bool kRelu>
[[gnu::noinline]] static void write_gradients(const BatchNorm& args, std::int64_t first,
                                              std::int64_t channels) {
  const Arrays<T> a(args);
  const T part = T{1} / static_cast<T>(args.batch * args.length);
  const Piece all{first, channels, 0, args.batch, 0, args.length};
  all.for_each_row(args, [&](std::int64_t block_channel, std::int64_t at) {
    const std::int64_t c = first + block_channel;
    const T* x = a.x + at;
    const Incoming<T, kRelu> incoming{a.grad_y + at, a.y + at};
    const Vec<T> scale = splat(a.scale(c)), center = splat(a.mean[c]),
                 average = splat(a.grad_bias[c] * part),
                 slope = splat(a.grad_weight[c] * part * a.rstd[c]);
    if (args.training)
      map_row(a.grad_x + at, args.length, [=](auto place) {
        return scale * (incoming(place) - average - (place(x) - center) * slope);
      });
    else map_row(a.grad_x + at, args.length, [=](auto place) { return scale * incoming(place); });
  });
}

template <class T, bool kRelu>
static void block_backward(const BatchNorm& args, std::int64_t first, std::int64_t channels) {
  const Arrays<T> a(args);
  double grads[kBlock] = {}, products[kBlock] = {};
  for_each_piece(args, first, channels, [&](const Piece& piece) {
    TwoTerms<T> sums[kBlock];
    sum_gradients<T, kRelu>(args, piece, sums);
    for (std::int64_t c = 0; c < channels; ++c) {
      grads[c] += static_cast<double>(sum_lanes<T>(sums[c].first));
      products[c] += static_cast<double>(sum_lanes<T>(sums[c].second));
    }
  });
  for (std::int64_t c = 0; c < channels; ++c) {
    a.grad_bias[first + c] = static_cast<T>(grads[c]);
    a.grad_weight[first + c] = static_cast<T>(products[c] * static_cast<double>(a.rstd[first + c]));
  }
  if (a.grad_x) write_gradients<T, kRelu>(args, first, channels);
}

// ---- Columns: length 1. ------------------------------------------------------------------------

static std::int64_t rows_per_part(const BatchNorm& args) {
  const std::int64_t least = std::max(kRows, kGrain / std::max<std::int64_t>(1, args.channels));
  return std::max((args.batch + kMaxParts - 1) / kMaxParts, least);
}

// Calls visit(first row, end, first column, width) for pieces of the rows in [begin, end), in
// order.
template <class Visit>
static void for_each_tile(const BatchNorm& args, std::int64_t begin, std::int64_t end,
                          const Visit& visit) {
  for (std::int64_t row = begin; row < end; row += kRows)
    for (std::int64_t c = 0; c < args.channels; c += kColumns)
      visit(row, std::min(row + kRows, end), c, std::min(kColumns, args.channels - c));
}

// The moments of rows [begin, end), one per channel.
template <class T>
[[gnu::noinline]] static void column_moments(const BatchNorm& args, std::int64_t begin,
                                             std::int64_t end, Moments* moments) {
  const T* x = static_cast<const T*>(args.x);
  std::fill_n(moments, args.channels, Moments{});
  for_each_tile(args, begin, end, [&](auto row, auto last, auto first, std::int64_t width) {
    T sum[kColumns] = {}, squares[kColumns] = {}, center[kColumns];
    const T* tile = x + first;
    for (std::int64_t r = row; r < last; ++r)
      for (std::int64_t c = 0; c < width; ++c) sum[c] += tile[r * args.channels + c];
    const T share = T{1} / static_cast<T>(last - row);
    for (std::int64_t c = 0; c < width; ++c) center[c] = sum[c] * share;
    for (std::int64_t r = row; r < last; ++r)
      for (std::int64_t c = 0; c < width; ++c) {
        const T deviation = tile[r * args.channels + c] - center[c];
        squares[c] += deviation * deviation;
      }
    const auto count = static_cast<double>(last - row), before = static_cast<double>(row - begin);
    const double part = count / (before + count);
    for (std::int64_t c = 0; c < width; ++c)
      moments[first + c].merge(static_cast<double>(sum[c]), count, static_cast<double>(squares[c]),
                               part, part * before);
  });
}

template <class T>
static void column_statistics(const BatchNorm& args) {
  const std::int64_t rows = rows_per_part(args), channels = args.channels;
  const std::int64_t parts = (args.batch + rows - 1) / rows;
  auto* moments = static_cast<Moments*>(
      thread_scratch(static_cast<std::size_t>(parts * channels) * sizeof(Moments)));
  parallel_for(args.batch, rows, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += rows)
      column_moments<T>(args, begin, std::min(begin + rows, end),
                        moments + begin / rows * channels);
  });
  for (std::int64_t part = 1; part < parts; ++part) {
    const auto before = static_cast<double>(part * rows);
    const double count = static_cast<double>(std::min((part + 1) * rows, args.batch)) - before;
    const double share = count / (before + count);
    for (std::int64_t c = 0; c < channels; ++c) {
      const Moments& other = moments[part * channels + c];
      moments[c].merge(other.total, count, other.squares, share, share * before);
    }
  }
  for (std::int64_t c = 0; c < channels; ++c) finish_channel<T>(args, c, moments[c]);
}

// Calls visit(offset of the row) for every row of the batch, in parallel.
template <class Visit>
static void for_each_pixel(const BatchNorm& args, const Visit& visit) {
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / args.channels);
  parallel_for(args.batch, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) visit(n * args.channels);
  });
}

template <class T>
[[gnu::noinline]] static void write_columns(const BatchNorm& args) {
  const Arrays<T> a(args);
  T* scales =
      static_cast<T*>(thread_scratch(2 * static_cast<std::size_t>(args.channels) * sizeof(T)));
  T* shifts = scales + args.channels;
  for (std::int64_t c = 0; c < args.channels; ++c) scales[c] = a.scale(c), shifts[c] = a.shift(c);
  for_each_pixel(args, [&](std::int64_t at) {
    const T *x = a.x + at, *residual = a.residual + at, *mean = a.mean;
    const auto normal = [=](auto place) {
      return (place(x) - place(mean)) * place(scales) + place(shifts);
    };
    if (a.residual && args.relu)
      map_row(a.y + at, args.channels,
              [=](auto place) { return rectify<T>(normal(place) + place(residual)); });
    else if (a.residual)
      map_row(a.y + at, args.channels, [=](auto place) { return normal(place) + place(residual); });
    else if (args.relu)
      map_row(a.y + at, args.channels, [=](auto place) { return rectify<T>(normal(place)); });
    else map_row(a.y + at, args.channels, normal);
  });
}

struct GradientSums {
  double grad = 0, product = 0;
};

template <class T, bool kRelu>
[[gnu::noinline]] static void column_gradient_sums(const BatchNorm& args, std::int64_t begin,
                                                   std::int64_t end, GradientSums* all) {
  const Arrays<T> a(args);
  std::fill_n(all, args.channels, GradientSums{});
  for_each_tile(args, begin, end, [&](auto row, auto last, auto first, std::int64_t width) {
    T sum[kColumns] = {}, products[kColumns] = {};
    const T* center = a.mean + first;
    for (std::int64_t r = row; r < last; ++r) {
      const std::int64_t at = r * args.channels + first;
      for (std::int64_t c = 0; c < width; ++c) {
        T grad = a.grad_y[at + c];
        if constexpr (kRelu) grad = a.y[at + c] <= T{0} ? T{0} : grad;
        sum[c] += grad;
        products[c] += grad * (a.x[at + c] - center[c]);
      }
      if (a.grad_residual)
        map_row(a.grad_residual + at, width, Incoming<T, kRelu>{a.grad_y + at, a.y + at});
    }
    for (std::int64_t c = 0; c < width; ++c) {
      all[first + c].grad += static_cast<double>(sum[c]);
      all[first + c].product += static_cast<double>(products[c]);
    }
  });
}

template <class T, bool kRelu>
[[gnu::noinline]] static void write_column_gradients(const BatchNorm& args) {
  const Arrays<T> a(args);
  T* scales =
      static_cast<T*>(thread_scratch(3 * static_cast<std::size_t>(args.channels) * sizeof(T)));
  T *averages = scales + args.channels, *slopes = averages + args.channels;
  const T part = T{1} / static_cast<T>(args.batch);
  for (std::int64_t c = 0; c < args.channels; ++c) {
    scales[c] = a.scale(c);
    averages[c] = a.grad_bias[c] * part;
    slopes[c] = a.grad_weight[c] * part * a.rstd[c];
  }
  for_each_pixel(args, [&](std::int64_t at) {
    const T *x = a.x + at, *mean = a.mean;
    const Incoming<T, kRelu> incoming{a.grad_y + at, a.y + at};
    if (args.training)
      map_row(a.grad_x + at, args.channels, [=](auto place) {
        return place(scales) *
               (incoming(place) - place(averages) - (place(x) - place(mean)) * place(slopes));
      });
    else
      map_row(a.grad_x + at, args.channels,
              [=](auto place) { return place(scales) * incoming(place); });
  });
}

template <class T, bool kRelu>
static void column_backward(const BatchNorm& args) {
  const Arrays<T> a(args);
  const std::int64_t rows = rows_per_part(args), channels = args.channels;
  const std::int64_t parts = std::max<std::int64_t>(1, (args.batch + rows - 1) / rows);
  auto* sums = static_cast<GradientSums*>(
      thread_scratch(static_cast<std::size_t>(parts * channels) * sizeof(GradientSums)));
  if (args.batch == 0) std::fill_n(sums, channels, GradientSums{});
  parallel_for(args.batch, rows, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += rows)
      column_gradient_sums<T, kRelu>(args, begin, std::min(begin + rows, end),
                                     sums + begin / rows * channels);
  });
  for (std::int64_t part = 1; part < parts; ++part)
    for (std::int64_t c = 0; c < channels; ++c) {
      sums[c].grad += sums[part * channels + c].grad;
      sums[c].product += sums[part * channels + c].product;
    }
  for (std::int64_t c = 0; c < channels; ++c) {
    a.grad_bias[c] = static_cast<T>(sums[c].grad);
    a.grad_weight[c] = static_cast<T>(sums[c].product * static_cast<double>(a.rstd[c]));
  }
  if (a.grad_x) write_column_gradients<T, kRelu>(args);
}

// ---- Kernels. ----------------------------------------------------------------------------------

template <class T, bool kRelu>
static void backward(const BatchNorm& args) {
  if (args.length == 1) return column_backward<T, kRelu>(args);
  for_each_block(args, [&](std::int64_t first, std::int64_t channels) {
    block_backward<T, kRelu>(args, first, channels);
  });
}

void batchnorm_train(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.length == 1) {
      column_statistics<T>(args);
      return write_columns<T>(args);
    }
    for_each_block(args, [&](std::int64_t first, std::int64_t channels) {
      block_statistics<T>(args, first, channels);
      write_block<T>(args, first, channels);
    });
  });
}

void batchnorm_forward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.length == 1) return write_columns<T>(args);
    for_each_block(args, [&](std::int64_t first, std::int64_t channels) {
      write_block<T>(args, first, channels);
    });
  });
}

void batchnorm_backward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    args.relu ? backward<T, true>(args) : backward<T, false>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
