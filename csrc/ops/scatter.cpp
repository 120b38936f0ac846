// Writes through index offsets. One thread walks all elements in order, so that repeated indices
// give the same result every time.
#include "scatter.h"

#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T, class Combine>
static void scatter_rows(const Scatter& args, const Combine& combine) {
  const StridedLoop<3>& loop = args.loop;
  const std::int64_t scale = args.scale;
  const std::int64_t sx = loop.inner_stride(0), ss = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  const auto row = [=](char** pointers, std::int64_t count) {
    char* x = pointers[0];
    const char *source = pointers[1], *offsets = pointers[2];
    if (so == 0) {  // the row lies in one piece of x
      x += *reinterpret_cast<const std::int64_t*>(offsets) * scale;
      if (sx == sizeof(T) && ss == sizeof(T)) {
        T* to = reinterpret_cast<T*>(x);
        const T* from = reinterpret_cast<const T*>(source);
#pragma GCC ivdep
        for (std::int64_t i = 0; i < count; ++i) to[i] = combine(to[i], from[i]);
        return;
      }
      for (std::int64_t i = 0; i < count; ++i) {
        T& to = *reinterpret_cast<T*>(x + i * sx);
        to = combine(to, *reinterpret_cast<const T*>(source + i * ss));
      }
      return;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t offset = *reinterpret_cast<const std::int64_t*>(offsets + i * so) * scale;
      T& to = *reinterpret_cast<T*>(x + i * sx + offset);
      to = combine(to, *reinterpret_cast<const T*>(source + i * ss));
    }
  };
  walk_rows(loop, row, INT64_MAX);
}

template <class T>
static void assign(const Scatter& args) {
  scatter_rows<T>(args, [](T, T value) { return value; });
}

// Integers wrap around: computed in an unsigned type, where that is defined.
template <class T>
static T sum(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a + b;
  else return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
template <class T>
static T product(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a * b;
  else return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

template <class T>
static void reduce(const Scatter& args) {
  switch (args.mode) {
    case ScatterMode::add:
      return scatter_rows<T>(args, [](T a, T b) { return sum(a, b); });
    case ScatterMode::multiply:
      return scatter_rows<T>(args, [](T a, T b) { return product(a, b); });
    case ScatterMode::maximum:  // NaN wins
      return scatter_rows<T>(args, [](T a, T b) { return a > b || a != a ? a : b; });
    default:
      return scatter_rows<T>(args, [](T a, T b) { return a < b || a != a ? a : b; });
  }
}

void scatter(const Scatter& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(scatter, args, args.dtype);
  if (args.mode != ScatterMode::assign)
    return visit_once(args.dtype, [&](auto t) { reduce<typename decltype(t)::type>(args); });
  switch (size_of(args.dtype)) {  // only the element's size matters
    case 1:
      return assign<std::uint8_t>(args);
    case 2:
      return assign<std::int16_t>(args);
    case 4:
      return assign<std::int32_t>(args);
    default:
      return assign<std::int64_t>(args);
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
