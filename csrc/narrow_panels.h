// Direct convolution with few filters and stride 1: panels of pixels that are read where they lie.
//
// Where neighbouring outputs see neighbouring inputs, the inputs that a tap meets at consecutive
// places of a window are a vector of the window, shifted, so nothing needs to be packed. The window
// is wider than the output, and the results between its rows are of no use: that pays where there
// are too few filters to make up for packing. Included once per instruction set.
#pragma once

#include "pixel_panels.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr Int kNarrow = 16;  // the most filters

static bool is_narrow(const Pass& p) {
  return p.out_channels <= kNarrow && p.y.stride == 1 && p.x.stride == 1 && p.taps() > 0;
}

// The height of the tiles: of those that the registers allow, the one that wastes least.
static inline int narrow_rows(Int filters) {
  int best = kTileRows;
  for (int rows : {12, 8, 6, 4})
    if (rows <= kTileRows &&
        (filters + rows - 1) / rows * (rows + 1) < (filters + best - 1) / best * (best + 1))
      best = rows;
  return best;
}

// y_tile = sum over taps t of weight[t] outer window[tap_offset[t] + (0 .. kTileColumns)].
template <int kRowCount, class T>
[[gnu::noinline]] static void multiply_shifted(const T* window, const Int* tap_offset, Int taps,
                                               const T* weight, T* y_tile, Int y_stride) {
  Vec<T> sum[kRowCount][2];
#pragma GCC unroll 16
  for (int i = 0; i < kRowCount; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) sum[i][v] = Vec<T>{};
  for (Int t = 0; t < taps; ++t, weight += kRowCount) {
    const T* pixels = window + tap_offset[t];
    const Vec<T> left = load(pixels), right = load(pixels + kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < kRowCount; ++i) {
      sum[i][0] += weight[i] * left;
      sum[i][1] += weight[i] * right;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRowCount; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(y_tile + i * y_stride + v * kLanes<T>, sum[i][v]);
}

template <class T>
static void multiply_shifted_rows(int rows, const T* window, const Int* tap_offset, Int taps,
                                  const T* weight, T* y_tile, Int y_stride) {
  if constexpr (kTileRows >= 12)
    if (rows == 12) return multiply_shifted<12>(window, tap_offset, taps, weight, y_tile, y_stride);
  if constexpr (kTileRows >= 8)
    if (rows == 8) return multiply_shifted<8>(window, tap_offset, taps, weight, y_tile, y_stride);
  if constexpr (kTileRows >= 6)
    if (rows == 6) return multiply_shifted<6>(window, tap_offset, taps, weight, y_tile, y_stride);
  multiply_shifted<4>(window, tap_offset, taps, weight, y_tile, y_stride);
}

// Outputs of a band whose window fits L2.
static Int window_pixels(const Pass& p) {
  return std::clamp<Int>((1 << 17) / std::max<Int>(p.in_channels, 1), 32, 256);
}

template <class T>
struct NarrowPass {
  Pass p;
  int rows;                 // of a tile
  const T *filters, *bias;  // filters as pack_narrow leaves them
  T* target;
  ConvEpilogue<T> after;

  Int padded_filters() const { return round_up(p.out_channels, rows); }

  void run(const Band& band, Int group) const {
    Window<T> window(p, band);
    const Int row_size = window.x.size, image_size = p.in_channels * window.y.size * row_size;
    const Int length = round_up((band.rows - 1) * row_size + band.columns, kTileColumns<T>);
    const Int elements = padded_filters() * length;
    T* y = static_cast<T*>(
        thread_scratch(static_cast<std::size_t>(elements * Int{sizeof(T)} + window.bytes())));
    window.fill(p, band, group * p.in_channels, y + elements);
    for (Int image = 0; image < band.images; ++image) {
      for (Int k = 0; k < p.out_channels; k += rows)
        for (Int at = 0; at < length; at += kTileColumns<T>)
          multiply_shifted_rows(rows, window.data + image * image_size + at, window.tap_offset,
                                p.taps(), filters + (group * padded_filters() + k) * p.taps(),
                                y + k * length + at, length);
      for (Int k = 0; k < p.out_channels; ++k)
        write(band, band.image + image, group * p.out_channels + k, y + k * length, row_size);
    }
  }

  // Writes one channel of an image's part of a band.
  void write(const Band& band, Int image, Int channel, const T* from, Int row_size) const {
    const T shift = bias ? bias[channel] : T{0};
    const Int plane = image * p.groups * p.out_channels + channel;
    for (Int row = 0; row < band.rows; ++row, from += row_size) {
      const Int y = p.y.out_first + (band.y + row) * p.y.out_step;
      T* to = target + (plane * p.y.size + y) * p.x.size + p.x.out_first + band.x * p.x.out_step;
      if (p.x.out_step == 1)
        for (Int i = 0; i < band.columns; ++i) to[i] = from[i] + shift;
      else
        for (Int i = 0; i < band.columns; ++i) to[i * p.x.out_step] = from[i] + shift;
      if (after) after.apply(channel, to, band.columns);
    }
  }
};

// The filters as (groups, panels, taps, rows); the strides are those of PackFilters.
template <class T>
static void pack_narrow(const Pass& p, int rows, const T* weight, Int across, Int along, Int row,
                        Int group_stride, T* to) {
  for (Int group = 0; group < p.groups; ++group)
    for (Int k = 0; k < p.out_channels; k += rows)
      for (Int c = 0; c < p.in_channels; ++c)
        for (Int y = 0; y < p.y.taps; ++y)
          for (Int x = 0; x < p.x.taps; ++x, to += rows) {
            const T* from = weight + group * group_stride + k * across + c * along +
                            (p.y.tap_first + y * p.y.tap_step) * row + p.x.tap_first +
                            x * p.x.tap_step;
            for (int i = 0; i < rows; ++i) to[i] = k + i < p.out_channels ? from[i * across] : T{0};
          }
}

// y of a pass with few filters; `workspace` takes them packed.
template <class T>
static void narrow_forward(const Pass& p, const T* weight, Int across, Int along, Int row,
                           Int group_stride, const T* bias, const ConvEpilogue<T>& after, T* target,
                           T* workspace) {
  const int rows = narrow_rows(p.out_channels);
  pack_narrow(p, rows, weight, across, along, row, group_stride, workspace);
  const NarrowPass<T> pass{p, rows, workspace, bias, target, after};
  const Bands bands(p, 0, p.batch, window_pixels(p));
  parallel_for(bands.count * p.groups, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task)
      pass.run(bands.at(task % bands.count), task / bands.count);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
