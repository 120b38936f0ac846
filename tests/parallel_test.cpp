// parallel_for: the same chunks for every number of threads, each exactly once, whoever calls.
#include "parallel.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "float_mode.h"
#include "kernel_testing.h"

namespace tilegrad {
namespace {

using Chunk = std::pair<std::int64_t, std::int64_t>;

std::multiset<Chunk> chunks_of(std::int64_t size, std::int64_t grain) {
  std::mutex mutex;
  std::multiset<Chunk> chunks;
  parallel_for(size, grain, [&](std::int64_t begin, std::int64_t end) {
    std::lock_guard<std::mutex> lock(mutex);
    chunks.insert({begin, end});
  });
  return chunks;
}

TEST(Parallel, ChunksDependOnSizeAndGrainAlone) {
  for (std::int64_t size : {0, 1, 2, 7, 64, 100, 1000})
    for (std::int64_t grain : {1, 3, 64, 100, 5000}) {
      std::multiset<Chunk> expected;
      for (std::int64_t begin = 0; begin < size; begin += grain)
        expected.insert({begin, std::min(begin + grain, size)});
      for_each_thread_count([&] { EXPECT_EQ(chunks_of(size, grain), expected); });
    }
}

TEST(Parallel, ManyShortJobsInARowLoseNothing) {
  for_each_thread_count([] {
    for (int job = 0; job < 2000; ++job) {
      std::atomic<std::int64_t> sum{0};
      parallel_for(20, 1, [&](std::int64_t begin, std::int64_t) { sum += begin; });
      ASSERT_EQ(sum, 190);
    }
  });
}

TEST(Parallel, SeveralThreadsReallyTakePart) {
  const int before = num_threads();
  set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::atomic<int> arrived{0};
  parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    ++arrived;
    while (arrived < 2) std::this_thread::yield();  // hangs if one thread ran both, one by one
  });
  EXPECT_EQ(threads.size(), 2u);
  set_num_threads(before);
}

TEST(Parallel, NestedCallsRunEveryChunk) {
  for_each_thread_count([] {
    std::atomic<int> count{0};
    parallel_for(10, 1, [&](std::int64_t, std::int64_t) {
      parallel_for(10, 1, [&](std::int64_t, std::int64_t) { ++count; });
    });
    EXPECT_EQ(count, 100);
  });
}

TEST(Parallel, CallersOnSeveralThreadsDoNotDisturbEachOther) {
  const int before = num_threads();
  set_num_threads(3);
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([] {
      for (int job = 0; job < 200; ++job) {
        std::atomic<std::int64_t> sum{0};
        parallel_for(100, 7, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) sum += i;
        });
        ASSERT_EQ(sum, 4950);
      }
    });
  for (std::thread& caller : callers) caller.join();
  set_num_threads(before);
}

TEST(Parallel, ResizingWhileOthersCallIsSafe) {
  const int before = num_threads();
  std::atomic<bool> stop{false};
  std::thread caller([&] {
    while (!stop) {
      std::atomic<int> count{0};
      parallel_for(50, 1, [&](std::int64_t, std::int64_t) { ++count; });
      ASSERT_EQ(count, 50);
    }
  });
  for (int i = 0; i < 30; ++i) {
    set_num_threads(1 + i % 5);
    EXPECT_EQ(num_threads(), 1 + i % 5);
    std::this_thread::yield();
  }
  stop = true;
  caller.join();
  set_num_threads(before);
}

TEST(Parallel, AForkedChildHasAPoolOfItsOwn) {
  const int before = num_threads();
  set_num_threads(3);
  chunks_of(100, 1);  // the parent's workers exist
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    std::atomic<int> count{0};
    parallel_for(100, 1, [&](std::int64_t, std::int64_t) { ++count; });
    _exit(count == 100 && num_threads() == 3 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(chunks_of(100, 1).size(), 100u);
  set_num_threads(before);
}

TEST(Parallel, WhatAChunkThrowsReachesTheCaller) {
  const int before = num_threads();
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    for (int round = 0; round < 50; ++round) {
      const auto failing = [&] {
        parallel_for(100, 1, [&](std::int64_t begin, std::int64_t) {
          if (begin == round) fail(ErrorKind::memory, "chunk ", begin);
        });
      };
      EXPECT_EQ(error_kind_of(failing), ErrorKind::memory);
      EXPECT_EQ(chunks_of(100, 1).size(), 100u);  // the pool still works
    }
  }
  set_num_threads(before);
}

#if defined(__linux__)
// The processors that the threads of a job may run on, but for the caller's.
std::vector<cpu_set_t> processors_of_workers() {
  std::mutex mutex;
  std::vector<cpu_set_t> found;
  const std::thread::id caller = std::this_thread::get_id();
  parallel_for(64, 1, [&](std::int64_t, std::int64_t) {
    usleep(200);  // long enough for the workers to join
    if (std::this_thread::get_id() == caller) return;
    cpu_set_t set;
    sched_getaffinity(0, sizeof(set), &set);
    std::lock_guard<std::mutex> lock(mutex);
    found.push_back(set);
  });
  return found;
}

TEST(Parallel, WorkersKeepOffTheCallersProcessor) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  if (CPU_COUNT(&allowed) < 2) GTEST_SKIP() << "one processor";
  const int before = num_threads();
  set_num_threads(3);
  processors_of_workers();  // starts the workers with all processors
  for (int processor = 0, tried = 0; processor < CPU_SETSIZE && tried < 4; ++processor) {
    if (!CPU_ISSET(processor, &allowed)) continue;
    ++tried;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    cpu_set_t others = allowed;
    CPU_CLR(processor, &others);
    const std::vector<cpu_set_t> found = processors_of_workers();
    EXPECT_FALSE(found.empty());
    for (const cpu_set_t& set : found) EXPECT_TRUE(CPU_EQUAL(&set, &others));
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
  set_num_threads(before);
}
#endif

TEST(Parallel, WorkersComputeInTheCallersMode) {
  if (kFlushToZero == 0) GTEST_SKIP() << "this processor has no such mode";
  const int before = num_threads();
  set_num_threads(3);
  for (const bool flushed : {true, false}) {
    std::optional<FlushedToZero> mode;
    if (flushed) mode.emplace();
    std::vector<float> halves(64);
    parallel_for(64, 1, [&](std::int64_t i, std::int64_t) {
      usleep(100);  // long enough for the workers to join
      volatile float smallest = std::numeric_limits<float>::min();
      halves[i] = smallest / 2;
    });
    for (const float half : halves) EXPECT_EQ(half > 0, !flushed);
  }
  set_num_threads(before);
}

TEST(Parallel, InsideAChunkOneThreadIsAtHand) {
  const int before = num_threads();
  set_num_threads(3);
  EXPECT_EQ(threads_at_hand(), 3);
  std::vector<int> seen(6);
  parallel_for(6, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      seen[static_cast<std::size_t>(i)] = threads_at_hand();
  });
  EXPECT_EQ(seen, std::vector<int>(6, 1));
  EXPECT_EQ(threads_at_hand(), 3);
  set_num_threads(before);
}

TEST(Parallel, ThreadCountsAreChecked) {
  for (int count : {0, -1, 4097})
    EXPECT_EQ(error_kind_of([&] { set_num_threads(count); }), ErrorKind::runtime);
}

TEST(Parallel, TheEnvironmentNamesTheDefault) {
  setenv("TILEGRAD_NUM_THREADS", "5", 1);
  EXPECT_EQ(default_num_threads(), 5);
  for (const char* text : {"0", "-2", "two", "2x", "1.5", "99999999999999999999"}) {
    setenv("TILEGRAD_NUM_THREADS", text, 1);
    EXPECT_EQ(error_kind_of([] { default_num_threads(); }), ErrorKind::value) << text;
  }
  setenv("TILEGRAD_NUM_THREADS", "", 1);
  EXPECT_GE(default_num_threads(), 1);
  unsetenv("TILEGRAD_NUM_THREADS");
  EXPECT_GE(default_num_threads(), 1);
}

}  // namespace
}  // namespace tilegrad
