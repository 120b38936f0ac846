// Resampling along one dimension: a thread computes one element of y at a time, neighbours in
// memory by neighbouring threads, so that writes and, along an inner dimension, reads too are
// whole lines. x is read from the caches where elements share it: (1 + size of x / size of y) *
// sizeof(T) bytes of memory an element, and two operations per element of x that has a share. Up to
// 40 registers, 6 blocks of 256 threads on a multiprocessor.
#include "ops/resample.h"

#include "elementwise.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct WeightedSum {
  const T *x, *weight;
  T* y;
  const std::int64_t *begin, *index;
  std::int64_t length, size, inner;
  __device__ void operator()(std::int64_t at) const {
    const std::int64_t i = at % inner, j = at / inner % size, o = at / inner / size;
    const T* column = x + o * length * inner + i;
    T sum = 0;
    for (std::int64_t k = begin[j]; k < begin[j + 1]; ++k)
      sum += weight[k] * column[index[k] * inner];
    y[at] = sum;
  }
};

}  // namespace

void resample(const Resample& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_index(args.outer * args.size * args.inner,
                   WeightedSum<T>{static_cast<const T*>(args.x), static_cast<const T*>(args.weight),
                                  static_cast<T*>(args.y), args.begin, args.index, args.length,
                                  args.size, args.inner});
  });
}

}  // namespace tilegrad::cuda
