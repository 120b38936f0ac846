// softmax and log_softmax along one dimension, and their gradients.
//
// Rows that lie side by side: a warp takes one of up to 1024 elements, a block a longer one, and
// walks it three times (largest, sum, result); after the first the row is in the cache, so memory
// sees it once: 2 * sizeof(T) bytes an element, 3 * in the gradient. Other dimensions: one thread
// per column, neighbours side by side. Two exponentials, some 30 operations, an element. Up to 32
// registers, 8 blocks of 256 threads on a multiprocessor.
#include "ops/softmax.h"

#include <limits>

#include "rows.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

// Where the row (kThreads > 1) or column (kThreads == 1) of this thread begins; negative: nowhere.
template <int kThreads>
__device__ std::int64_t begin_of(std::int64_t outer, std::int64_t length, std::int64_t inner) {
  const std::int64_t line = own_row<kThreads>();
  if (line >= outer * inner) return -1;
  return line / inner * length * inner + line % inner;
}

template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) forward_kernel(const Softmax args) {
  const std::int64_t begin = begin_of<kThreads>(args.outer, args.length, args.inner);
  if (begin < 0) return;
  const std::int64_t step = args.inner;
  using S = Sum<T>;
  const T* x = static_cast<const T*>(args.x) + begin;
  T* y = static_cast<T*>(args.y) + begin;
  const auto element = [=](std::int64_t i) { return static_cast<S>(x[i * step]); };
  const S most =
      fold_row<kThreads>(args.length, -std::numeric_limits<S>::infinity(), element, Larger{});
  const S sum =
      sum_row<kThreads, S>(args.length, [=](std::int64_t i) { return exp(element(i) - most); });
  const S share = args.log ? log(sum) : S{1} / sum;
  write_row<kThreads>(args.length, [&](std::int64_t i) {
    const S z = element(i) - most;
    y[i * step] = static_cast<T>(args.log ? z - share : exp(z) * share);
  });
}

template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) backward_kernel(const SoftmaxBackward args) {
  const std::int64_t begin = begin_of<kThreads>(args.outer, args.length, args.inner);
  if (begin < 0) return;
  const std::int64_t step = args.inner;
  const T* grad = static_cast<const T*>(args.grad) + begin;
  const T* y = static_cast<const T*>(args.y) + begin;
  T* grad_x = static_cast<T*>(args.grad_x) + begin;
  const bool log = args.log;
  using S = Sum<T>;
  const S sum = sum_row<kThreads, S>(args.length, [=](std::int64_t i) {
    const S g = static_cast<S>(grad[i * step]);
    return log ? g : g * static_cast<S>(y[i * step]);
  });
  write_row<kThreads>(args.length, [&](std::int64_t i) {
    const S g = static_cast<S>(grad[i * step]), value = static_cast<S>(y[i * step]);
    grad_x[i * step] = static_cast<T>(log ? g - exp(value) * sum : value * (g - sum));
  });
}

// Launches the kernel whose threads fit the shape.
template <class Args>
void launch_lines(const Args& args, void (*column)(const Args), void (*short_row)(const Args),
                  void (*long_row)(const Args)) {
  const std::int64_t lines = args.outer * args.inner;
  if (lines == 0 || args.length == 0) return;
  if (args.inner > 1) return launch(column, {blocks_of(lines, kBlock), kBlock}, args);
  launch_rows(lines, args.length, short_row, long_row, args);
}

}  // namespace

void softmax(const Softmax& args) {
  visit_stored(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_lines(args, forward_kernel<1, T>, forward_kernel<kWarp, T>, forward_kernel<kBlock, T>);
  });
}

void softmax_backward(const SoftmaxBackward& args) {
  visit_stored(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_lines(args, backward_kernel<1, T>, backward_kernel<kWarp, T>,
                 backward_kernel<kBlock, T>);
  });
}

}  // namespace tilegrad::cuda
