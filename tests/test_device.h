// What the C++ tests run kernels on: the processor's instruction sets, or CUDA.
//
// With TILEGRAD_TEST_DEVICE=cuda in the environment the same tests run the CUDA kernels: on a card
// in a build with CUDA, else on the emulated device, there in three orders of threads.
#pragma once

#include <cstddef>
#include <functional>

#include "isa.h"

namespace tilegrad {

// The CUDA implementation of a kernel, to tests one more instruction set.
inline constexpr Isa kCuda = static_cast<Isa>(kIsaCount);

bool testing_cuda();

// Calls body(name) for each way in which the threads of CUDA kernels are to be ordered.
void for_each_cuda_order(const std::function<void(const char* name)>& body);

// Calls body() for each kind of card that kernels make a difference between: once on a card.
void for_each_cuda_architecture(const std::function<void()>& body);

// Waits for the kernel that has been launched, and reports what went wrong in it.
void wait_for_cuda();

// Memory that the tests and the kernels can both reach.
void* allocate_for_kernels(std::size_t bytes);
void free_for_kernels(void* data);

}  // namespace tilegrad
