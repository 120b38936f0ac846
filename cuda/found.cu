// The card and the driver that were found, by name. Its one kernel does nothing.
#include "found.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the first group of the pattern matches, or nothing.
std::string part_of(const std::string& text, const char* pattern) {
  std::smatch found;
  return std::regex_search(text, found, std::regex(pattern)) ? found[1].str() : std::string();
}

__global__ void probe_kernel(int) {}

}  // namespace

std::string found_here(const std::string& folder) {
  const std::filesystem::path root(folder);
  const std::string version = part_of(text_of(root / "version"), "([0-9]+\\.[0-9]+[0-9.]*)");
  std::string found = version.empty() ? "" : "driver " + version;
  std::error_code error;  // no such folder: no entries
  for (const auto& card : std::filesystem::directory_iterator(root / "gpus", error)) {
    const std::string name =
        part_of(text_of(card.path() / "information"), "Model:[ \\t]*([^\\n]*[^ \\t\\n])");
    if (!name.empty()) found += (found.empty() ? "" : ", ") + name;
  }
  return found.empty() ? found : ": " + found;
}

void require_code(int index) {
  cudaLaunchConfig_t config = {};
  config.gridDim = config.blockDim = dim3(1);
  const cudaError_t result = cudaLaunchKernelEx(&config, probe_kernel, 0);
  if (result != cudaErrorNoKernelImageForDevice) {
    TILEGRAD_CUDA_CHECK(result);
    return;
  }
  cudaGetLastError();
  cudaDeviceProp card;
  TILEGRAD_CUDA_CHECK(cudaGetDeviceProperties(&card, index));
  fail(ErrorKind::runtime, "device 'cuda:", index, "' is ", card.name, " of architecture ",
       card.major, ".", card.minor, ", for which this build has no code (driver for CUDA ",
       driver_version(), "); tilegrad.show_config() says for which it has");
}

}  // namespace tilegrad::cuda
