// copy: strided, converting element copies.
#include "copy.h"

#include <cstring>

#include "../half.h"
#include "../permute.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
static constexpr bool is_half_type = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <class To, class From>
static To convert(From value) {
  if constexpr (std::is_same_v<To, From>) return value;
  else if constexpr (is_half_type<From>) return convert<To>(static_cast<float>(value));
  else if constexpr (is_half_type<To>) return To(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, bool>) return value != From{0};
  // A negative or large float becomes an unsigned or narrow integer by way of int64, where the
  // conversion is defined for every value in its range.
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return static_cast<To>(static_cast<std::int64_t>(value));
  else return static_cast<To>(value);
}

// A row from its end to its beginning, as flipped tensors lie: the compiler turns registers round.
template <class T>
static void copy_reversed(char* y, const char* x, std::int64_t count) {
  T* __restrict to = reinterpret_cast<T*>(y);
  const T* __restrict from = reinterpret_cast<const T*>(x) - (count - 1);
  for (std::int64_t i = 0; i < count; ++i) to[i] = from[count - 1 - i];
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
  if (y_stride == sizeof(To) && x_stride == 0) {
    std::fill_n(reinterpret_cast<To*>(y), count, convert<To>(*reinterpret_cast<const From*>(x)));
    return;
  }
  if constexpr (std::is_same_v<To, From>)
    if (y_stride == sizeof(To) && x_stride == -static_cast<std::int64_t>(sizeof(From)))
      return copy_reversed<To>(y, x, count);
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

// Between integers, and between integers and floats. A bool is a byte that is 0 or 1.
static void convert_all([[maybe_unused]] const Copy& args) {
#if defined(TILEGRAD_IS_FIRST_ISA)
  visit(args.from == DType::boolean ? DType::uint8 : args.from, [&](auto from) {
    using From = typename decltype(from)::type;
    visit(args.to, [&](auto to) {
      using To = typename decltype(to)::type;
      constexpr bool both_floating = std::is_floating_point_v<From> && std::is_floating_point_v<To>;
      if constexpr (!both_floating && !std::is_same_v<From, bool>) copy_all<To, From>(args.loop);
    });
  });
#endif
}

// Between the halves and anything but float32.
#if defined(TILEGRAD_IS_FIRST_ISA)
static void convert_halves(const Copy& args) {
  if (is_half(args.from) && is_half(args.to)) {
    if (args.to == DType::float16) return copy_all<Half, BFloat16>(args.loop);
    return copy_all<BFloat16, Half>(args.loop);
  }
  visit(is_half(args.from) ? args.to : args.from, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (!std::is_same_v<T, float>) {
      if (args.to == DType::float16) return copy_all<Half, T>(args.loop);
      if (args.to == DType::bfloat16) return copy_all<BFloat16, T>(args.loop);
      if (args.from == DType::float16) return copy_all<T, Half>(args.loop);
      copy_all<T, BFloat16>(args.loop);
    }
  });
}
#endif

static bool between_half_and_float(const Copy& args) {
  if (args.from == DType::float32) {
    if (args.to == DType::bfloat16) return copy_all<BFloat16, float>(args.loop), true;
    if (args.to == DType::float16) return copy_all<Half, float>(args.loop), true;
  } else if (args.to == DType::float32) {
    if (args.from == DType::bfloat16) return copy_all<float, BFloat16>(args.loop), true;
    if (args.from == DType::float16) return copy_all<float, Half>(args.loop), true;
  }
  return false;
}

template <class T>
static void copy_elements(const StridedLoop<2>& loop) {
  if (!copy_dense<T>(loop)) copy_all<T, T>(loop);
}

void copy(const Copy& args) {
  if (args.to == args.from) {  // only the element's size matters
    switch (size_of(args.to)) {
      case 1:
        return copy_elements<std::uint8_t>(args.loop);
      case 2:
        return copy_elements<std::uint16_t>(args.loop);
      case 4:
        return copy_elements<std::uint32_t>(args.loop);
      default:
        return copy_elements<std::uint64_t>(args.loop);
    }
  }
  if (is_half(args.to) || is_half(args.from)) {
    if (between_half_and_float(args)) return;
#if defined(TILEGRAD_IS_FIRST_ISA)
    return convert_halves(args);
#else
    return tilegrad::cpu::TILEGRAD_FIRST_ISA::copy(args);
#endif
  }
  if (is_floating(args.to) && is_floating(args.from)) {
    if (args.to == DType::float32) return copy_all<float, double>(args.loop);
    return copy_all<double, float>(args.loop);
  }
  TILEGRAD_INTEGERS_ELSEWHERE(copy, args, is_floating(args.to) ? args.from : args.to);
  convert_all(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
