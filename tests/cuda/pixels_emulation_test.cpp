// The emulated copies of pixels (cp.async.bulk.tensor in its im2col mode): which pixels a tap of a
// filter sees, where they go, and that mistakes show.
#include <string>

#include "hopper.cuh"
#include "kernel_testing.h"
#include "launch.cuh"
#include "tensor_map.cuh"

namespace tilegrad::cuda {
namespace {

struct PixelMap {
  CUtensorMap map;
};
struct PixelsAt {
  int at[4];  // channel, x, y, image
  int across, down;
};

__global__ void copy_some_pixels(const __grid_constant__ PixelMap map, PixelsAt where, int bytes,
                                 unsigned char* to) {
  __shared__ Barrier barrier;
  char* shared = swizzle_aligned(dynamic_shared<char>());
  init_barrier(barrier, 1);
  fence_async_proxy();
  arrive_expecting(barrier, bytes);
  copy_pixels(shared, map.map, where.at, where.across, where.down, barrier);
  wait_for_phase(barrier, 0);
  for (int i = 0; i < bytes; ++i) to[i] = static_cast<unsigned char>(shared[i]);
}

__global__ void copy_a_box(const __grid_constant__ PixelMap map) {
  __shared__ Barrier barrier;
  init_barrier(barrier, 1);
  fence_async_proxy();
  const int at[4] = {0, 0, 0, 0};
  copy_box(swizzle_aligned(dynamic_shared<char>()), map.map, at, barrier);
}

// Three images of 5 x 6 pixels with 70 channels, 72 apart, numbered.
constexpr int kImageHeight = 5, kImageWidth = 6, kImages = 3, kChannels = 70, kPixel = 72;

Array<unsigned short> numbered_images() {
  Array<unsigned short> images(kImages * kImageHeight * kImageWidth * kPixel);
  for (std::int64_t i = 0; i < images.size; ++i) images[i] = static_cast<unsigned short>(i + 1);
  return images;
}
ImageSource source_of(const Array<unsigned short>& images, ImageSource::Walk across,
                      ImageSource::Walk down) {
  return {&images[0], kChannels, kPixel, kImageWidth, kImageHeight, kImages, across, down};
}

// What a filter of 3 x 2 taps, two pixels apart across, with a border of 1 and 2 zeros and by
// steps of 2 across sees: pixel after pixel of the result.
TEST(EmulationOfPixels, PixelsAreThoseThatATapSees) {
  constexpr int kColumns = 3, kRows = 8, kTaken = 24;  // of the result
  const Array<unsigned short> images = numbered_images();
  PixelMap map;
  ASSERT_TRUE(encode_images(map.map, source_of(images, {-1, kColumns, 2}, {-2, kRows, 1}), kTaken));
  for (int first : {0, 5, 23, 50, 71})
    for (int channel : {0, 64})
      for (int tap_y : {0, 1})
        for (int tap_x : {0, 1, 2}) {
          const int image = first / (kRows * kColumns), row = first / kColumns % kRows;
          const PixelsAt where = {
              {channel, first % kColumns * 2 - 1, row - 2, image}, tap_x * 2, tap_y};
          Array<unsigned char> to(kTaken * 128);
          launch(copy_some_pixels, {1, 1, 8 * 1024}, map, where, kTaken * 128, to.data());
          for (int p = 0; p < kTaken; ++p)
            for (int c = 0; c < 64; ++c) {
              const int n = first + p, i = n / (kRows * kColumns);
              const int y = n / kColumns % kRows - 2 + tap_y, x = n % kColumns * 2 - 1 + tap_x * 2;
              const bool inside = i < kImages && y >= 0 && y < kImageHeight && x >= 0 &&
                                  x < kImageWidth && channel + c < kChannels;
              const int at = p * 128 + ((c / 8) ^ p % 8) * 16 + c % 8 * 2;
              const std::int64_t from =
                  ((i * kImageHeight + y) * kImageWidth + x) * kPixel + channel + c;
              ASSERT_EQ(to[at] | to[at + 1] << 8, inside ? images[from] : 0)
                  << "pixel " << n << ", channel " << channel + c << ", tap " << tap_y << ", "
                  << tap_x;
            }
        }
}

TEST(EmulationOfPixels, MistakesWithPixelsAreFound) {
  const Array<unsigned short> images = numbered_images();
  PixelMap map, boxes;
  ASSERT_TRUE(encode_images(map.map, source_of(images, {-1, 3, 2}, {-2, 8, 1}), 8));
  const MapSource source = {&images[0], kChannels, 90, kPixel * 2, {1, 1}, {0, 0}};
  ASSERT_TRUE(encode_map(boxes.map, source, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, 8));
  const struct {
    const PixelMap& map;
    PixelsAt where;
    const char* complaint;
  } cases[] = {{map, {{0, -1, 6, 0}, 0, 0}, "does not pass"},  // below the last row
               {map, {{0, 0, 0, 0}, 0, 0}, "does not pass"},   // between two steps
               {map, {{0, -3, 0, 0}, 0, 0}, "does not pass"},  // before the first
               {map, {{0, -1, 0, 0}, 256, 0}, "shifted by 0 to 255"},
               {map, {{0, -1, 0, 0}, 0, -1}, "shifted by 0 to 255"},
               {boxes, {{0, 0, 0, 0}, 0, 0}, "no map of images"}};
  Array<unsigned char> to(1024);
  for (const auto& c : cases) {
    const std::string found = complaint_of(
        [&] { launch(copy_some_pixels, {1, 1, 4096}, c.map, c.where, 1024, to.data()); });
    EXPECT_NE(found.find(c.complaint), std::string::npos) << found;
  }
  const std::string found = complaint_of([&] { launch(copy_a_box, {1, 1, 4096}, map); });
  EXPECT_NE(found.find("no tensor map of so many dimensions"), std::string::npos) << found;
}

TEST(EmulationOfPixels, WalksThatADriverRefusesAreRefused) {
  const Array<unsigned short> images = numbered_images();
  PixelMap map;
  const auto takes = [&](ImageSource::Walk across, ImageSource::Walk down) {
    return encode_images(map.map, source_of(images, across, down), 64);
  };
  EXPECT_TRUE(takes({-128, 8, 1}, {0, 1, 8}));
  EXPECT_FALSE(takes({-129, 8, 1}, {0, 1, 1}));
  EXPECT_TRUE(takes({0, 133, 1}, {0, 1, 1}));  // 127 behind the row's end
  EXPECT_FALSE(takes({0, 134, 1}, {0, 1, 1}));
  EXPECT_FALSE(takes({0, 1, 1}, {0, 1, 9}));
  EXPECT_FALSE(takes({0, 0, 1}, {0, 1, 1}));
  ImageSource source = source_of(images, {0, 1, 1}, {0, 1, 1});
  source.channel_stride = 70;  // no multiple of 16 bytes
  EXPECT_FALSE(encode_images(map.map, source, 64));
}

}  // namespace
}  // namespace tilegrad::cuda
