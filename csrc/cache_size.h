// The size of the processor's caches.
#pragma once

#include <cstdint>

namespace tilegrad {

// Bytes of a core's second cache; 1 MB where the system does not tell. Only what leaves results as
// they are may depend on it: how much is done at a time, never the order of a sum.
std::int64_t second_cache_bytes();

}  // namespace tilegrad
