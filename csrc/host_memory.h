// The caching host allocator: 64-byte-aligned blocks that are kept for reuse.
//
// The first write to a fresh page costs far more than the arithmetic on it, and glibc gives large
// blocks back to the kernel on every free. So freed blocks wait here in per-size lists.
#pragma once

#include <cstddef>

namespace tilegrad {

struct HostBlock {
  void* data = nullptr;
  std::size_t capacity = 0;  // bytes really reserved; host_free needs it
};

// At least `bytes` bytes, uninitialized; {nullptr, 0} for zero bytes. When the system has no memory
// left, the cache is emptied and the request tried once more; then a MemoryError is thrown.
HostBlock host_allocate(std::size_t bytes);
void host_free(HostBlock block);

// At least `bytes` bytes that belong to the calling thread until its next call: workspace for
// kernels, which do not allocate. It grows to the largest request and stays.
void* thread_scratch(std::size_t bytes);

struct HostMemoryStats {
  std::size_t in_use = 0, cached = 0, peak = 0;  // bytes
};
HostMemoryStats host_memory_stats();

// Returns to the system every cached block, but for small ones that share a slab with one in use.
void host_empty_cache();

}  // namespace tilegrad
