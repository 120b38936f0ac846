// Batch normalization after Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
// Training by Reducing Internal Covariate Shift" (2015).
//
// Three ways over memory. Where rows are short, and in channels-last images, every sample is one
// long row of columns (csrc/batchnorm_columns.h). Long rows (csrc/batchnorm_rows.h) of tensors that
// fit the caches, more or less, are swept in the order of memory, once for the sums and then
// backward for the result: what was read last is still there. Of larger tensors a task takes all
// rows of a block of channels, so what it summed is in the cache when it writes.
#include "batchnorm.h"

#include <algorithm>

#include "../batchnorm_columns.h"
#include "../batchnorm_rows.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kShort = 64;  // shorter rows are columns
// Sweeps: bytes read that are not too many, ranges of samples.
static constexpr std::int64_t kSweepBytes = std::int64_t{48} << 20, kParts = 16;
// Blocks: channels in one, and elements of one sample in it, long enough to be fetched ahead;
// blocks that there should be at least.
static constexpr std::int64_t kBlock = 64, kRun = 8192, kTasks = 8;

static bool sweeps(const BatchNorm& args, int arrays) {
  const std::int64_t size = args.dtype == DType::float64 ? 8 : 4;
  return args.batch >= kParts &&
         args.batch * args.channels * args.length * size * arrays <= kSweepBytes;
}

static std::int64_t sample_grain(const BatchNorm& args) {
  return std::max<std::int64_t>(1, kGrain / (args.channels * args.length));
}

// Calls write(all channels of some samples) in parallel, the last samples first.
template <class Write>
static void for_each_sample_backward(const BatchNorm& args, const Write& write) {
  parallel_for(args.batch, sample_grain(args), [&](auto begin, auto end) {
    write(Region{0, args.channels, args.batch - end, end - begin});
    finish_streams();
  });
}

// Calls task(part, all channels of the part's samples) for ranges of samples, in parallel.
struct Parts {
  explicit Parts(const BatchNorm& args)
      : rows(std::max((args.batch + kParts - 1) / kParts, sample_grain(args))),
        count((args.batch + rows - 1) / rows) {}
  template <class Task>
  void for_each(const BatchNorm& args, const Task& task) const {
    parallel_for(count, 1, [&](auto begin, auto end) {
      for (std::int64_t i = begin; i < end; ++i)
        task(i, Region{0, args.channels, i * rows, std::min(rows, args.batch - i * rows)});
    });
  }
  std::int64_t rows, count;
};

// Calls task(block of channels, all samples) in parallel.
template <class Task>
static void for_each_block(const BatchNorm& args, const Task& task) {
  const std::int64_t most = std::clamp<std::int64_t>(args.channels / kTasks, 1, kBlock);
  const std::int64_t size = std::clamp<std::int64_t>(kRun / args.length, 1, most);
  const std::int64_t blocks = (args.channels + size - 1) / size;
  const std::int64_t work = std::max<std::int64_t>(1, size * args.batch * args.length);
  parallel_for(blocks, std::max<std::int64_t>(1, kGrain / work), [&](auto begin, auto end) {
    for (std::int64_t i = begin; i < end; ++i)
      task(Region{i * size, std::min(size, args.channels - i * size), 0, args.batch});
    finish_streams();
  });
}

template <class T>
static void sweep_train(const BatchNorm& args) {
  const Parts parts(args);
  const std::int64_t count = args.channels, all = parts.count * count;
  auto* sums = static_cast<ChannelSums<T>*>(
      thread_scratch(static_cast<std::size_t>(all) * (sizeof(ChannelSums<T>) + sizeof(Moments))));
  auto* moments = reinterpret_cast<Moments*>(sums + all);
  std::fill_n(moments, all, Moments{});
  parts.for_each(args, [&](std::int64_t part, const Region& region) {
    region_moments<T>(args, region, sums + part * count, moments + part * count);
  });
  for (std::int64_t c = 0; c < count; ++c) {
    Moments merged;
    double before = 0;
    for (std::int64_t part = 0; part < parts.count; ++part) {
      const Moments& m = moments[part * count + c];
      const std::int64_t rows = std::min(parts.rows, args.batch - part * parts.rows);
      const auto elements = static_cast<double>(rows * args.length);
      const double share = elements / (before + elements);
      merged.merge(m.total, elements, m.squares, share, share * before);
      before += elements;
    }
    finish_channel<T>(args, c, merged);
  }
  for_each_sample_backward(args, [&](const Region& region) { write_region<T>(args, region); });
}

template <class T>
static void block_train(const BatchNorm& args, const Region& block) {
  auto* sums = static_cast<ChannelSums<T>*>(
      thread_scratch(static_cast<std::size_t>(block.channels) * sizeof(ChannelSums<T>)));
  Moments moments[kBlock];
  region_moments<T>(args, block, sums, moments);
  for (std::int64_t c = 0; c < block.channels; ++c)
    finish_channel<T>(args, block.first + c, moments[c]);
  write_region<T>(args, block);
}

template <class T>
static void finish_gradients(const BatchNorm& args, std::int64_t c, double grad, double product) {
  const Arrays<T> a(args);
  a.grad_bias[c] = static_cast<T>(grad);
  a.grad_weight[c] = static_cast<T>(product * static_cast<double>(a.rstd[c]));
}

template <class T, bool kRelu>
static void sweep_backward(const BatchNorm& args) {
  const Parts parts(args);
  const std::int64_t count = args.channels;
  auto* sums = static_cast<ChannelSums<T>*>(
      thread_scratch(static_cast<std::size_t>(parts.count * count) * sizeof(ChannelSums<T>)));
  parts.for_each(args, [&](std::int64_t part, const Region& region) {
    region_gradients<T, kRelu>(args, region, sums + part * count);
  });
  for (std::int64_t c = 0; c < count; ++c) {
    double grad = 0, product = 0;
    for (std::int64_t part = 0; part < parts.count; ++part) {
      grad += sums[part * count + c].first;
      product += sums[part * count + c].second;
    }
    finish_gradients<T>(args, c, grad, product);
  }
  if (args.grad_x)
    for_each_sample_backward(
        args, [&](const Region& region) { write_gradients<T, kRelu>(args, region); });
}

template <class T, bool kRelu>
static void block_backward(const BatchNorm& args, const Region& block) {
  auto* sums = static_cast<ChannelSums<T>*>(
      thread_scratch(static_cast<std::size_t>(block.channels) * sizeof(ChannelSums<T>)));
  region_gradients<T, kRelu>(args, block, sums);
  for (std::int64_t c = 0; c < block.channels; ++c)
    finish_gradients<T>(args, block.first + c, sums[c].first, sums[c].second);
  if (args.grad_x) write_gradients<T, kRelu>(args, block);
}

template <class T, bool kRelu>
static void backward(const BatchNorm& args) {
  if (args.length < kShort) return column_backward<T, kRelu>(args);
  if (sweeps(args, kRelu ? 3 : 2)) return sweep_backward<T, kRelu>(args);
  for_each_block(args, [&](const Region& block) { block_backward<T, kRelu>(args, block); });
}

void batchnorm_train(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.length < kShort) {
      column_statistics<T>(args);
      write_columns<T>(args);
    } else if (sweeps(args, 1)) {
      sweep_train<T>(args);
    } else {
      for_each_block(args, [&](const Region& block) { block_train<T>(args, block); });
    }
  });
}

void batchnorm_rstd(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    const auto* variance = static_cast<const T*>(args.running_var);
    auto* rstd = static_cast<T*>(args.rstd);
    const T eps = static_cast<T>(args.eps);
    for (std::int64_t c = 0; c < args.channels; ++c) rstd[c] = T{1} / std::sqrt(variance[c] + eps);
  });
}

void batchnorm_forward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.length < kShort) return write_columns<T>(args);
    for_each_sample_backward(args, [&](const Region& region) { write_region<T>(args, region); });
  });
}

void batchnorm_backward(const BatchNorm& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    args.relu ? backward<T, true>(args) : backward<T, false>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
