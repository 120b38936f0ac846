// Launches that fail: what the exception says, and that the next call works.
#include <filesystem>
#include <fstream>
#include <string>

#include "found.h"
#include "kernel_testing.h"
#include "launch.cuh"
#include "ops/fill.h"

namespace tilegrad::cuda {
namespace {

std::string complaint_of(const std::function<void()>& call) {
  try {
    call();
    wait_for_cuda();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind, ErrorKind::runtime);
    return error.what();
  }
  return "none";
}

void expect_in(const std::string& part, const std::string& text) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

void fill_sevens(Array<float>& y) {
  Fill args{.element_size = 4, .value = {}, .loop = {}};
  args.loop.ndim = 1;
  args.loop.shape[0] = y.size;
  args.loop.strides[0][0] = 4;
  args.loop.data[0] = reinterpret_cast<char*>(y.data());
  const float seven = 7;
  std::memcpy(args.value, &seven, sizeof(seven));
  fill_kernel.cuda(args);
}

// The next call after each failure.
void expect_that_calls_work() {
  Array<float> y(1000);
  fill_sevens(y);
  wait_for_cuda();
  for (std::int64_t i = 0; i < y.size; ++i) ASSERT_EQ(y[i], 7);
}

TEST(EmulationOfFailures, AnArchitectureWithoutCode) {
  Array<float> y(1000);
  emulation::set_compute_capability(7, 5);
  const std::string complaint = complaint_of([&] { fill_sevens(y); });
  emulation::set_compute_capability(9, 0);
  expect_in("cudaErrorNoKernelImageForDevice", complaint);
  expect_in("no code for the card's architecture (tilegrad.show_config() says for which",
            complaint);
  expect_that_calls_work();
}

TEST(EmulationOfFailures, TheCardAndTheDriverAreNamed) {
  emulation::set_compute_capability(7, 5);
  const std::string complaint = complaint_of([] { require_code(0); });
  emulation::set_compute_capability(9, 0);
  expect_in("device 'cuda:0' is CUDA emulated on the host of architecture 7.5", complaint);
  expect_in("no code (driver for CUDA 13.0); tilegrad.show_config() says", complaint);
  require_code(0);
  expect_that_calls_work();
}

TEST(EmulationOfFailures, WhatTheDriverTellsWhereCudaDoesNotStart) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "driver_found";
  std::filesystem::remove_all(folder);
  EXPECT_EQ(found_here(folder), "");
  for (const char* card : {"gpus/0000:01:00.0", "gpus/0000:02:00.0"})
    std::filesystem::create_directories(folder / card);
  std::ofstream(folder / "gpus/0000:01:00.0/information")
      << "Model: \t\t NVIDIA A100-SXM4-40GB \nIRQ:   \t\t 138\n";
  EXPECT_EQ(found_here(folder), ": NVIDIA A100-SXM4-40GB");
  std::ofstream(folder / "version")
      << "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC\n";
  EXPECT_EQ(found_here(folder), ": driver 470.57.02, NVIDIA A100-SXM4-40GB");
  std::filesystem::remove_all(folder);
}

void empty_kernel(int) {}

TEST(EmulationOfFailures, ALaunchThatACardRefuses) {
  for (const Shape& shape : {Shape{1u, 1025u}, Shape{0u, 32u}, Shape{1u, 32u, 300u << 10}}) {
    const std::string complaint = complaint_of([&] { launch(empty_kernel, shape, 0); });
    expect_in("cudaErrorInvalidConfiguration", complaint);
    EXPECT_EQ(complaint.find("any longer"), std::string::npos) << complaint;
    expect_that_calls_work();
  }
  EXPECT_EQ(error_kind_of([] { blocks_of(std::int64_t{1} << 31, 1); }), ErrorKind::runtime);
}

void stuck_kernel(int) {
  if (threadIdx.x == 0) __syncthreads();
  else __syncwarp();
}

// On a card the process could not go on; the exception says so.
TEST(EmulationOfFailures, AKernelThatFailsWhileItRuns) {
  const std::string complaint = complaint_of([] { launch(stuck_kernel, {1u, 64u}, 0); });
  expect_in("cudaErrorLaunchFailure", complaint);
  expect_in("A kernel failed while it ran: this process cannot use the card any longer", complaint);
  expect_that_calls_work();
}

}  // namespace
}  // namespace tilegrad::cuda
