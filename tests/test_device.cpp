// The device under test: chosen by the environment, a card or its emulation.
#include "test_device.h"

#include <cstdlib>
#include <cstring>

#include "check.cuh"
#include "runtime.h"
#if defined(TILEGRAD_EMULATED_CUDA)
#include "runtime_api.h"
#include "scheduler.h"
#endif

namespace tilegrad {

bool testing_cuda() {
  static const bool chosen = [] {
    const char* name = std::getenv("TILEGRAD_TEST_DEVICE");
    return name != nullptr && std::strcmp(name, "cuda") == 0;
  }();
  return chosen;
}

void wait_for_cuda() { cuda::synchronize(0); }

#if defined(TILEGRAD_EMULATED_CUDA)

void for_each_cuda_order(const std::function<void(const char* name)>& body) {
  emulation::set_order(emulation::Order::reverse);
  body("CUDA, emulated, in reverse order");
  emulation::set_order(emulation::Order::shuffled);
  body("CUDA, emulated, in shuffled order");
  emulation::set_order(emulation::Order::forward);
  body("CUDA, emulated");
}
void for_each_cuda_architecture(const std::function<void()>& body) {
  if (testing_cuda()) {
    emulation::set_compute_capability(8, 0);
    body();
    emulation::set_compute_capability(9, 0);
  }
  body();
}
void* allocate_for_kernels(std::size_t bytes) { return ::operator new(bytes); }
void free_for_kernels(void* data) { ::operator delete(data); }

#else

void for_each_cuda_order(const std::function<void(const char* name)>& body) { body("CUDA"); }
void for_each_cuda_architecture(const std::function<void()>& body) { body(); }

void* allocate_for_kernels(std::size_t bytes) {
  if (!testing_cuda()) return ::operator new(bytes);
  void* data = nullptr;
  TILEGRAD_CUDA_CHECK(cudaMallocManaged(&data, bytes + 1));
  return data;
}
void free_for_kernels(void* data) {
  if (testing_cuda()) cudaFree(data);
  else ::operator delete(data);
}

#endif

}  // namespace tilegrad
