// copy: dtype conversion and any strides.
#include "ops/copy.h"

#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

template <class To, class From>
__device__ To convert(From value) {
  if constexpr (std::is_same_v<To, bool>) return value != From{0};
  // Through int64, as on the CPU: there the conversion is defined for every value in range.
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return static_cast<To>(static_cast<std::int64_t>(value));
  else return static_cast<To>(value);
}

template <class To, class From>
struct CopyElement {
  __device__ void operator()(char* const* pointers) const {
    *reinterpret_cast<To*>(pointers[0]) = convert<To>(*reinterpret_cast<const From*>(pointers[1]));
  }
};

template <class Element>
void copy_elements(const StridedLoop<2>& loop) {
  for_each_element(loop, CopyElement<Element, Element>{});
}

}  // namespace

void copy(const Copy& args) {
  if (args.to == args.from) {  // only the element's size matters
    switch (size_of(args.to)) {
      case 1:
        return copy_elements<std::uint8_t>(args.loop);
      case 2:
        return copy_elements<std::int16_t>(args.loop);
      case 4:
        return copy_elements<std::int32_t>(args.loop);
      default:
        return copy_elements<std::int64_t>(args.loop);
    }
  }
  visit(args.to, [&](auto to) {
    visit(args.from, [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      for_each_element(args.loop, CopyElement<To, From>{});
    });
  });
}

}  // namespace tilegrad::cuda
