// Devices and copies.
#include "runtime.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "check.cuh"
#include "found.h"
#include "state.h"

namespace tilegrad::cuda {
namespace {

struct State {
  int count = 0;
  std::string reason;
  std::atomic<bool> has_code[kMostDevices] = {};  // require_code has passed
};

std::atomic<bool> forked{false};

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int driver() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

std::string reason_of(cudaError_t result) {
  if (result == cudaErrorInsufficientDriver) {
    const int version = driver();
    if (version == 0) return "no NVIDIA driver is installed on this machine";
    return "the NVIDIA driver is older than the CUDA runtime of this build (driver for CUDA " +
           version_text(version) + found_here() + ")";
  }
  if (result == cudaErrorNoDevice)
    return "this machine has no NVIDIA card that can be used" + found_here();
  return std::string("CUDA does not start: ") + cudaGetErrorString(result) + found_here();
}

// Asked once. Never destroyed: tensors may be released after static destruction.
State& state() {
  static State* instance = [] {
    State* created = new State;
    const cudaError_t result = cudaGetDeviceCount(&created->count);
    if (result != cudaSuccess) {
      created->count = 0;
      created->reason = reason_of(result);
      cudaGetLastError();
    } else if (created->count == 0) {
      created->reason = reason_of(cudaErrorNoDevice);
    }
    created->count = std::min(created->count, kMostDevices);
    if (created->count > 0) pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return created;
  }();
  return *instance;
}

// -1: no card has been made current in this thread, which means the first to CUDA.
thread_local int used = -1;
thread_local int current = 0;

}  // namespace

bool has_forked() { return forked; }
int used_device() { return std::max(used, 0); }

OnDevice::OnDevice(int index) : before_(used) { use_device(index); }
OnDevice::~OnDevice() {
  if (before_ >= 0 && before_ != used && cudaSetDevice(before_) == cudaSuccess) used = before_;
}

int device_count() { return state().count; }
std::string unavailable_reason() { return state().reason; }

void require_device(int index, const char* op) {
  const State& found = state();
  TILEGRAD_CHECK(found.count > 0, runtime, op, ": device 'cuda:", index,
                 "' is not available: ", found.reason);
  TILEGRAD_CHECK(!forked, runtime, op,
                 ": Cannot re-initialize CUDA in forked subprocess. To use CUDA with "
                 "multiprocessing, you must use the 'spawn' start method");
  TILEGRAD_CHECK(index >= 0 && index < found.count, runtime, op, ": device 'cuda:", index,
                 "' does not exist: this machine has ", found.count, " CUDA device(s)");
}

void use_device(int index) {
  require_device(index, "cuda");
  if (used == index) return;
  TILEGRAD_CUDA_CHECK(cudaSetDevice(index));
  if (!state().has_code[index]) {
    require_code(index);
    state().has_code[index] = true;
  }
  used = index;
}

int current_device() { return current; }
void set_current_device(int index) {
  use_device(index);
  current = index;
}

DeviceProperties device_properties(int index) {
  require_device(index, "get_device_properties");
  cudaDeviceProp found;
  TILEGRAD_CUDA_CHECK(cudaGetDeviceProperties(&found, index));
  return {.name = found.name,
          .major = found.major,
          .minor = found.minor,
          .multiprocessors = found.multiProcessorCount,
          .warp_size = found.warpSize,
          .threads_per_multiprocessor = found.maxThreadsPerMultiProcessor,
          .registers_per_multiprocessor = found.regsPerMultiprocessor,
          .total_memory = found.totalGlobalMem,
          .l2_cache = static_cast<std::size_t>(found.l2CacheSize),
          .shared_memory_per_block = found.sharedMemPerBlock,
          .shared_memory_per_block_optin = found.sharedMemPerBlockOptin,
          .shared_memory_per_multiprocessor = found.sharedMemPerMultiprocessor};
}

std::string driver_version() {
  const int version = driver();
  return version == 0 ? std::string() : version_text(version);
}

void synchronize(int index) {
  const OnDevice on(index);
  refuse_while_capturing("synchronize()");
  TILEGRAD_CUDA_CHECK(cudaDeviceSynchronize());
  report_faults(index);
}

void copy(void* destination, int to, const void* source, int from, std::size_t bytes,
          bool non_blocking) {
  if (bytes == 0) return;
  if (to >= 0 && from >= 0 && to != from) {  // between cards: both queues must agree on the order
    synchronize(from);
    const OnDevice on(to);
    TILEGRAD_CUDA_CHECK(cudaMemcpyPeer(destination, to, source, from, bytes));
    return synchronize(to);
  }
  const OnDevice on(std::max(to, from));
  const void* host = to < 0 ? destination : source;
  const bool waits = to != from && !(non_blocking && is_pinned(host));
  if (waits)
    refuse_while_capturing(
        to < 0 ? "reading from the card (item(), cpu(), printing, a mask as an index, a check)"
               : "copying from the host (a tensor of Python numbers, cuda())");
  const auto stream = static_cast<cudaStream_t>(current_stream());
  TILEGRAD_CUDA_CHECK(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, stream));
  if (to == from) return;
  if (!waits) return record_pinned(host, stream);
  TILEGRAD_CUDA_CHECK(cudaStreamSynchronize(stream));
  report_faults(used_device());
}

}  // namespace tilegrad::cuda
