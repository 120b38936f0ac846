// RandomKey: what selects one stream of random numbers out of all.
#pragma once

#include <cstdint>

namespace tilegrad {

// A number; in a CUDA graph the place of one in device memory, since each replay has its own.
// (constexpr: CUDA's device code may call what is in here.)
struct RandomKey {
  std::uint64_t number;
  const std::uint64_t* place;  // null: `number` counts

  constexpr RandomKey(std::uint64_t fixed = 0, const std::uint64_t* at = nullptr)
      : number(fixed), place(at) {}
  // Only where the place can be read: in a kernel.
  constexpr std::uint64_t read() const { return place == nullptr ? number : *place; }
};

}  // namespace tilegrad
