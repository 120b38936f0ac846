// Convolutions of halves, and gradients of their inputs, by warpgroups (wgmma, sm_90a).
//
// A product as in wgmma_product.cuh: its rows are channels of the result, its columns pixels of all
// images, and its inner dimension channels that are read, tap after tap: a step takes 64 channels
// of one tap. The filters of a tap are a matrix, of which the copy engine brings boxes. Of the
// images, which were copied with channels last (channels_last.cuh), it brings so many neighbouring
// pixels of the result as the tap sees them: it walks along rows, over the border of an image and
// into the next one by itself (its im2col mode), so that no thread computes addresses, and tiles
// are full for any height and width. What lies outside of images or channels is zero.
//
// Two operations per pixel, tap and pair of channels. Bytes: the images are read once and written
// with channels last, 4 an element; a tile then reads 128 bytes of each of its rows and columns per
// step, mostly from the second cache; every result is written once, four pixels at a time where
// rows allow it.
//
//   128 x 128  90 registers, 97 KiB of shared memory: 2 blocks of 9 warps per multiprocessor
//   128 x 256  154 registers, 193 KiB: 1 block, where there is such a tile for every other
//              multiprocessor
//   64 x 256   90 registers, 81 KiB: 2 blocks, up to 64 channels, whose few steps leave the tensor
//              cores to the other block while one begins or ends
//
// A step of 128 x 256 brings 48 KiB in the 1024 cycles that tensor cores take for it, one of 128 x
// 128 32 KiB in 512, one of 64 x 256 40 KiB in 512: 48, 64 and 80 bytes a cycle, where the second
// cache of a H200 gives each multiprocessor about 30 if all ask at once. So about 60, 45 and 35 %
// of the peak are to be expected of large convolutions, and what copying images takes comes on top.
#pragma once

#include "channels_last.cuh"
#include "conv_walk.cuh"
#include "tensor_map.cuh"
#include "wgmma_parts.cuh"

namespace tilegrad::cuda {

inline constexpr int kStepChannels = kSwizzleBytes / 2;

// A Walk as the copy engine takes it, which moves to the right and down only: taps are in the order
// of what they read. The first reads first_read + j * scale, each further one `step` further on.
struct TapWalk {
  std::int64_t count, spread, first;  // of results
  int first_read, scale, step;
  int taps, tap_first, tap_step;
};
static inline TapWalk tap_walk(const Walk& walk) {
  const bool turned = walk.step < 0;
  const std::int64_t last = turned && walk.taps > 0 ? walk.taps - 1 : 0;
  const int sign = turned ? -1 : 1;
  return {walk.count,
          walk.spread,
          walk.first,
          static_cast<int>(walk.base + last * walk.step),
          static_cast<int>(walk.scale),
          static_cast<int>(sign * walk.step),
          static_cast<int>(walk.taps),
          static_cast<int>(walk.tap_first + last * walk.tap_step),
          static_cast<int>(sign * walk.tap_step)};
}

// One launch: all of a convolution, or one class of the pixels of a gradient.
struct TapProduct {
  ConvolutionArguments given;
  TapWalk y, x;
  std::int64_t rows, pixels;  // of the result
  int chunks;                 // steps of one tap
  bool four;                  // pixels may be written four at a time

  __host__ __device__ int steps() const { return y.taps * x.taps * chunks; }
};
struct TapMaps {
  CUtensorMap filters, images;
};

// What a block computes.
struct TapTile {
  std::int64_t row, column;
  int first_step, steps;
  std::int64_t run;
};

#if defined(TILEGRAD_HAS_WARPGROUPS)

// Blocks count tiles of rows fastest: those that run at one time read the same pixels.
template <class Tile>
static __device__ TapTile tap_tile(const TapProduct& p) {
  const Divided row = divide(blockIdx.x, (p.rows + Tile::kRows - 1) / Tile::kRows);
  const Divided column = divide(row.quotient, (p.pixels + Tile::kColumns - 1) / Tile::kColumns);
  const std::int64_t first = column.quotient * p.given.steps.length;
  const std::int64_t left = p.steps() - first;
  return {row.remainder * Tile::kRows, column.remainder * Tile::kColumns, static_cast<int>(first),
          static_cast<int>(max(std::int64_t{0}, min(left, p.given.steps.length))), column.quotient};
}

struct ResultPixel {
  std::int64_t image, y, x;  // counted in the walks
};
static __device__ inline ResultPixel result_pixel(const TapProduct& p, std::int64_t number) {
  const Divided image = divide(number, p.y.count * p.x.count);
  const Divided row = divide(image.remainder, p.x.count);
  return {image.quotient, row.quotient, row.remainder};
}

template <class Tile>
static __device__ void load_taps(char* stages, RingBarriers<Tile::kStages>& barriers,
                                 const TapProduct& p, const TapMaps& maps, const TapTile& tile) {
  const ResultPixel pixel = result_pixel(p, tile.column);
  const int x = p.x.first_read + static_cast<int>(pixel.x) * p.x.scale;
  const int y = p.y.first_read + static_cast<int>(pixel.y) * p.y.scale;
  const int kernel_width = static_cast<int>(p.given.conv.kernel_width);
  int chunk = tile.first_step % p.chunks, tap = tile.first_step / p.chunks;
  int tap_x = tap % max(p.x.taps, 1), tap_y = tap / max(p.x.taps, 1);
  fill_ring<Tile>(stages, barriers, tile.steps, [&](int, char* to, Barrier& full) {
    const int of_filter = (p.y.tap_first + tap_y * p.y.tap_step) * kernel_width + p.x.tap_first +
                          tap_x * p.x.tap_step;
    const int filter_at[4] = {chunk * kStepChannels, static_cast<int>(tile.row), of_filter, 0};
    const int image_at[4] = {chunk * kStepChannels, x, y, static_cast<int>(pixel.image)};
    copy_box(to, maps.filters, filter_at, full);
    copy_pixels(to + Tile::kXBytes, maps.images, image_at, tap_x * p.x.step, tap_y * p.y.step,
                full);
    if (++chunk < p.chunks) return;
    chunk = 0;
    if (++tap_x < p.x.taps) return;
    tap_x = 0;
    ++tap_y;
  });
}

// Writes kTogether neighbouring pixels of each of a warp's 16 channels at a time:
// to[place] = finish(channel, place, sum).
template <class Tile, bool kBackward, int kTogether, class Result, class Finish>
static __device__ void store_part(const TapProduct& p, const TapTile& tile, const WarpPart& part,
                                  const float* sums, Result* to, const Finish& finish) {
  struct alignas(kTogether * sizeof(Result)) Together {
    Result at[kTogether];
  };
  const Conv2d& c = p.given.conv;
  const std::int64_t width = kBackward ? c.in_width : c.out_width;
  const std::int64_t plane = width * (kBackward ? c.in_height : c.out_height);
  const std::int64_t channel = tile.row + part.row;
  const int rows = static_cast<int>(min(p.rows - channel, std::int64_t{kWarpRows}));
#pragma unroll 1
  for (int column = threadIdx.x % kWarp * kTogether; column < Tile::kGroupColumns;
       column += kWarp * kTogether) {
    const std::int64_t number = tile.column + part.column + column;
    if (number >= p.pixels) return;
    const ResultPixel pixel = result_pixel(p, number);
    std::int64_t place = (pixel.image * p.rows + channel) * plane +
                         (p.y.first + pixel.y * p.y.spread) * width + p.x.first +
                         pixel.x * p.x.spread;
    const float* from = sums + column;
#pragma unroll 1
    for (int row = 0; row < rows; ++row, place += plane, from += Tile::kSumStride) {
      Together together;
#pragma unroll
      for (int e = 0; e < kTogether; ++e)
        together.at[e] = finish(channel + row, place + e, from[e]);
      *reinterpret_cast<Together*>(to + place) = together;
    }
  }
}

template <class T, class Tile, bool kBackward, int kTogether>
static __device__ void finish_part(const TapProduct& p, const TapTile& tile, const WarpPart& part,
                                   const float* sums) {
  const Conv2d& c = p.given.conv;
  if (p.given.steps.count > 1) {
    float* to = static_cast<float*>(p.given.sums) + tile.run * p.given.size;
    store_part<Tile, kBackward, kTogether>(
        p, tile, part, sums, to, [](std::int64_t, std::int64_t, float sum) { return sum; });
  } else if constexpr (kBackward) {
    store_part<Tile, kBackward, kTogether>(
        p, tile, part, sums, static_cast<T*>(c.x),
        [](std::int64_t, std::int64_t, float sum) { return static_cast<T>(sum); });
  } else {
    store_part<Tile, kBackward, kTogether>(
        p, tile, part, sums, static_cast<T*>(c.y),
        [&](std::int64_t channel, std::int64_t place, float sum) {
          return followed<T>(c, channel, place, sum);
        });
  }
}

#endif  // TILEGRAD_HAS_WARPGROUPS

template <class T, class Tile, bool kBackward>
static __global__ void __launch_bounds__(kWgmmaThreads, Tile::kBlocks)
    wgmma_conv_kernel(const TapProduct p, const __grid_constant__ TapMaps maps) {
#if defined(TILEGRAD_HAS_WARPGROUPS)
  __shared__ RingBarriers<Tile::kStages> barriers;
  char* stages = swizzle_aligned(dynamic_shared<char>());
  init_ring(barriers);
  const TapTile tile = tap_tile<Tile>(p);
  const int warp = __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kWarp, 0);
  if (warp == kMultiplyingWarps) {
    if (threadIdx.x % kWarp == 0) load_taps<Tile>(stages, barriers, p, maps, tile);
    return;
  }
  float sum[Tile::kSums] = {};
  multiply_ring<T, Tile, true, true>(sum, stages, barriers, warp, tile.steps);
  const WarpPart part = warp_part<Tile>(warp);
  const float* sums = spread_sums<Tile>(sum, stages, barriers, part);
  if (p.four) finish_part<T, Tile, kBackward, 4>(p, tile, part, sums);
  else finish_part<T, Tile, kBackward, 1>(p, tile, part, sums);
#endif
}

// --- launches ---

// Everything but memory: the classes of pixels of the result, and how they are cut.
struct TapPlan {
  static constexpr int kMost = 4;  // classes: strides up to 2
  TapProduct products[kMost] = {};
  int count = 0;
  std::int64_t rows, inner;
  std::int64_t most_steps = 0;

  TapPlan(const Conv2d& c, bool backward)
      : rows(backward ? c.in_channels : c.out_channels),
        inner(backward ? c.out_channels : c.in_channels) {
    const Direction down = vertical(c), across = horizontal(c);
    const std::int64_t kinds_y = backward ? classes_of(down) : 1;
    const std::int64_t kinds_x = backward ? classes_of(across) : 1;
    if (kinds_y * kinds_x > kMost) return;
    for (std::int64_t kind = 0; kind < kinds_y * kinds_x; ++kind) {
      TapProduct& p = products[count++];
      p.given.conv = c;
      p.y = tap_walk(backward ? backward_walk(down, kind / kinds_x) : forward_walk(down));
      p.x = tap_walk(backward ? backward_walk(across, kind % kinds_x) : forward_walk(across));
      p.rows = rows;
      p.pixels = c.batch * p.y.count * p.x.count;
      p.chunks = static_cast<int>((inner + kStepChannels - 1) / kStepChannels);
      most_steps = std::max<std::int64_t>(most_steps, p.steps());
    }
  }

  template <class Tile>
  std::int64_t tiles_of(const TapProduct& p) const {
    return (rows + Tile::kRows - 1) / Tile::kRows *
           ((p.pixels + Tile::kColumns - 1) / Tile::kColumns);
  }
  template <class Tile>
  std::int64_t tiles() const {
    std::int64_t sum = 0;
    for (int i = 0; i < count; ++i) sum += tiles_of<Tile>(products[i]);
    return sum;
  }
  // At least eight steps each.
  template <class Tile>
  Cut cut() const {
    return cut_into_runs(tiles<Tile>(), most_steps, Tile::kBlocks, 8, 1);
  }
};

// Whether the copy engine can shift pixels as far as the last tap.
static inline bool shifts_reach(const TapWalk& x, const TapWalk& y) {
  constexpr std::int64_t kFurthest = 255;
  return std::int64_t{x.taps - 1} * x.step <= kFurthest &&
         std::int64_t{y.taps - 1} * y.step <= kFurthest;
}

// The filters tap by tap, and the images that are read, with their channels last.
template <class T>
struct TapOperands {
  TapOperands(const Conv2d& c, const TapPlan& plan, bool reads_y)
      : rows(plan.rows),
        inner(plan.inner),
        stride(channel_stride(plan.inner)),
        taps(c.kernel_height * c.kernel_width),
        batch(c.batch),
        height(reads_y ? c.out_height : c.in_height),
        width(reads_y ? c.out_width : c.in_width),
        given_images(reads_y ? c.y : c.x),
        filters(static_cast<std::size_t>(taps * rows * stride) * sizeof(T)),
        images(static_cast<std::size_t>(batch * height * width * stride) * sizeof(T)) {}

  // The maps for one product; false if the copy engine cannot read so.
  template <class Tile>
  bool map(const TapProduct& p, TapMaps& maps) const {
    const std::int64_t bytes = stride * static_cast<std::int64_t>(sizeof(T));
    const MapSource filter_source = {filters.data, inner,     rows,
                                     bytes,        {taps, 1}, {rows * bytes, 0}};
    const ImageSource image_source = {images.data,
                                      inner,
                                      stride,
                                      width,
                                      height,
                                      batch,
                                      {p.x.first_read, p.x.count, p.x.scale},
                                      {p.y.first_read, p.y.count, p.y.scale}};
    return shifts_reach(p.x, p.y) &&
           encode_map(maps.filters, filter_source, CU_TENSOR_MAP_DATA_TYPE_UINT16, sizeof(T),
                      Tile::kRows) &&
           encode_images(maps.images, image_source, Tile::kColumns);
  }

  void copy(const Conv2d& c, bool backward) const {
    copy_channels_last<T>(given_images, images.data, batch, inner, height * width);
    for_each_index(
        taps * rows * inner,
        FilterByTap<T>{static_cast<const T*>(c.weight), static_cast<T*>(filters.data), rows, inner,
                       taps, backward ? taps : c.taps(), backward ? c.taps() : taps, stride});
  }

  std::int64_t rows, inner, stride, taps, batch, height, width;
  const void* given_images;
  Scratch filters, images;
};

// In tiles of one size; false if the copy engine cannot read so, and then nothing has happened.
template <class T, class Tile, bool kBackward>
static bool convolve_in_tiles(const Conv2d& c, TapPlan& plan, const Cut& cut) {
  const TapOperands<T> operands(c, plan, kBackward);
  TapMaps maps[TapPlan::kMost];
  for (int i = 0; i < plan.count; ++i)
    if (!operands.template map<Tile>(plan.products[i], maps[i])) return false;
  const std::int64_t plane = kBackward ? c.in_height * c.in_width : c.pixels();
  const std::int64_t size = c.batch * plan.rows * plane;
  const Scratch sums(cut.count == 1 ? 0
                                    : static_cast<std::size_t>(cut.count * size) * sizeof(float));
  const auto address = reinterpret_cast<std::uintptr_t>(kBackward ? c.x : c.y);
  operands.copy(c, kBackward);
  for (int i = 0; i < plan.count; ++i) {
    TapProduct& p = plan.products[i];
    // Classes with fewer taps have shorter runs, and as many.
    p.given.steps = {cut.count, (p.steps() + cut.count - 1) / cut.count};
    p.given.size = size;
    p.given.sums = sums.data;
    p.four = plan.count == 1 && plane % 4 == 0 && address % (4 * sizeof(T)) == 0;
    launch_tiles<Tile>(wgmma_conv_kernel<T, Tile, kBackward>, plan.tiles_of<Tile>(p) * cut.count, p,
                       maps[i]);
  }
  if (cut.count > 1) for_each_index(size, FinishElement<T, kBackward>{plan.products[0].given});
  return true;
}

// Whether the card has warpgroups, this build has code for them, and products with so many rows, so
// long an inner dimension and so many tiles are worth them: with few channels most of a step would
// be zeros, and few tiles do not pay for the copies.
static inline bool worth_warpgroups(std::int64_t rows, std::int64_t inner, std::int64_t tiles) {
#if defined(TILEGRAD_CUDA_SM_90A) || defined(TILEGRAD_EMULATED_CUDA)
  return rows >= 32 && inner >= 32 && tiles >= 64 && compute_capability() == 90;
#else
  (void)rows, (void)inner, (void)tiles;
  return false;
#endif
}

// Whether pixels can be counted in 31 bits, and channels are not in groups.
static inline bool fits_warpgroups(const Conv2d& c) {
  return c.groups == 1 && c.batch * std::max(c.in_height * c.in_width, c.pixels()) <= 0x7fffffff;
}

// The convolution, or the gradient of its input, by warpgroups; false if they do not take it.
template <class T, bool kBackward>
static bool convolve_by_warpgroups(const Conv2d& c) {
  if (!fits_warpgroups(c)) return false;
  TapPlan plan(c, kBackward);
  if (plan.count == 0) return false;
  using Narrow = WgmmaTile<128, 128>;
  using Wide = WgmmaTile<128, 256>;
  using Low = WgmmaTile<64, 256>;
  const auto convolve_in = [&](auto tile) {
    using Tile = decltype(tile);
    const Cut cut = plan.cut<Tile>();
    return worth_warpgroups(plan.rows, plan.inner, plan.tiles<Tile>() * cut.count) &&
           convolve_in_tiles<T, Tile, kBackward>(c, plan, cut);
  };
  if (plan.rows <= 64) return convolve_in(Low{});
  constexpr std::int64_t kEnough = 66;  // half of the multiprocessors: twice as many small tiles
                                        // would bring more bytes and be no faster
  return plan.tiles<Wide>() >= kEnough ? convolve_in(Wide{}) : convolve_in(Narrow{});
}

}  // namespace tilegrad::cuda
