// The random generator object, shared by the operations that draw from it.
#pragma once

#include "random_state.h"

namespace tilegrad {

// Bound to Python as tilegrad.Generator. The GIL guards its state.
struct Generator {
  RandomState state;
};

// 64 bits from the generator, which select one stream of random numbers out of all: CUDA's kernels
// draw from such a stream, and dropout everywhere (csrc/philox.h). Call it with the GIL.
std::uint64_t draw_key(Generator& generator);

}  // namespace tilegrad
