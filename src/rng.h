// The random generator object, and the keys that operations draw from it.
#pragma once

#include <optional>

#include "random_key.h"
#include "random_state.h"
#include "scalar.h"

namespace tilegrad {

// Bound to Python as tilegrad.Generator. The GIL guards its state.
struct Generator {
  RandomState state;
};

// 64 bits from the generator, which select one stream of random numbers out of all: CUDA's kernels
// draw from such a stream, and dropout everywhere (csrc/philox.h). Call it with the GIL.
std::uint64_t draw_key(Generator& generator);

// The key of a kernel that fills a tensor of that device; 0 on the CPU, whose kernels draw from the
// generator itself.
RandomKey next_key(Generator& generator, Device device);

// A key that Python holds, from _C.random_key: a number or, of a captured graph, a tensor.
RandomKey held_key(const Operand& key, Device device, const char* op);

// If this thread captures a CUDA graph: a place in device memory, where each replay puts the next
// key of the generator, so that it draws what the same calls would draw then (src/graphs.cpp).
std::optional<Tensor> captured_key(Generator& generator, Device device);

}  // namespace tilegrad
