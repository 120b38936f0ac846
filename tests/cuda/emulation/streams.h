// The queues of the emulated device: who does what is given to a stream, and when.
#pragma once

#include <functional>

#include "runtime_api.h"

namespace emulation {

cudaError_t outcome(cudaError_t error);  // remembered for cudaGetLastError()

// Does `work` now for the default stream, later for others; during a capture, whenever the graph is
// launched.
using Work = std::function<cudaError_t()>;
cudaError_t give(cudaStream_t stream, Work work);

void finish_all_streams();
// An error for calls that wait, which no stream may be capturing for.
cudaError_t refuse_while_capturing();
// The first error of work that was done late, once.
cudaError_t take_late_error();

}  // namespace emulation
