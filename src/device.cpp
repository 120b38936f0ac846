// Devices other than the host: their names, and what storages need of them.
#include "device.h"

#include "../cuda/runtime.h"

namespace tilegrad {

static int number_of(Device device) { return device.is_cpu() ? -1 : device.index; }

Device parse_device(const std::string& text) {
  if (text == "cpu" || text == "cpu:0") return {};
  if (text == "cuda") return {DeviceType::cuda, static_cast<std::int8_t>(cuda::current_device())};
  if (text.rfind("cuda:", 0) == 0 && text.size() > 5 && text.size() < 8 &&
      text.find_first_not_of("0123456789", 5) == std::string::npos)
    return {DeviceType::cuda, static_cast<std::int8_t>(std::stoi(text.substr(5)))};
  fail(ErrorKind::runtime, "device: expected 'cpu', 'cuda' or 'cuda:<index>', got '", text, "'");
}

void require_device(Device device, const char* op) {
  if (!device.is_cpu()) cuda::require_device(device.index, op);
}
void* device_allocate(std::size_t bytes, Device device) {
  return cuda::allocate(bytes, device.index);
}
void device_free(void* data, Device device) { cuda::free(data, device.index); }
void device_copy(void* destination, Device to, const void* source, Device from, std::size_t bytes,
                 bool non_blocking) {
  cuda::copy(destination, number_of(to), source, number_of(from), bytes, non_blocking);
}
void use_device(Device device) { cuda::use_device(device.index); }

}  // namespace tilegrad
