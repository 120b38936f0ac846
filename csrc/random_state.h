// The state of the random generator.
#pragma once

#include <cstdint>

namespace tilegrad {

// Mersenne Twister MT19937, Matsumoto and Nishimura (1998), seeded and read as PyTorch's CPU
// generator does, so that one seed gives the same numbers in both libraries.
struct RandomState {
  std::uint64_t seed = 0;
  std::uint32_t words[624] = {};
  std::int32_t next = 624;      // the word that the next draw reads; 624: refill first
  std::int32_t has_normal = 0;  // normal numbers come in pairs: the second waits here
  double normal = 0;
};

}  // namespace tilegrad
