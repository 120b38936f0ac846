// Convolutions in which every channel has filters of its own, and their gradients.
//
// There is nothing to share between channels, so these are bound by memory. A thread computes
// kStrip results below each other, with 8, 16 or 32 threads side by side, as the width asks for;
// what their windows share comes from the first cache. Reads x about once and writes y once: 2 *
// sizeof(T) bytes and two operations per tap an output. 64 registers and 4 blocks, 32 warps per
// multiprocessor; the gradient of the input from 10.0 on 80 registers and 3 blocks.
//
// The gradient of the weight: a block sums kTaps taps of one filter over a run of pixels, each
// thread every 256th of them; then the runs are added up in order. Reads x and y once per kTaps
// taps. Up to 96 registers, 2 blocks of 256 threads on a multiprocessor.
#include "ops/depthwise.h"

#include "conv.cuh"
#include "launch.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kStrip = 4;            // results of a thread, below each other
constexpr int kTaps = 9;             // of a filter that a block sums
constexpr std::int64_t kRun = 8192;  // pixels: 32 for each thread

// Planes of results and of what is read; a thread's place is `lane` within `lanes` side by side.
struct Strips {
  std::int64_t channels, height, width;  // of the results
  std::int64_t read_height, read_width;
  std::int64_t strips, tiles;  // of a plane, down and across
  std::int64_t count;          // of strips in all planes
  int lanes;
};

Strips strips_of(const Conv2d& c, bool backward) {
  Strips s;
  s.channels = c.groups * (backward ? 1 : c.out_channels);
  s.height = backward ? c.in_height : c.out_height;
  s.width = backward ? c.in_width : c.out_width;
  s.read_height = backward ? c.out_height : c.in_height;
  s.read_width = backward ? c.out_width : c.in_width;
  s.lanes = s.width > 16 ? 32 : s.width > 8 ? 16 : 8;
  s.strips = (s.height + kStrip - 1) / kStrip;
  s.tiles = (s.width + s.lanes - 1) / s.lanes;
  s.count = c.batch * s.channels * s.strips * s.tiles;
  return s;
}

// Where tap `tap` of the filter finds what it reads for a result at `place`: negative if nowhere.
template <bool kBackward, bool kUnitStride>
__device__ int place_read(int place, int tap, int stride, int pad, int dilation) {
  if constexpr (!kBackward) return place * stride - pad + tap * dilation;
  const int at = place + pad - tap * dilation;
  if constexpr (kUnitStride) return at;
  return at % stride == 0 ? at / stride : -1;
}

// Adds one filter's products to the results of a strip. kSize: of a square filter, or 0.
template <bool kBackward, bool kUnitStride, int kSize, class T>
__device__ void add_filter(const Conv2d& c, const Strips& s, const T* weight, const T* from,
                           int row, int column, T (&sum)[kStrip]) {
  const int height = kSize ? kSize : static_cast<int>(c.kernel_height);
  const int width = kSize ? kSize : static_cast<int>(c.kernel_width);
#pragma unroll(kSize == 3 ? 3 : 1)
  for (int r = 0; r < height; ++r)
#pragma unroll(kSize ? kSize : 1)
    for (int t = 0; t < width; ++t) {
      const T factor = weight[r * width + t];
      const int x = place_read<kBackward, kUnitStride>(column, t, static_cast<int>(c.stride_x),
                                                       static_cast<int>(c.pad_x),
                                                       static_cast<int>(c.dilation_x));
      if (x < 0 || x >= s.read_width) continue;
#pragma unroll
      for (int i = 0; i < kStrip; ++i) {
        const int y = place_read<kBackward, kUnitStride>(row + i, r, static_cast<int>(c.stride_y),
                                                         static_cast<int>(c.pad_y),
                                                         static_cast<int>(c.dilation_y));
        if (y >= 0 && y < s.read_height)
          sum[i] += factor * from[static_cast<std::int64_t>(y) * s.read_width + x];
      }
    }
}

// In code for 10.0 and later 64 registers are too few for the gradient of the input.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kBackwardBlocks = 3;
#else
constexpr int kBackwardBlocks = 4;
#endif

template <bool kBackward, bool kUnitStride, int kSize, class T>
__global__ void __launch_bounds__(kBlock, kBackward ? kBackwardBlocks : 4)
    strips_kernel(const Conv2d c, const Strips s) {
  const int lane = threadIdx.x % s.lanes;
  std::int64_t tile, strip, channel;
  std::int64_t rest =
      static_cast<std::int64_t>(blockIdx.x) * (kBlock / s.lanes) + threadIdx.x / s.lanes;
  if (rest >= s.count) return;
  rest = divide(rest, s.tiles, tile);
  rest = divide(rest, s.strips, strip);
  const std::int64_t image = divide(rest, s.channels, channel);
  const std::int64_t column = tile * s.lanes + lane;
  if (column >= s.width) return;
  const std::int64_t group = kBackward ? channel : channel / c.out_channels;
  const std::int64_t plane = s.read_height * s.read_width;
  T sum[kStrip] = {};
  const int row = static_cast<int>(strip) * kStrip;
  if constexpr (kBackward) {
    for (std::int64_t f = 0; f < c.out_channels; ++f) {
      const std::int64_t filter = group * c.out_channels + f;
      add_filter<kBackward, kUnitStride, kSize>(
          c, s, static_cast<const T*>(c.weight) + filter * c.taps(),
          static_cast<const T*>(c.y) + (image * c.groups * c.out_channels + filter) * plane, row,
          static_cast<int>(column), sum);
    }
  } else {
    add_filter<kBackward, kUnitStride, kSize>(
        c, s, static_cast<const T*>(c.weight) + channel * c.taps(),
        static_cast<const T*>(c.x) + (image * c.groups + group) * plane, row,
        static_cast<int>(column), sum);
  }
  T* to = static_cast<T*>(kBackward ? c.x : c.y);
  std::int64_t at = ((image * s.channels + channel) * s.height + row) * s.width + column;
#pragma unroll
  for (int i = 0; i < kStrip; ++i, at += s.width)
    if (row + i < s.height) to[at] = kBackward ? sum[i] : followed<T>(c, channel, at, sum[i]);
}

// sums (runs, filters, taps): for block (run, filter, group of kTaps taps).
template <class T>
__global__ void __launch_bounds__(kBlock)
    weight_kernel(const Conv2d c, std::int64_t runs, T* sums) {
  const std::int64_t filters = c.groups * c.out_channels, taps = c.taps();
  std::int64_t part, run;
  std::int64_t filter = divide(blockIdx.x, (taps + kTaps - 1) / kTaps, part);
  filter = divide(filter, runs, run);
  const int first = static_cast<int>(part) * kTaps;
  const std::int64_t group = filter / c.out_channels, plane = c.in_height * c.in_width;
  const std::int64_t end = min((run + 1) * kRun, c.batch * c.pixels());
  T sum[kTaps] = {};
#pragma unroll 1
  for (std::int64_t i = run * kRun + threadIdx.x; i < end; i += kBlock) {
    std::int64_t pixel, column;
    const std::int64_t image = divide(i, c.pixels(), pixel);
    const std::int64_t row = divide(pixel, c.out_width, column);
    const T slope = static_cast<const T*>(c.y)[(image * filters + filter) * c.pixels() + pixel];
    const T* x = static_cast<const T*>(c.x) + (image * c.groups + group) * plane;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      const int tap = first + t, width = static_cast<int>(c.kernel_width);
      const std::int64_t from_y = row * c.stride_y - c.pad_y + tap / width * c.dilation_y;
      const std::int64_t from_x = column * c.stride_x - c.pad_x + tap % width * c.dilation_x;
      if (tap < taps && from_y >= 0 && from_y < c.in_height && from_x >= 0 && from_x < c.in_width)
        sum[t] += slope * x[from_y * c.in_width + from_x];
    }
  }
#pragma unroll
  for (int t = 0; t < kTaps; ++t) {
    const T total = group_sum<kBlock>(sum[t]);
    if (threadIdx.x == 0 && first + t < taps)
      sums[(run * filters + filter) * taps + first + t] = total;
  }
}

template <bool kBackward, int kSize, class T>
void launch_strips(const Conv2d& c, const Strips& s) {
  const Shape shape = {blocks_of(s.count, kBlock / s.lanes), kBlock};
  if (c.stride_y == 1 && c.stride_x == 1)
    launch(strips_kernel<kBackward, true, kSize, T>, shape, c, s);
  else launch(strips_kernel<kBackward, false, kSize, T>, shape, c, s);
}

template <bool kBackward, class T>
void convolve_strips(const Conv2d& c) {
  const Strips s = strips_of(c, kBackward);
  TILEGRAD_CHECK(std::max(c.in_height, c.out_height) < 1 << 28, runtime, "depthwise: images of ",
                 c.in_height, " rows are too large for CUDA");
  const auto is_square = [&](int size) {
    return c.kernel_height == size && c.kernel_width == size;
  };
  if (is_square(3)) launch_strips<kBackward, 3, T>(c, s);
  else if (is_square(5)) launch_strips<kBackward, 5, T>(c, s);
  else launch_strips<kBackward, 0, T>(c, s);
}

template <class T>
void weight_gradient(const Conv2d& c) {
  const std::int64_t runs = (c.batch * c.pixels() + kRun - 1) / kRun;
  const std::int64_t filters = c.groups * c.out_channels, size = filters * c.taps();
  const Scratch sums(runs == 1 ? 0 : static_cast<std::size_t>(runs * size) * sizeof(T));
  T* to = static_cast<T*>(runs == 1 ? c.weight : sums.data);
  launch(weight_kernel<T>,
         {blocks_of(filters * runs * ((c.taps() + kTaps - 1) / kTaps), 1), kBlock}, c, runs, to);
  if (runs > 1) add_runs(to, static_cast<T*>(c.weight), size, runs);
  if (c.bias_gradient) sum_channels<T>(c);
}

}  // namespace

void depthwise(const Conv2d& args) {
  visit_floating(args.dtype,
                 [&](auto type) { convolve_strips<false, typename decltype(type)::type>(args); });
}

void depthwise_grad_input(const Conv2d& args) {
  visit_floating(args.dtype,
                 [&](auto type) { convolve_strips<true, typename decltype(type)::type>(args); });
}

void depthwise_grad_weight(const Conv2d& args) {
  visit_floating(args.dtype,
                 [&](auto type) { weight_gradient<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
