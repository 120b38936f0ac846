// The emulated device itself: host code is kept off its memory, and streams put work off.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "cuda_runtime.h"
#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

TEST(EmulatedMemory, HostCodeThatTouchesItIsFoundOut) {
  float* data = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&data), 1 << 20), cudaSuccess);
  for (std::size_t at : {std::size_t{0}, std::size_t{100000}}) {
    volatile float* seen = data;
    EXPECT_NE(seen[at], 0);  // noise, and an entry in stderr
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    EXPECT_NE(std::string(cudaGetErrorString(cudaErrorIllegalAddress)).find("host code"),
              std::string::npos);
    cudaGetLastError();
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  EXPECT_EQ(cudaFree(data), cudaSuccess);
}

#endif

TEST(EmulatedMemory, StreamsPutWorkOffUntilSomethingWaits) {
  cudaStream_t stream = nullptr;
  int *there = nullptr, *pinned = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&there), 4), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(reinterpret_cast<void**>(&pinned), 4), cudaSuccess);
  *pinned = 1;
  int seen = 0;
  const auto look = [&] {
    cudaMemcpy(&seen, there, 4, cudaMemcpyDefault);
    return seen;
  };
  cudaMemcpyAsync(there, pinned, 4, cudaMemcpyDefault, stream);
  EXPECT_EQ(look(), -1);  // what fresh memory holds
  *pinned = 2;            // too early: the copy has not been made
  cudaStreamSynchronize(stream);
  EXPECT_EQ(look(), 2);
  int pageable = 3;
  cudaMemcpyAsync(there, &pageable, 4, cudaMemcpyDefault, stream);
  pageable = 4;  // has been read
  EXPECT_EQ(look(), 2);
  cudaStreamSynchronize(stream);
  EXPECT_EQ(look(), 3);
  cudaFreeHost(pinned);
  cudaFree(there);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace tilegrad::cuda
