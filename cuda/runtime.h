// The CUDA runtime as the rest of tilegrad sees it: devices, memory, copies. No CUDA types here.
//
// Everything is ordered on the default stream of a device. So a freed block may be handed out again
// at once: whatever still reads it was queued before whatever will write it.
#pragma once

#include <cstddef>
#include <string>

namespace tilegrad::cuda {

// Cards that can be used; 0 without a driver. Never throws.
int device_count();
// Why there are none, for messages: "no NVIDIA driver is installed"; empty if there are some.
std::string unavailable_reason();
// Throws a RuntimeError that says what is missing, unless card `index` can be used.
void require_device(int index, const char* op);

// Makes the card the one on which this thread's kernels run.
void use_device(int index);
std::string device_name(int index);
// Waits until the card has done everything that was queued, and reports what went wrong there.
void synchronize(int index);

// From the pool of that card; {nullptr} for zero bytes. When the card is full, the pool is emptied
// and the request tried once more; then a RuntimeError is thrown, as in PyTorch.
void* allocate(std::size_t bytes, int index);
void free(void* data, int index);

// Between the host (-1) and cards. Returns when the host's side may be reused.
void copy(void* destination, int to, const void* source, int from, std::size_t bytes);

struct MemoryStats {
  std::size_t in_use = 0, cached = 0, peak = 0;  // bytes
};
MemoryStats memory_stats(int index);
void empty_cache();

}  // namespace tilegrad::cuda
