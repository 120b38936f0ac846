// where: a choice between two tensors, element by element.
#include "where.h"

#include "../past_caches.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// With bits instead of a branch: conditions are often as unpredictable as a coin, and this way the
// loops are vectorized. Not so if they read bools, which GCC 12 leaves one by one: the condition is
// their byte, 0 or 1.
template <class T>
static inline T select(std::uint8_t condition, T x, T other) {
  const T mask = static_cast<T>(-static_cast<T>(condition));
  return static_cast<T>((x & mask) | (other & static_cast<T>(~mask)));
}

template <class T>
static void choose(const Where& args) {
  const std::int64_t sy = args.loop.inner_stride(0), sc = args.loop.inner_stride(1),
                     sx = args.loop.inner_stride(2), so = args.loop.inner_stride(3);
  constexpr std::int64_t unit = sizeof(T);
  walk_light_rows(args.loop, [=](char** pointers, std::int64_t count) {
    T* y = reinterpret_cast<T*>(pointers[0]);
    const std::uint8_t* condition = reinterpret_cast<const std::uint8_t*>(pointers[1]);
    const T* x = reinterpret_cast<const T*>(pointers[2]);
    const T* other = reinterpret_cast<const T*>(pointers[3]);
    if (sy == unit && sc == 1 && sx == unit && so == unit) {
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = select(condition[i], x[i], other[i]);
    } else if (sy == unit && sc == 1 && sx == 0 && so == unit) {
      const T value = *x;
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = select(condition[i], value, other[i]);
    } else if (sy == unit && sc == 1 && sx == unit && so == 0) {
      const T value = *other;
#pragma GCC ivdep
      for (std::int64_t i = 0; i < count; ++i) y[i] = select(condition[i], x[i], value);
    } else {
      for (std::int64_t i = 0; i < count; ++i) {
        const char* chosen = *reinterpret_cast<const bool*>(pointers[1] + i * sc)
                                 ? pointers[2] + i * sx
                                 : pointers[3] + i * so;
        *reinterpret_cast<T*>(pointers[0] + i * sy) = *reinterpret_cast<const T*>(chosen);
      }
    }
  });
}

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

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
