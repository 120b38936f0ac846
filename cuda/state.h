// What the files of the runtime share: each card's state, and the lock on its memory.
#pragma once

#include <string>

#include "runtime.h"

namespace tilegrad::cuda {

// Makes card `index` current for the length of a scope, unless it is.
class OnDevice {
 public:
  explicit OnDevice(int index);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_;
};

int used_device();  // what use_device has chosen
bool has_forked();  // this process is a child of one that used CUDA: nothing works here

inline constexpr int kMostDevices = 64;

// Memory of a graph's pool, for the allocations of this thread until the end.
void begin_pool(int index, std::size_t pool);
void end_pool(int index, std::size_t pool);
void release_pool(int index, std::size_t pool);  // its graph is gone
bool uses_pool();                                // this thread, now

// Where kernels of a graph that this thread captures on its card say that something was wrong
// (raise_flag), and the complaint of earlier replays, made by whoever has waited: a RuntimeError.
int* fault_of_captured();
void report_faults(int index);

// Pinned memory at `data` is being read or written by that stream.
void record_pinned(const void* data, Stream stream);

}  // namespace tilegrad::cuda
