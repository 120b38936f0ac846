// Tensor maps: what the copy engine must know of a matrix in memory to copy boxes of it, or of
// images to copy pixels of them.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace tilegrad::cuda {

// A matrix whose elements lie next to each other along one dimension, and up to two batch
// dimensions. Strides count bytes; a batch stride of 0 means that there is one matrix for all.
struct MapSource {
  const void* data;
  std::int64_t along, across;  // elements
  std::int64_t across_stride;
  std::int64_t batch[2], batch_strides[2];
};

// Whether the copy engine can read it: 16 bytes at a time, dimensions counted with 31 bits.
bool can_be_mapped(const MapSource& source);

// Makes a map of four dimensions for boxes of 128 bytes along and box_across elements across, whose
// chunks are exchanged. False where it cannot be mapped, or the driver does not.
bool encode_map(CUtensorMap& map, const MapSource& source, CUtensorMapDataType type,
                int element_bytes, int box_across);

// Images of halves, the channels of a pixel next to each other, pixels in order. Where a filter
// lies on them, its first tap walks over the pixels {first + i * step} of each row, i below count,
// and over so many rows, image by image; copy_pixels fetches what one of its taps sees.
struct ImageSource {
  const void* data;
  std::int64_t channels, channel_stride;  // elements; from pixel to pixel
  std::int64_t width, height, batch;
  struct Walk {
    std::int64_t first, count, step;
  } across, down;
};

// Makes a map for 64 channels of so many pixels of the walk at a time, their chunks exchanged as
// those of boxes. Outside of images are zeros. False where the copy engine cannot walk so, or the
// driver makes no maps.
bool encode_images(CUtensorMap& map, const ImageSource& source, int pixels);

}  // namespace tilegrad::cuda
