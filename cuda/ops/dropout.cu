// dropout: draws, compares and scales in one pass.
//
// A thread draws the four numbers of one counter, which are 16 elements apart (csrc/philox.h); a
// half warp covers 64 elements side by side. 2 * sizeof(T) bytes and a quarter of ten rounds, some
// 15 operations, an element: bound by memory. Up to 32 registers, 8 blocks of 256 threads on a
// multiprocessor.
#include "ops/dropout.h"

#include "launch.cuh"
#include "philox.cuh"
#include "sums.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct DropoutCounter {
  const T* x;
  T* y;
  std::int64_t size;
  std::uint32_t threshold;
  Sum<T> scale;
  RandomKey key;

  __device__ void operator()(std::int64_t counter) const {
    const PhiloxNumbers numbers = philox(key.read(), static_cast<std::uint64_t>(counter));
    const std::int64_t first = first_of_counter(counter);
    T results[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::int64_t i = first + k * kPhiloxStep;
      if (i < size)
        results[k] = static_cast<T>(static_cast<Sum<T>>(x[i]) *
                                    (numbers.word[k] < threshold ? scale : Sum<T>{0}));
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const std::int64_t i = first + k * kPhiloxStep;
      if (i < size) y[i] = results[k];
    }
  }
};

}  // namespace

void dropout(const Dropout& args) {
  visit_stored(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_index(
        counters_for(args.size),
        DropoutCounter<T>{static_cast<const T*>(args.x), static_cast<T*>(args.y), args.size,
                          args.threshold, static_cast<Sum<T>>(args.scale), args.key});
  });
}

}  // namespace tilegrad::cuda
