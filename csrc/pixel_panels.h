// Direct convolution: filters times panels of patches, with pixels side by side in the vectors.
//
// Row t of a panel holds what tap t of the filters meets at kTileColumns output pixels. It is
// copied from the window of a band (or from the input itself, where no tap leaves the image), and
// the micro-kernel of gemm.h multiplies it with packed rows of filters. So results come out as
// images lie: channel by channel. Small images are merged until panels are full. Included once per
// instruction set.
#pragma once

#include "conv_epilogue.h"
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

// Where the `count` pixels of a panel, `step` apart in their rows, lie in window and panel.
static Int find_stretches(const Int* pixel_offset, Int count, Int step, Stretch* stretches) {
  Int n = 0;
  for (Int i = 0; i < count; ++i) {
    if (i > 0 && pixel_offset[i] == pixel_offset[i - 1] + step) ++stretches[n - 1].length;
    else stretches[n++] = {pixel_offset[i], i, 1};
  }
  return n;
}

// The taps that lie side by side in the window, as many as a vector has lanes, for pixels that lie
// far apart: squares of both are transposed. Returns the number of taps it took, whole vectors.
template <class T>
static Int pack_spread_taps(const T* inputs, const Int* tap_offset, Int taps, Int step,
                            const Stretch& stretch, T* panel) {
  constexpr Int lanes = kLanes<T>, size = kPieceRows<T>;
  if (stretch.length < size || taps < lanes || tap_offset[lanes - 1] - tap_offset[0] != lanes - 1)
    return 0;
  for (Int i = 0; i < stretch.length; i += size) {
    const Int first = std::min(i, stretch.length - size);
    transpose_pieces(inputs + tap_offset[0] + stretch.offset + first * step, step,
                     panel + stretch.place + first, kTileColumns<T>, size);
  }
  return lanes;
}

// pack_patches for pixels that lie more than two apart.
template <class T>
static void pack_spread_patches(const Window<T>& window, Int taps, const Stretch* begin,
                                const Stretch* end, T* panel) {
  constexpr Int width = kTileColumns<T>;
  const Int step = window.x.out_step;
  for (const Stretch* s = begin; s < end; ++s)
    for (Int t = 0; t < taps;) {
      const Int* offset = window.tap_offset + t;
      if (const Int done =
              pack_spread_taps(window.data, offset, taps - t, step, *s, panel + t * width)) {
        t += done;
        continue;
      }
      const T* from = window.data + offset[0] + s->offset;
      for (Int i = 0; i < s->length; ++i) panel[t * width + s->place + i] = from[i * step];
      ++t;
    }
}

// Copies the patches of `pixels` pixels from `first` on to a panel: tap t of the panel's pixel i
// goes to [t * kTileColumns + i]. A stretch is copied in whole vectors; what is too much is
// overwritten by the next one.
template <class T>
static void pack_patches(const Window<T>& window, Int taps, Int first, Int pixels, T* panel) {
  constexpr Int width = kTileColumns<T>, lanes = kLanes<T>;
  // What was left there may be numbers below the normal ones, which cost some processors more than
  // a hundred cycles each.
  if (pixels < width) std::fill_n(panel, taps * width, T{0});
  Stretch stretches[kTileColumns<T>];
  const Int step = window.x.out_step;
  const Stretch* end =
      stretches + find_stretches(window.pixel_offset + first, pixels, step, stretches);
  if (step > 2) return pack_spread_patches(window, taps, stretches, end, panel);
  for (Int t = 0; t < taps; ++t, panel += width) {
    const T* inputs = window.data + window.tap_offset[t];
    for (const Stretch* s = stretches; s < end; ++s) {
      const T* from = inputs + s->offset;
      T* to = panel + s->place;
      if (step == 1)
        for (Int i = 0; i < s->length; i += lanes) store(to + i, load(from + i));
      else
        for (Int i = 0; i < s->length; i += lanes)
          store(to + i, every_other(load(from + 2 * i), load(from + 2 * i + lanes)));
    }
  }
}

// How the pixels of a panel lie: packed, or in the window, in whole vectors, in halves of vectors
// as the rows of small images are, or in halves of which every other element belongs to it.
enum class Lying : std::uint8_t { packed, vectors, halves, every_other };
static constexpr bool kHasHalves = TILEGRAD_VECTOR_BYTES > 16;

// Whether the pixels of a full panel lie so that they can be multiplied where they are; else
// packed.
template <class T>
static Lying pixels_in_window(const Window<T>& window, Int first) {
  constexpr Int width = kTileColumns<T>, lanes = kLanes<T>, half = lanes / 2;
  const Int step = window.x.out_step;
  if (window.pixels - first < width || step > 2) return Lying::packed;
  const Int* offset = window.pixel_offset + first;
  const auto lie_evenly = [&](Int count) {
    bool even = true;
    for (Int i = 0; i < width; i += count)
      even &= offset[i + count - 1] == offset[i] + (count - 1) * step;
    return even;
  };
  if (step == 1 && lie_evenly(lanes)) return Lying::vectors;
  if (!lie_evenly(half) || (step == 1 && !kHasHalves)) return Lying::packed;
  return step == 1 ? Lying::halves : Lying::every_other;
}

// A panel of pixels and how to get it: packed already, or from the window, whereby it is packed.
template <class T>
struct Panel {
  static constexpr Int kHalf = kLanes<T> / 2;
  T* packed;
  const T* half[4] = {};  // where each half of its two vectors begins
  const Int* tap_offset = nullptr;

  Panel(T* to, const Window<T>& window, Int first) : packed(to), tap_offset(window.tap_offset) {
    for (Int i = 0; i < 4; ++i)
      half[i] = window.data + window.pixel_offset[std::min(first + i * kHalf, window.pixels - 1)];
  }
};

// y_tile = start + filters times panel, or += without `start` where there are sums already. A panel
// is packed by its first tile: that costs loads and stores while multiplications are what takes
// time.
template <int kRowCount, Lying kLying, class T>
[[gnu::noinline]] static void multiply_pixels(Int taps, const T* filters, const Panel<T>& panel,
                                              const T* start, T* y_tile, Int y_stride,
                                              bool accumulate) {
  constexpr int lanes = kLanes<T>;
  constexpr Int ahead = 32;  // taps: each may lie in a plane, and a page, of its own
  const auto pixels = [](const T* first, const T* second) {
    if constexpr (kLying == Lying::every_other) return every_other(load(first), load(second));
    else if constexpr (kLying == Lying::halves) return load_halves(first, second);
    else return load(first);
  };
  Vec<T> sum[kRowCount][2];
#pragma GCC unroll 16
  for (int i = 0; i < kRowCount; ++i) {
    __builtin_prefetch(y_tile + i * y_stride, 1);
    __builtin_prefetch(y_tile + i * y_stride + lanes, 1);
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) sum[i][v] = Vec<T>{} + (start ? start[i] : T{0});
  }
  T* packed = panel.packed;
  const T* half[4] = {panel.half[0], panel.half[1], panel.half[2], panel.half[3]};
  for (Int t = 0; t < taps; ++t, filters += kTileRows, packed += 2 * lanes) {
    Vec<T> left, right;
    if constexpr (kLying == Lying::packed) {
      left = load(packed), right = load(packed + lanes);
    } else {
      const Int next = panel.tap_offset[std::min(t + ahead, taps - 1)];
      __builtin_prefetch(half[0] + next);
      __builtin_prefetch(half[2] + next);
      __builtin_prefetch(half[2] + next + lanes);
      const Int offset = panel.tap_offset[t];
      left = pixels(half[0] + offset, half[1] + offset);
      right = pixels(half[2] + offset, half[3] + offset);
      store(packed, left);
      store(packed + lanes, right);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRowCount; ++i) {
      sum[i][0] += filters[i] * left;
      sum[i][1] += filters[i] * right;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRowCount; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      T* y = y_tile + i * y_stride + v * lanes;
      store(y, accumulate ? load(y) + sum[i][v] : sum[i][v]);
    }
}

// The first tile of a panel that lies in the window; false if it has to be packed.
template <class T>
static bool multiply_window_pixels(Lying where, Int taps, const T* filters, const Panel<T>& panel,
                                   const T* start, T* y_tile, Int y_stride, bool accumulate) {
  if (where == Lying::packed) return false;
  constexpr Lying halves = kHasHalves ? Lying::halves : Lying::vectors;
  const auto multiply = where == Lying::vectors ? multiply_pixels<kTileRows, Lying::vectors, T>
                        : where == Lying::halves
                            ? multiply_pixels<kTileRows, halves, T>
                            : multiply_pixels<kTileRows, Lying::every_other, T>;
  multiply(taps, filters, panel, start, y_tile, y_stride, accumulate);
  return true;
}

// For the numbers of rows that tiles have, and a panel that is packed; false for others.
template <class T>
static bool multiply_packed_pixels(Int rows, Int taps, const T* filters, const Panel<T>& panel,
                                   const T* start, T* y_tile, Int y_stride, bool accumulate) {
  if (rows == kTileRows)
    multiply_pixels<kTileRows, Lying::packed>(taps, filters, panel, start, y_tile, y_stride,
                                              accumulate);
  else if (kTileRows > 8 && rows == 8)
    multiply_pixels<8, Lying::packed>(taps, filters, panel, start, y_tile, y_stride, accumulate);
  else if (kTileRows > 4 && rows == 4)
    multiply_pixels<4, Lying::packed>(taps, filters, panel, start, y_tile, y_stride, accumulate);
  else return false;
  return true;
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
  const T *filters, *bias;  // filters as PackFilters leaves them, or (`in_rows`) as they lie
  T* target;
  ConvEpilogue<T> after;
  bool in_rows;

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
    Int place = 0;
    for_each_run(p, band, group, [&](Int to, Int at, Int) { place = at == 0 ? to : place; });
    T* y = direct ? target + place + first * plane() : packed + patches;
    const Int y_stride = direct ? plane() : row;
    const T* start = bias && direct ? bias + group * p.out_channels : nullptr;
    if (p.taps() == 0)
      fill(y, y_stride, end - first, band.pixels(), start ? start + first : nullptr);
    for (Int c = 0; c < p.in_channels && kernel() > 0; c += channels) {
      block.in_channels = std::min(channels, p.in_channels - c);
      Window<T> window(block, band);
      window.show(block, band, group * p.in_channels + c, packed + patches + sums);
      const Int finish = direct && c + channels >= p.in_channels ? group * p.out_channels : -1;
      const T* own_start = c == 0 ? start : nullptr;
      if (in_rows)
        multiply_rows_of_filters(filters + group * p.out_channels * p.taps() + c * kernel(), first,
                                 end, block.taps(), window, packed, y, y_stride, own_start, c > 0,
                                 finish);
      else
        multiply(filters + (group * p.in_channels + c) * kernel() * padded_filters(), first, end,
                 block.taps(), window, packed, y, y_stride, own_start, c > 0, direct, finish);
    }
    if (!direct) write(band, group, first, end, y, row);
  }

  Int plane() const { return p.y.size * p.x.size; }

  // Each row of y with its bias, or with zeros.
  static void fill(T* y, Int y_stride, Int rows, Int columns, const T* start) {
    for (Int i = 0; i < rows; ++i) std::fill_n(y + i * y_stride, columns, start ? start[i] : T{0});
  }

  // The tiles of all filters and panels; the first tile of filters packs the panels. `start` holds
  // the biases of all filters unless null; `exact`: nothing may be written behind a row; `finish`:
  // the first channel of the group if this completes the outputs, else -1.
  void multiply(const T* filter, Int first, Int end, Int depth, const Window<T>& window, T* panels,
                T* y, Int y_stride, const T* start, bool accumulate, bool exact, Int finish) const {
    constexpr Int width = kTileColumns<T>;
    for (Int k = first; k < end; k += kTileRows) {
      for (Int j = 0; j < window.pixels; j += width) {
        const Int rows = std::min<Int>(kTileRows, end - k);
        const Int columns = std::min<Int>(width, window.pixels - j);
        T* to = y + (k - first) * y_stride + j;
        const T* left = filter + k * depth;
        const T* own_start = start ? start + k : nullptr;
        const Panel<T> panel(panels + j / width * panel_stride<T>(depth), window, j);
        if (k == first && rows == kTileRows &&
            multiply_window_pixels(pixels_in_window(window, j), depth, left, panel, own_start, to,
                                   y_stride, accumulate))
          continue;
        if (k == first) pack_patches(window, depth, j, columns, panel.packed);
        if (columns == width &&
            multiply_packed_pixels(rows, depth, left, panel, own_start, to, y_stride, accumulate))
          continue;
        if (own_start) fill(to, y_stride, rows, columns, own_start);
        const bool add = accumulate || own_start;
        if (exact)
          multiply_panels(rows, columns, depth, left, panel.packed, width, to, y_stride, add);
        else if (columns <= kLanes<T>)
          multiply_rows<1>(rows, depth, left, panel.packed, width, to, y_stride, add);
        else multiply_rows<2>(rows, depth, left, panel.packed, width, to, y_stride, add);
      }
      for (Int i = k; i < std::min(k + kTileRows, end) && after && finish >= 0; ++i)
        after.apply(finish + i, y + (i - first) * y_stride, window.pixels);
    }
  }

  // The same for filters that are not packed.
  void multiply_rows_of_filters(const T* filter, Int first, Int end, Int depth,
                                const Window<T>& window, T* panels, T* y, Int y_stride,
                                const T* start, bool accumulate, Int finish) const {
    constexpr Int width = kTileColumns<T>;
    for (Int j = 0; j < window.pixels; j += width)
      pack_patches(window, depth, j, std::min(width, window.pixels - j),
                   panels + j / width * panel_stride<T>(depth));
    if (start) fill(y, y_stride, end - first, window.pixels, start + first);
    multiply_tiles_in_place(end - first, window.pixels, depth, filter + first * p.taps(), p.taps(),
                            panels, panel_stride<T>(depth), y, y_stride, accumulate || start);
    for (Int k = first; k < end && after && finish >= 0; ++k)
      after.apply(finish + k, y + (k - first) * y_stride, window.pixels);
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
        else if (p.x.out_step == 2) store_every_other(y, from, length, shift);
        else
          for (Int i = 0; i < length; ++i) y[i * p.x.out_step] = from[i] + shift;
        if (after) after.apply(group * p.out_channels + k, y, length);
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

// All `kernel` taps of kTileRows filters, or of `valid` of them, that lie `across` apart: tap t of
// filter i goes to square[t * kTileRows + i]. `end` is that of the array.
template <class T>
static void pack_taps(const T* from, Int across, Int valid, Int kernel, const T* end, T* square) {
  constexpr Int lanes = kLanes<T>;
  if (from + (kTileRows - 1) * across + round_up(kernel, lanes) > end) {  // a load would exceed it
    for (Int t = 0; t < kernel; ++t)
      for (int i = 0; i < kTileRows; ++i)
        square[t * kTileRows + i] = i < valid ? from[i * across + t] : T{0};
    return;
  }
  for (Int t = 0; t < kernel; t += lanes)
    for (int i = 0; i < kTileRows; i += kPieceRows<T>) {
      const Int first = std::min(i, kTileRows - kPieceRows<T>);
      transpose_pieces(from + first * across + t, across, square + t * kTileRows + first, kTileRows,
                       valid - first);
    }
}

// The filters per group and block of channels as panels (taps of the block, kTileRows), padded with
// zeros. In `weight` the output channels of the pass lie `across` elements apart, its input
// channels `along`, and a row of taps is `row` long, `kernel` taps in all.
template <class T>
struct PackFilters {
  Pass p;
  const T* weight;
  Int across, along, row, kernel, group_stride;
  T* packed;

  Int taps() const { return p.y.taps * p.x.taps; }
  Int panels() const { return (p.out_channels + kTileRows - 1) / kTileRows; }
  Int valid(Int first) const { return std::min<Int>(kTileRows, p.out_channels - first); }
  // Where channel c of the filters from `first` on goes, the taps of a block of channels.
  T* place(Int group, Int first, Int c) const {
    const Int channels = DirectPass<T>::block_channels(p), block = c / channels * channels;
    const Int depth = std::min(channels, p.in_channels - block) * taps();
    return packed + (group * p.in_channels + block) * taps() * panels() * kTileRows +
           first * depth + (c - block) * taps() * kTileRows;
  }

  void run() const {
    constexpr Int together = 8;                              // panels of a task
    const bool whole = p.x.tap_step > 0 && along == taps();  // the taps of a block lie side by side
    const Int bundles = (panels() + together - 1) / together;
    parallel_for(p.groups * bundles, 1, [&](Int task, Int end) {
      for (; task < end; ++task) {
        const Int group = task / bundles, first = task % bundles * together;
        const Int last = std::min(first + together, panels());
        if (whole) pack_blocks(group, first, last);
        else pack_channels(group, first, last);
      }
    });
  }

  void pack_blocks(Int group, Int begin, Int end) const {
    const Int channels = DirectPass<T>::block_channels(p);
    for (Int first = begin * kTileRows; first < end * kTileRows; first += kTileRows)
      for (Int c = 0; c < p.in_channels; c += channels)
        pack_rows(weight + group * group_stride + first * across + c * along, across, valid(first),
                  std::min(channels, p.in_channels - c) * taps(), place(group, first, c));
  }

  // One channel of many filters lies in one piece: it is read in that order.
  void pack_channels(Int group, Int begin, Int end) const {
    const Int size = round_up(kernel, kLanes<T>) * kTileRows;
    T* square = static_cast<T*>(thread_scratch(static_cast<std::size_t>(size) * sizeof(T)));
    const T* weight_end = weight + p.groups * group_stride;
    for (Int c = 0; c < p.in_channels; ++c)
      for (Int first = begin * kTileRows; first < end * kTileRows; first += kTileRows) {
        pack_taps(weight + group * group_stride + first * across + c * along, across, valid(first),
                  kernel, weight_end, square);
        T* to = place(group, first, c);
        for (Int y = 0; y < p.y.taps; ++y)
          for (Int x = 0; x < p.x.taps; ++x, to += kTileRows) {
            const Int tap =
                (p.y.tap_first + y * p.y.tap_step) * row + p.x.tap_first + x * p.x.tap_step;
            std::copy_n(square + tap * kTileRows, kTileRows, to);
          }
      }
  }
};

// Outputs up to which packing a filter costs more than it saves.
static constexpr Int kFewPixels = 256;

// y of a pass; `workspace` takes the packed filters.
template <class T>
static void direct_forward(const Pass& p, const T* weight, Int across, Int along, Int row,
                           Int kernel, Int group_stride, const T* bias,
                           const ConvEpilogue<T>& after, T* target, T* workspace) {
  const Int all_pixels = p.batch * p.y.out * p.x.out;
  const bool in_order = along == p.y.taps * p.x.taps && across == p.taps() && p.x.tap_step > 0;
  const bool in_rows = in_order && all_pixels <= kFewPixels;
  if (!in_rows)
    PackFilters<T>{p, weight, across, along, row, kernel, group_stride, workspace}.run();
  const DirectPass<T> pass{p, in_rows ? weight : workspace, bias, target, after, in_rows};
  // Bands of up to 256 outputs, fewer if there would be less than eight.
  const Bands bands(p, 0, p.batch,
                    std::clamp<Int>(all_pixels / 8, 2 * kTileColumns<T>, kBandPixels));
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
