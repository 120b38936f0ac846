// How threads of a block and lanes of a warp wait for each other and exchange values.
//
// The default argument `where` is the line of the call: a report of a deadlock names it. As on a
// card, shuffles and votes exchange values but order no other memory; __syncwarp does.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "scheduler.h"

#define EMULATION_WHERE const std::source_location& where = std::source_location::current()

// --- the block ---

inline void __syncthreads(EMULATION_WHERE) {
  emulation::wait_for_block("__syncthreads", false, where);
}
inline int __syncthreads_count(int flag, EMULATION_WHERE) {
  return emulation::wait_for_block("__syncthreads_count", flag != 0, where);
}
inline int __syncthreads_or(int flag, EMULATION_WHERE) {
  return emulation::wait_for_block("__syncthreads_or", flag != 0, where) != 0;
}
inline int __syncthreads_and(int flag, EMULATION_WHERE) {
  return emulation::wait_for_block("__syncthreads_and", flag == 0, where) == 0;
}

// One host thread runs everything: what was written can be read.
inline void __threadfence() {}
inline void __threadfence_block() {}

// --- the warp ---

inline constexpr int warpSize = 32;

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATION_WHERE) {
  emulation::synchronize_lanes("__syncwarp", mask, where);
}
inline unsigned __activemask() { return emulation::active_lanes(); }

inline unsigned __ballot_sync(unsigned mask, int flag, EMULATION_WHERE) {
  const emulation::Gathered& all =
      emulation::wait_for_lanes("__ballot_sync", mask, flag != 0, where);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((all.lanes >> lane & 1) && all.values[lane]) votes |= 1u << lane;
  return votes;
}
inline int __any_sync(unsigned mask, int flag, EMULATION_WHERE) {
  return __ballot_sync(mask, flag, where) != 0;
}
inline int __all_sync(unsigned mask, int flag, EMULATION_WHERE) {
  return __ballot_sync(mask, flag == 0, where) == 0;
}

namespace emulation {

// Values travel as 64 bits.
template <class T>
std::uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// The value of lane `source` of the same group of `width` lanes; its own where there is none.
template <class T>
T shuffle(const char* what, unsigned mask, T value, int source, int width,
          const std::source_location& where) {
  const Gathered& all = wait_for_lanes(what, mask, to_bits(value), where);
  const int own = static_cast<int>(lane()), group = own / width * width;
  return source < group || source >= group + width ? value : from_bits<T>(all.values[source]);
}

}  // namespace emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATION_WHERE) {
  const int group = static_cast<int>(emulation::lane()) / width * width;
  return emulation::shuffle("__shfl_sync", mask, value, group + (source & (width - 1)), width,
                            where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATION_WHERE) {
  const int source = static_cast<int>(emulation::lane()) - static_cast<int>(delta);
  return emulation::shuffle("__shfl_up_sync", mask, value, source, width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATION_WHERE) {
  const int source = static_cast<int>(emulation::lane() + delta);
  return emulation::shuffle("__shfl_down_sync", mask, value, source, width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flips, int width = 32, EMULATION_WHERE) {
  const int source = static_cast<int>(emulation::lane()) ^ flips;
  return emulation::shuffle("__shfl_xor_sync", mask, value, source, width, where);
}

// The lanes of `mask` that hold the same value.
template <class T>
unsigned __match_any_sync(unsigned mask, T value, EMULATION_WHERE) {
  const std::uint64_t own = emulation::to_bits(value);
  const emulation::Gathered& all = emulation::wait_for_lanes("__match_any_sync", mask, own, where);
  unsigned same = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((all.lanes >> lane & 1) && all.values[lane] == own) same |= 1u << lane;
  return same;
}

#undef EMULATION_WHERE
