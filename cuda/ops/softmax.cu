// softmax and log_softmax along one dimension, and their gradients.
//
// Rows that lie side by side: a warp takes one of up to 1024 elements, a block a longer one, and
// walks it three times (largest, sum, result); after the first the row is in the cache, so memory
// sees it once: 2 * sizeof(T) bytes an element, 3 * in the gradient. Other dimensions: one thread
// per column, neighbours side by side. 256 threads at up to 32 registers.
#include "ops/softmax.h"

#include <limits>

#include "rows.cuh"

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
  const T* x = static_cast<const T*>(args.x) + begin;
  T* y = static_cast<T*>(args.y) + begin;
  const T most = fold_row<kThreads>(
      args.length, -std::numeric_limits<T>::infinity(), [=](std::int64_t i) { return x[i * step]; },
      Larger{});
  const T sum =
      sum_row<kThreads, T>(args.length, [=](std::int64_t i) { return exp(x[i * step] - most); });
  const T share = args.log ? log(sum) : T{1} / sum;
  write_row<kThreads>(args.length, [&](std::int64_t i) {
    const T z = x[i * step] - most;
    y[i * step] = args.log ? z - share : exp(z) * share;
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
  const T sum = sum_row<kThreads, T>(args.length, [=](std::int64_t i) {
    return log ? grad[i * step] : grad[i * step] * y[i * step];
  });
  write_row<kThreads>(args.length, [&](std::int64_t i) {
    const T g = grad[i * step], value = y[i * step];
    grad_x[i * step] = log ? g - exp(value) * sum : value * (g - sum);
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
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_lines(args, forward_kernel<1, T>, forward_kernel<kWarp, T>, forward_kernel<kBlock, T>);
  });
}

void softmax_backward(const SoftmaxBackward& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_lines(args, backward_kernel<1, T>, backward_kernel<kWarp, T>,
                 backward_kernel<kBlock, T>);
  });
}

}  // namespace tilegrad::cuda
