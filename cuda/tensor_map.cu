// Making tensor maps, by the driver.
#include "tensor_map.cuh"

#include <cuda_runtime.h>

#include "check.cuh"

namespace tilegrad::cuda {
namespace {

// The driver's function that makes maps, or null. It is asked for at run time: a build links no
// driver.
decltype(&cuTensorMapEncodeTiled) map_encoder() {
  static const auto found = []() -> decltype(&cuTensorMapEncodeTiled) {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult outcome = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &outcome);
#else
    const cudaError_t error =
        cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &outcome);
#endif
    cudaGetLastError();
    if (error != cudaSuccess || outcome != cudaDriverEntryPointSuccess) return nullptr;
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  return found;
}

}  // namespace

bool can_be_mapped(const MapSource& source) {
  constexpr std::int64_t kMostElements = 0x7fffffff, kMostBytes = std::int64_t{1} << 40;
  const auto is_stride = [](std::int64_t bytes) { return bytes % 16 == 0 && bytes < kMostBytes; };
  bool fits = reinterpret_cast<std::uintptr_t>(source.data) % 16 == 0 && source.along > 0 &&
              source.along <= kMostElements && source.across > 0 &&
              source.across <= kMostElements && source.across_stride > 0 &&
              is_stride(source.across_stride);
  for (int d = 0; d < 2; ++d)
    fits = fits && source.batch[d] > 0 && source.batch[d] <= kMostElements &&
           source.batch_strides[d] >= 0 && is_stride(source.batch_strides[d]);
  return fits;
}

bool encode_map(CUtensorMap& map, const MapSource& source, CUtensorMapDataType type,
                int element_bytes, int box_across) {
  const auto encode = map_encoder();
  if (encode == nullptr || !can_be_mapped(source)) return false;
  cuuint64_t sizes[4] = {static_cast<cuuint64_t>(source.along),
                         static_cast<cuuint64_t>(source.across), 1, 1};
  cuuint64_t strides[3] = {static_cast<cuuint64_t>(source.across_stride),
                           static_cast<cuuint64_t>(source.across_stride),
                           static_cast<cuuint64_t>(source.across_stride)};
  for (int d = 0; d < 2; ++d)
    if (source.batch_strides[d] > 0) {  // else of size 1, and its stride means nothing
      sizes[d + 2] = static_cast<cuuint64_t>(source.batch[d]);
      strides[d + 1] = static_cast<cuuint64_t>(source.batch_strides[d]);
    }
  const cuuint32_t box[4] = {static_cast<cuuint32_t>(128 / element_bytes),
                             static_cast<cuuint32_t>(box_across), 1, 1};
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  return encode(&map, type, 4, const_cast<void*>(source.data), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace tilegrad::cuda
