// Making tensor maps, by the driver.
#include "tensor_map.cuh"

#include <cuda_runtime.h>

#include "check.cuh"

namespace tilegrad::cuda {
namespace {

// A function of the driver, or null. It is asked for at run time: a build links no driver.
template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult outcome = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &outcome);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &outcome);
#endif
  cudaGetLastError();
  if (error != cudaSuccess || outcome != cudaDriverEntryPointSuccess) return nullptr;
  return reinterpret_cast<Function>(function);
}

// Those that make maps, asked for once.
decltype(&cuTensorMapEncodeTiled) box_encoder() {
  static const auto found =
      driver_function<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  return found;
}
decltype(&cuTensorMapEncodeIm2col) image_encoder() {
  static const auto found =
      driver_function<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  return found;
}

constexpr std::int64_t kMostElements = 0x7fffffff, kMostBytes = std::int64_t{1} << 40;

bool is_stride(std::int64_t bytes) { return bytes % 16 == 0 && bytes < kMostBytes; }
bool is_aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

// How far the first and the last pixel of a walk lie from those of a row: the corners of the box
// of pixels that the map walks over.
struct Corners {
  int lower, upper;
};
bool corners_of(const ImageSource::Walk& walk, std::int64_t size, Corners& corners) {
  constexpr std::int64_t kLeast = -128, kMost = 127, kLongestStep = 8;
  const std::int64_t lower = walk.first;
  const std::int64_t upper = lower + (walk.count - 1) * walk.step + 1 - size;
  corners = {static_cast<int>(lower), static_cast<int>(upper)};
  return walk.count > 0 && size > 0 && size <= kMostElements && walk.step >= 1 &&
         walk.step <= kLongestStep && lower >= kLeast && lower <= kMost && upper >= kLeast &&
         upper <= kMost;
}

}  // namespace

bool can_be_mapped(const MapSource& source) {
  bool fits = is_aligned(source.data) && source.along > 0 && source.along <= kMostElements &&
              source.across > 0 && source.across <= kMostElements && source.across_stride > 0 &&
              is_stride(source.across_stride);
  for (int d = 0; d < 2; ++d)
    fits = fits && source.batch[d] > 0 && source.batch[d] <= kMostElements &&
           source.batch_strides[d] >= 0 && is_stride(source.batch_strides[d]);
  return fits;
}

bool encode_map(CUtensorMap& map, const MapSource& source, CUtensorMapDataType type,
                int element_bytes, int box_across) {
  const auto encode = box_encoder();
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

bool encode_images(CUtensorMap& map, const ImageSource& source, int pixels) {
  const auto encode = image_encoder();
  const std::int64_t pixel = 2 * source.channel_stride;
  Corners across, down;
  if (encode == nullptr || !is_aligned(source.data) || source.channels <= 0 || source.batch <= 0 ||
      source.batch > kMostElements || !corners_of(source.across, source.width, across) ||
      !corners_of(source.down, source.height, down) || !is_stride(pixel) ||
      !is_stride(pixel * source.width) || !is_stride(pixel * source.width * source.height))
    return false;
  const cuuint64_t sizes[4] = {
      static_cast<cuuint64_t>(source.channels), static_cast<cuuint64_t>(source.width),
      static_cast<cuuint64_t>(source.height), static_cast<cuuint64_t>(source.batch)};
  const cuuint64_t strides[3] = {static_cast<cuuint64_t>(pixel),
                                 static_cast<cuuint64_t>(pixel * source.width),
                                 static_cast<cuuint64_t>(pixel * source.width * source.height)};
  const int lower[2] = {across.lower, down.lower}, upper[2] = {across.upper, down.upper};
  const cuuint32_t steps[4] = {1, static_cast<cuuint32_t>(source.across.step),
                               static_cast<cuuint32_t>(source.down.step), 1};
  return encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, const_cast<void*>(source.data), sizes,
                strides, lower, upper, 64, static_cast<cuuint32_t>(pixels), steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace tilegrad::cuda
