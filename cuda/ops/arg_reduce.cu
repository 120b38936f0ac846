// Extremes along one dimension with their positions: a fold of pairs (value, position), see
// reduce.cuh. Reads sizeof(T) bytes and takes two comparisons an element. Up to 56 registers, 4
// blocks of 256 threads on a multiprocessor.
#include "ops/arg_reduce.h"

#include "reduce.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct Found {
  T value;
  std::int64_t index;  // negative: nothing yet
};

template <class T>
__device__ Found<T> exchanged(Found<T> found, int distance) {
  return {cuda::exchanged(found.value, distance), cuda::exchanged(found.index, distance)};
}

template <bool largest, class T>
struct Extreme {
  using Accumulator = Found<T>;
  const T* x;
  T* values;
  std::int64_t* indices;
  std::int64_t reduced, inner;

  // True if x must replace `best`, wherever it stands.
  __device__ static bool better(T x, T best) {
    return (largest ? x > best : x < best) || (x != x && best == best);
  }
  __device__ Found<T> identity() const { return {T{}, -1}; }
  __device__ Found<T> lift(std::int64_t offset, std::int64_t) const {
    return {x[offset], offset / inner % reduced};
  }
  __device__ Found<T> operator()(Found<T> a, Found<T> b) const {
    if (a.index < 0 || (b.index >= 0 && better(b.value, a.value))) return b;
    if (b.index < 0 || better(a.value, b.value)) return a;
    return a.index < b.index ? a : b;  // of equals the first
  }
  __device__ void store(std::int64_t output, Found<T> found) const {
    values[output] = found.value;
    indices[output] = found.index;
  }
};

template <bool largest, class T>
void search(const ArgReduce& args) {
  ReduceShape shape;
  const auto keep = [&](std::int64_t size, std::int64_t stride) {
    if (size == 1) return;
    shape.kept_shape[shape.kept_ndim] = size;
    shape.kept_strides[shape.kept_ndim++] = stride;
  };
  keep(args.inner, 1);
  keep(args.outer, args.reduced * args.inner);
  shape.reduced_ndim = 1;
  shape.reduced_shape[0] = args.reduced;
  shape.reduced_strides[0] = args.inner;
  reduce_by(Extreme<largest, T>{static_cast<const T*>(args.x), static_cast<T*>(args.values),
                                args.indices, args.reduced, args.inner},
            shape);
}

template <class T>
void search(const ArgReduce& args) {
  args.largest ? search<true, T>(args) : search<false, T>(args);
}

}  // namespace

void arg_reduce(const ArgReduce& args) {
  if (args.dtype == DType::float32) return search<float>(args);
  if (args.dtype == DType::float64) return search<double>(args);
  search<std::int64_t>(args);
}

}  // namespace tilegrad::cuda
