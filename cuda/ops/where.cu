// where: a choice between two tensors, element by element. 3 * element_size + 1 bytes an element,
// no arithmetic. Up to 48 registers, 5 blocks of 256 threads on a multiprocessor.
#include "ops/where.h"

#include "elementwise.cuh"

namespace tilegrad::cuda {
namespace {

// Both are read: a choice among values needs no branch, and most lanes of a warp would need both
// cache lines anyway.
template <class T>
struct Choice {
  __device__ T operator()(bool condition, T x, T other) const { return condition ? x : other; }
};

template <class T>
void choose(const Where& args) {
  map_elements<T, bool, T, T>(args.loop, Choice<T>{});
}

}  // namespace

void where(const Where& args) {
  switch (args.element_size) {
    case 1:
      return choose<std::uint8_t>(args);
    case 2:
      return choose<std::uint16_t>(args);
    case 4:
      return choose<std::uint32_t>(args);
    default:
      return choose<std::uint64_t>(args);
  }
}

}  // namespace tilegrad::cuda
