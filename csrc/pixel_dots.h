// The gradient of few or small filters: dot products along the pixels, which need no transposition.
//
// Element (filter, tap) of the gradient is the dot product of an output channel's gradient with the
// inputs which the tap meets. With stride 1 those are rows of the window, shifted; the gradients
// are laid out with as much space between their rows, filled with zeros. Included once per
// instruction set.
#pragma once

#include "narrow_panels.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// A tile of dot products: its sums, one row of gradients each and one of inputs fit the registers.
static constexpr int kDotFilters = kTileRows >= 8 ? 4 : 2;
static constexpr int kDotTaps = kTileRows >= 8 ? 6 : 4;

static bool is_dot(const Pass& p) {
  return p.y.stride == 1 && p.x.stride == 1 && (p.taps() <= 32 || p.out_channels <= 8) &&
         p.taps() * p.out_channels <= 1024;
}

// sums[i][j] += products of the vectors of grad row i with those of the window at tap j.
template <class T>
[[gnu::noinline]] static void add_dots(const T* const* grads, const T* const* inputs, Int length,
                                       T* sums) {
  constexpr int lanes = kLanes<T>;
  Vec<T> sum[kDotFilters][kDotTaps];
#pragma GCC unroll 4
  for (int i = 0; i < kDotFilters; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < kDotTaps; ++j) sum[i][j] = load(sums + (i * kDotTaps + j) * lanes);
  const T *grad[kDotFilters], *input[kDotTaps];
#pragma GCC unroll 4
  for (int i = 0; i < kDotFilters; ++i) grad[i] = grads[i];
#pragma GCC unroll 6
  for (int j = 0; j < kDotTaps; ++j) input[j] = inputs[j];
  for (Int at = 0; at < length; at += lanes) {
    Vec<T> left[kDotFilters];
#pragma GCC unroll 4
    for (int i = 0; i < kDotFilters; ++i) left[i] = load(grad[i] + at);
#pragma GCC unroll 6
    for (int j = 0; j < kDotTaps; ++j) {
      const Vec<T> right = load(input[j] + at);
#pragma GCC unroll 4
      for (int i = 0; i < kDotFilters; ++i) sum[i][j] += left[i] * right;
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kDotFilters; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < kDotTaps; ++j) store(sums + (i * kDotTaps + j) * lanes, sum[i][j]);
}

// The gradient of a group's filters from the images [first, end): weight, (filters, taps).
// False if one is infinite or NaN: then an input beside those that a tap meets may be the cause.
template <class T>
static bool dot_grad_weight(const Pass& p, const T* y, Int group, Int first, Int end, T* weight) {
  constexpr int tile = kDotFilters * kDotTaps * kLanes<T>;
  const Int filters = p.out_channels, taps = p.taps(), plane = p.y.size * p.x.size;
  const Int tiles_down = (filters + kDotFilters - 1) / kDotFilters;
  const Int tiles_across = (taps + kDotTaps - 1) / kDotTaps;
  const Bands bands(p, first, end, 4 * window_pixels(p));
  const Band largest = bands.at(0);
  const Window<T> shape(p, largest);
  const Int row_size = shape.x.size;
  const Int longest = round_up((largest.rows - 1) * row_size + largest.columns, kLanes<T>);
  const Int sums_size = tiles_down * tiles_across * tile;
  auto* sums = static_cast<T*>(thread_scratch(
      static_cast<std::size_t>((sums_size + filters * longest) * Int{sizeof(T)} + shape.bytes())));
  T* grads = sums + sums_size;
  std::fill_n(sums, sums_size, T{0});
  for (Int index = 0; index < bands.count; ++index) {
    const Band band = bands.at(index);
    Window<T> window(p, band);
    window.fill(p, band, group * p.in_channels, grads + filters * longest);
    const Int size = window.x.size,
              length = round_up((band.rows - 1) * size + band.columns, kLanes<T>);
    for (Int image = 0; image < band.images; ++image) {
      const T* from = y + ((band.image + image) * p.groups + group) * filters * plane +
                      band.y * p.x.size + band.x;
      std::fill_n(grads, filters * length, T{0});
      for (Int k = 0; k < filters; ++k)
        for (Int row = 0; row < band.rows; ++row)
          copy_row(from + k * plane + row * p.x.size, 1, band.columns,
                   grads + k * length + row * size);
      T* to = sums;
      for (Int k = 0; k < filters; k += kDotFilters)
        for (Int t = 0; t < taps; t += kDotTaps, to += tile) {
          const T *left[kDotFilters], *right[kDotTaps];  // rows at the edge are repeated
          for (int i = 0; i < kDotFilters; ++i)
            left[i] = grads + std::min(k + i, filters - 1) * length;
          for (int j = 0; j < kDotTaps; ++j)
            right[j] = window.data + image * p.in_channels * window.y.size * size +
                       window.tap_offset[std::min(t + j, taps - 1)];
          add_dots(left, right, length, to);
        }
    }
  }
  T check = 0;
  for (Int k = 0; k < filters; ++k)
    for (Int t = 0; t < taps; ++t) {
      const T* lanes = sums + (k / kDotFilters * tiles_across + t / kDotTaps) * tile +
                       (k % kDotFilters * kDotTaps + t % kDotTaps) * kLanes<T>;
      T total = 0;
      for (int i = 0; i < kLanes<T>; ++i) total += lanes[i];
      weight[k * taps + t] = total;
      check += T{0} * total;
    }
  return check == 0;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
