// Draws from the random generator: raw bits and uniform numbers. Included once per instruction set.
#pragma once

#include <cstdint>
#include <type_traits>

#include "random_state.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

[[maybe_unused]] static void refill(RandomState& state) {
  constexpr int kWords = 624, kShift = 397;
  std::uint32_t* words = state.words;
  const auto twist = [words](int i, int following, int distant) {
    const std::uint32_t mixed = (words[i] & 0x80000000u) | (words[following] & 0x7fffffffu);
    words[i] = words[distant] ^ (mixed >> 1) ^ ((mixed & 1) ? 0x9908b0dfu : 0u);
  };
  for (int i = 0; i < kWords - kShift; ++i) twist(i, i + 1, i + kShift);
  for (int i = kWords - kShift; i < kWords - 1; ++i) twist(i, i + 1, i + kShift - kWords);
  twist(kWords - 1, 0, kShift - 1);
  state.next = 0;
}

static inline std::uint32_t draw32(RandomState& state) {
  if (state.next == 624) refill(state);
  std::uint32_t bits = state.words[state.next++];
  bits ^= bits >> 11;
  bits ^= (bits << 7) & 0x9d2c5680u;
  bits ^= (bits << 15) & 0xefc60000u;
  return bits ^ (bits >> 18);
}

static inline std::uint64_t draw64(RandomState& state) {
  const std::uint64_t high = draw32(state);
  return high << 32 | draw32(state);
}

// In [0, 1): as many random bits as the type's significand holds.
template <class T>
static inline T draw_unit(RandomState& state) {
  if constexpr (std::is_same_v<T, float>)
    return static_cast<float>(draw32(state) & 0xffffffu) * 0x1p-24f;
  else return static_cast<double>(draw64(state) & 0x1fffffffffffffull) * 0x1p-53;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
