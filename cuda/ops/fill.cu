// fill and arange: sizeof(T) bytes written per element, no arithmetic or one operation. Up to 40
// registers, 6 blocks of 256 threads on a multiprocessor.
#include "ops/fill.h"

#include <cstring>

#include "elementwise.cuh"

namespace tilegrad::cuda {
namespace {

template <class T>
struct FillElement {
  T value;
  __device__ T operator()() const { return value; }
};

template <class T>
void fill_all(const Fill& args) {
  FillElement<T> body;
  std::memcpy(&body.value, args.value, sizeof(T));
  map_elements<T>(args.loop, body);
}

template <class T>
struct ArangeElement {
  T* y;
  std::int64_t whole_start, whole_step;
  double start, step;
  __device__ void operator()(std::int64_t i) const {
    if constexpr (std::is_floating_point_v<T>)
      y[i] = static_cast<T>(start + static_cast<double>(i) * step);
    else y[i] = static_cast<T>(whole_start + i * whole_step);
  }
};

}  // namespace

void fill(const Fill& args) {
  switch (args.element_size) {
    case 1:
      return fill_all<std::uint8_t>(args);
    case 2:
      return fill_all<std::uint16_t>(args);
    case 4:
      return fill_all<std::uint32_t>(args);
    default:
      return fill_all<std::uint64_t>(args);
  }
}

void arange(const Arange& args) {
  visit(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_index(args.size, ArangeElement<T>{static_cast<T*>(args.y), args.whole_start,
                                               args.whole_step, args.start, args.step});
  });
}

}  // namespace tilegrad::cuda
