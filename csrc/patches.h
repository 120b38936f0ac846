// The geometry of a convolution, and the windows that its patches are read from.
//
// A task computes a band: a rectangle of the output in one or several images. It copies the inputs
// which the band sees into a window, padded with zeros. There the input that output pixel p and tap
// t meet lies at pixel_offset[p] + tap_offset[t]. Included once per instruction set.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "gemm.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

using Int = std::int64_t;

// Offsets come in multiples of this: the rows of the tile that conv2d's micro-kernel computes. The
// address of every row occupies a register, hence the limit.
static constexpr int kRows = std::min(kTileRows, 8);

// a0 a2 a4 ... b0 b2 b4 ...
template <class V, int... kLane>
static inline V every_other(V a, V b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane)...);
}
template <class V>
static inline V every_other(V a, V b) {
  return every_other(a, b, std::make_integer_sequence<int, sizeof(V) / sizeof(a[0])>{});
}

// Two vectors of half the size side by side.
template <class T, int... kLane>
static inline Vec<T> load_halves(const T* first, const T* second,
                                 std::integer_sequence<int, kLane...>) {
  typedef T Half __attribute__((vector_size(TILEGRAD_VECTOR_BYTES / 2)));
  Half a, b;
  std::memcpy(&a, first, sizeof(a));
  std::memcpy(&b, second, sizeof(b));
  return __builtin_shufflevector(a, b, kLane...);
}
template <class T>
static inline Vec<T> load_halves(const T* first, const T* second) {
  return load_halves(first, second, std::make_integer_sequence<int, kLanes<T>>{});
}

// One direction of a convolution: output o and tap t meet at input o * stride + t * dilation - pad.
struct Axis {
  Int in, out, taps, stride, dilation, pad;
  Int size;                         // of the array that output o is a part of:
  Int out_first = 0, out_step = 1;  // it has the index out_first + o * out_step there
  Int tap_first = 0, tap_step = 1;  // and tap t is column tap_first + t * tap_step of the filter

  Int end() const { return (out - 1) * stride + (taps - 1) * dilation + 1 - pad; }  // of the inputs
};

// A convolution of `source`, (batch, groups * in_channels, y.in, x.in). Its output belongs into an
// array (batch, groups * out_channels, y.size, x.size).
struct Pass {
  Int batch, groups, in_channels, out_channels;
  Axis y, x;
  const void* source;
  Int source_channels;  // of all groups

  Int taps() const { return in_channels * y.taps * x.taps; }
};

// Outputs that one task computes.
struct Band {
  Int image, images, y, rows, x, columns;

  Int pixels() const { return images * rows * columns; }
};

// Cuts the outputs of the images [first, last) into bands: large enough to make use of the packed
// filters, small enough for windows in L2 and work for many threads. Depends on sizes only.
struct Bands {
  Int first, last, height, width;
  Int images, rows, columns;  // of a full band
  Int stacks, across, count;

  Bands(const Pass& p, Int first_image, Int last_image, Int pixels)
      : first(first_image), last(last_image), height(p.y.out), width(p.x.out) {
    across = (width + pixels - 1) / pixels;
    columns = (width + across - 1) / across;
    stacks = (height + std::max<Int>(pixels / columns, 1) - 1) / std::max<Int>(pixels / columns, 1);
    rows = (height + stacks - 1) / stacks;
    images = rows == height && columns == width
                 ? std::clamp<Int>(pixels / (rows * columns), 1, std::max<Int>(last - first, 1))
                 : 1;
    count = (last - first + images - 1) / images * stacks * across;
  }

  Band at(Int index) const {
    const Int x = index % across * columns, y = index / across % stacks * rows;
    const Int image = first + index / across / stacks * images;
    return {image, std::min(images, last - image), y, std::min(rows, height - y),
            x,     std::min(columns, width - x)};
  }
};

// The inputs that `count` outputs from `first` on see along one axis, laid out so that output o and
// tap t meet at o * out_step + t * tap_step. Either a piece of the axis as it is or, where outputs
// skip or taps are far apart, one piece of `count` inputs for each tap.
struct Span {
  Int size, out_step, tap_step;
  Int origin, period, inner, outer;  // at w: input origin + w % period * inner + w / period * outer

  Span(const Axis& a, Int first, Int count) : origin(first * a.stride - a.pad) {
    const Int dense = (count - 1) * a.stride + (a.taps - 1) * a.dilation + 1;
    const bool is_dense = a.taps > 0 && dense <= count * a.taps;
    size = is_dense ? dense : count * a.taps;
    out_step = is_dense ? a.stride : 1;
    tap_step = is_dense ? a.dilation : count;
    period = is_dense ? size : count;
    inner = is_dense ? 1 : a.stride;
    outer = is_dense ? 0 : a.dilation;
  }
};

// Copies the first and the last kChunk of `count` elements if these are all; says whether.
template <Int kChunk, class T>
static inline bool copy_two(const T* from, Int count, T* to) {
  if (count < kChunk || count > 2 * kChunk) return false;
  std::memcpy(to, from, kChunk * sizeof(T));
  std::memcpy(to + count - kChunk, from + count - kChunk, kChunk * sizeof(T));
  return true;
}

// Copies `count` elements, from[i * step]; the rows of small images are short.
template <class T>
static inline void copy_row(const T* from, Int step, Int count, T* to) {
  constexpr Int lanes = kLanes<T>;
  if (step != 1) {
    for (Int i = 0; i < count; ++i) to[i] = from[i * step];
  } else if (count >= lanes) {  // the last vector may overlap the one before
    for (Int i = 0; i < count - lanes; i += lanes) store(to + i, load(from + i));
    store(to + count - lanes, load(from + count - lanes));
  } else if (!copy_two<lanes / 2>(from, count, to) && !copy_two<lanes / 4>(from, count, to)) {
    for (Int i = 0; i < count; ++i) to[i] = from[i];
  }
}

// The window (images, channels, y.size, x.size) of one band, and the offsets into it.
template <class T>
struct Window {
  Span y, x;
  Int pixels, taps, size;  // some zeros behind the end are included: whole vectors may be read
  bool copies = false;
  Int *pixel_offset = nullptr, *tap_offset = nullptr;  // padded with zeros to a multiple of kRows
  T* data = nullptr;

  Window(const Pass& p, const Band& band)
      : y(p.y, band.y, band.rows),
        x(p.x, band.x, band.columns),
        pixels(band.pixels()),
        taps(p.taps()),
        size(band.images * p.in_channels * y.size * x.size + kTileColumns<T>) {}

  Int offsets() const { return round_up(pixels, kRows) + round_up(taps, kRows); }
  Int bytes() const { return offsets() * Int{sizeof(Int)} + size * Int{sizeof(T)}; }
  T* copied() const { return reinterpret_cast<T*>(pixel_offset + offsets()); }

  // Whether it stands at the same place of its images as one before: that one's offsets are its
  // own, and so are the zeros around the inputs.
  bool repeats(const Window* before) const {
    return before && before->copies == copies && before->y.origin == y.origin &&
           before->x.origin == x.origin && before->pixels == pixels && before->taps == taps &&
           before->size == size;
  }

  // Shows the inputs where they are if no tap leaves the images and whole vectors may be read
  // behind each, else in a copy. `before`: the window that this one replaces in memory, if any.
  void show(const Pass& p, const Band& band, Int channel, void* memory,
            const Window* before = nullptr) {
    const Int plane = p.y.in * p.x.in, image_size = p.source_channels * plane;
    const bool inside = p.y.pad <= 0 && p.y.end() <= p.y.in && p.x.pad <= 0 && p.x.end() <= p.x.in;
    const Int end_row =
        (band.y + band.rows - 1) * p.y.stride + (p.y.taps - 1) * p.y.dilation + 1 - p.y.pad;
    const Int end_plane =
        (band.image + band.images - 1) * p.source_channels + channel + p.in_channels;
    const Int behind =
        (p.batch * p.source_channels - end_plane) * plane + (p.y.in - end_row) * p.x.in;
    if (!inside || behind < 2 * kTileColumns<T> * p.x.stride)
      return fill(p, band, channel, memory, before);
    pixel_offset = static_cast<Int*>(memory);
    tap_offset = pixel_offset + round_up(pixels, kRows);
    data = static_cast<T*>(const_cast<void*>(p.source)) + band.image * image_size +
           channel * plane + (band.y * p.y.stride - p.y.pad) * p.x.in + band.x * p.x.stride -
           p.x.pad;
    x.out_step = p.x.stride;
    if (repeats(before)) return;
    fill_offsets(p, band, image_size, plane, p.x.in, {p.y.stride, p.y.dilation},
                 {p.x.stride, p.x.dilation});
  }

  void fill(const Pass& p, const Band& band, Int channel, void* memory,
            const Window* before = nullptr) {
    copies = true;
    pixel_offset = static_cast<Int*>(memory);
    tap_offset = pixel_offset + round_up(pixels, kRows);
    data = copied();
    if (!repeats(before)) {
      fill_offsets(p, band, p.in_channels * y.size * x.size, y.size * x.size, x.size,
                   {y.out_step, y.tap_step}, {x.out_step, x.tap_step});
      std::fill_n(data, size, T{0});
    }
    for (Int w = 0; w < x.size; w += x.period) {  // the rows have gaps, if any, at the same places
      const Int start = x.origin + w / x.period * x.outer;
      const Int first = start < 0 ? (-start + x.inner - 1) / x.inner : 0;
      const Int last = std::min(x.period, (p.x.in - start + x.inner - 1) / x.inner);
      if (first < last)
        fill_columns(p, band, channel, start + first * x.inner, last - first, data + w + first);
    }
  }

  // Fills `count` columns of the window, the first of which is column `in_x` of the images.
  void fill_columns(const Pass& p, const Band& band, Int first, Int in_x, Int count, T* to) {
    const Int plane = p.y.in * p.x.in;
    for (Int image = band.image; image < band.image + band.images; ++image) {
      const T* from =
          static_cast<const T*>(p.source) + in_x + (image * p.source_channels + first) * plane;
      for (Int channel = 0; channel < p.in_channels; ++channel, from += plane)
        for (Int w = 0, start = y.origin; w < y.size; w += y.period, start += y.outer)
          for (Int i = 0, in_y = start; i < y.period; ++i, in_y += y.inner, to += x.size)
            if (in_y >= 0 && in_y < p.y.in) copy_row(from + in_y * p.x.in, x.inner, count, to);
    }
  }

  // How far apart neighbouring outputs and neighbouring taps lie along one direction.
  struct Steps {
    Int out, tap;
  };

  void fill_offsets(const Pass& p, const Band& band, Int image_size, Int plane, Int row_size,
                    Steps down, Steps across) {
    std::fill_n(pixel_offset, offsets(), Int{0});
    Int* to = pixel_offset;
    for (Int image = 0; image < band.images; ++image)
      for (Int row = 0; row < band.rows; ++row)
        for (Int column = 0; column < band.columns; ++column)
          *to++ = image * image_size + row * down.out * row_size + column * across.out;
    to = tap_offset;
    for (Int channel = 0; channel < p.in_channels; ++channel)
      for (Int row = 0; row < p.y.taps; ++row)
        for (Int column = 0; column < p.x.taps; ++column)
          *to++ = channel * plane + row * down.tap * row_size + column * across.tap;
  }
};

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
