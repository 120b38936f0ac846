// Convolution as a matrix product whose left operand is never stored: the matrix of patches.
//
// Row p of that matrix belongs to an output pixel, column t to a tap (channel, row, column) of the
// filter, and the element is the input pixel which the tap meets there. In the window of patches.h
// it lies at pixel_offset[p] + tap_offset[t], so the micro-kernel reads the patches where they are:
// one broadcast element at a time, times one packed row of the other operand.
//   conv2d              y  = patches of x @ W^T
//   conv2d_grad_input   x  = patches of y @ flipped W: a convolution again, see grad_input_axis
//   conv2d_grad_weight  W^T = (patches of x)^T @ y, with pixels and taps in exchanged roles
// The products come out with channels side by side and are transposed on their way to memory.
#include "conv2d.h"

#include <numeric>

#include "../host_memory.h"
#include "../parallel.h"
#include "../patches.h"
#include "../pixel_panels.h"
#include "../transpose.h"
#include "../winograd_grad.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr Int kBlockSteps = 256;  // a block of a panel stays in L1
static constexpr Int kNarrow = 4;        // so few output channels have a path of their own

static Pass forward_pass(const Conv2d& c) {
  return {
      c.batch,
      c.groups,
      c.in_channels,
      c.out_channels,
      {c.in_height, c.out_height, c.kernel_height, c.stride_y, c.dilation_y, c.pad_y, c.out_height},
      {c.in_width, c.out_width, c.kernel_width, c.stride_x, c.dilation_x, c.pad_x, c.out_width},
      c.x,
      c.groups * c.in_channels};
}

// The axis of the convolution which computes the gradient of the inputs first, first + stride, ...
// Input i meets tap t at output (i + pad - t * dilation) / stride if that is a whole number. Every
// input of such a sequence meets the same taps, one in every stride / gcd(stride, dilation), and in
// reversed order they are the taps of a convolution with stride 1.
static Axis grad_input_axis(const Axis& a, Int first) {
  const Int divisor = std::gcd(a.stride, a.dilation), step = a.stride / divisor;
  const Int start = first + a.pad;
  Int tap = 0;
  while (tap < std::min(step, a.taps) && (start - tap * a.dilation) % a.stride != 0) ++tap;
  const Int taps = tap < std::min(step, a.taps) ? (a.taps - tap + step - 1) / step : 0;
  const Int last = tap + (taps - 1) * step, count = (a.in - first + a.stride - 1) / a.stride;
  return {.in = a.out,
          .out = count,
          .taps = taps,
          .stride = 1,
          .dilation = a.dilation / divisor,
          .pad = taps == 0 ? 0 : (last * a.dilation - start) / a.stride,
          .size = a.in,
          .out_first = first,
          .out_step = count > 1 ? a.stride : 1,
          .tap_first = last,
          .tap_step = -step};
}

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

template <class T>
static T* scratch_of(Int elements, Int bytes) {
  const Int all = elements * static_cast<Int>(sizeof(T)) + bytes;
  return static_cast<T*>(thread_scratch(static_cast<std::size_t>(all)));
}

// With few output channels they would leave most of a vector empty. Where neighbouring outputs see
// neighbouring inputs, pixels can fill it instead: for every tap their inputs are a vector of the
// window, shifted. The window is wider than the output, so a few results are of no use.
static bool is_narrow(const Pass& p) {
  return p.out_channels <= kNarrow && p.y.stride == 1 && p.x.stride == 1;
}

// Outputs of a band whose window fits L2.
static Int narrow_pixels(const Pass& p) {
  return std::clamp<Int>((1 << 17) / std::max<Int>(p.in_channels, 1), 32, 128);
}

// y_tile = sum over taps t of weight[t] outer window[tap_offset[t] + (0 .. kTileColumns)].
template <class T>
static void multiply_shifted(const T* window, const Int* tap_offset, Int taps, const T* weight,
                             T* y_tile, Int y_stride) {
  Vec<T> sum[kNarrow][2];
#pragma GCC unroll 4
  for (int i = 0; i < kNarrow; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) sum[i][v] = Vec<T>{};
  for (Int t = 0; t < taps; ++t, weight += kNarrow) {
    const T* pixels = window + tap_offset[t];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const Vec<T> x = load(pixels + v * kLanes<T>);
#pragma GCC unroll 4
      for (int i = 0; i < kNarrow; ++i) sum[i][v] += weight[i] * x;
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kNarrow; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(y_tile + i * y_stride + v * kLanes<T>, sum[i][v]);
}

template <class T>
static void narrow_band(const Pass& p, const Band& band, Int group, const T* weight, const T* bias,
                        T* target) {
  Window<T> window(p, band);
  const Int row_size = window.x.size, image_size = p.in_channels * window.y.size * row_size;
  const Int length = round_up((band.rows - 1) * row_size + band.columns, kTileColumns<T>);
  T* y = scratch_of<T>(kNarrow * length, window.bytes());
  window.fill(p, band, group * p.in_channels, y + kNarrow * length);
  for (Int image = 0; image < band.images; ++image) {
    for (Int at = 0; at < length; at += kTileColumns<T>)
      multiply_shifted(window.data + image * image_size + at, window.tap_offset, p.taps(), weight,
                       y + at, length);
    for (Int c = 0; c < p.out_channels; ++c) {
      const Int channel = group * p.out_channels + c, channels = p.groups * p.out_channels;
      const T shift = bias ? bias[channel] : T{0};
      for (Int row = 0; row < band.rows; ++row) {
        const Int to_y = p.y.out_first + (band.y + row) * p.y.out_step;
        T* to = target + p.x.out_first + band.x * p.x.out_step +
                (((band.image + image) * channels + channel) * p.y.size + to_y) * p.x.size;
        const T* from = y + c * length + row * row_size;
        for (Int i = 0; i < band.columns; ++i) to[i * p.x.out_step] = from[i] + shift;
      }
    }
  }
}

// The filters as (groups, panels, taps, width). In `weight` the output channels of the pass lie
// `across` elements apart, its input channels `along`.
template <class T>
static void pack_weight(const Conv2d& c, const Pass& p, Int width, Int across, Int along,
                        T* packed) {
  const Int panels = (p.out_channels + width - 1) / width;
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
  if constexpr (std::is_same_v<T, float>)
    if (c.winograd && winograd_wins(p)) {
      const Images<const float> from{static_cast<const float*>(p.source), p.groups * p.in_channels,
                                     p.y.in, p.x.in, false};
      const Images<float> to{static_cast<float*>(target), p.groups * p.out_channels, p.y.size,
                             p.x.size, false};
      if (winograd_forward(p, from, to, static_cast<const float*>(c.weight), across, along,
                           c.out_channels * c.taps(), static_cast<const float*>(bias), packed))
        return;
    }
  const T* weight = static_cast<const T*>(c.weight);
  const Int group_stride = c.out_channels * c.taps();
  if (!is_narrow(p))
    return direct_forward(p, weight, across, along, c.kernel_width, group_stride,
                          static_cast<const T*>(bias), static_cast<T*>(target), packed);
  pack_weight(c, p, kNarrow, across, along, packed);
  const Bands bands(p, 0, p.batch, narrow_pixels(p));
  parallel_for(bands.count * p.groups, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int group = task / bands.count;
      narrow_band(p, bands.at(task % bands.count), group, packed + group * kNarrow * p.taps(),
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
                   grad_input_axis(p.x, x), c.y, c.groups * c.out_channels},
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
  const Bands bands(p, c.batch * part / c.parts, c.batch * (part + 1) / c.parts, narrow_pixels(p));
  const Band largest = bands.at(0);
  T* sum = scratch_of<T>((rows + largest.pixels()) * all, Window<T>(p, largest).bytes());
  T* packed = sum + rows * all;
  std::fill_n(sum, rows * all, T{0});
  for (Int index = 0; index < bands.count; ++index) {
    const Band band = bands.at(index);
    Window<T> window(p, band);
    window.show(p, band, group * p.in_channels, packed + largest.pixels() * all);
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
  if constexpr (std::is_same_v<T, float>)
    if (c.winograd && winograd_wins(p)) {
      const Images<const float> x{static_cast<const float*>(c.x), c.groups * c.in_channels,
                                  c.in_height, c.in_width, false};
      const Images<const float> y{static_cast<const float*>(c.y), c.groups * c.out_channels,
                                  c.out_height, c.out_width, false};
      if (winograd_grad_weight(p, x, y, c.winograd_parts(), c.winograd_shares(),
                               static_cast<float*>(c.workspace), static_cast<float*>(c.weight)))
        return;
    }
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
