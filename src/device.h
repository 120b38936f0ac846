// The devices of this build: allocation and copies, answered by the host or by cuda/.
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
// At least one side is a CUDA device; returns when the copy is done, or, for pinned memory if
// `non_blocking`, when it is queued.
void device_copy(void* destination, Device to, const void* source, Device from, std::size_t bytes,
                 bool non_blocking = false);
// Makes a CUDA device the one on which this thread's kernels run; run() calls it.
void use_device(Device device);

}  // namespace tilegrad
