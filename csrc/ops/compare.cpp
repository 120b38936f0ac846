// Comparisons. Each is one scalar function; the compiler vectorizes the loop around it.
#include "compare.h"

#include "../past_caches.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T, class Operation>
static void compare_rows(const StridedLoop<3>& loop, const Operation& operation) {
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  constexpr std::int64_t unit = sizeof(T);
  walk_light_rows(loop, [=](char** pointers, std::int64_t count) {
    bool* __restrict y = reinterpret_cast<bool*>(pointers[0]);
    const T* __restrict x = reinterpret_cast<const T*>(pointers[1]);
    const T* __restrict other = reinterpret_cast<const T*>(pointers[2]);
    if (sy == 1 && sx == unit && so == unit) {
      for (std::int64_t i = 0; i < count; ++i) y[i] = operation(x[i], other[i]);
    } else if (sy == 1 && sx == unit && so == 0) {
      const T value = *other;
      for (std::int64_t i = 0; i < count; ++i) y[i] = operation(x[i], value);
    } else {
      for (std::int64_t i = 0; i < count; ++i)
        *reinterpret_cast<bool*>(pointers[0] + i * sy) =
            operation(*reinterpret_cast<const T*>(pointers[1] + i * sx),
                      *reinterpret_cast<const T*>(pointers[2] + i * so));
    }
  });
}

template <class T>
static void compare_values(const Compare& args) {
  switch (args.op) {
    case CompareOp::eq:
      return compare_rows<T>(args.loop, [](T x, T other) { return x == other; });
    case CompareOp::ne:
      return compare_rows<T>(args.loop, [](T x, T other) { return x != other; });
    case CompareOp::lt:
      return compare_rows<T>(args.loop, [](T x, T other) { return x < other; });
    default:
      return compare_rows<T>(args.loop, [](T x, T other) { return x <= other; });
  }
}

void compare(const Compare& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(compare, args, args.dtype);
  if (args.op == CompareOp::logical_and)
    return compare_rows<bool>(args.loop, [](bool x, bool other) { return x & other; });
  if (args.op == CompareOp::logical_or)
    return compare_rows<bool>(args.loop, [](bool x, bool other) { return x | other; });
  visit_once(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    // A bool is a byte that is 0 or 1.
    compare_values<std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
