// Which weights of attention are dropped: a hash of seed, query and key, so that backward, and
// every device, finds the same ones. (constexpr: CUDA's device code may call it.)
#pragma once

#include <cstdint>

namespace tilegrad {
// Internal linkage: this header is compiled under the flags of several instruction sets.
namespace {

constexpr std::uint32_t mix_bits(std::uint32_t x) {  // MurmurHash3's last step
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

constexpr std::uint32_t row_hash(std::uint64_t seed, std::int64_t row) {
  const auto number = static_cast<std::uint64_t>(row);
  return mix_bits(static_cast<std::uint32_t>(seed) ^ mix_bits(static_cast<std::uint32_t>(number))) ^
         mix_bits(static_cast<std::uint32_t>(seed >> 32) +
                  static_cast<std::uint32_t>(number >> 32));
}

// The factor of the weight of `key` in the row with this hash; `limit` is dropout * 2^24.
template <class T>
constexpr T kept(std::uint32_t hash, std::int64_t key, std::uint32_t limit, T scale) {
  const std::uint32_t draw =
      mix_bits(hash + mix_bits(static_cast<std::uint32_t>(key) * 0x9e3779b9u)) >> 8;
  return draw >= limit ? scale : T{0};
}

struct DropoutDraw {
  std::uint32_t limit;
  double scale;
  constexpr explicit DropoutDraw(double dropout)
      : limit(static_cast<std::uint32_t>(dropout * 0x1p24)),
        scale(dropout < 1 ? 1 / (1 - dropout) : 0) {}
};

}  // namespace
}  // namespace tilegrad
