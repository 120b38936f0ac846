// Gradients of filters, of halves, by warpgroups (wgmma, sm_90a).
//
// A product as in wgmma_conv.cuh, but over pixels: its rows are output channels, its columns the
// channels of x for every tap, in boxes of 64 channels of one tap, and its inner dimension pixels
// of all images. x and y lie with channels last (channels_last.cuh), so in both operands the inner
// dimension is the slow one. Of y the copy engine brings 64 channels of 64 pixels as a box of a
// matrix, of x the 64 pixels that a tap sees from there, as wgmma_conv.cuh says.
//
// There are few tiles and many pixels, so these are cut into runs (runs.cuh); runs are added up in
// their order, and rounded, by one thread for each element, which also puts taps behind channels.
//
// Two operations per pixel, tap and pair of channels. Bytes: both images are read once and written
// with channels last, 4 an element; a tile reads 128 bytes of each of its rows and columns per 64
// pixels, mostly from the second cache; a run writes 4 bytes per row and column, read once.
// Registers, shared memory and blocks are those of wgmma_conv.cuh.
#pragma once

#include "wgmma_conv.cuh"

namespace tilegrad::cuda {

inline constexpr int kBoxChannels = 64;
inline constexpr int kStepPixels = 64;

struct FilterProduct {
  std::int64_t rows, columns, pixels;  // columns: whole boxes
  std::int64_t out_height, out_width;
  TapWalk y, x;
  int chunks;   // boxes of one tap
  Cut runs;     // of pixels
  float* sums;  // (runs, rows, columns)
};
struct FilterMaps {
  CUtensorMap gradients, images;  // of y, and x
};

#if defined(TILEGRAD_HAS_WARPGROUPS)

template <class Tile>
static __device__ void load_pixels(char* stages, RingBarriers<Tile::kStages>& barriers,
                                   const FilterProduct& p, const FilterMaps& maps, int row,
                                   int first_box, std::int64_t first_pixel, int steps) {
  fill_ring<Tile>(stages, barriers, steps, [&](int step, char* to, Barrier& full) {
    const std::int64_t number = first_pixel + std::int64_t{step} * kStepPixels;
#pragma unroll
    for (int part = 0; part < Tile::kRows / kBoxChannels; ++part) {
      const int at[4] = {row + part * kBoxChannels, static_cast<int>(number), 0, 0};
      copy_box(to + part * kBoxBytes, maps.gradients, at, full);
    }
    const Divided image = divide(number, p.out_height * p.out_width);
    const Divided pixel = divide(image.remainder, p.out_width);
    const int y = p.y.first_read + static_cast<int>(pixel.quotient) * p.y.scale;
    const int x = p.x.first_read + static_cast<int>(pixel.remainder) * p.x.scale;
#pragma unroll 1
    for (int part = 0; part < Tile::kColumns / kBoxChannels; ++part) {
      // Boxes behind the last tap are not written, and may be any.
      const int box = min(first_box + part, p.y.taps * p.x.taps * p.chunks - 1);
      const int tap = box / p.chunks;
      const int at[4] = {box % p.chunks * kBoxChannels, x, y, static_cast<int>(image.quotient)};
      copy_pixels(to + Tile::kXBytes + part * kBoxBytes, maps.images, at, tap % p.x.taps * p.x.step,
                  tap / p.x.taps * p.y.step, full);
    }
  });
}

#endif  // TILEGRAD_HAS_WARPGROUPS

template <class T, class Tile>
static __global__ void __launch_bounds__(kWgmmaThreads, Tile::kBlocks)
    wgmma_conv_weight_kernel(const FilterProduct p, const __grid_constant__ FilterMaps maps) {
#if defined(TILEGRAD_HAS_WARPGROUPS)
  __shared__ RingBarriers<Tile::kStages> barriers;
  char* stages = swizzle_aligned(dynamic_shared<char>());
  init_ring(barriers);
  const Divided tile = divide(blockIdx.x, (p.rows + Tile::kRows - 1) / Tile::kRows);
  const Divided run = divide(tile.quotient, (p.columns + Tile::kColumns - 1) / Tile::kColumns);
  const std::int64_t row = tile.remainder * Tile::kRows;
  const std::int64_t column = run.remainder * Tile::kColumns;
  const std::int64_t first = run.quotient * p.runs.length;
  const int steps =
      static_cast<int>((min(p.runs.length, p.pixels - first) + kStepPixels - 1) / kStepPixels);
  const int warp = __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kWarp, 0);
  if (warp == kMultiplyingWarps) {
    if (threadIdx.x % kWarp == 0)
      load_pixels<Tile>(stages, barriers, p, maps, static_cast<int>(row),
                        static_cast<int>(column / kBoxChannels), first, steps);
    return;
  }
  float sum[Tile::kSums] = {};
  multiply_ring<T, Tile, false, false>(sum, stages, barriers, warp, steps);
  const WarpPart part = warp_part<Tile>(warp);
  const float* from = spread_sums<Tile>(sum, stages, barriers, part);
  const std::int64_t to_row = row + part.row, to_column = column + part.column;
  float* to = p.sums + (run.quotient * p.rows + to_row) * p.columns + to_column;
  const int rows = static_cast<int>(min(p.rows - to_row, std::int64_t{kWarpRows}));
  const int columns =
      static_cast<int>(min(p.columns - to_column, std::int64_t{Tile::kGroupColumns}));
#pragma unroll 1
  for (int r = 0; r < rows; ++r, from += Tile::kSumStride, to += p.columns)
    for (int n = threadIdx.x % kWarp * 4; n < columns; n += kWarp * 4)
      *reinterpret_cast<float4*>(to + n) = *reinterpret_cast<const float4*>(from + n);
#endif
}

// Adds up the runs of one element of the filters, in the order of taps and channels.
template <class T>
struct FinishFilter {
  FilterProduct p;
  std::int64_t channels, taps;
  T* weight;  // (rows, channels, taps)

  __device__ void operator()(std::int64_t n) const {
    const Divided element = divide(n, channels), place = divide(element.quotient, taps);
    const float* from = p.sums + place.quotient * p.columns +
                        place.remainder * p.chunks * kBoxChannels + element.remainder;
    const std::int64_t size = p.rows * p.columns;
    float sum = *from;
#pragma unroll 4
    for (std::int64_t run = 1; run < p.runs.count; ++run) sum += from[run * size];
    weight[(place.quotient * channels + element.remainder) * taps + place.remainder] =
        static_cast<T>(sum);
  }
};

// --- launches ---

static inline FilterProduct filter_product(const Conv2d& c) {
  FilterProduct p = {};
  p.y = tap_walk(forward_walk(vertical(c)));
  p.x = tap_walk(forward_walk(horizontal(c)));
  p.chunks = static_cast<int>((c.in_channels + kBoxChannels - 1) / kBoxChannels);
  p.rows = c.out_channels;
  p.columns = c.kernel_height * c.kernel_width * p.chunks * kBoxChannels;
  p.pixels = c.batch * c.pixels();
  p.out_height = c.out_height;
  p.out_width = c.out_width;
  return p;
}

template <class Tile>
static std::int64_t tiles_of(const FilterProduct& p) {
  return (p.rows + Tile::kRows - 1) / Tile::kRows *
         ((p.columns + Tile::kColumns - 1) / Tile::kColumns);
}

// In tiles of one size; false if the copy engine cannot read so, and then nothing has happened.
template <class T, class Tile>
static bool sum_filters_in_tiles(const Conv2d& c, FilterProduct p) {
  constexpr std::int64_t kBytes = sizeof(T);
  const std::int64_t in_stride = channel_stride(c.in_channels);
  const std::int64_t out_stride = channel_stride(c.out_channels);
  const Scratch images(
      static_cast<std::size_t>(c.batch * c.in_height * c.in_width * in_stride * kBytes));
  const Scratch gradients(static_cast<std::size_t>(p.pixels * out_stride * kBytes));
  FilterMaps maps;
  const MapSource gradient_source = {gradients.data,      c.out_channels, p.pixels,
                                     out_stride * kBytes, {1, 1},         {0, 0}};
  const ImageSource image_source = {images.data,
                                    c.in_channels,
                                    in_stride,
                                    c.in_width,
                                    c.in_height,
                                    c.batch,
                                    {p.x.first_read, p.x.count, p.x.scale},
                                    {p.y.first_read, p.y.count, p.y.scale}};
  if (!shifts_reach(p.x, p.y) ||
      !encode_map(maps.gradients, gradient_source, CU_TENSOR_MAP_DATA_TYPE_UINT16, kBytes,
                  kStepPixels) ||
      !encode_images(maps.images, image_source, kStepPixels))
    return false;
  const Scratch sums(static_cast<std::size_t>(p.runs.count * p.rows * p.columns) * sizeof(float));
  p.sums = static_cast<float*>(sums.data);
  copy_channels_last<T>(c.x, images.data, c.batch, c.in_channels, c.in_height * c.in_width);
  copy_channels_last<T>(c.y, gradients.data, c.batch, c.out_channels, c.pixels());
  launch_tiles<Tile>(wgmma_conv_weight_kernel<T, Tile>, tiles_of<Tile>(p) * p.runs.count, p, maps);
  for_each_index(p.rows * c.taps(),
                 FinishFilter<T>{p, c.in_channels, c.kernel_height * c.kernel_width,
                                 static_cast<T*>(c.weight)});
  return true;
}

// The gradient of the filters by warpgroups; false if they do not take it.
template <class T>
static bool sum_filters_by_warpgroups(const Conv2d& c) {
  if (!fits_warpgroups(c)) return false;
  FilterProduct p = filter_product(c);
  const auto sum_in = [&](auto tile) {
    using Tile = decltype(tile);
    p.runs = cut_into_runs(tiles_of<Tile>(p), p.pixels, Tile::kBlocks, 512, kStepPixels);
    return worth_warpgroups(p.rows, c.in_channels, tiles_of<Tile>(p) * p.runs.count) &&
           sum_filters_in_tiles<T, Tile>(c, p);
  };
  return p.rows <= 64 ? sum_in(WgmmaTile<64, 256>{}) : sum_in(WgmmaTile<128, 256>{});
}

}  // namespace tilegrad::cuda
