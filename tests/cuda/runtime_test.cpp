// The CUDA runtime layer: memory, copies, streams, events and graphs. (The kernels are tested by
// the case tables in tests/ops, see tests/test_device.h.)
#include "runtime.h"

#include <functional>
#include <thread>
#include <vector>

#include "kernel_testing.h"
#include "ops/fill.h"

namespace tilegrad {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << cuda::unavailable_reason();
    cuda::use_device(0);
    cuda::empty_cache();
    cuda::reset_memory_peaks(0);
  }
  void TearDown() override {
    if (cuda::device_count() > 0) cuda::set_current_stream(0, nullptr);
  }
};

// Fills `count` floats on the current stream.
void fill(void* data, std::int64_t count, float value) {
  Fill args{.element_size = 4, .value = {}, .loop = {}};
  args.loop.ndim = 1;
  args.loop.shape[0] = count;
  args.loop.strides[0][0] = 4;
  args.loop.data[0] = static_cast<char*>(data);
  std::memcpy(args.value, &value, sizeof(value));
  fill_kernel.cuda(args);
}

float first_of(const void* data) {
  float value = 0;
  cuda::copy(&value, -1, data, 0, sizeof(value));
  return value;
}

TEST_F(Cuda, CopiesGoThereAndBack) {
  const Array<float> x = Array<float>::random(1000, 1);
  Array<float> y(1000);
  void* first = cuda::allocate(4000, 0);
  void* second = cuda::allocate(4000, 0);
  cuda::copy(first, 0, x.values.get(), -1, 4000);
  cuda::copy(second, 0, first, 0, 4000);
  cuda::copy(y.data(), -1, second, 0, 4000);
  EXPECT_TRUE(y == x);
  cuda::free(first, 0);
  cuda::free(second, 0);
}

TEST_F(Cuda, TheAllocatorReusesBlocksAndFailsWithAnError) {
  void* first = cuda::allocate(1000, 0);
  cuda::free(first, 0);
  EXPECT_EQ(cuda::allocate(900, 0), first);
  cuda::free(first, 0);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(std::size_t{1} << 45, 0); }),
            ErrorKind::out_of_memory);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(std::size_t{1} << 62, 0); }),
            ErrorKind::out_of_memory);
  EXPECT_EQ(error_kind_of([] { cuda::require_device(99, "test"); }), ErrorKind::runtime);
  EXPECT_EQ(cuda::memory_stats(0).failures >= 2, true);
}

TEST_F(Cuda, SegmentsHaveTheSizesOfPyTorch) {
  const auto before = cuda::memory_stats(0);
  const auto current = [](const cuda::Counts& counts) { return counts.all.current; };
  const auto taken = [&] {
    return current(cuda::memory_stats(0).reserved_bytes) - current(before.reserved_bytes);
  };
  const auto used = [&] {
    return current(cuda::memory_stats(0).allocated_bytes) - current(before.allocated_bytes);
  };
  std::vector<void*> blocks;
  const auto expect = [&](std::size_t bytes, std::size_t in_use, std::size_t reserved) {
    blocks.push_back(cuda::allocate(bytes, 0));
    EXPECT_EQ(used(), in_use);
    EXPECT_EQ(taken(), reserved);
  };
  expect(1, 512, 2 * kMiB);
  expect(513, 512 + 1024, 2 * kMiB);
  std::size_t sum = 1536;
  expect(kMiB, sum += kMiB, 2 * kMiB);             // the largest small one
  expect(kMiB + 1, sum += kMiB + 512, 22 * kMiB);  // cut from 20 MiB
  expect(5 * kMiB, sum += 5 * kMiB, 22 * kMiB);    // from the same
  expect(15 * kMiB, sum += 16 * kMiB, 38 * kMiB);  // alone: 1 MiB is not worth cutting off
  expect(30 * kMiB + 1, sum += 30 * kMiB + 512, 70 * kMiB);
  for (void* block : blocks) cuda::free(block, 0);
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(taken(), 70 * kMiB);
  EXPECT_EQ(cuda::memory_stats(0).allocated_bytes.all.peak, current(before.allocated_bytes) + sum);
  cuda::empty_cache();
  EXPECT_EQ(taken(), 0u);
}

TEST_F(Cuda, BlocksAreCountedByStateAndSize) {
  cuda::empty_cache();
  const cuda::MemoryStats before = cuda::memory_stats(0);
  const auto more = [&](cuda::Counts cuda::MemoryStats::* counts, cuda::Count cuda::Counts::* of) {
    return (cuda::memory_stats(0).*counts.*of).current - (before.*counts.*of).current;
  };
  using Stats = cuda::MemoryStats;
  using cuda::Counts;
  void* small = cuda::allocate(700, 0);
  void* large = cuda::allocate(4 * kMiB, 0);
  EXPECT_EQ(more(&Stats::allocated_bytes, &Counts::small), 1024u);
  EXPECT_EQ(more(&Stats::requested_bytes, &Counts::small), 700u);
  EXPECT_EQ(more(&Stats::requested_bytes, &Counts::all), 700 + 4 * kMiB);
  EXPECT_EQ(more(&Stats::active, &Counts::all), 2u);
  EXPECT_EQ(more(&Stats::segment, &Counts::large), 1u);
  EXPECT_EQ(more(&Stats::inactive_split, &Counts::all), 2u);  // the rests of both segments
  EXPECT_EQ(more(&Stats::inactive_split_bytes, &Counts::large), 16 * kMiB);
  const cuda::Stream stream = cuda::stream_from_pool(0, false);
  cuda::record_stream(large, 0, stream);
  cuda::free(large, 0);  // the other stream is asked when memory is asked for next
  EXPECT_EQ(more(&Stats::allocation, &Counts::large), 0u);
  EXPECT_EQ(more(&Stats::active_bytes, &Counts::large), 4 * kMiB);
  cuda::free(small, 0);
  cuda::synchronize(0);
  cuda::empty_cache();
  for (auto counts : {&Stats::allocation, &Stats::active_bytes, &Stats::inactive_split,
                      &Stats::inactive_split_bytes, &Stats::reserved_bytes, &Stats::segment})
    for (auto of : {&Counts::all, &Counts::small, &Counts::large}) EXPECT_EQ(more(counts, of), 0u);
  EXPECT_EQ(cuda::memory_stats(0).allocation.all.freed, before.allocation.all.freed + 2);
  cuda::reset_memory_sums(0);
  EXPECT_EQ(cuda::memory_stats(0).allocation.all.freed, 0u);
}

TEST_F(Cuda, IdleNeighboursBecomeOne) {
  void* first = cuda::allocate(4 * kMiB, 0);
  void* second = cuda::allocate(6 * kMiB, 0);
  void* third = cuda::allocate(6 * kMiB, 0);
  for (void* block : {first, third, second}) cuda::free(block, 0);
  EXPECT_EQ(cuda::allocate(9 * kMiB, 0), first);
  cuda::free(first, 0);
}

TEST_F(Cuda, AFullCardGivesItsCacheBackFirst) {
  const auto info = cuda::memory_info(0);
  const std::size_t most = info.free / 2 / kMiB * kMiB;
  if (most > 20 * (1024 * kMiB)) GTEST_SKIP() << "too much memory to fill for a test";
  cuda::free(cuda::allocate(most, 0), 0);
  const auto before = cuda::memory_stats(0);
  void* larger = cuda::allocate(most + most / 2, 0);  // fits only without what is cached
  EXPECT_EQ(cuda::memory_stats(0).retries, before.retries + 1);
  cuda::free(larger, 0);
  cuda::empty_cache();
}

TEST_F(Cuda, StreamsKeepTheirMemory) {
  void* first = cuda::allocate(1000, 0);
  cuda::free(first, 0);
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  cuda::set_current_stream(0, side);
  void* other = cuda::allocate(1000, 0);
  EXPECT_NE(other, first);
  cuda::free(other, 0);
  cuda::set_current_stream(0, nullptr);
  EXPECT_EQ(cuda::allocate(1000, 0), first);
  cuda::free(first, 0);
}

TEST_F(Cuda, ABlockWaitsForTheStreamsThatUseIt) {
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  constexpr std::int64_t count = 1 << 16;
  void* data = cuda::allocate(4 * count, 0);
  fill(data, count, 1);
  cuda::synchronize(0);
  cuda::set_current_stream(0, side);
  fill(data, count, 2);
  cuda::record_stream(data, 0, side);
  cuda::set_current_stream(0, nullptr);
  cuda::free(data, 0);
  void* next = cuda::allocate(4 * count, 0);
  EXPECT_TRUE(next != data || cuda::is_done(0, side));
  cuda::synchronize(0);
  void* again = cuda::allocate(4 * count, 0);  // by now the event has come
  EXPECT_TRUE(next == data || again == data);
  cuda::free(next, 0);
  cuda::free(again, 0);
}

TEST_F(Cuda, EventsOrderStreams) {
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  EXPECT_NE(side, cuda::stream_from_pool(0, false));
  void* data = cuda::allocate(4, 0);
  const cuda::Event event = cuda::create_event(0, true, false);
  const cuda::Event end = cuda::create_event(0, true, false);
  cuda::set_current_stream(0, side);
  cuda::record_event(0, event, side);
  fill(data, 1, 3);
  cuda::record_event(0, end, side);
  cuda::set_current_stream(0, nullptr);
  cuda::wait_for_event(0, nullptr, end);
  EXPECT_EQ(first_of(data), 3);
  cuda::synchronize_event(0, end);
  EXPECT_TRUE(cuda::is_done_event(0, end));
  EXPECT_GE(cuda::milliseconds_between(0, event, end), 0);
  cuda::destroy_event(0, event);
  cuda::destroy_event(0, end);
  cuda::free(data, 0);
}

TEST_F(Cuda, PinnedMemoryIsFoundAndReused) {
  char* data = static_cast<char*>(cuda::allocate_pinned(5000));
  EXPECT_TRUE(cuda::is_pinned(data) && cuda::is_pinned(data + 4999));
  int other = 0;
  EXPECT_FALSE(cuda::is_pinned(&other));
  void* there = cuda::allocate(5000, 0);
  std::memset(data, 7, 5000);
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  cuda::set_current_stream(0, side);
  cuda::copy(there, 0, data, -1, 5000, true);
  cuda::free_pinned(data);
  char* next = static_cast<char*>(cuda::allocate_pinned(5000));
  EXPECT_TRUE(next != data || cuda::is_done(0, side));
  cuda::synchronize_stream(0, side);
  cuda::copy(next, -1, there, 0, 5000);
  EXPECT_EQ(next[4999], 7);
  cuda::free_pinned(next);
  cuda::empty_pinned_cache();
  cuda::free(there, 0);
}

TEST_F(Cuda, GraphsRepeatWhatWasCaptured) {
  void* data = cuda::allocate(4, 0);
  fill(data, 1, 1);
  cuda::synchronize(0);
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  EXPECT_EQ(error_kind_of([] { cuda::begin_capture(0, 0); }),
            ErrorKind::runtime);  // default stream
  cuda::set_current_stream(0, side);
  const cuda::Graph graph = cuda::begin_capture(0, 0);
  EXPECT_TRUE(cuda::is_capturing());
  void* own = cuda::allocate(4, 0);
  fill(own, 1, 5);
  cuda::copy(data, 0, own, 0, 4);
  cuda::free(own, 0);
  cuda::end_capture(graph);
  EXPECT_FALSE(cuda::is_capturing());
  cuda::set_current_stream(0, nullptr);
  EXPECT_EQ(first_of(data), 1);
  for (int i = 0; i < 2; ++i) {
    cuda::launch_graph(graph);
    EXPECT_EQ(first_of(data), 5);
    fill(data, 1, 1);
  }
  void* other = cuda::allocate(4, 0);
  EXPECT_NE(other, own);  // the graph's memory is its own
  cuda::free(other, 0);
  cuda::destroy_graph(graph);
  cuda::free(data, 0);
}

TEST_F(Cuda, WhatCannotBeCapturedIsAnErrorAndNoMore) {
  void* data = cuda::allocate(4, 0);
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  cuda::set_current_stream(0, side);
  const cuda::Graph graph = cuda::begin_capture(0, 0);
  cuda::set_current_stream(0, nullptr);
  EXPECT_EQ(error_kind_of([] { cuda::synchronize(0); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([&] { cuda::end_capture(graph); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([&] { cuda::launch_graph(graph); }), ErrorKind::runtime);
  cuda::destroy_graph(graph);
  fill(data, 1, 2);
  EXPECT_EQ(first_of(data), 2);
  cuda::free(data, 0);
}

TEST_F(Cuda, WhatWaitsIsRefusedAndTheCaptureGoesOn) {
  void* data = cuda::allocate(4, 0);
  int host = 0;
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  cuda::set_current_stream(0, side);
  const cuda::Graph graph = cuda::begin_capture(0, 0);
  for (const auto& wait : std::vector<std::function<void()>>{
           [&] { cuda::copy(&host, -1, data, 0, 4); }, [&] { cuda::copy(data, 0, &host, -1, 4); },
           [] { cuda::synchronize(0); }, [&] { cuda::synchronize_stream(0, side); },
           [&] { cuda::is_done(0, side); }})
    EXPECT_EQ(error_kind_of(wait), ErrorKind::runtime);
  fill(data, 1, 6);
  cuda::end_capture(graph);
  cuda::set_current_stream(0, nullptr);
  cuda::launch_graph(graph);
  EXPECT_EQ(first_of(data), 6);
  cuda::destroy_graph(graph);
  cuda::free(data, 0);
}

// Python's garbage collector runs in whichever thread it likes.
TEST_F(Cuda, AGraphThatIsDroppedElsewhereDoesNotSpoilACapture) {
  void* data = cuda::allocate(4, 0);
  fill(data, 1, 1);
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  cuda::set_current_stream(0, side);
  const auto captured = [&](float value, const std::function<void()>& meanwhile) {
    const cuda::Graph graph = cuda::begin_capture(0, 0);
    fill(data, 1, value);
    meanwhile();
    cuda::end_capture(graph);
    return graph;
  };
  const cuda::Graph first = captured(5, [] {});
  const cuda::Graph second =
      captured(7, [&] { std::thread([&] { cuda::destroy_graph(first); }).join(); });
  const cuda::Graph third = captured(8, [&] { cuda::destroy_graph(second); });
  cuda::set_current_stream(0, nullptr);
  cuda::launch_graph(third);
  EXPECT_EQ(first_of(data), 8);
  cuda::destroy_graph(third);
  cuda::free(data, 0);
}

TEST_F(Cuda, AReplayFindsTheNumbersOfItsLaunch) {
  constexpr std::size_t kNumbers = 1500;  // more than one launch stores
  auto* places = static_cast<std::uint64_t*>(cuda::allocate(8 * kNumbers, 0));
  void* copies = cuda::allocate(8 * kNumbers, 0);
  const cuda::Stream side = cuda::stream_from_pool(0, false);
  cuda::set_current_stream(0, side);
  const cuda::Graph graph = cuda::begin_capture(0, 0);
  cuda::copy(copies, 0, places, 0, 8 * kNumbers);
  cuda::end_capture(graph);
  cuda::set_current_stream(0, nullptr);
  for (std::uint64_t replay = 1; replay < 3; ++replay) {
    std::vector<cuda::StoredNumber> numbers;
    for (std::size_t i = 0; i < kNumbers; ++i) numbers.push_back({places + i, replay << 40 | i});
    cuda::launch_graph(graph, numbers.data(), numbers.size());
    std::vector<std::uint64_t> found(kNumbers);
    cuda::copy(found.data(), -1, copies, 0, 8 * kNumbers);
    for (std::size_t i = 0; i < kNumbers; ++i) ASSERT_EQ(found[i], replay << 40 | i);
  }
  cuda::destroy_graph(graph);
  cuda::free(copies, 0);
  cuda::free(places, 0);
}

TEST(CudaRuntime, WithoutACardThereIsAReasonAndAnError) {
  if (cuda::device_count() > 0) GTEST_SKIP() << "this machine has a card";
  EXPECT_FALSE(cuda::unavailable_reason().empty());
  EXPECT_EQ(error_kind_of([] { cuda::require_device(0, "test"); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(8, 0); }), ErrorKind::runtime);
}

}  // namespace
}  // namespace tilegrad
