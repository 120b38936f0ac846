// fill and arange: tensors made from numbers.
#include "fill.h"

#include <cstring>

#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
static void fill_all(const Fill& args) {
  T value;
  std::memcpy(&value, args.value, sizeof(T));
  const std::int64_t stride = args.loop.inner_stride(0);
  walk_rows(args.loop, [=](char** pointers, std::int64_t count) {
    T* y = reinterpret_cast<T*>(pointers[0]);
    if (stride == sizeof(T)) {
      for (std::int64_t i = 0; i < count; ++i) y[i] = value;
    } else {
      for (std::int64_t i = 0; i < count; ++i)
        *reinterpret_cast<T*>(pointers[0] + i * stride) = value;
    }
  });
}

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
    T* y = static_cast<T*>(args.y);
    parallel_for(args.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        if constexpr (std::is_floating_point_v<T>)
          y[i] = static_cast<T>(args.start + static_cast<double>(i) * args.step);
        else y[i] = static_cast<T>(args.whole_start + i * args.whole_step);
      }
    });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
