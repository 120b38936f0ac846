// Devices, the caching allocator of device memory, and copies.
#include "runtime.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "check.cuh"

namespace tilegrad::cuda {
namespace {

constexpr std::size_t kSmallest = 512;               // CUDA's own granularity
constexpr std::size_t kPage = std::size_t{2} << 20;  // large blocks are multiples of it
constexpr std::size_t kLargest = std::size_t{1} << 46;

// Small sizes become powers of two, large ones multiples of a page: few distinct sizes, so that
// freed blocks fit again.
std::size_t rounded(std::size_t bytes) {
  if (bytes > kPage) return (bytes + kPage - 1) / kPage * kPage;
  std::size_t size = kSmallest;
  while (size < bytes) size *= 2;
  return size;
}

struct Pool {
  std::mutex mutex;
  std::multimap<std::size_t, void*> free_blocks;  // by size
  std::unordered_map<void*, std::size_t> sizes;   // of every block that is in use
  MemoryStats stats;
};

struct State {
  int count = 0;
  std::string reason;
  std::vector<std::unique_ptr<Pool>> pools;
};

std::string reason_of(cudaError_t result) {
  if (result == cudaErrorInsufficientDriver) {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
      return "no NVIDIA driver is installed on this machine";
    return "the NVIDIA driver is older than the CUDA runtime of this build (driver for CUDA " +
           std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10) + ")";
  }
  if (result == cudaErrorNoDevice) return "this machine has no NVIDIA card that can be used";
  return std::string("CUDA does not start: ") + cudaGetErrorString(result);
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
    for (int i = 0; i < created->count; ++i) created->pools.push_back(std::make_unique<Pool>());
    return created;
  }();
  return *instance;
}

Pool& pool_of(int index) { return *state().pools[static_cast<std::size_t>(index)]; }

// Returns the pool's idle blocks to CUDA; its lock is held by the caller.
void release_blocks(Pool& pool) {
  for (const auto& [size, data] : pool.free_blocks) {
    TILEGRAD_CUDA_CHECK(cudaFree(data));
    pool.stats.cached -= size;
  }
  pool.free_blocks.clear();
}

}  // namespace

int device_count() { return state().count; }
std::string unavailable_reason() { return state().reason; }

void require_device(int index, const char* op) {
  const State& found = state();
  TILEGRAD_CHECK(found.count > 0, runtime, op, ": device 'cuda:", index,
                 "' is not available: ", found.reason);
  TILEGRAD_CHECK(index >= 0 && index < found.count, runtime, op, ": device 'cuda:", index,
                 "' does not exist: this machine has ", found.count, " CUDA device(s)");
}

void use_device(int index) {
  require_device(index, "cuda");
  TILEGRAD_CUDA_CHECK(cudaSetDevice(index));
}

std::string device_name(int index) {
  require_device(index, "get_device_name");
  cudaDeviceProp properties;
  TILEGRAD_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  return properties.name;
}

void synchronize(int index) {
  use_device(index);
  TILEGRAD_CUDA_CHECK(cudaDeviceSynchronize());
}

void* allocate(std::size_t bytes, int index) {
  use_device(index);
  if (bytes == 0) return nullptr;
  TILEGRAD_CHECK(bytes <= kLargest, runtime, "CUDA out of memory: cannot allocate ", bytes,
                 " bytes");
  const std::size_t size = rounded(bytes);
  Pool& pool = pool_of(index);
  const std::lock_guard<std::mutex> lock(pool.mutex);
  void* data = nullptr;
  const auto found = pool.free_blocks.find(size);
  if (found != pool.free_blocks.end()) {
    data = found->second;
    pool.free_blocks.erase(found);
    pool.stats.cached -= size;
  } else if (cudaMalloc(&data, size) != cudaSuccess) {
    cudaGetLastError();
    release_blocks(pool);
    const cudaError_t result = cudaMalloc(&data, size);
    if (result == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail(ErrorKind::runtime, "CUDA out of memory: cannot allocate ", bytes,
           " bytes on cuda:", index, " (", pool.stats.in_use, " bytes are in use by tensors)");
    }
    TILEGRAD_CUDA_CHECK(result);
  }
  pool.sizes.emplace(data, size);
  pool.stats.in_use += size;
  pool.stats.peak = std::max(pool.stats.peak, pool.stats.in_use);
  return data;
}

void free(void* data, int index) {
  if (data == nullptr) return;
  Pool& pool = pool_of(index);
  const std::lock_guard<std::mutex> lock(pool.mutex);
  const auto block = pool.sizes.find(data);
  pool.stats.in_use -= block->second;
  pool.stats.cached += block->second;
  pool.free_blocks.emplace(block->second, data);
  pool.sizes.erase(block);
}

void copy(void* destination, int to, const void* source, int from, std::size_t bytes) {
  if (bytes == 0) return;
  if (to >= 0 && from >= 0 && to != from) {  // between cards: both queues must agree on the order
    synchronize(from);
    use_device(to);
    TILEGRAD_CUDA_CHECK(cudaMemcpyPeer(destination, to, source, from, bytes));
    return synchronize(to);
  }
  use_device(std::max(to, from));
  TILEGRAD_CUDA_CHECK(cudaMemcpy(destination, source, bytes, cudaMemcpyDefault));
}

MemoryStats memory_stats(int index) {
  require_device(index, "memory_allocated");
  Pool& pool = pool_of(index);
  const std::lock_guard<std::mutex> lock(pool.mutex);
  return pool.stats;
}

void empty_cache() {
  for (int i = 0; i < device_count(); ++i) {
    use_device(i);
    Pool& pool = pool_of(i);
    const std::lock_guard<std::mutex> lock(pool.mutex);
    release_blocks(pool);
  }
}

}  // namespace tilegrad::cuda
