// Normalization over rows: layer normalization and root mean square, and their gradients.
//
// A warp takes a row of up to 1024 elements, a block a longer one. The variance is that of the
// deviations from the mean, in a second walk over the row, which is in the cache by then: safe
// against cancellation, and memory sees 2 * sizeof(T) bytes an element for some 8 operations. The
// gradients of weight and bias are folds over the rows (reduce.cuh). Up to 48 registers, 5 blocks
// of 256 threads on a multiprocessor; 32 and 8 forward.
#include "ops/layer_norm.h"

#include "reduce.cuh"
#include "rows.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Row {
  const T* x;
  const T* weight;
  const T* bias;
  __device__ Row(const LayerNorm& args, std::int64_t row)
      : x(static_cast<const T*>(args.x) + row * args.size),
        weight(static_cast<const T*>(args.weight)),
        bias(static_cast<const T*>(args.bias)) {}
  __device__ T factor(std::int64_t i) const { return weight ? weight[i] : T{1}; }
};

template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) forward_kernel(const LayerNorm args) {
  const std::int64_t n = own_row<kThreads>(), size = args.size;
  if (n >= args.rows) return;
  const Row<T> row(args, n);
  const T count = static_cast<T>(size);
  T mean = 0;
  if (args.centered)
    mean = sum_row<kThreads, T>(size, [=](std::int64_t i) { return row.x[i]; }) / count;
  const T variance =
      sum_row<kThreads, T>(size,
                           [=](std::int64_t i) { return (row.x[i] - mean) * (row.x[i] - mean); }) /
      count;
  const T rstd = T{1} / sqrt(variance + static_cast<T>(args.eps));
  T* y = static_cast<T*>(args.y) + n * size;
  write_row<kThreads>(size, [&](std::int64_t i) {
    y[i] = (row.x[i] - mean) * rstd * row.factor(i) + (row.bias ? row.bias[i] : T{0});
  });
  if (threadIdx.x % kThreads != 0) return;
  if (args.centered) static_cast<T*>(args.mean)[n] = mean;
  static_cast<T*>(args.rstd)[n] = rstd;
}

// With z = (x - mean) * rstd and g = grad_y * weight, averages over the row:
//   grad_x = rstd * (g - average(g) - z * average(g * z))
// without the first average where nothing was centered.
template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) backward_kernel(const LayerNorm args) {
  const std::int64_t n = own_row<kThreads>(), size = args.size;
  if (n >= args.rows) return;
  const Row<T> row(args, n);
  const T* grad_y = static_cast<const T*>(args.grad_y) + n * size;
  T* grad_x = static_cast<T*>(args.grad_x) + n * size;
  const T mean = args.centered ? static_cast<const T*>(args.mean)[n] : T{0};
  const T rstd = static_cast<const T*>(args.rstd)[n], count = static_cast<T>(size);
  const Pair<T> sums = sum_row<kThreads, Pair<T>>(size, [=](std::int64_t i) {
    const T g = grad_y[i] * row.factor(i);
    return Pair<T>{g, g * (row.x[i] - mean)};
  });
  const T average = args.centered ? sums.first / count : T{0};
  const T slope = sums.second / count * rstd * rstd;
  write_row<kThreads>(size, [&](std::int64_t i) {
    grad_x[i] = rstd * (grad_y[i] * row.factor(i) - average - (row.x[i] - mean) * slope);
  });
}

// Sums over rows: of grad_y * z, the gradient of weight, and of grad_y, that of bias.
template <class T>
struct WeightGradients : Add {
  using Accumulator = Pair<T>;
  const T *x, *grad_y, *mean, *rstd;
  T *grad_weight, *grad_bias;
  std::int64_t size;
  __device__ Pair<T> identity() const { return {}; }
  __device__ Pair<T> lift(std::int64_t offset, std::int64_t) const {
    const std::int64_t row = offset / size;
    const T g = grad_y[offset], center = mean ? mean[row] : T{0};
    return {g * ((x[offset] - center) * rstd[row]), g};
  }
  __device__ void store(std::int64_t i, Pair<T> sums) const {
    if (grad_weight) grad_weight[i] = sums.first;
    if (grad_bias) grad_bias[i] = sums.second;
  }
};

template <class T>
void backward(const LayerNorm& args) {
  if (args.grad_x)
    launch_rows(args.rows, args.size, backward_kernel<kWarp, T>, backward_kernel<kBlock, T>, args);
  if (!args.grad_weight && !args.grad_bias) return;
  ReduceShape shape = line_shape(args.rows);
  shape.reduced_strides[0] = args.size;
  shape.kept_ndim = 1;
  shape.kept_shape[0] = args.size;
  shape.kept_strides[0] = 1;
  reduce_by(WeightGradients<T>{{},
                               static_cast<const T*>(args.x),
                               static_cast<const T*>(args.grad_y),
                               args.centered ? static_cast<const T*>(args.mean) : nullptr,
                               static_cast<const T*>(args.rstd),
                               static_cast<T*>(args.grad_weight),
                               static_cast<T*>(args.grad_bias),
                               args.size},
            shape);
}

}  // namespace

void layer_norm(const LayerNorm& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_rows(args.rows, args.size, forward_kernel<kWarp, T>, forward_kernel<kBlock, T>, args);
  });
}

void layer_norm_backward(const LayerNorm& args) {
  visit_floating(args.dtype, [&](auto type) { backward<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
