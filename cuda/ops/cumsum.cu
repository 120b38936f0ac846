// Cumulative sums along one dimension (scan.cuh). float32 is summed in double, as on the CPU.
//
// 2 * sizeof(T) bytes an element, 3 * where a line is cut into chunks, and one addition in double:
// a card with few units for them is bound by those. Up to 48 registers, 5 blocks of 256 threads on
// a multiprocessor, with four loads on their way each.
#include "ops/cumsum.h"

#include "scan.cuh"

namespace tilegrad::cuda {
namespace {

template <class T, class A>
struct RunningSum {
  using State = A;
  const T* x;
  T* y;
  __device__ A identity() const { return A{0}; }
  __device__ A lift(std::int64_t at, std::int64_t) const { return static_cast<A>(x[at]); }
  __device__ A operator()(A a, A b) const { return a + b; }
  __device__ void store(std::int64_t at, A, A with) const { y[at] = static_cast<T>(with); }
};

template <class T, class A>
void sum_lines(const Cumsum& args) {
  scan_lines(RunningSum<T, A>{static_cast<const T*>(args.x), static_cast<T*>(args.y)},
             {args.outer, args.length, args.inner, args.reverse});
}

}  // namespace

void cumsum(const Cumsum& args) {
  if (args.dtype == DType::float32) return sum_lines<float, double>(args);
  if (args.dtype == DType::float64) return sum_lines<double, double>(args);
  sum_lines<std::int64_t, std::uint64_t>(args);  // wraps around
}

}  // namespace tilegrad::cuda
