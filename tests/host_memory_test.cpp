// The caching host allocator: alignment, size classes, reuse, and failure as an Error.
#include "host_memory.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <set>
#include <thread>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

TEST(HostMemory, BlocksAreAlignedAndLargeEnough) {
  for (std::size_t bytes : {1u, 63u, 64u, 65u, 256u, 257u, 320u, 321u, 511u, 512u, 513u, 4096u,
                            4097u, 1000003u, (2u << 20) - 1, 2u << 20, (2u << 20) + 1, 40u << 20}) {
    const HostBlock block = host_allocate(bytes);
    ASSERT_NE(block.data, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data) % 64, 0u) << bytes;
    EXPECT_GE(block.capacity, bytes);
    EXPECT_LE(block.capacity, std::max<std::size_t>(bytes + 63, bytes + bytes / 4)) << bytes;
    static_cast<char*>(block.data)[0] = static_cast<char*>(block.data)[block.capacity - 1] = 1;
    host_free(block);
  }
}

TEST(HostMemory, ZeroBytesNeedNoBlock) {
  const HostBlock block = host_allocate(0);
  EXPECT_EQ(block.data, nullptr);
  EXPECT_EQ(block.capacity, 0u);
  host_free(block);
}

TEST(HostMemory, AFreedBlockIsReusedForItsSizeClass) {
  // Capacity is a fixed point of the size classes: else a block would return to another list.
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 24); bytes = bytes * 5 / 4 + 1) {
    const HostBlock first = host_allocate(bytes);
    host_free(first);
    const HostBlock second = host_allocate(first.capacity);
    EXPECT_EQ(first.data, second.data) << bytes;
    EXPECT_EQ(first.capacity, second.capacity) << bytes;
    host_free(second);
  }
}

TEST(HostMemory, LiveBlocksAreDistinct) {
  std::set<void*> seen;
  std::vector<HostBlock> blocks;
  for (int i = 0; i < 100; ++i) {
    blocks.push_back(host_allocate(1000));
    EXPECT_TRUE(seen.insert(blocks.back().data).second);
  }
  for (const HostBlock& block : blocks) host_free(block);
}

TEST(HostMemory, StatisticsFollowAllocations) {
  host_empty_cache();
  const HostMemoryStats before = host_memory_stats();
  const HostBlock block = host_allocate(12 << 20);
  EXPECT_EQ(host_memory_stats().in_use, before.in_use + block.capacity);
  EXPECT_GE(host_memory_stats().peak, before.in_use + block.capacity);
  host_free(block);
  EXPECT_EQ(host_memory_stats().in_use, before.in_use);
  EXPECT_EQ(host_memory_stats().cached, before.cached + block.capacity);
  host_empty_cache();
  EXPECT_EQ(host_memory_stats().cached, before.cached);
}

TEST(HostMemory, EmptyingTheCacheKeepsWhatSharesASlabWithALiveBlock) {
  host_empty_cache();
  std::vector<HostBlock> blocks;
  for (int i = 0; i < 200; ++i) {  // 200 MB: several slabs
    blocks.push_back(host_allocate(1 << 20));
    std::memset(blocks.back().data, i, blocks.back().capacity);
  }
  const HostBlock kept = blocks[100];
  for (const HostBlock& block : blocks)
    if (block.data != kept.data) host_free(block);
  EXPECT_GE(host_memory_stats().cached, std::size_t{199} << 20);
  host_empty_cache();
  EXPECT_LE(host_memory_stats().cached, std::size_t{100} << 20);  // first, last and kept's slab
  for (std::size_t i = 0; i < kept.capacity; ++i)
    ASSERT_EQ(static_cast<unsigned char*>(kept.data)[i], 100);
  for (HostBlock& block : blocks) {  // the cache still works, and nothing overlaps `kept`
    block = block.data == kept.data ? kept : host_allocate(1 << 20);
    if (block.data != kept.data) std::memset(block.data, 7, block.capacity);
  }
  EXPECT_EQ(static_cast<unsigned char*>(kept.data)[0], 100);
  EXPECT_EQ(static_cast<unsigned char*>(kept.data)[kept.capacity - 1], 100);
  for (const HostBlock& block : blocks) host_free(block);
}

TEST(HostMemory, ImpossibleRequestsAreMemoryErrors) {
  const std::size_t in_use = host_memory_stats().in_use;
  for (std::size_t bytes :
       {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max() / 2,
        (std::size_t{1} << 46) + 1})
    EXPECT_EQ(error_kind_of([&] { host_allocate(bytes); }), ErrorKind::memory) << bytes;
  EXPECT_EQ(host_memory_stats().in_use, in_use);
}

TEST(HostMemory, RequestsThatTheSystemRefusesAreMemoryErrors) {
  const std::size_t in_use = host_memory_stats().in_use;
  const std::size_t bytes = std::size_t{1} << 46;
  try {
    host_free(host_allocate(bytes));  // a system that promises anything may grant even this
    host_empty_cache();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind, ErrorKind::memory);
    EXPECT_NE(std::string(error.what()).find(std::to_string(bytes)), std::string::npos);
  }
  EXPECT_EQ(host_memory_stats().in_use, in_use);
}

TEST(HostMemory, ScratchGrowsStaysAndBelongsToOneThread) {
  void* small = thread_scratch(1000);
  EXPECT_EQ(thread_scratch(500), small);
  char* large = static_cast<char*>(thread_scratch(1 << 20));
  large[(1 << 20) - 1] = 1;
  EXPECT_EQ(thread_scratch(1 << 20), large);
  void* elsewhere = nullptr;
  std::thread([&] { elsewhere = thread_scratch(1 << 20); }).join();
  EXPECT_NE(elsewhere, large);
}

TEST(HostMemory, ThreadsMayAllocateAtTheSameTime) {
  const std::size_t in_use = host_memory_stats().in_use;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 2000; ++i) {
        const HostBlock block = host_allocate(static_cast<std::size_t>(64 + i % 7 * 100));
        std::memset(block.data, t, block.capacity);
        EXPECT_EQ(static_cast<char*>(block.data)[block.capacity - 1], t);
        host_free(block);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(host_memory_stats().in_use, in_use);
}

TEST(HostMemory, AForkedChildCanAllocateWhileTheParentsThreadsDo) {
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) host_free(host_allocate(4096));
  });
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);  // a lock inherited in the locked state would hang
      host_free(host_allocate(4096));
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
}

}  // namespace
}  // namespace tilegrad
