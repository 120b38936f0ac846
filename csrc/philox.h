// The counter-based generator Philox4x32-10: Salmon et al., "Parallel Random Numbers: As Easy as 1,
// 2, 3" (2011). Included once per instruction set.
//
// Number i of a stream is a function of the key and of i alone, so chunks are drawn in any order,
// by any thread, and again when they are needed again.
#pragma once

#include <cstdint>

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kPhiloxBlock = 64;

// Numbers [64 * block, 64 * block + 64) of the stream: four from each of 16 counters, which are
// computed side by side.
[[gnu::noinline, maybe_unused]] static void philox_block(std::uint64_t key, std::uint64_t block,
                                                         std::uint32_t* numbers) {
  constexpr int kCounters = 16, kRounds = 10;
  const std::uint64_t first = block * kCounters;
  for (int j = 0; j < kCounters; ++j) {
    // `first` is a multiple of 16, so its lower half does not overflow.
    std::uint32_t a = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(j);
    std::uint32_t b = static_cast<std::uint32_t>(first >> 32), c = 0, d = 0;
    auto low_key = static_cast<std::uint32_t>(key),
         high_key = static_cast<std::uint32_t>(key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t left = std::uint64_t{0xD2511F53} * a;
      const std::uint64_t right = std::uint64_t{0xCD9E8D57} * c;
      a = static_cast<std::uint32_t>(right >> 32) ^ b ^ low_key;
      b = static_cast<std::uint32_t>(right);
      c = static_cast<std::uint32_t>(left >> 32) ^ d ^ high_key;
      d = static_cast<std::uint32_t>(left);
      low_key += 0x9E3779B9;
      high_key += 0xBB67AE85;
    }
    numbers[j] = a;
    numbers[kCounters + j] = b;
    numbers[2 * kCounters + j] = c;
    numbers[3 * kCounters + j] = d;
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
