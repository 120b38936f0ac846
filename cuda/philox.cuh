// The counter-based generator Philox4x32-10, the same stream as csrc/philox.h: number i belongs to
// block i / 64, whose 16 counters yield numbers that are 16 apart.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tilegrad::cuda {

inline constexpr std::int64_t kPhiloxBlock = 64, kPhiloxStep = 16;

struct PhiloxNumbers {
  std::uint32_t word[4];
};

static __device__ inline PhiloxNumbers philox(std::uint64_t key, std::uint64_t counter) {
  std::uint32_t a = static_cast<std::uint32_t>(counter);
  std::uint32_t b = static_cast<std::uint32_t>(counter >> 32), c = 0, d = 0;
  auto low_key = static_cast<std::uint32_t>(key), high_key = static_cast<std::uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t left = __umulhi(0xD2511F53u, a), left_low = 0xD2511F53u * a;
    const std::uint32_t right = __umulhi(0xCD9E8D57u, c), right_low = 0xCD9E8D57u * c;
    a = right ^ b ^ low_key;
    b = right_low;
    c = left ^ d ^ high_key;
    d = left_low;
    low_key += 0x9E3779B9u;
    high_key += 0xBB67AE85u;
  }
  return {{a, b, c, d}};
}

// Word k of a counter is number first_of_counter(counter) + k * kPhiloxStep of the stream.
static __device__ inline std::int64_t first_of_counter(std::int64_t counter) {
  return counter / kPhiloxStep * kPhiloxBlock + counter % kPhiloxStep;
}

// Of which counters a stream of so many numbers needs at least one.
static inline std::int64_t counters_for(std::int64_t numbers) {
  return (numbers + kPhiloxBlock - 1) / kPhiloxBlock * kPhiloxStep;
}

}  // namespace tilegrad::cuda
