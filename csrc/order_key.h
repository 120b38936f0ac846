// Unsigned keys that compare as the values of a dtype do, NaN above every number and -0 equal to 0.
// (constexpr: CUDA's device code may call it.)
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace tilegrad {
// Internal linkage: this header is compiled under the flags of several instruction sets.
namespace {

// 64 bits for types of that size, else 32.
template <class T>
constexpr auto key_of(T x) {
  using Key = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr Key kTop = Key{1} << (8 * sizeof(Key) - 1);
  if constexpr (std::is_floating_point_v<T>) {
    const Key bits = std::bit_cast<Key>(x + T{0});  // -0 + 0 = 0
    const Key negative = -(bits >> (8 * sizeof(Key) - 1));
    return x != x ? ~Key{0} : bits ^ (negative | kTop);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<Key>(x) ^ kTop;
  } else {
    return static_cast<Key>(x);
  }
}

}  // namespace
}  // namespace tilegrad
