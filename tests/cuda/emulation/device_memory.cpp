// The mapping, its permissions, the blocks in it, and what happens to host code that reads it.
#include "device_memory.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include "runtime_api.h"
#include "streams.h"

namespace emulation {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    defined(EMULATION_ADDRESS_SANITIZER) || defined(EMULATION_THREAD_SANITIZER)
constexpr bool kGuarded = false;  // the sanitizer's own allocator sees more: bounds, and races
#else
constexpr bool kGuarded = true;
#endif

constexpr std::size_t kAlignment = 512;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kNoise = std::size_t{64} << 20;

std::atomic<std::uintptr_t> host_fault{0};  // the address

struct Memory {
  std::mutex mutex;
  char* base = nullptr;
  std::size_t reached = 0;  // bytes that were ever in use: what permissions are changed of
  int users = 0;            // DeviceAccess objects
  std::size_t in_use = 0;
  std::map<std::size_t, std::size_t> free_blocks;  // size by offset
  std::unordered_map<void*, std::size_t> blocks;
  std::map<const char*, std::size_t> pinned;  // size by address
  struct sigaction previous = {};
};
Memory& memory();

void permit(bool open) {
  if (kGuarded && memory().reached > 0)
    mprotect(memory().base, memory().reached, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

// Runs on whatever thread touched the memory. It lets the access happen and remembers it, so that
// a test fails and the process goes on. Touches neither heap nor locks.
void on_fault(int signal, siginfo_t* info, void* context) {
  Memory& all = memory();
  const auto address = static_cast<char*>(info->si_addr);
  if (address >= all.base && address < all.base + all.reached) {
    host_fault = reinterpret_cast<std::uintptr_t>(address);
    constexpr char text[] = "host code touches the memory of the emulated device:\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) _exit(1);
    void* frames[24];
    backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
    permit(true);
    return;
  }
  if (all.previous.sa_flags & SA_SIGINFO) return all.previous.sa_sigaction(signal, info, context);
  if (all.previous.sa_handler != SIG_DFL && all.previous.sa_handler != SIG_IGN)
    return all.previous.sa_handler(signal);
  sigaction(SIGSEGV, &all.previous, nullptr);  // the access is repeated, and ends the process
}

Memory& memory() {
  static Memory* instance = [] {
    auto* created = new Memory;  // outlives static destruction, as a card does
    if (!kGuarded) return created;
    void* mapped = mmap(nullptr, kMemory + kHugePage, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) std::abort();
    // Permissions change twice for each kernel, and cost by the page: huge ones, where there are.
    const auto base = (reinterpret_cast<std::uintptr_t>(mapped) + kHugePage - 1) & ~(kHugePage - 1);
    created->base = reinterpret_cast<char*>(base);
    madvise(created->base, kMemory, MADV_HUGEPAGE);
    created->free_blocks.emplace(0, kMemory);
    void* frame;
    backtrace(&frame, 1);  // loads what it needs, which a signal handler must not
    return created;
  }();
  return *instance;
}

void install_handler() {
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGSEGV, &action, &memory().previous) == 0;
  }();
  (void)installed;
}

std::size_t rounded(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// First fit; the caller holds the lock.
void* cut_block(std::size_t bytes) {
  Memory& all = memory();
  for (auto block = all.free_blocks.begin(); block != all.free_blocks.end(); ++block) {
    const auto [offset, size] = *block;
    if (size < bytes) continue;
    all.free_blocks.erase(block);
    if (size > bytes) all.free_blocks.emplace(offset + bytes, size - bytes);
    const std::size_t end = (offset + bytes + kHugePage - 1) / kHugePage * kHugePage;
    if (end > all.reached) {
      all.reached = end;
      permit(all.users > 0);
    }
    return all.base + offset;
  }
  return nullptr;
}

void give_back(std::size_t offset, std::size_t bytes) {
  auto& blocks = memory().free_blocks;
  auto next = blocks.lower_bound(offset);
  if (next != blocks.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = blocks.erase(next);
  }
  if (next != blocks.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  blocks.emplace(offset, bytes);
}

}  // namespace

DeviceAccess::DeviceAccess() {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  if (memory().users++ == 0) permit(true);
}
DeviceAccess::~DeviceAccess() {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  if (--memory().users == 0) permit(false);
}

// What is in a fresh block is noise, as on a card that has run other programs; at least at the
// beginning of one so large that filling it would take long.
void* allocate_device(std::size_t bytes) {
  bytes = rounded(bytes);
  void* data = nullptr;
  {
    const std::lock_guard<std::mutex> lock(memory().mutex);
    if (bytes > kMemory - memory().in_use) return nullptr;
    if (kGuarded) install_handler();
    data = kGuarded ? cut_block(bytes) : std::aligned_alloc(kAlignment, bytes);
    if (data == nullptr) return nullptr;
    memory().blocks.emplace(data, bytes);
    memory().in_use += bytes;
  }
  const DeviceAccess access;
  std::memset(data, 0xff, std::min(bytes, kNoise));
  return data;
}

bool free_device(void* data) {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  const auto block = memory().blocks.find(data);
  if (block == memory().blocks.end()) return false;
  const std::size_t bytes = block->second;
  memory().in_use -= bytes;
  memory().blocks.erase(block);
  if (!kGuarded) {
    std::free(data);
    return true;
  }
  const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t start = (first + page - 1) / page * page,
                       end = (first + bytes) / page * page;
  if (end > start)  // a large block must not stay resident
    madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED);
  give_back(static_cast<std::size_t>(static_cast<char*>(data) - memory().base), bytes);
  return true;
}

std::size_t free_device_bytes() {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  return kMemory - memory().in_use;
}

bool is_device_memory(const void* data) {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  if (kGuarded) {
    const auto* address = static_cast<const char*>(data);
    return address >= memory().base && address < memory().base + kMemory;
  }
  return std::any_of(memory().blocks.begin(), memory().blocks.end(), [data](const auto& block) {
    const auto* first = static_cast<const char*>(block.first);
    return data >= first && data < first + block.second;
  });
}

bool is_pinned_memory(const void* data) {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  const auto* address = static_cast<const char*>(data);
  auto block = memory().pinned.upper_bound(address);
  if (block == memory().pinned.begin()) return false;
  --block;
  return address < block->first + block->second;
}

std::string take_host_fault() {
  const std::uintptr_t address = host_fault.exchange(0);
  if (address == 0) return {};
  const std::lock_guard<std::mutex> lock(memory().mutex);
  permit(memory().users > 0);
  char text[96];
  std::snprintf(text, sizeof(text), "host code has touched the device's memory at 0x%zx",
                static_cast<std::size_t>(address));
  return text;
}

}  // namespace emulation

using emulation::memory;

cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  *data = std::aligned_alloc(4096, (std::max<std::size_t>(bytes, 1) + 4095) / 4096 * 4096);
  if (*data == nullptr) return emulation::outcome(cudaErrorMemoryAllocation);
  const std::lock_guard<std::mutex> lock(memory().mutex);
  memory().pinned.emplace(static_cast<char*>(*data), bytes);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) { return cudaHostAlloc(data, bytes, 0); }
cudaError_t cudaFreeHost(void* data) {
  emulation::finish_all_streams();
  {
    const std::lock_guard<std::mutex> lock(memory().mutex);
    memory().pinned.erase(static_cast<char*>(data));
  }
  std::free(data);
  return cudaSuccess;
}
