// Batch normalization after Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
// Training by Reducing Internal Covariate Shift" (2015).
//
// Two ways over memory. Where the elements of a channel come in long rows, a task takes all rows of
// a block of channels: what it summed is still in the cache when it writes the result. Where rows
// are short, and in channels-last images, every sample is one long row of columns: tasks take
// ranges of rows and of columns and leave partial sums, which are merged in order.
// Statistics are those of csrc/moments.h.
#include "batchnorm.h"

#include <algorithm>

#include "../batchnorm_columns.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Rows: channels per block, and elements of one sample in it, long enough to be fetched ahead.
static constexpr std::int64_t kBlock = 64, kRun = 8192;
static constexpr std::int64_t kTasks = 8;   // blocks that there should be at least
static constexpr std::int64_t kShort = 64;  // shorter rows are columns

// The rows of a block of channels in an array of the tensor's shape, or in a copy of the block.
template <class T>
struct Rows {
  T* data;
  std::int64_t sample_stride, length;
  T* at(std::int64_t n, std::int64_t c) const {
    return data ? data + n * sample_stride + c * length : nullptr;
  }
};

struct Block {
  std::int64_t first, channels;

  template <class T>
  Rows<T> of(const BatchNorm& args, T* array) const {
    return {array ? array + first * args.length : nullptr, args.channels * args.length,
            args.length};
  }
};

// A part of a block: of the batch and of the rows.
struct Piece {
  std::int64_t first_sample, samples, begin, count;
  double elements() const { return static_cast<double>(samples * count); }
};

// Calls task(block); sizes alone decide about the blocks.
template <class Task>
static void for_each_block(const BatchNorm& args, const Task& task) {
  const std::int64_t most = std::clamp<std::int64_t>(args.channels / kTasks, 1, kBlock);
  const std::int64_t size = std::clamp<std::int64_t>(kRun / args.length, 1, most);
  const std::int64_t blocks = (args.channels + size - 1) / size;
  const std::int64_t work = std::max<std::int64_t>(1, size * args.batch * args.length);
  parallel_for(blocks, std::max<std::int64_t>(1, kGrain / work), [&](auto begin, auto end) {
    for (std::int64_t i = begin; i < end; ++i)
      task(Block{i * size, std::min(size, args.channels - i * size)});
    finish_streams();
  });
}

template <class Visit>
static void for_each_piece(const BatchNorm& args, const Block& block, const Visit& visit) {
  const std::int64_t count = std::min(args.length, kPiece);
  const std::int64_t samples = std::max<std::int64_t>(1, kPiece / (block.channels * count));
  for (std::int64_t n = 0; n < args.batch; n += samples)
    for (std::int64_t i = 0; i < args.length; i += count)
      visit(Piece{n, std::min(samples, args.batch - n), i, std::min(count, args.length - i)});
}

template <class Visit>
TILEGRAD_INLINE void for_each_row(const Block& block, const Piece& piece, const Visit& visit) {
  for (std::int64_t n = piece.first_sample; n < piece.first_sample + piece.samples; ++n)
    for (std::int64_t c = 0; c < block.channels; ++c) visit(n, c);
}

template <class T>
[[gnu::noinline]] static void sum_piece(const Block& block, const Piece& piece,
                                        const Rows<const T>& x, Vec<T>* sums) {
  for_each_row(block, piece, [&](std::int64_t n, std::int64_t c) {
    const T* row = x.at(n, c) + piece.begin;
    sums[c] = add_row<T>(sums[c], piece.count, [row](auto place) { return place(row); });
  });
}

template <class T>
[[gnu::noinline]] static void sum_squares(const Block& block, const Piece& piece,
                                          const Rows<const T>& x, const T* centers, Vec<T>* sums) {
  for_each_row(block, piece, [&](std::int64_t n, std::int64_t c) {
    const T* row = x.at(n, c) + piece.begin;
    const Vec<T> center = splat(centers[c]);
    sums[c] = add_row<T>(sums[c], piece.count, [row, center](auto place) {
      const Vec<T> deviation = place(row) - center;
      return deviation * deviation;
    });
  });
}

template <class T>
[[gnu::noinline]] static void write_block(const BatchNorm& args, const Block& block,
                                          const Piece& samples, const Rows<const T>& from) {
  const Arrays<T> a(args);
  const Rows<const T> residuals = block.of(args, a.residual);
  const Rows<T> to = block.of(args, a.y);
  const bool past = past_caches(args);
  for_each_row(block, samples, [&](std::int64_t n, std::int64_t c) {
    const Vec<T> center = splat(a.mean[block.first + c]), scale = splat(a.scale(block.first + c)),
                 shift = splat(a.shift(block.first + c));
    const T* x = from.at(n, c);
    write_row(to.at(n, c), args.length, args.relu, residuals.at(n, c), past,
              [=](auto place) { return (place(x) - center) * scale + shift; });
  });
}

template <class T>
static void block_train(const BatchNorm& args, const Block& block) {
  const Rows<const T> x = block.of(args, static_cast<const T*>(args.x));
  Moments moments[kBlock];
  double before = 0;
  for_each_piece(args, block, [&](const Piece& piece) {
    Vec<T> sums[kBlock] = {}, squares[kBlock] = {};
    T sum[kBlock], center[kBlock];
    const double count = piece.elements();
    sum_piece<T>(block, piece, x, sums);
    for (std::int64_t c = 0; c < block.channels; ++c) {
      sum[c] = sum_lanes<T>(sums[c]);
      center[c] = sum[c] / static_cast<T>(count);
    }
    sum_squares<T>(block, piece, x, center, squares);
    const double share = count / (before + count);
    for (std::int64_t c = 0; c < block.channels; ++c)
      moments[c].merge(static_cast<double>(sum[c]), count,
                       static_cast<double>(sum_lanes<T>(squares[c])), share, share * before);
    before += count;
  });
  for (std::int64_t c = 0; c < block.channels; ++c)
    finish_channel<T>(args, block.first + c, moments[c]);
  write_block<T>(args, block, {0, args.batch, 0, 0}, x);
}

template <class T, bool kRelu>
struct GradientRows {
  GradientRows(const BatchNorm& args, const Block& block)
      : x(block.of(args, static_cast<const T*>(args.x))),
        grad(block.of(args, static_cast<const T*>(args.grad_y))),
        y(block.of(args, static_cast<const T*>(args.y))) {}

  Incoming<T, kRelu> incoming(std::int64_t n, std::int64_t c, std::int64_t begin) const {
    return {grad.at(n, c) + begin, kRelu ? y.at(n, c) + begin : nullptr};
  }

  Rows<const T> x, grad, y;
};

// Sums of the gradient and of its product with x - mean over a piece; writes grad_residual on the
// way, unless null.
template <class T, bool kRelu>
[[gnu::noinline]] static void sum_gradients(const Block& block, const Piece& piece,
                                            const GradientRows<T, kRelu>& rows, const T* centers,
                                            const Rows<T>& residual, TwoTerms<T>* sums) {
  for_each_row(block, piece, [&](std::int64_t n, std::int64_t c) {
    const T* x = rows.x.at(n, c) + piece.begin;
    const Incoming<T, kRelu> incoming = rows.incoming(n, c, piece.begin);
    const Vec<T> center = splat(centers[c]);
    sums[c] = add_row_twice<T>(sums[c], piece.count, [=](auto place) {
      const Vec<T> grad = incoming(place);
      return TwoTerms<T>{grad, grad * (place(x) - center)};
    });
    if (residual.data) map_row(residual.at(n, c) + piece.begin, piece.count, incoming);
  });
}

// With z = (x - mean) * rstd, averages over the batch and everything per channel:
//   grad_bias = sum(grad), grad_weight = sum(grad * z)
//   grad_x = weight * rstd * (grad - average(grad) - z * average(grad * z))
// and without the two averages where mean and rstd are constants: then x has no part in grad_x, be
// it infinite.
template <class T, bool kRelu>
[[gnu::noinline]] static void write_gradients(const BatchNorm& args, const Block& block,
                                              const GradientRows<T, kRelu>& rows) {
  const Arrays<T> a(args);
  const Rows<T> to = block.of(args, a.grad_x);
  const bool past = past_caches(args);
  const T part = T{1} / static_cast<T>(args.batch * args.length);
  for_each_row(block, {0, args.batch, 0, 0}, [&](std::int64_t n, std::int64_t in_block) {
    const std::int64_t c = block.first + in_block;
    const T* x = rows.x.at(n, in_block);
    const Incoming<T, kRelu> incoming = rows.incoming(n, in_block, 0);
    const Vec<T> scale = splat(a.scale(c)), center = splat(a.mean[c]),
                 average = splat(a.grad_bias[c] * part),
                 slope = splat(a.grad_weight[c] * part * a.rstd[c]);
    T* grad_x = to.at(n, in_block);
    if (args.training)
      map_row(
          grad_x, args.length,
          [=](auto place) {
            return scale * (incoming(place) - average - (place(x) - center) * slope);
          },
          past);
    else map_row(grad_x, args.length, [=](auto place) { return scale * incoming(place); }, past);
  });
}

template <class T, bool kRelu>
static void block_backward(const BatchNorm& args, const Block& block) {
  const Arrays<T> a(args);
  const GradientRows<T, kRelu> rows(args, block);
  double grads[kBlock] = {}, products[kBlock] = {};
  for_each_piece(args, block, [&](const Piece& piece) {
    TwoTerms<T> sums[kBlock];
    sum_gradients<T, kRelu>(block, piece, rows, a.mean + block.first,
                            block.of(args, a.grad_residual), sums);
    for (std::int64_t c = 0; c < block.channels; ++c) {
      grads[c] += static_cast<double>(sum_lanes<T>(sums[c].first));
      products[c] += static_cast<double>(sum_lanes<T>(sums[c].second));
    }
  });
  for (std::int64_t c = 0; c < block.channels; ++c) {
    const auto rstd = static_cast<double>(a.rstd[block.first + c]);
    a.grad_bias[block.first + c] = static_cast<T>(grads[c]);
    a.grad_weight[block.first + c] = static_cast<T>(products[c] * rstd);
  }
  if (a.grad_x) write_gradients<T, kRelu>(args, block, rows);
}

template <class T, bool kRelu>
static void backward(const BatchNorm& args) {
  if (args.length < kShort) return column_backward<T, kRelu>(args);
  for_each_block(args, [&](const Block& block) { block_backward<T, kRelu>(args, block); });
}

void batchnorm_train(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.length >= kShort)
      return for_each_block(args, [&](const Block& block) { block_train<T>(args, block); });
    column_statistics<T>(args);
    write_columns<T>(args);
  });
}

void batchnorm_forward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.length < kShort) return write_columns<T>(args);
    // Sample by sample, which is the order of memory.
    const Block all{0, args.channels};
    const Rows<const T> x = all.of(args, static_cast<const T*>(args.x));
    const std::int64_t sample = args.channels * args.length;
    parallel_for(args.batch, std::max<std::int64_t>(1, kGrain / sample), [&](auto begin, auto end) {
      write_block<T>(args, all, {begin, end - begin, 0, 0}, x);
      finish_streams();
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
