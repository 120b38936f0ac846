// The devices of this build: allocation and copies, answered by the host or by cuda/runtime.cu.
#pragma once

#include <cstddef>
#include <string>

#include "tensor.h"

namespace tilegrad {

// Parses "cpu", "cuda" or "cuda:1"; throws a RuntimeError for anything else.
Device parse_device(const std::string& text);

// Throws unless tensors can live there: a RuntimeError that says whether the build, the driver or
// the card is missing.
void require_device(Device device, const char* op);

void* device_allocate(std::size_t bytes, Device device);
void device_free(void* data, Device device);
// At least one side is a CUDA device; returns when the copy is done.
void device_copy(void* destination, Device to, const void* source, Device from, std::size_t bytes);
// Makes a CUDA device the one on which this thread's kernels run; run() calls it.
void use_device(Device device);

// For tilegrad.cuda.
int cuda_device_count();                // 0 where there is no CUDA
std::string cuda_unavailable_reason();  // why; empty if there is a card
std::string cuda_device_name(int index);
void cuda_synchronize(int index);
struct DeviceMemoryStats {
  std::size_t in_use = 0, cached = 0, peak = 0;  // bytes
};
DeviceMemoryStats cuda_memory_stats(int index);  // zeros where there is no CUDA
void cuda_empty_cache();

}  // namespace tilegrad
