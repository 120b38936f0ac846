// Devices other than the host: everything that differs between builds with and without CUDA.
#include "device.h"

#if defined(TILEGRAD_WITH_CUDA)
#include "runtime.h"  // cuda/
#endif

namespace tilegrad {

Device parse_device(const std::string& text) {
  if (text == "cpu" || text == "cpu:0") return {};
  if (text == "cuda") return {DeviceType::cuda, 0};
  if (text.rfind("cuda:", 0) == 0 && text.size() > 5 && text.size() < 8 &&
      text.find_first_not_of("0123456789", 5) == std::string::npos)
    return {DeviceType::cuda, static_cast<std::int8_t>(std::stoi(text.substr(5)))};
  fail(ErrorKind::runtime, "device: expected 'cpu', 'cuda' or 'cuda:<index>', got '", text, "'");
}

#if defined(TILEGRAD_WITH_CUDA)

void require_device(Device device, const char* op) {
  if (!device.is_cpu()) cuda::require_device(device.index, op);
}
void* device_allocate(std::size_t bytes, Device device) {
  return cuda::allocate(bytes, device.index);
}
void device_free(void* data, Device device) { cuda::free(data, device.index); }
void device_copy(void* destination, Device to, const void* source, Device from, std::size_t bytes) {
  cuda::copy(destination, to.is_cpu() ? -1 : to.index, source, from.is_cpu() ? -1 : from.index,
             bytes);
}
void use_device(Device device) { cuda::use_device(device.index); }
int cuda_device_count() { return cuda::device_count(); }
std::string cuda_unavailable_reason() { return cuda::unavailable_reason(); }
std::string cuda_device_name(int index) { return cuda::device_name(index); }
void cuda_synchronize(int index) { cuda::synchronize(index); }
DeviceMemoryStats cuda_memory_stats(int index) {
  const cuda::MemoryStats stats = cuda::memory_stats(index);
  return {stats.in_use, stats.cached, stats.peak};
}
void cuda_empty_cache() { cuda::empty_cache(); }

#else

void require_device(Device device, const char* op) {
  TILEGRAD_CHECK(device.is_cpu(), runtime, op, ": device '", device.str(),
                 "' is not available: ", cuda_unavailable_reason());
}
void* device_allocate(std::size_t, Device device) {
  require_device(device, "allocate");
  return nullptr;
}
void device_free(void*, Device) {}
void device_copy(void*, Device to, const void*, Device, std::size_t) { require_device(to, "copy"); }
void use_device(Device device) { require_device(device, "cuda"); }
int cuda_device_count() { return 0; }
std::string cuda_unavailable_reason() {
  return "tilegrad was built without CUDA (tilegrad.show_config() says why)";
}
std::string cuda_device_name(int index) {
  require_device({DeviceType::cuda, static_cast<std::int8_t>(index)}, "get_device_name");
  return {};
}
void cuda_synchronize(int index) {
  require_device({DeviceType::cuda, static_cast<std::int8_t>(index)}, "synchronize");
}
DeviceMemoryStats cuda_memory_stats(int) { return {}; }
void cuda_empty_cache() {}

#endif

}  // namespace tilegrad
