// Copies of halves in the orders that the copy engine reads: images with the channels of a pixel
// next to each other, filters tap by tap.
//
// Images are turned in tiles of 64 channels x 64 pixels by 256 threads, through 8.25 KiB of shared
// memory: read 64 bytes at a time by a warp, written 16 bytes at a time by a thread. 4 bytes are
// moved per element, and nothing is computed. Up to 26 registers: 8 blocks on a multiprocessor.
#pragma once

#include "divide.cuh"
#include "launch.cuh"

namespace tilegrad::cuda {

inline constexpr int kTurned = 64;       // channels and pixels of a tile
inline constexpr int kTurnedAtOnce = 8;  // channels that are written at once

// Elements from one pixel to the next: a multiple of 16 bytes.
static inline std::int64_t channel_stride(std::int64_t channels) {
  return (channels + kTurnedAtOnce - 1) / kTurnedAtOnce * kTurnedAtOnce;
}

// from (images, channels, pixels) to (images, pixels, stride)
template <class T>
static __global__ void __launch_bounds__(kBlock)
    channels_last_kernel(const T* from, T* to, std::int64_t channels, std::int64_t pixels,
                         std::int64_t stride) {
  struct alignas(kTurnedAtOnce * sizeof(T)) Chunk {
    T at[kTurnedAtOnce];
  };
  __shared__ T tile[kTurned][kTurned + 2];
  const Divided place = divide(blockIdx.x, (channels + kTurned - 1) / kTurned);
  const Divided image = divide(place.quotient, (pixels + kTurned - 1) / kTurned);
  const std::int64_t first_channel = place.remainder * kTurned;
  const std::int64_t first_pixel = image.remainder * kTurned;
  const int channels_left = static_cast<int>(min(channels - first_channel, std::int64_t{kTurned}));
  const int pixels_left = static_cast<int>(min(pixels - first_pixel, std::int64_t{kTurned}));
  from += (image.quotient * channels + first_channel) * pixels + first_pixel;
  to += (image.quotient * pixels + first_pixel) * stride + first_channel;

  constexpr int kChannelsAtOnce = kBlock / kTurned;
  const int pixel = threadIdx.x % kTurned;
#pragma unroll
  for (int c = threadIdx.x / kTurned; c < kTurned; c += kChannelsAtOnce)
    tile[c][pixel] = c < channels_left && pixel < pixels_left ? from[c * pixels + pixel] : T{};
  __syncthreads();
  constexpr int kOfPixel = kTurned / kTurnedAtOnce;
  const int c = threadIdx.x % kOfPixel * kTurnedAtOnce;
  if (c >= channels_left) return;
#pragma unroll
  for (int p = threadIdx.x / kOfPixel; p < kTurned; p += kBlock / kOfPixel) {
    Chunk chunk;
#pragma unroll
    for (int e = 0; e < kTurnedAtOnce; ++e) chunk.at[e] = tile[c + e][p];
    if (p < pixels_left) *reinterpret_cast<Chunk*>(to + p * stride + c) = chunk;
  }
}

template <class T>
static void copy_channels_last(const void* from, void* to, std::int64_t images,
                               std::int64_t channels, std::int64_t pixels) {
  const std::int64_t tiles =
      (channels + kTurned - 1) / kTurned * ((pixels + kTurned - 1) / kTurned);
  launch(channels_last_kernel<T>, {blocks_of(images * tiles, 1), kBlock},
         static_cast<const T*>(from), static_cast<T*>(to), channels, pixels,
         channel_stride(channels));
}

// One element of to (taps, rows, stride) from a bank of filters whose rows and inner dimension are
// its outputs and inputs, or the other way round.
template <class T>
struct FilterByTap {
  const T* from;
  T* to;
  std::int64_t rows, inner, taps, row_step, inner_step, stride;

  __device__ void operator()(std::int64_t n) const {
    const Divided element = divide(n, inner), place = divide(element.quotient, rows);
    to[element.quotient * stride + element.remainder] =
        from[place.remainder * row_step + element.remainder * inner_step + place.quotient];
  }
};

}  // namespace tilegrad::cuda
