// The emulated device: its memory, its errors, and what it refuses to launch.
#include "runtime_api.h"

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda.h"
#include "device_memory.h"
#include "scheduler.h"
#include "shared_memory.h"
#include "streams.h"

namespace emulation {
namespace {

constexpr std::size_t kSharedPerBlock = 48 << 10;  // more only where a kernel has asked for it
constexpr unsigned kMostThreads = 1024;
constexpr int kOldestWithCode = 8;  // as in a release, see cuda/detect.cmake

struct Device {
  std::mutex mutex;
  std::map<const void*, std::size_t> dynamic_shared_limits;  // by kernel
  int major = 9, minor = 0;
};
Device& device() {
  static Device* instance = new Device;  // outlives static destruction, as a card does
  return *instance;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string story;  // of the last launch that failed

// What host code has done to the device's memory is an error of the next call.
cudaError_t host_fault() {
  std::string fault = take_host_fault();
  if (fault.empty()) return cudaSuccess;
  story = std::move(fault);
  return outcome(cudaErrorIllegalAddress);
}

// Of shared memory, that a block can have at most.
std::size_t most_shared_per_block() {
  const std::lock_guard<std::mutex> lock(device().mutex);
  const int major = device().major, minor = device().minor;
  if (major < 8) return 64 << 10;
  if (major == 8) return (minor == 0 || minor == 7 ? 163 : 99) << 10;
  return (major == 12 ? 99 : 227) << 10;
}

// Whether the memory that the launch chooses and the kernel's own variables fit. (ptxas refuses
// variables of more than 48 KiB.)
bool shared_memory_fits(const void* kernel, std::size_t chosen) {
  if (chosen == 0) return true;
  const std::size_t all = chosen + shared_bytes_of(kernel), most = most_shared_per_block();
  const std::lock_guard<std::mutex> lock(device().mutex);
  const auto asked = device().dynamic_shared_limits.find(kernel);
  if (asked == device().dynamic_shared_limits.end()) return all <= kSharedPerBlock;
  return chosen <= asked->second && all <= most;
}

bool is_launchable(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3 &blocks = config.gridDim, &threads = config.blockDim;
  const auto within = [](unsigned size, unsigned most) { return size >= 1 && size <= most; };
  return within(blocks.x, 0x7fffffff) && within(blocks.y, 65535) && within(blocks.z, 65535) &&
         within(threads.x, 1024) && within(threads.y, 1024) && within(threads.z, 64) &&
         std::size_t{threads.x} * threads.y * threads.z <= kMostThreads &&
         shared_memory_fits(kernel, config.dynamicSmemBytes);
}

bool has_code() {
  const std::lock_guard<std::mutex> lock(device().mutex);
  return device().major >= kOldestWithCode;
}

}  // namespace

void set_compute_capability(int major, int minor) {
  const std::lock_guard<std::mutex> lock(device().mutex);
  device().major = major;
  device().minor = minor;
}

cudaError_t outcome(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& body) {
  if (!has_code()) return outcome(cudaErrorNoKernelImageForDevice);
  if (!is_launchable(config, kernel)) return outcome(cudaErrorInvalidConfiguration);
  const Grid grid = {config.gridDim, config.blockDim, config.dynamicSmemBytes, kernel};
  return give(config.stream, [grid, body] {
    if (const cudaError_t fault = host_fault()) return fault;
    const DeviceAccess access;
    story = run_grid(grid, body);
    return outcome(story.empty() ? cudaSuccess : cudaErrorLaunchFailure);
  });
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
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaErrorLaunchFailure";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  const bool told = error == cudaErrorLaunchFailure || error == cudaErrorIllegalAddress;
  return told ? emulation::story.c_str() : cudaGetErrorName(error);
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
                 .major = device().major,
                 .minor = device().minor,
                 .multiProcessorCount = 132,
                 .totalGlobalMem = emulation::kMemory,
                 .sharedMemPerBlock = emulation::kSharedPerBlock,
                 .sharedMemPerBlockOptin = emulation::most_shared_per_block(),
                 .warpSize = 32,
                 .maxThreadsPerMultiProcessor = 2048,
                 .l2CacheSize = 50 << 20,
                 .regsPerMultiprocessor = 65536,
                 .sharedMemPerMultiprocessor = emulation::most_shared_per_block() + 1024};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  if (index != 0) return outcome(cudaErrorInvalidDevice);
  const std::lock_guard<std::mutex> lock(device().mutex);
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? device().major : device().minor;
  return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = nullptr;
  if (std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0)
    *function = reinterpret_cast<void*>(&cuTensorMapEncodeTiled);
  else if (std::strcmp(symbol, "cuTensorMapEncodeIm2col") == 0)
    *function = reinterpret_cast<void*>(&cuTensorMapEncodeIm2col);
  *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t refused = emulation::refuse_while_capturing()) return refused;
  emulation::finish_all_streams();
  if (const cudaError_t fault = emulation::host_fault()) return fault;
  return emulation::take_late_error();
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = emulation::allocate_device(bytes);
  return outcome(*data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

// Waits for everything, as on a card.
cudaError_t cudaFree(void* data) {
  if (data == nullptr) return cudaSuccess;
  if (const cudaError_t refused = emulation::refuse_while_capturing()) return refused;
  emulation::finish_all_streams();
  return outcome(emulation::free_device(data) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = emulation::free_device_bytes();
  *total = emulation::kMemory;
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t refused = emulation::refuse_while_capturing()) return refused;
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, std::size_t bytes) {
  return cudaMemcpy(to, from, bytes, cudaMemcpyDefault);
}

// Pageable memory of the host has been read when the call returns; it is written only after
// everything before it.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  const auto is_pageable = [](const void* data) {
    return !emulation::is_device_memory(data) && !emulation::is_pinned_memory(data);
  };
  if (stream != nullptr && is_pageable(from)) {
    const auto* bytes_there = static_cast<const char*>(from);
    return emulation::give(stream,
                           [to, staged = std::vector<char>(bytes_there, bytes_there + bytes)] {
                             const emulation::DeviceAccess access;
                             std::memcpy(to, staged.data(), staged.size());
                             return emulation::host_fault();
                           });
  }
  const cudaError_t result = emulation::give(stream, [=] {
    const emulation::DeviceAccess access;
    std::memmove(to, from, bytes);
    return emulation::host_fault();
  });
  return stream != nullptr && is_pageable(to) ? cudaStreamSynchronize(stream) : result;
}
cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  return cudaMemsetAsync(data, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  return emulation::give(stream, [=] {
    const emulation::DeviceAccess access;
    std::memset(data, value, bytes);
    return emulation::host_fault();
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const auto bytes = static_cast<std::size_t>(value);
  if (value < 0 || bytes + emulation::shared_bytes_of(kernel) > emulation::most_shared_per_block())
    return outcome(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(device().mutex);
  device().dynamic_shared_limits[kernel] = bytes;
  return cudaSuccess;
}
