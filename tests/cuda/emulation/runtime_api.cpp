// The emulated device: its memory, its errors, and what it refuses to launch.
#include "runtime_api.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "scheduler.h"

struct emulated_stream {};
struct emulated_event {};

namespace emulation {
namespace {

constexpr std::size_t kMemory = std::size_t{8} << 30;
constexpr std::size_t kSharedPerBlock = 48 << 10;  // more only where a kernel has asked for it
constexpr std::size_t kMostSharedPerBlock = 227 << 10;
constexpr unsigned kMostThreads = 1024;

struct Device {
  std::mutex mutex;
  std::unordered_map<void*, std::size_t> blocks;
  std::size_t in_use = 0;
  std::map<const void*, std::size_t> dynamic_shared_limits;  // by kernel
};
Device& device() {
  static Device* instance = new Device;  // outlives static destruction, as a card does
  return *instance;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string story;  // of the last launch that failed

cudaError_t outcome(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool is_launchable(const cudaLaunchConfig_t& config, std::size_t dynamic_limit) {
  const dim3 &blocks = config.gridDim, &threads = config.blockDim;
  const auto within = [](unsigned size, unsigned most) { return size >= 1 && size <= most; };
  return within(blocks.x, 0x7fffffff) && within(blocks.y, 65535) && within(blocks.z, 65535) &&
         within(threads.x, 1024) && within(threads.y, 1024) && within(threads.z, 64) &&
         std::size_t{threads.x} * threads.y * threads.z <= kMostThreads &&
         config.dynamicSmemBytes <= dynamic_limit;
}

std::size_t dynamic_limit_of(const void* kernel) {
  const std::lock_guard<std::mutex> lock(device().mutex);
  const auto found = device().dynamic_shared_limits.find(kernel);
  return found == device().dynamic_shared_limits.end() ? kSharedPerBlock : found->second;
}

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& body) {
  if (!is_launchable(config, dynamic_limit_of(kernel)))
    return outcome(cudaErrorInvalidConfiguration);
  story = run_grid({config.gridDim, config.blockDim, config.dynamicSmemBytes, kernel}, body);
  return outcome(story.empty() ? cudaSuccess : cudaErrorLaunchFailure);
}

}  // namespace emulation

using emulation::device;
using emulation::outcome;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    default:
      return "cudaErrorLaunchFailure";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? emulation::story.c_str() : cudaGetErrorName(error);
}

cudaError_t cudaGetLastError() { return std::exchange(emulation::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return emulation::last_error; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* index) {
  *index = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  return outcome(index == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  if (index != 0) return outcome(cudaErrorInvalidDevice);
  *properties = {.name = "CUDA emulated on the host",
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = 132,
                 .totalGlobalMem = emulation::kMemory,
                 .sharedMemPerBlock = emulation::kSharedPerBlock,
                 .sharedMemPerBlockOptin = emulation::kMostSharedPerBlock};
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

// What is in a fresh block is noise, as on a card that has run other programs.
cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(device().mutex);
  if (bytes > emulation::kMemory - device().in_use) return outcome(cudaErrorMemoryAllocation);
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*data == nullptr) return outcome(cudaErrorMemoryAllocation);
  std::memset(*data, 0xff, bytes);
  device().blocks.emplace(*data, bytes);
  device().in_use += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  if (data == nullptr) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(device().mutex);
  const auto block = device().blocks.find(data);
  if (block == device().blocks.end()) return outcome(cudaErrorInvalidValue);
  device().in_use -= block->second;
  device().blocks.erase(block);
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard<std::mutex> lock(device().mutex);
  *free = emulation::kMemory - device().in_use;
  *total = emulation::kMemory;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  *data = std::malloc(bytes);
  return outcome(*data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, std::size_t bytes) {
  return cudaMemcpy(to, from, bytes, cudaMemcpyDefault);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  return cudaMemset(data, value, bytes);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new emulated_stream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new emulated_event;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const auto bytes = static_cast<std::size_t>(value);
  if (value < 0 || bytes > emulation::kMostSharedPerBlock) return outcome(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(device().mutex);
  device().dynamic_shared_limits[kernel] = bytes;
  return cudaSuccess;
}
