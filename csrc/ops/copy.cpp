// copy: strided, converting element copies.
#include "copy.h"

#include <cstring>

#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class To, class From>
static To convert(From value) {
  if constexpr (std::is_same_v<To, bool>) return value != From{0};
  // A negative or large float becomes an unsigned or narrow integer by way of int64, where the
  // conversion is defined for every value in its range.
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return static_cast<To>(static_cast<std::int64_t>(value));
  else return static_cast<To>(value);
}

template <class To, class From>
static void copy_row(char* y, const char* x, std::int64_t count, std::int64_t y_stride,
                     std::int64_t x_stride) {
  if (y_stride == sizeof(To) && x_stride == sizeof(From)) {
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(y, x, static_cast<std::size_t>(count) * sizeof(To));
    } else {
      To* __restrict to = reinterpret_cast<To*>(y);
      const From* __restrict from = reinterpret_cast<const From*>(x);
      for (std::int64_t i = 0; i < count; ++i) to[i] = convert<To>(from[i]);
    }
    return;
  }
  for (std::int64_t i = 0; i < count; ++i, y += y_stride, x += x_stride)
    *reinterpret_cast<To*>(y) = convert<To>(*reinterpret_cast<const From*>(x));
}

template <class To, class From>
static void copy_all(const StridedLoop<2>& loop) {
  const std::int64_t y_stride = loop.inner_stride(0), x_stride = loop.inner_stride(1);
  walk_rows(loop, [=](char** pointers, std::int64_t count) {
    copy_row<To, From>(pointers[0], pointers[1], count, y_stride, x_stride);
  });
}

void copy(const Copy& args) {
  if (args.to == args.from) {  // only the element's size matters
    switch (size_of(args.to)) {
      case 1:
        return copy_all<std::uint8_t, std::uint8_t>(args.loop);
      case 2:
        return copy_all<std::int16_t, std::int16_t>(args.loop);
      case 4:
        return copy_all<std::int32_t, std::int32_t>(args.loop);
      default:
        return copy_all<std::int64_t, std::int64_t>(args.loop);
    }
  }
  if (!is_floating(args.to) && !is_floating(args.from)) {
    TILEGRAD_INTEGERS_ELSEWHERE(copy, args, args.to);
    return visit_integer_once(args.to, [&](auto to) {
      visit_integer_once(args.from, [&](auto from) {
        copy_all<typename decltype(to)::type, typename decltype(from)::type>(args.loop);
      });
    });
  }
  visit_floating(is_floating(args.to) ? args.to : args.from, [&](auto floating) {
    using F = typename decltype(floating)::type;
    if (is_floating(args.to) && is_floating(args.from))  // float32 to float64 or back
      return copy_all<F, std::conditional_t<std::is_same_v<F, float>, double, float>>(args.loop);
    if (is_floating(args.to))
      return visit_integer(
          args.from, [&](auto from) { copy_all<F, typename decltype(from)::type>(args.loop); });
    visit_integer(args.to, [&](auto to) { copy_all<typename decltype(to)::type, F>(args.loop); });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
