// The one place that decides where a kernel runs: device, then instruction set.
#pragma once

#include <pybind11/pybind11.h>

#include "device.h"
#include "kernel.h"
#include "tensor.h"

namespace tilegrad {

// Kernels with more work than this many elementary steps (about 20 microseconds) run without the
// GIL; below it, releasing and taking the lock again would cost more than it gives.
inline constexpr std::int64_t kReleaseGilWork = 32768;

// Runs a kernel on checked arguments. `work` is a rough count of elementary steps.
template <class Args>
void run(const Kernel<Args>& kernel, Device device, const Args& args, std::int64_t work) {
  void (*function)(const Args&) =
      device.is_cpu() ? kernel.cpu[static_cast<int>(active_isa())] : kernel.cuda;
  TILEGRAD_CHECK(function != nullptr, not_implemented, kernel.name,
                 ": there is no CUDA kernel for this operation on device '", device.str(),
                 "'; move its arguments to the CPU");
  if (!device.is_cpu()) use_device(device);
  if (work < kReleaseGilWork) return function(args);
  pybind11::gil_scoped_release release;
  function(args);
}

}  // namespace tilegrad
