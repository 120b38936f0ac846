// Images in either memory order, read and written as pixels with a vector of channels each.
//
// A tensor's images lie channel by channel (rows of one channel side by side) or, channels-last,
// pixel by pixel. Kernels whose lanes are channels see both through `read_pixels` and
// `write_pixels`: a piece of an image that does not lie so already is transposed on its way.
// Included once per instruction set.
#pragma once

#include "transpose.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

using Int = std::int64_t;

// (batch, channels, height, width), or in memory (batch, height, width, channels).
template <class T>
struct Images {
  T* data;
  Int channels, height, width;
  bool channels_last;

  Int plane() const { return height * width; }
  Int image_size() const { return channels * plane(); }
};

// Pixels of kLanes channels each: (row, column) at data[row * row_stride + column * pixel_stride].
template <class T>
struct Pixels {
  T* data;
  Int row_stride, pixel_stride;
  T* at(Int row, Int column) const { return data + row * row_stride + column * pixel_stride; }
};

// Rows [y0, y1) and columns [x0, x1) of an image.
struct Region {
  Int y0, y1, x0, x1;

  Int rows() const { return y1 - y0; }
  Int columns() const { return x1 - x0; }
  bool empty() const { return y1 <= y0 || x1 <= x0; }
};

// Channels are taken in blocks of kLanes. There are at least that many, and the last block ends
// with the last channel, so it may repeat some of the block before.
template <class T>
static inline Int block_start(Int block, Int channels) {
  return std::min<Int>(block * kLanes<T>, channels - kLanes<T>);
}

// to[j * kLanes + i] = from[i * stride + j] for kLanes rows i and j < count.
template <class T>
static inline void gather_lanes(const T* from, Int stride, Int count, T* to) {
  constexpr Int lanes = kLanes<T>;
  if (count < lanes) return transpose(from, stride, lanes, count, to, lanes);
  for (Int j = 0; j < count; j += lanes) {
    const Int first = std::min(j, count - lanes);
    transpose_square(from + first, stride, to + first * lanes, lanes);
  }
}

// The reverse: to[i * stride + j] = from[j * kLanes + i].
template <class T>
static inline void scatter_lanes(const T* from, Int stride, Int count, T* to) {
  constexpr Int lanes = kLanes<T>;
  if (count < lanes) return transpose(from, lanes, count, lanes, to, stride);
  for (Int j = 0; j < count; j += lanes) {
    const Int first = std::min(j, count - lanes);
    transpose_square(from + first * lanes, lanes, to + first, stride);
  }
}

// The pixels of a region, kLanes channels from `channel` on; `buffer` has room for them.
template <class T>
static Pixels<const T> read_pixels(const Images<const T>& x, Int image, Int channel,
                                   const Region& region, T* buffer) {
  constexpr Int lanes = kLanes<T>;
  const T* from = x.data + image * x.image_size();
  const Int first = region.y0 * x.width + region.x0;
  if (x.channels_last)
    return {from + first * x.channels + channel, x.width * x.channels, x.channels};
  from += channel * x.plane() + first;
  const bool whole_rows = region.columns() == x.width;
  const Int runs = whole_rows ? 1 : region.rows();
  const Int length = whole_rows ? region.rows() * x.width : region.columns();
  if (!region.empty())
    for (Int run = 0; run < runs; ++run)
      gather_lanes(from + run * x.width, x.plane(), length, buffer + run * length * lanes);
  return {buffer, region.columns() * lanes, lanes};
}

// Where the pixels of a region are to be written: in place, or in `buffer`, from which
// `write_pixels` takes them.
template <class T>
static Pixels<T> place_pixels(const Images<T>& y, Int image, Int channel, const Region& region,
                              T* buffer) {
  if (!y.channels_last) return {buffer, region.columns() * kLanes<T>, kLanes<T>};
  T* first =
      y.data + image * y.image_size() + (region.y0 * y.width + region.x0) * y.channels + channel;
  return {first, y.width * y.channels, y.channels};
}

template <class T>
static void write_pixels(const Images<T>& y, Int image, Int channel, const Region& region,
                         const T* buffer) {
  if (y.channels_last) return;  // they are there already
  T* to = y.data + image * y.image_size() + channel * y.plane() + region.y0 * y.width + region.x0;
  const bool whole_rows = region.columns() == y.width;
  const Int runs = whole_rows ? 1 : region.rows();
  const Int length = whole_rows ? region.rows() * y.width : region.columns();
  for (Int run = 0; run < runs; ++run)
    scatter_lanes(buffer + run * length * kLanes<T>, y.plane(), length, to + run * y.width);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
