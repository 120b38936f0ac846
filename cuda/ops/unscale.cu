// unscale: one launch multiplies all gradients of an optimizer (up to 1000 tensors of one dtype;
// more take more launches) and notices what is not finite.
//
// The tensors travel as kernel parameters. A block takes 4096 elements of one tensor, which it
// finds by bisection. Memory sees each element once each way: 2 * sizeof(T) bytes, two operations.
// Up to 32 registers, 8 blocks of 256 threads on a multiprocessor. The flag is an integer OR of the
// bits of 1.0, the same whoever sets it.
#include "ops/unscale.h"

#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kMostEntries = 1000;
constexpr std::int64_t kElements = 4096;
constexpr unsigned kBitsOfOne = 0x3f800000;

struct Tensors {
  int count;
  unsigned first_block[kMostEntries + 1];  // entry k takes blocks [first_block[k], [k + 1])
  std::int64_t size[kMostEntries];
  void* x[kMostEntries];
};
static_assert(sizeof(Tensors) < 32000);

template <class T>
__global__ void __launch_bounds__(kBlock)
    unscale_kernel(const Tensors tensors, const float* inverse_scale, float* found_inf) {
  int low = 0, high = tensors.count - 1;  // the last entry that begins at or before this block
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (tensors.first_block[middle] <= blockIdx.x) low = middle;
    else high = middle - 1;
  }
  T* x = static_cast<T*>(tensors.x[low]);
  const T factor = static_cast<T>(*inverse_scale);
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x - tensors.first_block[low]) * kElements;
  const std::int64_t end = min(first + kElements, tensors.size[low]);
  bool broken = false;
#pragma unroll 4
  for (std::int64_t i = first + threadIdx.x; i < end; i += kBlock) {
    const T value = x[i];
    broken = broken || value - value != T{0};
    x[i] = value * factor;
  }
  if (broken) atomicOr(reinterpret_cast<unsigned*>(found_inf), kBitsOfOne);
}

template <class T>
void unscale_dtype(const Unscale& args) {
  Tensors tensors;
  tensors.count = 0;
  tensors.first_block[0] = 0;
  const auto flush = [&] {
    if (tensors.count > 0)
      launch(unscale_kernel<T>, {tensors.first_block[tensors.count], kBlock}, tensors,
             args.inverse_scale, args.found_inf);
    tensors.count = 0;
  };
  for (std::int64_t k = 0; k < args.count; ++k) {
    const UnscaleEntry& from = args.entries[k];
    if (from.dtype != DTypeOf<T>::value || from.size == 0) continue;
    const int at = tensors.count;
    tensors.size[at] = from.size;
    tensors.x[at] = from.x;
    tensors.first_block[at + 1] = tensors.first_block[at] + blocks_of(from.size, kElements);
    if (++tensors.count == kMostEntries) flush();
  }
  flush();
}

__global__ void update_scale_kernel(const UpdateScale args) {
  if (*args.found_inf != 0) {
    *args.scale = static_cast<float>(*args.scale * args.backoff);
    *args.tracker = 0;
    return;
  }
  const std::int32_t tracker = *args.tracker + 1;
  const float grown = static_cast<float>(*args.scale * args.growth);
  if (tracker >= args.interval && grown - grown == 0) *args.scale = grown;
  *args.tracker = tracker >= args.interval ? 0 : tracker;
}

}  // namespace

void unscale(const Unscale& args) {
  unscale_dtype<float>(args);
  unscale_dtype<double>(args);
}

void update_scale(const UpdateScale& args) { launch(update_scale_kernel, {1, 1}, args); }

}  // namespace tilegrad::cuda
