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
void device_copy(void* destination, Device to, const void* source, Device from,
                 std::size_t bytes) {
  cuda::copy(destination, to.is_cpu() ? -1 : to.index, source, from.is_cpu() ? -1 : from.index,
             bytes);
}

#else

void require_device(Device device, const char* op) {
  TILEGRAD_CHECK(device.is_cpu(), runtime, op, ": device '", device.str(),
                 "' is not available: tilegrad was built without CUDA "
                 "(tilegrad.show_config() says why)");
}
void* device_allocate(std::size_t, Device device) {
  require_device(device, "allocate");
  return nullptr;
}
void device_free(void*, Device) {}
void device_copy(void*, Device to, const void*, Device, std::size_t) {
  require_device(to, "copy");
}

#endif

}  // namespace tilegrad
