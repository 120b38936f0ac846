// The memory of the emulated device: out of the host's reach, as a card's is.
//
// It is a mapping of its own without any permission. Kernels and copies run inside of a
// DeviceAccess, which opens it. Host code that touches it is caught by the page fault: where it did
// so is written to stderr, and the next call of the runtime fails with cudaErrorIllegalAddress. (A
// kernel that touches the host's memory goes unseen: both run on the host's stack and heap.)
#pragma once

#include <cstddef>
#include <string>

namespace emulation {

inline constexpr std::size_t kMemory = std::size_t{8} << 30;

class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

void* allocate_device(std::size_t bytes);  // null when the device is full
bool free_device(void* data);              // false for what is no block
std::size_t free_device_bytes();
bool is_device_memory(const void* data);
bool is_pinned_memory(const void* data);

// What host code has done to the device's memory since the last call; empty if nothing.
std::string take_host_fault();

}  // namespace emulation
