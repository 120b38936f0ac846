// Convolution as a matrix product whose left operand is never stored: the matrix of patches.
//
// Row p of that matrix belongs to an output pixel, column t to a tap (channel, row, column) of the
// filter, and the element is the input pixel which the tap meets there. A task takes a rectangle of
// output pixels (a band) and copies the input it sees into a zero-padded window. In the window the
// element (p, t) lies at pixel_offset[p] + tap_offset[t], so the micro-kernel reads the patches
// where they are: one broadcast element at a time, times one packed row of the other operand.
//   conv2d              y  = patches of x @ W^T
//   conv2d_grad_input   x  = patches of y @ flipped W: a convolution again, see grad_input_axis
//   conv2d_grad_weight  W^T = (patches of x)^T @ y, with pixels and taps in exchanged roles
// The products come out with channels side by side and are transposed on their way to memory.
#include "conv2d.h"

#include <algorithm>
#include <numeric>

#include "../gemm.h"
#include "../host_memory.h"
#include "../parallel.h"
#include "../transpose.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

using Int = std::int64_t;

// A tile is kRows x up to 2 vectors. The address of every row occupies a register, hence the limit.
static constexpr int kRows = std::min(kTileRows, 8);
static constexpr Int kBlockSteps = 256;  // a block of a panel stays in L1
static constexpr Int kBandPixels = 256;

// One direction of a convolution: output o and tap t meet at input o * stride + t * dilation - pad.
struct Axis {
  Int in, out, taps, stride, dilation, pad;
  Int size;                         // of the array that output o is a part of:
  Int out_first = 0, out_step = 1;  // it has the index out_first + o * out_step there
  Int tap_first = 0, tap_step = 1;  // and tap t is column tap_first + t * tap_step of the filter
};

// A convolution of `source`, (batch, groups * in_channels, y.in, x.in), whose output belongs into
// an array (batch, groups * out_channels, y.size, x.size).
struct Pass {
  Int batch, groups, in_channels, out_channels;
  Axis y, x;
  const void* source;

  Int taps() const { return in_channels * y.taps * x.taps; }
};

static Pass forward_pass(const Conv2d& c) {
  return {
      c.batch,
      c.groups,
      c.in_channels,
      c.out_channels,
      {c.in_height, c.out_height, c.kernel_height, c.stride_y, c.dilation_y, c.pad_y, c.out_height},
      {c.in_width, c.out_width, c.kernel_width, c.stride_x, c.dilation_x, c.pad_x, c.out_width},
      c.x};
}

// The axis of the convolution which computes the gradient of the inputs first, first + stride, ...
// Input i meets tap t at output (i + pad - t * dilation) / stride if that is a whole number. Every
// input of such a sequence meets the same taps, one in every stride / gcd(stride, dilation), and in
// reversed order they are the taps of a convolution with stride 1.
static Axis grad_input_axis(const Axis& a, Int first) {
  const Int divisor = std::gcd(a.stride, a.dilation), step = a.stride / divisor;
  const Int start = first + a.pad;
  Int tap = 0;
  while (tap < step && (start - tap * a.dilation) % a.stride != 0) ++tap;
  const Int taps = tap < std::min(step, a.taps) ? (a.taps - tap + step - 1) / step : 0;
  const Int last = tap + (taps - 1) * step;
  return {.in = a.out,
          .out = (a.in - first + a.stride - 1) / a.stride,
          .taps = taps,
          .stride = 1,
          .dilation = a.dilation / divisor,
          .pad = taps == 0 ? 0 : (last * a.dilation - start) / a.stride,
          .size = a.in,
          .out_first = first,
          .out_step = a.stride,
          .tap_first = last,
          .tap_step = -step};
}

// Outputs that one task computes.
struct Band {
  Int image, images, y, rows, x, columns;

  Int pixels() const { return images * rows * columns; }
};

// Cuts the outputs of the images [first, last) into bands. Depends on sizes only.
struct Bands {
  Int first, last, height, width;
  Int images, rows, columns;  // of a full band
  Int stacks, across, count;

  Bands(const Pass& p, Int first_image, Int last_image)
      : first(first_image), last(last_image), height(p.y.out), width(p.x.out) {
    constexpr Int window_elements = 1 << 17;
    const Int pixels =
        std::clamp(window_elements / std::max<Int>(p.in_channels, 1), Int{32}, kBandPixels);
    columns = std::min(width, pixels);
    rows = std::clamp<Int>(pixels / columns, 1, height);
    images = rows == height && columns == width ? std::max<Int>(1, pixels / (rows * columns)) : 1;
    across = (width + columns - 1) / columns;
    stacks = (height + rows - 1) / rows;
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

// Copies `count` elements, from[i * step]; the rows of small images are short.
template <class T>
static inline void copy_row(const T* from, Int step, Int count, T* to) {
  constexpr int chunk = 4;
  Int i = 0;
  if (step == 1)
    for (; i + chunk <= count; i += chunk) std::memcpy(to + i, from + i, chunk * sizeof(T));
  for (; i < count; ++i) to[i] = from[i * step];
}

// The window (images, channels, y.size, x.size) of one band, and the offsets into it.
template <class T>
struct Window {
  Span y, x;
  Int pixels, taps, size;
  Int *pixel_offset = nullptr, *tap_offset = nullptr;  // padded with zeros to a multiple of kRows
  T* data = nullptr;

  Window(const Pass& p, const Band& band)
      : y(p.y, band.y, band.rows),
        x(p.x, band.x, band.columns),
        pixels(band.pixels()),
        taps(p.taps()),
        size(band.images * p.in_channels * y.size * x.size) {}

  Int offsets() const { return round_up(pixels, kRows) + round_up(taps, kRows); }
  Int bytes() const { return offsets() * Int{sizeof(Int)} + size * Int{sizeof(T)}; }

  void fill(const Pass& p, const Band& band, Int group, void* memory) {
    pixel_offset = static_cast<Int*>(memory);
    tap_offset = pixel_offset + round_up(pixels, kRows);
    data = reinterpret_cast<T*>(pixel_offset + offsets());
    fill_offsets(p, band);
    std::fill_n(data, size, T{0});
    for (Int w = 0; w < x.size; w += x.period) {  // the rows have gaps, if any, at the same places
      const Int start = x.origin + w / x.period * x.outer;
      const Int first = start < 0 ? (-start + x.inner - 1) / x.inner : 0;
      const Int last = std::min(x.period, (p.x.in - start + x.inner - 1) / x.inner);
      if (first < last)
        fill_columns(p, band, group, start + first * x.inner, last - first, data + w + first);
    }
  }

  // Fills `count` columns of the window, the first of which is column `in_x` of the images.
  void fill_columns(const Pass& p, const Band& band, Int group, Int in_x, Int count, T* to) {
    const Int plane = p.y.in * p.x.in;
    for (Int image = band.image; image < band.image + band.images; ++image) {
      const T* from = static_cast<const T*>(p.source) + in_x +
                      (image * p.groups + group) * p.in_channels * plane;
      for (Int channel = 0; channel < p.in_channels; ++channel, from += plane)
        for (Int w = 0, start = y.origin; w < y.size; w += y.period, start += y.outer)
          for (Int i = 0, in_y = start; i < y.period; ++i, in_y += y.inner, to += x.size)
            if (in_y >= 0 && in_y < p.y.in) copy_row(from + in_y * p.x.in, x.inner, count, to);
    }
  }

  void fill_offsets(const Pass& p, const Band& band) {
    const Int plane = y.size * x.size;
    std::fill_n(pixel_offset, offsets(), Int{0});
    Int* to = pixel_offset;
    for (Int image = 0; image < band.images; ++image)
      for (Int row = 0; row < band.rows; ++row)
        for (Int column = 0; column < band.columns; ++column)
          *to++ = image * p.in_channels * plane + row * y.out_step * x.size + column * x.out_step;
    to = tap_offset;
    for (Int channel = 0; channel < p.in_channels; ++channel)
      for (Int row = 0; row < p.y.taps; ++row)
        for (Int column = 0; column < p.x.taps; ++column)
          *to++ = channel * plane + row * y.tap_step * x.size + column * x.tap_step;
  }
};

// Filters or channels side by side: as many as one tile has columns.
template <class T>
static Int panel_width(Int channels) {
  return channels <= kLanes<T> ? kLanes<T> : kTileColumns<T>;
}

// y_tile += sum over steps s of window[row[i] + step[s]] * panel[s], for kRows rows i.
// The loops over rows are unrolled completely: otherwise GCC keeps `sum` in memory.
template <int kVectors, class T>
static void multiply_patches(const T* window, const Int* row_offset, const Int* step_offset,
                             Int steps, const T* panel, T* y_tile) {
  constexpr int lanes = kLanes<T>;
  const T* row[kRows];
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    row[i] = window + row_offset[i];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[i][v] = load(y_tile + (i * kVectors + v) * lanes);
  }
  for (Int s = 0; s < steps; ++s, panel += kVectors * lanes) {
    const Int offset = step_offset[s];
    const Vec<T> left = load(panel), right = load(panel + (kVectors - 1) * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const T x = row[i][offset];
      sum[i][0] += x * left;
      if constexpr (kVectors == 2) sum[i][1] += x * right;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) store(y_tile + (i * kVectors + v) * lanes, sum[i][v]);
}

// y, (rows, width), += the patches at those rows and steps @ panel, (steps, width).
template <class T>
static void multiply_panel(const T* window, Int rows, const Int* row_offset, Int steps,
                           const Int* step_offset, const T* panel, Int width, T* y) {
  for (Int s = 0; s < steps; s += kBlockSteps) {
    const Int depth = std::min(kBlockSteps, steps - s);
    for (Int i = 0; i < rows; i += kRows) {
      const auto multiply = width == kLanes<T> ? multiply_patches<1, T> : multiply_patches<2, T>;
      multiply(window, row_offset + i, step_offset + s, depth, panel + s * width, y + i * width);
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
static T* scratch_of(Int elements, Int bytes) {
  const Int all = elements * static_cast<Int>(sizeof(T)) + bytes;
  return static_cast<T*>(thread_scratch(static_cast<std::size_t>(all)));
}

template <class T>
static void forward_band(const Pass& p, const Band& band, Int group, const T* panels, const T* bias,
                         T* target) {
  const Int width = panel_width<T>(p.out_channels), plane = p.y.size * p.x.size;
  const Int rows = round_up(band.pixels(), kRows);
  Window<T> window(p, band);
  T* y = scratch_of<T>(rows * width, window.bytes());
  window.fill(p, band, group, y + rows * width);
  for (Int channel = 0; channel < p.out_channels; channel += width, panels += p.taps() * width) {
    const Int valid = std::min(width, p.out_channels - channel);
    std::fill_n(y, rows * width, T{0});
    if (bias)
      for (Int i = 0; i < rows; ++i)
        std::copy_n(bias + group * p.out_channels + channel, valid, y + i * width);
    multiply_panel(window.data, band.pixels(), window.pixel_offset, p.taps(), window.tap_offset,
                   panels, width, y);
    for_each_run(p, band, group, [&](Int to, Int at, Int length) {
      T* first = target + to + channel * plane;
      if (p.x.out_step == 1) return transpose(y + at * width, width, length, valid, first, plane);
      for (Int c = 0; c < valid; ++c)
        for (Int i = 0; i < length; ++i)
          first[c * plane + i * p.x.out_step] = y[(at + i) * width + c];
    });
  }
}

// The filters as (groups, panels, taps, width). `across` is the distance in `weight` from one
// output channel of the pass to the next, `along` that from one input channel to the next.
template <class T>
static void pack_weight(const Conv2d& c, const Pass& p, Int across, Int along, T* packed) {
  const Int width = panel_width<T>(p.out_channels), panels = (p.out_channels + width - 1) / width;
  parallel_for(p.groups * panels, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int channel = task % panels * width, valid = std::min(width, p.out_channels - channel);
      const T* from = static_cast<const T*>(c.weight) + channel * across +
                      task / panels * c.out_channels * c.taps();
      T* to = packed + task * p.taps() * width;
      if (p.x.tap_step > 0) {  // the filters as they are
        if (valid < width) std::fill_n(to, p.taps() * width, T{0});
        transpose(from, across, valid, p.taps(), to, width);
        continue;
      }
      for (Int i = 0; i < p.in_channels; ++i, from += along)
        for (Int y = 0; y < p.y.taps; ++y)
          for (Int x = 0; x < p.x.taps; ++x, to += width) {
            const Int tap = (p.y.tap_first + y * p.y.tap_step) * c.kernel_width + p.x.tap_first +
                            x * p.x.tap_step;
            for (Int j = 0; j < valid; ++j) to[j] = from[j * across + tap];
            std::fill(to + valid, to + width, T{0});
          }
    }
  });
}

template <class T>
static void run_pass(const Conv2d& c, const Pass& p, Int across, Int along, const void* bias,
                     void* target) {
  T* packed = static_cast<T*>(c.workspace);
  pack_weight(c, p, across, along, packed);
  const Int width = panel_width<T>(p.out_channels);
  const Int group_size = round_up(p.out_channels, width) * p.taps();
  const Bands bands(p, 0, p.batch);
  parallel_for(bands.count * p.groups, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int group = task / bands.count;
      forward_band(p, bands.at(task % bands.count), group, packed + group * group_size,
                   static_cast<const T*>(bias), static_cast<T*>(target));
    }
  });
}

template <class T>
static void forward(const Conv2d& c) {
  run_pass<T>(c, forward_pass(c), c.taps(), c.kernel_height * c.kernel_width, c.bias, c.y);
}

template <class T>
static void grad_input(const Conv2d& c) {
  const Pass p = forward_pass(c);
  for (Int y = 0; y < std::min(c.stride_y, c.in_height); ++y)
    for (Int x = 0; x < std::min(c.stride_x, c.in_width); ++x)
      run_pass<T>(c,
                  {c.batch, c.groups, c.out_channels, c.in_channels, grad_input_axis(p.y, y),
                   grad_input_axis(p.x, x), c.y},
                  c.kernel_height * c.kernel_width, c.taps(), nullptr, c.x);
}

// Filters whose gradient one task computes.
template <class T>
static constexpr Int kWeightBlock = 2 * kTileColumns<T>;

// The outputs of `channels` channels from `first` on, as (panels, pixels, width).
template <class T>
static void pack_outputs(const Pass& p, const Band& band, Int group, const T* y, Int first,
                         Int channels, Int width, T* packed) {
  const Int plane = p.y.size * p.x.size;
  for (Int i = 0; i < channels; i += width, packed += band.pixels() * width) {
    const Int valid = std::min(width, channels - i);
    if (valid < width) std::fill_n(packed, band.pixels() * width, T{0});
    for_each_run(p, band, group, [&](Int from, Int at, Int length) {
      transpose(y + from + (first + i) * plane, plane, valid, length, packed + at * width, width);
    });
  }
}

// The gradient of some filters of a group, summed over one part of the batch.
template <class T>
static void grad_weight_block(const Conv2d& c, const Pass& p, Int group, Int part, Int filter) {
  const Int filters = std::min(kWeightBlock<T>, p.out_channels - filter), taps = p.taps();
  const Int width = panel_width<T>(filters), all = round_up(filters, width);
  const Int rows = round_up(taps, kRows);
  const Bands bands(p, c.batch * part / c.parts, c.batch * (part + 1) / c.parts);
  const Band largest = bands.at(0);
  T* sum = scratch_of<T>((rows + largest.pixels()) * all, Window<T>(p, largest).bytes());
  T* packed = sum + rows * all;
  std::fill_n(sum, rows * all, T{0});
  for (Int index = 0; index < bands.count; ++index) {
    const Band band = bands.at(index);
    Window<T> window(p, band);
    window.fill(p, band, group, packed + largest.pixels() * all);
    pack_outputs(p, band, group, static_cast<const T*>(c.y), filter, filters, width, packed);
    for (Int i = 0; i < all; i += width)
      multiply_panel(window.data, taps, window.tap_offset, band.pixels(), window.pixel_offset,
                     packed + i * band.pixels(), width, sum + i * rows);
  }
  T* weight = static_cast<T*>(c.parts > 1 ? c.workspace : c.weight) +
              ((part * c.groups + group) * p.out_channels + filter) * taps;
  for (Int i = 0; i < filters; i += width)
    transpose(sum + i * rows, width, taps, std::min(width, filters - i), weight + i * taps, taps);
}

template <class T>
static void grad_weight(const Conv2d& c) {
  const Pass p = forward_pass(c);
  const Int blocks = (c.out_channels + kWeightBlock<T> - 1) / kWeightBlock<T>;
  parallel_for(c.groups * c.parts * blocks, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int rest = task / blocks;
      grad_weight_block<T>(c, p, rest / c.parts, rest % c.parts, task % blocks * kWeightBlock<T>);
    }
  });
  if (c.parts == 1) return;
  const Int size = c.groups * c.out_channels * c.taps();
  const T* partial = static_cast<const T*>(c.workspace);
  T* weight = static_cast<T*>(c.weight);
  parallel_for(size, 4096, [&](Int begin, Int end) {
    std::copy(partial + begin, partial + end, weight + begin);
    for (Int part = 1; part < c.parts; ++part)
      for (Int i = begin; i < end; ++i) weight[i] += partial[part * size + i];
  });
}

void conv2d(const Conv2d& args) {
  if (args.dtype == DType::float32) return forward<float>(args);
  forward<double>(args);
}

void conv2d_grad_input(const Conv2d& args) {
  if (args.dtype == DType::float32) return grad_input<float>(args);
  grad_input<double>(args);
}

void conv2d_grad_weight(const Conv2d& args) {
  if (args.dtype == DType::float32) return grad_weight<float>(args);
  grad_weight<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
