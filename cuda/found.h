// What complaints say of the card and the driver that were found, when they do not fit this build.
#pragma once

#include <string>

namespace tilegrad::cuda {

// ": driver 535.104.05, NVIDIA A100", as far as the driver's files in that folder tell; else
// nothing. They can be read where CUDA itself does not start.
std::string found_here(const std::string& folder = "/proc/driver/nvidia");

// Throws a RuntimeError that names the card and the driver if this build has no code for it.
void require_code(int index);

}  // namespace tilegrad::cuda
