// The caching host allocator.
#include "host_memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "check.h"

namespace tilegrad {
namespace {

constexpr std::size_t kAlignment = 64;  // one cache line, one AVX-512 register
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLargest = std::size_t{1} << 46;

// Sizes are rounded up to four steps per power of two, so at most a quarter is wasted.
struct SizeClass {
  int index;
  std::size_t capacity;
};

SizeClass size_class(std::size_t bytes) {
  if (bytes <= 4 * kAlignment) {
    const std::size_t lines = (bytes + kAlignment - 1) / kAlignment;
    return {static_cast<int>(lines) - 1, lines * kAlignment};
  }
  const int log2 = std::bit_width(bytes - 1) - 1;  // 2^log2 < bytes <= 2^(log2+1)
  const std::size_t step = std::size_t{1} << (log2 - 2);
  const std::size_t steps = (bytes + step - 1) / step;  // 5..8
  return {4 + (log2 - 8) * 4 + static_cast<int>(steps) - 5, steps * step};
}

constexpr int kClasses = 4 + (46 - 8) * 4 + 4;

class SpinLock {
 public:
  void lock() {
    while (flag_.test_and_set(std::memory_order_acquire)) {
    }
  }
  void unlock() { flag_.clear(std::memory_order_release); }
  void reset() { flag_.clear(); }

 private:
  std::atomic_flag flag_ = ATOMIC_FLAG_INIT;
};

struct Cache {
  SpinLock lock;
  std::vector<void*> free_lists[kClasses];
  HostMemoryStats stats;
};

// Never destroyed: tensors may be released after static destruction. A forked child inherits the
// cached blocks; only the lock, perhaps held by a thread that does not exist there, is reset.
Cache& cache() {
  static Cache* instance = [] {
    Cache* created = new Cache;
    pthread_atfork([] { cache().lock.lock(); }, [] { cache().lock.unlock(); },
                   [] { cache().lock.reset(); });
    return created;
  }();
  return *instance;
}

void* system_allocate(std::size_t bytes) {
  const bool huge = bytes >= kHugePage;
  void* data = nullptr;
  if (posix_memalign(&data, huge ? kHugePage : kAlignment, bytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  if (huge)
    madvise(data, bytes, MADV_HUGEPAGE);  // fewer first-touch faults; a hint, may be refused
#endif
  return data;
}

}  // namespace

HostBlock host_allocate(std::size_t bytes) {
  if (bytes == 0) return {};
  TILEGRAD_CHECK(bytes <= kLargest, memory, "out of memory: cannot allocate ", bytes, " bytes");
  const SizeClass wanted = size_class(bytes);
  Cache& c = cache();
  c.lock.lock();
  c.stats.in_use += wanted.capacity;
  c.stats.peak = std::max(c.stats.peak, c.stats.in_use);
  std::vector<void*>& list = c.free_lists[wanted.index];
  if (!list.empty()) {
    void* data = list.back();
    list.pop_back();
    c.stats.cached -= wanted.capacity;
    c.lock.unlock();
    return {data, wanted.capacity};
  }
  c.lock.unlock();
  void* data = system_allocate(wanted.capacity);
  if (data == nullptr) {
    host_empty_cache();
    data = system_allocate(wanted.capacity);
  }
  if (data == nullptr) {
    c.lock.lock();
    c.stats.in_use -= wanted.capacity;
    const std::size_t in_use = c.stats.in_use;
    c.lock.unlock();
    fail(ErrorKind::memory, "out of memory: cannot allocate ", bytes, " bytes (", in_use,
         " bytes are in use by tensors)");
  }
  return {data, wanted.capacity};
}

void host_free(HostBlock block) {
  if (block.data == nullptr) return;
  Cache& c = cache();
  const SizeClass found = size_class(block.capacity);
  c.lock.lock();
  c.stats.in_use -= block.capacity;
  c.stats.cached += block.capacity;
  c.free_lists[found.index].push_back(block.data);
  c.lock.unlock();
}

void* thread_scratch(std::size_t bytes) {
  struct Scratch {
    HostBlock block;
    ~Scratch() { host_free(block); }
  };
  thread_local Scratch scratch;
  if (scratch.block.capacity < bytes) {
    host_free(scratch.block);
    scratch.block = {};
    scratch.block = host_allocate(bytes);
  }
  return scratch.block.data;
}

HostMemoryStats host_memory_stats() {
  Cache& c = cache();
  c.lock.lock();
  const HostMemoryStats stats = c.stats;
  c.lock.unlock();
  return stats;
}

void host_empty_cache() {
  Cache& c = cache();
  std::vector<void*> blocks;
  c.lock.lock();
  for (std::vector<void*>& list : c.free_lists) {
    blocks.insert(blocks.end(), list.begin(), list.end());
    list.clear();
  }
  c.stats.cached = 0;
  c.lock.unlock();
  for (void* data : blocks) std::free(data);
}

}  // namespace tilegrad
