// Convolution as a matrix product whose left operand is never stored: the matrix of patches.
//
// Row p of that matrix belongs to an output pixel, column t to a tap (channel, row, column) of the
// filter, and the element is the input pixel which the tap meets there. In the window of patches.h
// it lies at pixel_offset[p] + tap_offset[t], so the micro-kernel reads the patches where they are:
// one broadcast element at a time, times one packed row of the other operand.
//   conv2d              y  = patches of x @ W^T
//   conv2d_grad_input   x  = patches of y @ flipped W: a convolution again, see grad_input_axis
//   conv2d_grad_weight  W^T = (patches of x)^T @ y, with pixels and taps in exchanged roles
// Filters as large as the images are products without patches: conv_product.h.
// The products come out with channels side by side and are transposed on their way to memory.
#include "conv2d.h"

#include <numeric>
#include <optional>

#include "../conv_product.h"
#include "../host_memory.h"
#include "../narrow_panels.h"
#include "../parallel.h"
#include "../patches.h"
#include "../pixel_dots.h"
#include "../pixel_panels.h"
#include "../transpose.h"
#include "../winograd_grad.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr Int kBlockSteps = 128;  // a block of a panel stays in L1
template <class T>
static constexpr Int kLineSteps = 64 / Int{sizeof(T)};  // pixels side by side in a line of caches

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

// y_tile (+)= sum over steps s of window[row[i] + step[s]] * panel[s], for kRows rows i. With
// kFetch, what the rows of the next tile read is fetched meanwhile: each may lie in a plane, and a
// page, of its own, where no processor foresees it. The loops over rows are unrolled completely:
// otherwise GCC keeps `sum` in memory.
template <int kVectors, bool kFetch, class T>
static void multiply_patches(const T* window, const Int* row_offset, const Int* next_row_offset,
                             const Int* step_offset, Int steps, const T* panel, T* y_tile,
                             bool accumulate) {
  constexpr int lanes = kLanes<T>;
  const T* row[kRows];
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    row[i] = window + row_offset[i];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      sum[i][v] = accumulate ? load(y_tile + (i * kVectors + v) * lanes) : Vec<T>{};
  }
  for (Int s = 0; s < steps;) {
    const Int line_end = kFetch ? std::min(s + kLineSteps<T>, steps) : steps;
    for (int i = 0; kFetch && i < kRows; ++i)
      __builtin_prefetch(window + next_row_offset[i] + step_offset[s]);
    for (; s < line_end; ++s, panel += kVectors * lanes) {
      const Int offset = step_offset[s];
      const Vec<T> left = load(panel), right = load(panel + (kVectors - 1) * lanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const T x = row[i][offset];
        sum[i][0] += x * left;
        if constexpr (kVectors == 2) sum[i][1] += x * right;
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) store(y_tile + (i * kVectors + v) * lanes, sum[i][v]);
}

// y, (rows, width), (+)= the patches at those rows and steps @ panel, (steps, width).
template <bool kFetch, class T>
static void multiply_panel(const T* window, Int rows, const Int* row_offset, Int steps,
                           const Int* step_offset, const T* panel, Int width, T* y,
                           bool accumulate) {
  const auto multiply =
      width == kLanes<T> ? multiply_patches<1, kFetch, T> : multiply_patches<2, kFetch, T>;
  for (Int s = 0; s < steps; s += kBlockSteps) {
    const Int depth = std::min(kBlockSteps, steps - s);
    for (Int i = 0; i < rows; i += kRows) {
      const Int next = i + kRows < rows ? i + kRows : i;
      multiply(window, row_offset + i, row_offset + next, step_offset + s, depth, panel + s * width,
               y + i * width, accumulate || s > 0);
    }
  }
}

template <class T>
static T* scratch_of(Int elements, Int bytes) {
  const Int all = elements * static_cast<Int>(sizeof(T)) + bytes;
  return static_cast<T*>(thread_scratch(static_cast<std::size_t>(all)));
}

// A pass by winograd.h; false if it must be computed directly.
static bool run_winograd(const Conv2d& c, const Pass& p, const Scheme& scheme, Int across,
                         Int along, const void* bias, const ConvEpilogue<float>& after,
                         void* target) {
  const Images<const float> from{static_cast<const float*>(p.source), p.source_channels, p.y.in,
                                 p.x.in, false};
  const Images<float> to{static_cast<float*>(target), p.groups * p.out_channels, p.y.size, p.x.size,
                         false};
  return winograd_forward(p, scheme, from, to, static_cast<const float*>(c.weight), across, along,
                          c.out_channels * c.taps(), static_cast<const float*>(bias), after,
                          static_cast<float*>(c.workspace));
}

template <class T>
static void run_pass(const Conv2d& c, const Pass& p, Int across, Int along, const void* bias,
                     const ConvEpilogue<T>& after, void* target) {
  T* packed = static_cast<T*>(c.workspace);
  if constexpr (std::is_same_v<T, float>)
    if (const Scheme* scheme = c.winograd ? winograd_scheme(p) : nullptr)
      if (run_winograd(c, p, *scheme, across, along, bias, after, target)) return;
  const T* weight = static_cast<const T*>(c.weight);
  const Int group_stride = c.out_channels * c.taps();
  if (!is_narrow(p))
    return direct_forward(p, weight, across, along, c.kernel_width,
                          c.kernel_height * c.kernel_width, group_stride,
                          static_cast<const T*>(bias), after, static_cast<T*>(target), packed);
  narrow_forward(p, weight, across, along, c.kernel_width, group_stride,
                 static_cast<const T*>(bias), after, static_cast<T*>(target), packed);
}

template <class T>
static void forward(const Conv2d& c) {
  run_pass<T>(c, forward_pass(c), c.taps(), c.kernel_height * c.kernel_width, c.bias,
              ConvEpilogue<T>::of(c), c.y);
}

template <class T>
static void grad_input(const Conv2d& c) {
  const Pass p = forward_pass(c);
  const Int across = c.kernel_height * c.kernel_width, along = c.taps();
  if constexpr (std::is_same_v<T, float>)
    if (c.winograd && fits_scheme(p, 3, 2) && c.pad_y == 1 && c.pad_x == 1) {
      const auto axis = [](const Axis& a) {
        return Axis{.in = a.out,
                    .out = a.in,
                    .taps = 3,
                    .stride = 1,
                    .dilation = 1,
                    .pad = 0,
                    .size = a.in,
                    .tap_first = 2,
                    .tap_step = -1};
      };
      const Pass all{c.batch,   c.groups, c.out_channels,           c.in_channels, axis(p.y),
                     axis(p.x), c.y,      c.groups * c.out_channels};
      if (winograd_wins(all, kSpreadScheme) &&
          run_winograd(c, all, kSpreadScheme, across, along, nullptr, {}, c.x))
        return;
    }
  const Int rows = std::min(c.stride_y, c.in_height), columns = std::min(c.stride_x, c.in_width);
  const bool sparse = c.kernel_height < rows || c.kernel_width < columns;
  if (sparse) {  // no tap meets some of the inputs
    const Int plane = c.in_height * c.in_width;
    parallel_for(
        c.batch * c.groups * c.in_channels, 1 + (1 << 16) / plane, [&](Int begin, Int end) {
          std::fill(static_cast<T*>(c.x) + begin * plane, static_cast<T*>(c.x) + end * plane, T{0});
        });
  }
  for (Int y = 0; y < rows; ++y)
    for (Int x = 0; x < columns; ++x) {
      const Pass pass{c.batch,
                      c.groups,
                      c.out_channels,
                      c.in_channels,
                      grad_input_axis(p.y, y),
                      grad_input_axis(p.x, x),
                      c.y,
                      c.groups * c.out_channels};
      if (!sparse || pass.y.taps * pass.x.taps > 0)
        run_pass<T>(c, pass, across, along, nullptr, {}, c.x);
    }
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

// Where the gradient of a group's filters goes that one part of the batch makes.
template <class T>
static T* weight_of_part(const Conv2d& c, Int group, Int part) {
  return c.weight_of_part<T>(part) + group * c.out_channels * c.taps();
}

// sums[k] += the outputs of channel k, as pack_outputs leaves them.
template <class T>
static void add_outputs(const T* packed, Int pixels, Int all, Int width, T* sums) {
  for (Int i = 0; i < all; i += kLanes<T>) {
    const T* from = packed + i / width * width * pixels + i % width;
    Vec<T> sum = load(sums + i);
    for (Int pixel = 0; pixel < pixels; ++pixel) sum += load(from + pixel * width);
    store(sums + i, sum);
  }
}

// The gradient of some filters of a group, summed over one part of the batch.
template <class T>
static void grad_weight_block(const Conv2d& c, const Pass& p, Int group, Int part, Int filter) {
  const Int filters = std::min(kWeightBlock<T>, p.out_channels - filter), taps = p.taps();
  const Int width = panel_width<T>(filters), all = round_up(filters, width);
  const Int rows = round_up(taps, kRows);
  const Bands bands(p, c.batch * part / c.parts, c.batch * (part + 1) / c.parts, window_pixels(p));
  const Band largest = bands.at(0);
  T* sum = scratch_of<T>((rows + 1 + largest.pixels()) * all, Window<T>(p, largest).bytes());
  T *bias = sum + rows * all, *packed = bias + all;
  std::fill_n(bias, all, T{0});
  std::optional<Window<T>> before;
  for (Int index = 0; index < bands.count; ++index) {
    const Band band = bands.at(index);
    Window<T> window(p, band);
    window.show(p, band, group * p.in_channels, packed + largest.pixels() * all,
                before ? &*before : nullptr);
    before = window;
    pack_outputs(p, band, group, static_cast<const T*>(c.y), filter, filters, width, packed);
    if (c.bias_gradient) add_outputs(packed, band.pixels(), all, width, bias);
    for (Int i = 0; i < all; i += width) {
      const bool is_near = i > 0 || window.data == window.copied();
      const auto multiply = is_near ? multiply_panel<false, T> : multiply_panel<true, T>;
      multiply(window.data, taps, window.tap_offset, band.pixels(), window.pixel_offset,
               packed + i * band.pixels(), width, sum + i * rows, index > 0);
    }
  }
  T* weight = weight_of_part<T>(c, group, part) + filter * taps;
  for (Int i = 0; i < filters; i += width)
    transpose(sum + i * rows, width, taps, std::min(width, filters - i), weight + i * taps, taps);
  if (c.bias_gradient)
    std::copy_n(bias, filters, c.bias_of_part<T>(part) + group * c.out_channels + filter);
}

// The gradient of the biases where the gradient of the weights is computed in another order.
template <class T>
static void sum_outputs(const Conv2d& c) {
  if (c.bias_gradient == nullptr) return;
  const Int channels = c.groups * c.out_channels, grain = 1 + (1 << 16) / (c.batch * c.pixels());
  T* sums = static_cast<T*>(c.bias_gradient);
  parallel_for(channels, grain, [&](Int begin, Int end) {
    std::fill(sums + begin, sums + end, T{0});
    for (Int image = 0; image < c.batch; ++image)
      for (Int k = begin; k < end; ++k)
        sums[k] += sum_elements(static_cast<const T*>(c.y) + (image * channels + k) * c.pixels(),
                                c.pixels());
  });
}

// Adds up the parts of a gradient in order.
template <class T>
static void add_parts(const T* partial, Int parts, Int size, T* total) {
  parallel_for(size, 4096, [&](Int begin, Int end) {
    std::copy(partial + begin, partial + end, total + begin);
    for (Int part = 1; part < parts; ++part)
      for (Int i = begin; i < end; ++i) total[i] += partial[part * size + i];
  });
}

// Every group and part by pixel_dots.h; false if they must be computed otherwise.
template <class T>
static bool dot_grad_weights(const Conv2d& c, const Pass& p) {
  bool invalid = false;
  parallel_for(c.groups * c.parts, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int group = task / c.parts, part = task % c.parts;
      if (!dot_grad_weight(p, static_cast<const T*>(c.y), group, c.batch * part / c.parts,
                           c.batch * (part + 1) / c.parts, weight_of_part<T>(c, group, part)))
        __atomic_store_n(&invalid, true, __ATOMIC_RELAXED);
    }
  });
  return !invalid;
}

template <class T>
static void grad_weight(const Conv2d& c) {
  const Pass p = forward_pass(c);
  if constexpr (std::is_same_v<T, float>)
    if (const Scheme* scheme = c.winograd && c.stride_y == 1 ? winograd_scheme(p) : nullptr) {
      const Images<const float> x{static_cast<const float*>(c.x), c.groups * c.in_channels,
                                  c.in_height, c.in_width, false};
      const Images<const float> y{static_cast<const float*>(c.y), c.groups * c.out_channels,
                                  c.out_height, c.out_width, false};
      if (winograd_grad_weight(p, *scheme, x, y, c.winograd_parts(), c.winograd_shares(),
                               static_cast<float*>(c.workspace), static_cast<float*>(c.weight)))
        return sum_outputs<T>(c);
    }
  const bool dots = is_dot(p) && dot_grad_weights<T>(c, p);
  if (!dots) {
    const Int blocks = (c.out_channels + kWeightBlock<T> - 1) / kWeightBlock<T>;
    parallel_for(c.groups * c.parts * blocks, 1, [&](Int begin, Int end) {
      for (Int task = begin; task < end; ++task) {
        const Int rest = task / blocks;
        grad_weight_block<T>(c, p, rest / c.parts, rest % c.parts, task % blocks * kWeightBlock<T>);
      }
    });
  }
  if (dots) sum_outputs<T>(c);
  if (c.parts == 1) return;
  const Int channels = c.groups * c.out_channels;
  add_parts(c.weight_of_part<T>(0), c.parts, channels * c.taps(), static_cast<T*>(c.weight));
  if (c.bias_gradient && !dots)
    add_parts(c.bias_of_part<T>(0), c.parts, channels, static_cast<T*>(c.bias_gradient));
}

void conv2d(const Conv2d& args) {
  const bool whole = is_product(args);
  if (args.dtype == DType::float32)
    return whole ? multiply_images<float>(args) : forward<float>(args);
  whole ? multiply_images<double>(args) : forward<double>(args);
}

void conv2d_grad_input(const Conv2d& args) {
  if (is_product(args)) return multiply_image_gradients(args);
  if (args.dtype == DType::float32) return grad_input<float>(args);
  grad_input<double>(args);
}

void conv2d_grad_weight(const Conv2d& args) {
  if (is_product(args)) return multiply_filter_gradients(args);
  if (args.dtype == DType::float32) return grad_weight<float>(args);
  grad_weight<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
