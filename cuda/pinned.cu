// Page-locked host memory, cached: to lock pages takes milliseconds.
#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "check.cuh"
#include "state.h"

namespace tilegrad::cuda {
namespace {

constexpr std::size_t kSmallest = 512;

struct Block {
  std::size_t size = 0;  // a power of two, so that freed blocks fit again
  std::vector<cudaEvent_t> events;
};

struct Pinned {
  std::mutex mutex;
  std::map<const char*, Block> in_use;
  std::multimap<std::size_t, char*> idle;            // by size
  std::deque<std::pair<char*, Block>> not_done_yet;  // freed, but copies still run
};
Pinned& pinned() {
  static auto* instance = new Pinned;
  return *instance;
}

std::size_t rounded(std::size_t bytes) {
  std::size_t size = kSmallest;
  while (size < bytes) size *= 2;
  return size;
}

// The caller holds the lock.
std::map<const char*, Block>::iterator block_at(const void* data) {
  const auto* address = static_cast<const char*>(data);
  auto found = pinned().in_use.upper_bound(address);
  if (found == pinned().in_use.begin()) return pinned().in_use.end();
  --found;
  return address < found->first + found->second.size ? found : pinned().in_use.end();
}

// True if all copies of the block are done.
bool is_done(Block& block) {
  while (!block.events.empty()) {
    if (cudaEventQuery(block.events.back()) == cudaErrorNotReady) {
      cudaGetLastError();
      return false;
    }
    cudaEventDestroy(block.events.back());
    block.events.pop_back();
  }
  return true;
}

void collect() {
  auto& waiting = pinned().not_done_yet;
  for (auto at = waiting.begin(); at != waiting.end();) {
    if (is_done(at->second)) {
      pinned().idle.emplace(at->second.size, at->first);
      at = waiting.erase(at);
    } else {
      ++at;
    }
  }
}

}  // namespace

void* allocate_pinned(std::size_t bytes) {
  const OnDevice on(current_device());
  if (bytes == 0) return nullptr;
  TILEGRAD_CHECK(bytes <= std::size_t{1} << 46, memory, "pin_memory: cannot allocate ", bytes,
                 " bytes");
  const std::size_t size = rounded(bytes);
  const std::lock_guard<std::mutex> lock(pinned().mutex);
  if (!uses_pool()) collect();
  char* data = nullptr;
  if (const auto found = pinned().idle.find(size); found != pinned().idle.end()) {
    data = found->second;
    pinned().idle.erase(found);
  } else {
    void* fresh = nullptr;
    TILEGRAD_CUDA_CHECK(cudaHostAlloc(&fresh, size, cudaHostAllocDefault));
    data = static_cast<char*>(fresh);
  }
  pinned().in_use.emplace(data, Block{size, {}});
  return data;
}

void free_pinned(void* data) {
  if (data == nullptr || has_forked()) return;
  const std::lock_guard<std::mutex> lock(pinned().mutex);
  const auto found = pinned().in_use.find(static_cast<char*>(data));
  if (found == pinned().in_use.end()) return;
  pinned().not_done_yet.emplace_back(static_cast<char*>(data), std::move(found->second));
  pinned().in_use.erase(found);
  if (!uses_pool()) collect();
}

bool is_pinned(const void* data) {
  const std::lock_guard<std::mutex> lock(pinned().mutex);
  return block_at(data) != pinned().in_use.end();
}

void record_pinned(const void* data, Stream stream) {
  if (uses_pool()) return;  // the graph's owner keeps what it copies from
  cudaEvent_t event = nullptr;
  TILEGRAD_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  TILEGRAD_CUDA_CHECK(cudaEventRecord(event, static_cast<cudaStream_t>(stream)));
  const std::lock_guard<std::mutex> lock(pinned().mutex);
  if (const auto found = block_at(data); found != pinned().in_use.end())
    found->second.events.push_back(event);
}

void empty_pinned_cache() {
  const std::lock_guard<std::mutex> lock(pinned().mutex);
  collect();
  for (const auto& [size, data] : pinned().idle) cudaFreeHost(data);
  pinned().idle.clear();
}

}  // namespace tilegrad::cuda
