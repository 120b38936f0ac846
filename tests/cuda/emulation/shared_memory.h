// Shared memory of emulated blocks: every block begins with noise in it, as on a card.
#pragma once

#include <cstddef>

namespace emulation {

// Fills memory with a pattern that is NaN as a float and -1 as an integer.
void poison(void* data, std::size_t bytes);

// Poisons the __shared__ variables in the source file of a kernel. They are static variables of the
// host program, found by name in its symbol table; a stripped program has none, and nothing is
// done. `used` says whether the threads of the last block waited for each other: where none did,
// nothing was shared.
void poison_shared_memory(const void* kernel, bool used);

// Bytes of a kernel's own __shared__ variables, found in the same way. Those of functions that it
// calls are not counted: they hold a number or two for each warp.
std::size_t shared_bytes_of(const void* kernel);

}  // namespace emulation
