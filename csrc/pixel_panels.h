// Direct convolution: filters times panels of patches, with pixels side by side in the vectors.
//
// Row t of a panel holds what tap t of the filters meets at kTileColumns output pixels. It is
// copied from the window of a band (or from the input itself, where no tap leaves the image), and
// the micro-kernel of gemm.h multiplies it with packed rows of filters. So results come out as
// images lie: channel by channel. Small images are merged until panels are full. Included once per
// instruction set.
#pragma once

#include "host_memory.h"
#include "parallel.h"
#include "patches.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr Int kBandPixels = 256;  // the most outputs of one task
static constexpr Int kBlockTaps = 320;   // rows of the panels that are multiplied at once

// Pixels of a band that lie evenly spaced in the window and side by side in one panel.
struct Stretch {
  Int offset, place, length;
};

// Elements from one panel of that many taps to the next.
template <class T>
static inline Int panel_stride(Int taps) {
  return taps * kTileColumns<T> + kLanes<T>;
}

// Where the `count` pixels of a band, `step` apart in their rows, lie in window and panels.
template <class T>
static Int find_stretches(const Int* pixel_offset, Int count, Int step, Int taps,
                          Stretch* stretches) {
  constexpr Int width = kTileColumns<T>;
  Int n = 0;
  for (Int i = 0; i < count; ++i) {
    if (i % width > 0 && pixel_offset[i] == pixel_offset[i - 1] + step) ++stretches[n - 1].length;
    else stretches[n++] = {pixel_offset[i], i / width * panel_stride<T>(taps) + i % width, 1};
  }
  return n;
}

// Copies the patches of a band to panels: tap t of a panel's pixel i goes to [t * kTileColumns +
// i]. A stretch is copied in whole vectors; what is too much is overwritten by the next one.
template <class T>
static void pack_patches(const Window<T>& window, Int taps, T* panels) {
  constexpr Int width = kTileColumns<T>, lanes = kLanes<T>;
  Stretch stretches[kBandPixels];
  const Int step = window.x.out_step;
  const Stretch* end =
      stretches + find_stretches<T>(window.pixel_offset, window.pixels, step, taps, stretches);
  for (Int t = 0; t < taps; ++t, panels += width) {
    const T* inputs = window.data + window.tap_offset[t];
    for (const Stretch* s = stretches; s < end; ++s) {
      const T* from = inputs + s->offset;
      T* to = panels + s->place;
      if (step == 1)
        for (Int i = 0; i < s->length; i += lanes) store(to + i, load(from + i));
      else if (step == 2)
        for (Int i = 0; i < s->length; i += lanes)
          store(to + i, every_other(load(from + 2 * i), load(from + 2 * i + lanes)));
      else
        for (Int i = 0; i < s->length; ++i) to[i] = from[i * step];
    }
  }
}

// Visits the outputs of a band in stretches that lie evenly spaced in the output array:
// visit(index of the first one in channel 0 of the group, its place in the band, length).
template <class Visit>
static void for_each_run(const Pass& p, const Band& band, Int group, const Visit& visit) {
  const bool whole_rows = band.columns == p.x.size && p.y.out_step == 1;
  const Int runs = whole_rows ? 1 : band.rows, length = band.rows * band.columns / runs;
  Int at = 0;
  for (Int image = band.image; image < band.image + band.images; ++image)
    for (Int run = 0; run < runs; ++run, at += length) {
      const Int y = p.y.out_first + (band.y + run) * p.y.out_step;
      const Int x = p.x.out_first + band.x * p.x.out_step;
      const Int plane = (image * p.groups + group) * p.out_channels * p.y.size;
      visit((plane + y) * p.x.size + x, at, length);
    }
}

template <class T>
struct DirectPass {
  Pass p;
  const T *filters, *bias;  // filters as pack_filters leaves them
  T* target;

  Int kernel() const { return p.y.taps * p.x.taps; }
  Int padded_filters() const { return round_up(p.out_channels, kTileRows); }
  static Int block_channels(const Pass& p) {
    const Int taps = std::max<Int>(p.y.taps * p.x.taps, 1);
    return std::clamp<Int>(kBlockTaps / taps, 1, std::max<Int>(p.in_channels, 1));
  }

  // Whether a band's outputs lie side by side in one image.
  bool in_place(const Band& band) const {
    return p.x.out_step == 1 && band.images == 1 &&
           (band.rows == 1 || (band.columns == p.x.size && p.y.out_step == 1));
  }

  // The filters [first, end), multiples of kTileRows but for the last, of one band.
  void run(const Band& band, Int group, Int first, Int end) const {
    const Int channels = block_channels(p), depth = channels * kernel();
    const Int panels = (band.pixels() + kTileColumns<T> - 1) / kTileColumns<T>;
    const Int row = panels * kTileColumns<T>;
    const bool direct = in_place(band);
    Pass block = p;
    block.in_channels = channels;
    const Int patches = panels * panel_stride<T>(depth);
    const Int sums = direct ? 0 : round_up(end - first, kTileRows) * row;
    const Int bytes = (patches + sums) * Int{sizeof(T)} + Window<T>(block, band).bytes();
    T* packed = static_cast<T*>(thread_scratch(static_cast<std::size_t>(bytes)));
    Int start = 0;
    for_each_run(p, band, group, [&](Int to, Int at, Int) { start = at == 0 ? to : start; });
    T* y = direct ? target + start + first * plane() : packed + patches;
    const Int y_stride = direct ? plane() : row;
    const bool accumulate = initialize(band, group, first, end, y, y_stride, direct);
    for (Int c = 0; c < p.in_channels && kernel() > 0; c += channels) {
      block.in_channels = std::min(channels, p.in_channels - c);
      Window<T> window(block, band);
      window.show(block, band, group * p.in_channels + c, packed + patches + sums);
      pack_patches(window, block.taps(), packed);
      multiply(filters + (group * p.in_channels + c) * kernel() * padded_filters(), first, end,
               block.taps(), packed, band.pixels(), y, y_stride, accumulate || c > 0, direct);
    }
    if (!direct) write(band, group, first, end, y, row);
  }

  Int plane() const { return p.y.size * p.x.size; }

  // Whether the sums start with what stands in y: the bias, or zeros where nothing is added.
  bool initialize(const Band& band, Int group, Int first, Int end, T* y, Int y_stride,
                  bool direct) const {
    const bool shift = bias && direct, empty = p.taps() == 0;
    if (!shift && !empty) return false;
    for (Int k = first; k < end; ++k)
      std::fill_n(y + (k - first) * y_stride, band.pixels(),
                  shift ? bias[group * p.out_channels + k] : T{0});
    return true;
  }

  void multiply(const T* filter, Int first, Int end, Int depth, const T* patches, Int pixels, T* y,
                Int y_stride, bool accumulate, bool exact) const {
    for (Int k = first; k < end; k += kTileRows)
      for (Int j = 0; j < pixels; j += kTileColumns<T>) {
        const Int rows = std::min<Int>(kTileRows, end - k);
        const Int columns = std::min<Int>(kTileColumns<T>, pixels - j);
        T* to = y + (k - first) * y_stride + j;
        const T *left = filter + k * depth,
                *right = patches + j / kTileColumns<T> * panel_stride<T>(depth);
        if (exact)
          multiply_panels(rows, columns, depth, left, right, kTileColumns<T>, to, y_stride,
                          accumulate);
        else if (columns <= kLanes<T>)
          multiply_rows<1>(rows, depth, left, right, kTileColumns<T>, to, y_stride, accumulate);
        else multiply_rows<2>(rows, depth, left, right, kTileColumns<T>, to, y_stride, accumulate);
      }
  }

  // Writes the sums of a band that does not lie in one piece.
  void write(const Band& band, Int group, Int first, Int end, const T* sums, Int row) const {
    for_each_run(p, band, group, [&](Int to, Int at, Int length) {
      for (Int k = first; k < end; ++k) {
        const T shift = bias ? bias[group * p.out_channels + k] : T{0};
        const T* from = sums + (k - first) * row + at;
        T* y = target + to + k * plane();
        if (p.x.out_step == 1)
          for (Int i = 0; i < length; ++i) y[i] = from[i] + shift;
        else
          for (Int i = 0; i < length; ++i) y[i * p.x.out_step] = from[i] + shift;
      }
    });
  }
};

// to[t * kTileRows + i] = from[i * stride + t] for i < valid, 0 for other i, through a square that
// the vectors of the transposition may exceed.
template <class T>
static void pack_rows(const T* from, Int stride, Int valid, Int count, T* to) {
  alignas(64) T square[2 * kTileColumns<T> * kTileRows];
  constexpr Int steps = kLanes<T>;
  for (Int t = 0; t < count; t += steps) {
    const Int some = std::min(steps, count - t);
    pack_transposed<kTileRows>(square, from + t, valid, some, stride);
    std::copy_n(square, some * kTileRows, to + t * kTileRows);
  }
}

// The filters per group and block of channels as panels (taps of the block, kTileRows), padded with
// zeros. In `weight` the output channels of the pass lie `across` elements apart, its input
// channels `along`, and a row of taps is `row` long.
template <class T>
static void pack_filters(const Pass& p, const T* weight, Int across, Int along, Int row,
                         Int group_stride, T* packed) {
  const Int panels = (p.out_channels + kTileRows - 1) / kTileRows, kernel = p.y.taps * p.x.taps;
  const Int channels = DirectPass<T>::block_channels(p);
  const bool whole = p.x.tap_step > 0 && along == kernel;  // the taps of a block lie side by side
  parallel_for(p.groups * panels, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int group = task / panels, first = task % panels * kTileRows;
      const Int valid = std::min<Int>(kTileRows, p.out_channels - first);
      const T* from = weight + group * group_stride + first * across;
      for (Int c = 0; c < p.in_channels; ++c, from += along) {
        const Int block = c / channels * channels;
        const Int depth = std::min(channels, p.in_channels - block) * kernel;
        if (whole) {
          pack_rows(from, across, valid, depth,
                    packed + (group * p.in_channels + block) * kernel * panels * kTileRows +
                        first * depth);
          from += (depth / kernel - 1) * along;
          c += depth / kernel - 1;
          continue;
        }
        T* to = packed + (group * p.in_channels + block) * kernel * panels * kTileRows +
                first * depth + (c - block) * kernel * kTileRows;
        for (Int y = 0; y < p.y.taps; ++y)
          for (Int x = 0; x < p.x.taps; ++x, to += kTileRows) {
            const Int tap =
                (p.y.tap_first + y * p.y.tap_step) * row + p.x.tap_first + x * p.x.tap_step;
            for (int i = 0; i < kTileRows; ++i) to[i] = i < valid ? from[i * across + tap] : T{0};
          }
      }
    }
  });
}

// y of a pass; `workspace` takes the packed filters.
template <class T>
static void direct_forward(const Pass& p, const T* weight, Int across, Int along, Int row,
                           Int group_stride, const T* bias, T* target, T* workspace) {
  pack_filters(p, weight, across, along, row, group_stride, workspace);
  const DirectPass<T> pass{p, workspace, bias, target};
  // Bands of up to 256 outputs, fewer if there would be less than eight.
  const Int pixels = p.batch * p.y.out * p.x.out / 8;
  const Bands bands(p, 0, p.batch, std::clamp<Int>(pixels, 2 * kTileColumns<T>, kBandPixels));
  // With few bands, several tasks share one and each takes some of the filters.
  const Int panels = (p.out_channels + kTileRows - 1) / kTileRows;
  const Int shares = std::clamp<Int>(4 / (bands.count * p.groups), 1, panels);
  parallel_for(bands.count * p.groups * shares, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int share = task % shares, rest = task / shares;
      pass.run(bands.at(rest % bands.count), rest / bands.count,
               panels * share / shares * kTileRows,
               std::min(panels * (share + 1) / shares * kTileRows, p.out_channels));
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
