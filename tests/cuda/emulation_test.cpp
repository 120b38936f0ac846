// The emulation of CUDA itself: what it computes, and that it finds the mistakes it is made to
// find.
#include <numeric>
#include <string>
#include <vector>

#include "kernel_testing.h"
#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

const emulation::Order kOrders[] = {emulation::Order::forward, emulation::Order::reverse,
                                    emulation::Order::shuffled};

template <class Body>
void in_each_order(const Body& body) {
  for (emulation::Order order : kOrders) {
    SCOPED_TRACE(static_cast<int>(order));
    emulation::set_order(order);
    body();
  }
  emulation::set_order(emulation::Order::forward);
}

// Every thread adds what its neighbour has written; `synchronized` is what makes it right.
__global__ void add_neighbours(const int* x, int* y, bool synchronized) {
  __shared__ int tile[128];
  const unsigned i = threadIdx.x;
  tile[i] = x[blockIdx.x * 128 + i];
  if (synchronized) __syncthreads();
  y[blockIdx.x * 128 + i] = tile[i] + tile[127 - i];
}

std::vector<int> sums_of_neighbours(bool synchronized) {
  std::vector<int> x(5 * 128), y(5 * 128);
  std::iota(x.begin(), x.end(), 1);
  launch(add_neighbours, {5, 128}, x.data(), y.data(), synchronized);
  return y;
}

TEST(Emulation, ABarrierGivesEveryOrderTheSameResult) {
  in_each_order([] {
    const std::vector<int> y = sums_of_neighbours(true);
    for (int i = 0; i < 5 * 128; ++i) ASSERT_EQ(y[i], i / 128 * 256 + 129) << i;
  });
}

TEST(Emulation, AMissingBarrierShowsAsDifferentResults) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer reports the race itself: cuda.sanitizer.RacesForSharedMemory";
#endif
  emulation::set_order(emulation::Order::forward);
  const std::vector<int> forward = sums_of_neighbours(false);
  emulation::set_order(emulation::Order::reverse);
  const std::vector<int> reverse = sums_of_neighbours(false);
  emulation::set_order(emulation::Order::shuffled);
  const std::vector<int> shuffled = sums_of_neighbours(false);
  emulation::set_order(emulation::Order::forward);
  EXPECT_NE(forward, reverse);
  EXPECT_NE(forward, shuffled);
}

template <class T>
__global__ void read_unwritten(T* y, int* whole) {
  __shared__ T tile[64];
  T* more = dynamic_shared<T>();
  y[blockIdx.x * 64 + threadIdx.x] = tile[threadIdx.x] + more[threadIdx.x];
  __syncthreads();
  tile[threadIdx.x] = more[threadIdx.x] = T{1};  // what the next block must not find
  whole[blockIdx.x * 64 + threadIdx.x] = static_cast<int>(blockIdx.x);
}

TEST(Emulation, SharedMemoryBeginsAsNoiseInEveryBlock) {
  Array<float> y(4 * 64);
  Array<int> whole(4 * 64);
  launch(read_unwritten<float>, {4, 64, 64 * sizeof(float)}, y.data(), whole.data());
  for (int i = 0; i < 4 * 64; ++i) {
    ASSERT_TRUE(std::isnan(y[i])) << i;
    ASSERT_EQ(whole[i], i / 64);
  }
}

__global__ void meet_in_two_places(int* y) {
  if (threadIdx.x < 32) __syncthreads();
  else __syncthreads();
  y[threadIdx.x] = 1;
}

__global__ void leave_some_behind(int* y) {
  if (threadIdx.x < 40) __syncwarp(0xffffffff);
  __syncthreads();
  y[threadIdx.x] = 1;
}

TEST(Emulation, ADeadlockNamesTheLinesAndTheNextLaunchWorks) {
  std::vector<int> y(64);
  const std::string places = complaint_of([&] { launch(meet_in_two_places, {1, 64}, y.data()); });
  EXPECT_NE(places.find("deadlock in block (0, 0, 0)"), std::string::npos) << places;
  EXPECT_NE(places.find("thread 0..31: waits in __syncthreads at "), std::string::npos) << places;
  EXPECT_NE(places.find("thread 32..63: waits in __syncthreads at "), std::string::npos) << places;
  EXPECT_NE(places.find("emulation_test.cpp:"), std::string::npos) << places;
  in_each_order([&] {
    const std::string lanes = complaint_of([&] { launch(leave_some_behind, {1, 64}, y.data()); });
    EXPECT_NE(lanes.find("thread 32..39: waits in __syncwarp at "), std::string::npos) << lanes;
    EXPECT_NE(lanes.find("for lanes 0xffffffff"), std::string::npos) << lanes;
    EXPECT_EQ(sums_of_neighbours(true)[0], 129);
  });
}

__global__ void some_end_early(int* y) {
  if (threadIdx.x % 3 == 0) return;
  __syncthreads();
  y[threadIdx.x] = __syncthreads_count(threadIdx.x % 2);
}

TEST(Emulation, ThreadsThatEndedAreNotWaitedFor) {
  in_each_order([] {
    std::vector<int> y(60, -1);
    launch(some_end_early, {1, 60}, y.data());
    for (int i = 0; i < 60; ++i) ASSERT_EQ(y[i], i % 3 == 0 ? -1 : 20) << i;
  });
}

struct Lanes {
  int indexed[64], up[64], down[64], crossed[64], narrow[64], half_warp[64];
  unsigned votes[64], same[64];
  int any[64], all[64];
};

__global__ void exchange(Lanes* y) {
  const unsigned i = threadIdx.x, lane = i % 32;
  const int value = static_cast<int>(i * i);
  const unsigned everybody = 0xffffffff;
  y->indexed[i] = __shfl_sync(everybody, value, 5);
  y->up[i] = __shfl_up_sync(everybody, value, 3);
  y->down[i] = __shfl_down_sync(everybody, value, 3);
  y->crossed[i] = __shfl_xor_sync(everybody, value, 9);
  y->narrow[i] = __shfl_down_sync(everybody, value, 2, 8);
  y->votes[i] = __ballot_sync(everybody, lane % 5 == 0);
  y->same[i] = __match_any_sync(everybody, lane % 7);
  y->any[i] = __any_sync(everybody, i == 40);
  y->all[i] = __all_sync(everybody, i < 32);
  if (lane < 16) {  // two groups of one warp, out of step with each other
    int sum = value;
    for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(0x0000ffff, sum, step);
    y->half_warp[i] = sum;
  } else {
    y->half_warp[i] = __shfl_sync(0xffff0000, value, 20);
  }
}

TEST(Emulation, LanesExchangeValues) {
  in_each_order([] {
    Lanes y;
    launch(exchange, {1, 64}, &y);
    const auto square = [](int i) { return i * i; };
    for (int i = 0; i < 64; ++i) {
      SCOPED_TRACE(i);
      const int lane = i % 32, first = i - lane;
      unsigned same = 0;
      for (int other = lane % 7; other < 32; other += 7) same |= 1u << other;
      int half = 0;
      for (int other = 0; other < 16; ++other) half += square(first + other);
      ASSERT_EQ(y.indexed[i], square(first + 5));
      ASSERT_EQ(y.up[i], square(lane < 3 ? i : i - 3));
      ASSERT_EQ(y.down[i], square(lane >= 29 ? i : i + 3));
      ASSERT_EQ(y.crossed[i], square(i ^ 9));
      ASSERT_EQ(y.narrow[i], square(lane % 8 >= 6 ? i : i + 2));
      ASSERT_EQ(y.votes[i], 0x42108421u);
      ASSERT_EQ(y.same[i], same);
      ASSERT_EQ(y.any[i], i >= 32);
      ASSERT_EQ(y.all[i], i < 32);
      ASSERT_EQ(y.half_warp[i], lane < 16 ? half : square(first + 20));
    }
  });
}

__global__ void count(unsigned* total, unsigned* largest, long long* last) {
  atomicAdd(total, threadIdx.x);
  atomicMax(largest, blockIdx.x * blockDim.x + threadIdx.x);
  atomicExch(last, -5);
}

TEST(Emulation, Atomics) {
  unsigned total = 0, largest = 0;
  long long last = 0;
  launch(count, {{3, 2}, {50, 2}}, &total, &largest, &last);
  EXPECT_EQ(total, 6 * 2 * 49 * 50 / 2);
  EXPECT_EQ(largest, 2 * 50 + 49);
  EXPECT_EQ(last, -5);
}

__global__ void note_the_order(int* next, int* order) {
  order[(*next)++] =
      static_cast<int>((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
}

TEST(Emulation, BlocksRunInTheChosenOrder) {
  const auto order_of = [](emulation::Order order) {
    emulation::set_order(order);
    std::vector<int> found(24);
    int next = 0;
    launch(note_the_order, {{4, 3, 2}, 1}, &next, found.data());
    emulation::set_order(emulation::Order::forward);
    return found;
  };
  std::vector<int> expected(24);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order_of(emulation::Order::forward), expected);
  std::vector<int> shuffled = order_of(emulation::Order::shuffled);
  EXPECT_NE(shuffled, expected);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, expected);
  std::reverse(expected.begin(), expected.end());
  EXPECT_EQ(order_of(emulation::Order::reverse), expected);
}

TEST(Emulation, WhatACardRefusesIsRefused) {
  std::vector<int> y(64);
  const Shape shapes[] = {
      {0, 32}, {1, 1025}, {{1, 65536}, 32}, {1, {32, 1, 65}}, {1, 32, 49 << 10}};
  for (const Shape& shape : shapes) {
    const std::string complaint = complaint_of([&] { launch(some_end_early, shape, y.data()); });
    EXPECT_NE(complaint.find("cudaErrorInvalidConfiguration"), std::string::npos) << complaint;
  }
  EXPECT_EQ(
      cudaFuncSetAttribute(some_end_early, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10),
      cudaSuccess);
  launch(some_end_early, {1, 60, 49 << 10}, y.data());
  EXPECT_EQ(y[1], 20);
}

struct Many {
  int at[10 << 10];  // 40 KiB
};
template <class T>
__global__ void has_much_of_its_own(int* y) {
  __shared__ T own;
  int* chosen = dynamic_shared<int>();
  own.at[threadIdx.x] = chosen[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = own.at[31 - threadIdx.x] + chosen[31 - threadIdx.x];
}

TEST(Emulation, VariablesOfAKernelCountAmongItsSharedMemory) {
  const auto kernel = has_much_of_its_own<Many>;
  std::vector<int> y(32);
  const auto refused = [&](unsigned bytes) {
    const std::string complaint = complaint_of([&] { launch(kernel, {1, 32, bytes}, y.data()); });
    return complaint.find("cudaErrorInvalidConfiguration") != std::string::npos;
  };
  EXPECT_FALSE(refused(8 << 10));
  EXPECT_EQ(y[31], 2);
  EXPECT_TRUE(refused((8 << 10) + 4));
  const auto allow = [&](int bytes) {
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  };
  EXPECT_EQ(allow(100 << 10), cudaSuccess);
  EXPECT_FALSE(refused(100 << 10));
  EXPECT_TRUE(refused((100 << 10) + 4));
  const struct {
    int major, minor, most;  // KiB
  } cards[] = {{8, 0, 163}, {8, 6, 99}, {8, 9, 99}, {9, 0, 227}, {10, 0, 227}, {12, 0, 99}};
  for (const auto& card : cards) {
    emulation::set_compute_capability(card.major, card.minor);
    EXPECT_EQ(allow((card.most - 40) << 10), cudaSuccess) << card.major << '.' << card.minor;
    EXPECT_EQ(allow((card.most - 39) << 10), cudaErrorInvalidValue);
  }
  emulation::set_compute_capability(9, 0);
  cudaGetLastError();
}

// Mistakes that only a sanitizer can see. tests/CMakeLists.txt runs each in a process of its own,
// under the sanitizer that must complain.
__global__ void read_past_the_tile(int* y) {
  __shared__ int tile[32];
  tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + 1];
}

__global__ void read_past_the_dynamic_tile(int* y) {
  y[threadIdx.x] = dynamic_shared<int>()[threadIdx.x + 1];
}

TEST(EmulationUnderASanitizer, DISABLED_ReadsPastSharedMemory) {
  std::vector<int> y(32);
  launch(read_past_the_tile, {1, 32}, y.data());
}

TEST(EmulationUnderASanitizer, DISABLED_ReadsPastDynamicSharedMemory) {
  std::vector<int> y(32);
  launch(read_past_the_dynamic_tile, {1, 32, 32 * sizeof(int)}, y.data());
}

TEST(EmulationUnderASanitizer, DISABLED_RacesForSharedMemory) { sums_of_neighbours(false); }

}  // namespace
}  // namespace tilegrad::cuda
