// The caching host allocator.
#include "host_memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
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

std::size_t class_capacity(int index) {
  if (index < 4) return static_cast<std::size_t>(index + 1) * kAlignment;
  return static_cast<std::size_t>(5 + index % 4) << (6 + (index - 4) / 4);
}

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

// Blocks below kFirstOfItsOwn are cut from slabs, one behind the other, so that they too lie on
// huge pages: with 4 KB pages a walk through a few small tensors misses the TLB all the time, and
// under a virtual machine each miss is two walks through page tables. What is freed goes to the
// lists of its class; a slab returns to the system when all that was cut from it is free.
constexpr std::size_t kSlab = std::size_t{32} << 20;  // of address space; touched as it is used
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kFirstOfItsOwn = 0;  // the sanitizer shall see every block's end
#else
constexpr std::size_t kFirstOfItsOwn = kSlab / 4;
#endif

struct Slab {
  char* start;
  std::size_t cut;  // bytes from the start that have been given out at least once
};

struct Cache {
  SpinLock lock;
  std::vector<void*> free_lists[kClasses];
  std::vector<Slab> slabs;  // blocks are cut from the last one
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

// Made when the library is loaded: were it made by a thread's first allocation, and did another
// thread fork meanwhile, the child would wait for ever for the one that makes it.
[[maybe_unused]] const Cache& made_early = cache();

void* system_allocate(std::size_t bytes, std::size_t alignment) {
  void* data = nullptr;
  if (posix_memalign(&data, alignment, bytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  if (alignment >= kHugePage)
    madvise(data, bytes, MADV_HUGEPAGE);  // fewer faults and TLB misses; a hint, may be refused
#endif
  return data;
}

// A block of the size class's capacity from the end of the last slab; the caller holds the lock.
void* cut_from_slab(Cache& c, std::size_t capacity) {
  if (c.slabs.empty() || c.slabs.back().cut + capacity > kSlab) {
    void* start = system_allocate(kSlab, kSlab);
    if (start == nullptr) return nullptr;
    c.slabs.push_back({static_cast<char*>(start), 0});
  }
  Slab& slab = c.slabs.back();
  slab.cut += capacity;
  return slab.start + slab.cut - capacity;
}

void* new_block(Cache& c, std::size_t capacity) {
  if (capacity >= kFirstOfItsOwn)
    return system_allocate(capacity, capacity >= kHugePage ? kHugePage : kAlignment);
  const std::lock_guard<SpinLock> guard(c.lock);
  return cut_from_slab(c, capacity);
}

char* slab_of(void* block) {  // slabs are aligned to their size
  return reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(block) & ~(kSlab - 1));
}

// Takes out of the lists and of the slabs what can be given back; the caller holds the lock.
std::vector<void*> take_unused(Cache& c) {
  std::map<char*, std::size_t> unused;  // bytes of each slab that are cached
  for (int i = 0; i < kClasses; ++i)
    if (class_capacity(i) < kFirstOfItsOwn)
      for (void* block : c.free_lists[i]) unused[slab_of(block)] += class_capacity(i);
  std::vector<void*> taken;
  std::erase_if(c.slabs, [&](const Slab& slab) {
    if (unused[slab.start] != slab.cut) return false;
    taken.push_back(slab.start);
    return true;
  });
  const std::set<void*> slabs(taken.begin(), taken.end());
  for (int i = 0; i < kClasses; ++i)
    std::erase_if(c.free_lists[i], [&](void* block) {
      const bool own = class_capacity(i) >= kFirstOfItsOwn;
      if (!own && !slabs.contains(slab_of(block))) return false;
      if (own) taken.push_back(block);
      c.stats.cached -= class_capacity(i);
      return true;
    });
  return taken;
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
  void* data = new_block(c, wanted.capacity);
  if (data == nullptr) {
    host_empty_cache();
    data = new_block(c, wanted.capacity);
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
  c.lock.lock();
  const std::vector<void*> blocks = take_unused(c);
  c.lock.unlock();
  for (void* data : blocks) std::free(data);
}

}  // namespace tilegrad
