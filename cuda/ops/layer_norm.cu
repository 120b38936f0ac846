// Normalization over rows: layer normalization and root mean square, and their gradients.
//
// A warp takes a row of up to 1024 elements, a block a longer one. The variance is that of the
// deviations from the mean, in a second walk over the row, which is in the cache by then: safe
// against cancellation, and memory sees 2 * sizeof(T) bytes an element for some 8 operations. The
// gradients of weight and bias are folds over the rows (reduce.cuh). Halves are computed in
// float32 and rounded once. Up to 48 registers, 5 blocks of 256 threads on a multiprocessor; 32 and
// 8 forward.
#include "ops/layer_norm.h"

#include "reduce.cuh"
#include "rows.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Row {
  using S = Sum<T>;
  const T* data;
  const S* weight;
  const S* bias;
  __device__ Row(const LayerNorm& args, std::int64_t row)
      : data(static_cast<const T*>(args.x) + row * args.size),
        weight(static_cast<const S*>(args.weight)),
        bias(static_cast<const S*>(args.bias)) {}
  __device__ S x(std::int64_t i) const { return static_cast<S>(data[i]); }
  __device__ S factor(std::int64_t i) const { return weight ? weight[i] : S{1}; }
};

template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) forward_kernel(const LayerNorm args) {
  const std::int64_t n = own_row<kThreads>(), size = args.size;
  if (n >= args.rows) return;
  using S = Sum<T>;
  const Row<T> row(args, n);
  const S count = static_cast<S>(size);
  S mean = 0;
  if (args.centered)
    mean = sum_row<kThreads, S>(size, [=](std::int64_t i) { return row.x(i); }) / count;
  const S variance =
      sum_row<kThreads, S>(size,
                           [=](std::int64_t i) { return (row.x(i) - mean) * (row.x(i) - mean); }) /
      count;
  const S rstd = S{1} / sqrt(variance + static_cast<S>(args.eps));
  T* y = static_cast<T*>(args.y) + n * size;
  write_row<kThreads>(size, [&](std::int64_t i) {
    y[i] =
        static_cast<T>((row.x(i) - mean) * rstd * row.factor(i) + (row.bias ? row.bias[i] : S{0}));
  });
  if (threadIdx.x % kThreads != 0) return;
  if (args.centered) static_cast<S*>(args.mean)[n] = mean;
  static_cast<S*>(args.rstd)[n] = rstd;
}

// With z = (x - mean) * rstd and g = grad_y * weight, averages over the row:
//   grad_x = rstd * (g - average(g) - z * average(g * z))
// without the first average where nothing was centered.
template <int kThreads, class T>
__global__ void __launch_bounds__(kBlock) backward_kernel(const LayerNorm args) {
  const std::int64_t n = own_row<kThreads>(), size = args.size;
  if (n >= args.rows) return;
  using S = Sum<T>;
  const Row<T> row(args, n);
  const T* grad_y = static_cast<const T*>(args.grad_y) + n * size;
  T* grad_x = static_cast<T*>(args.grad_x) + n * size;
  const S mean = args.centered ? static_cast<const S*>(args.mean)[n] : S{0};
  const S rstd = static_cast<const S*>(args.rstd)[n], count = static_cast<S>(size);
  const auto scaled = [=](std::int64_t i) { return static_cast<S>(grad_y[i]) * row.factor(i); };
  const Pair<S> sums = sum_row<kThreads, Pair<S>>(size, [=](std::int64_t i) {
    const S g = scaled(i);
    return Pair<S>{g, g * (row.x(i) - mean)};
  });
  const S average = args.centered ? sums.first / count : S{0};
  const S slope = sums.second / count * rstd * rstd;
  write_row<kThreads>(size, [&](std::int64_t i) {
    grad_x[i] = static_cast<T>(rstd * (scaled(i) - average - (row.x(i) - mean) * slope));
  });
}

// Sums over rows: of grad_y * z, the gradient of weight, and of grad_y, that of bias.
template <class T>
struct WeightGradients : Add {
  using S = Sum<T>;
  using Accumulator = Pair<S>;
  const T *x, *grad_y;
  const S *mean, *rstd;
  S *grad_weight, *grad_bias;
  std::int64_t size;
  __device__ Pair<S> identity() const { return {}; }
  __device__ Pair<S> lift(std::int64_t offset, std::int64_t) const {
    const std::int64_t row = offset / size;
    const S g = static_cast<S>(grad_y[offset]), center = mean ? mean[row] : S{0};
    return {g * ((static_cast<S>(x[offset]) - center) * rstd[row]), g};
  }
  __device__ void store(std::int64_t i, Pair<S> sums) const {
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
  using S = Sum<T>;
  reduce_by(WeightGradients<T>{{},
                               static_cast<const T*>(args.x),
                               static_cast<const T*>(args.grad_y),
                               args.centered ? static_cast<const S*>(args.mean) : nullptr,
                               static_cast<const S*>(args.rstd),
                               static_cast<S*>(args.grad_weight),
                               static_cast<S*>(args.grad_bias),
                               args.size},
            shape);
}

}  // namespace

void layer_norm(const LayerNorm& args) {
  visit_stored(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_rows(args.rows, args.size, forward_kernel<kWarp, T>, forward_kernel<kBlock, T>, args);
  });
}

void layer_norm_backward(const LayerNorm& args) {
  visit_stored(args.dtype, [&](auto type) { backward<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
