// Convolution as a matrix product whose one operand is never stored: the matrix of patches.
//
// Row t of that matrix belongs to tap (channel, row, column) of the filter, column p to an output
// pixel, and the element is the input pixel which the tap meets there, or 0 in the padding. The
// pixels of all images are numbered in one sequence, so small images fill the tiles as well as large
// ones do. With W the filters as (out_channels, taps) and Y as (out_channels, pixels):
//   conv2d              Y  = W @ patches       packed from x, strip by strip
//   conv2d_grad_input   X += patches(W^T @ Y)  a strip of the product is added back where it came from
//   conv2d_grad_weight  W  = Y @ patches^T     summed over the pixels
#include "conv2d.h"

#include <algorithm>

#include "../gemm.h"
#include "../host_memory.h"
#include "../parallel.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Consecutive output pixels of one row of one image.
struct Run {
  std::int64_t image, y, x;  // the first pixel
  std::int64_t at, length;   // its place in the strip, and how many pixels
};

// Cuts the pixels [begin, begin + count) into runs.
template <class Visit>
static void for_each_run(const Conv2d& c, std::int64_t begin, std::int64_t count,
                         const Visit& visit) {
  Run run{begin / c.pixels(), begin % c.pixels() / c.out_width, begin % c.out_width, 0, 0};
  while (run.at < count) {
    run.length = std::min(c.out_width - run.x, count - run.at);
    visit(run);
    run.at += run.length;
    run.x = 0;
    if (++run.y == c.out_height) {
      run.y = 0;
      ++run.image;
    }
  }
}

// Visits the part of a run that one tap finds inside the image, as visit(tap, row, first, last,
// input): pixels [first, last) of the run meet input[0], input[stride_x], ... Where the tap lies
// outside, first == last; row is the tap's own number counted from `tap`.
template <class T, class Visit>
static void for_each_tap(const Conv2d& c, T* x, std::int64_t group, std::int64_t tap,
                         std::int64_t taps, const Run& run, const Visit& visit) {
  const std::int64_t kernel = c.kernel_height * c.kernel_width;
  std::int64_t channel = tap / kernel, ky = tap % kernel / c.kernel_width, kx = tap % c.kernel_width;
  const std::int64_t plane = c.in_height * c.in_width;
  T* image = x + (run.image * c.groups + group) * c.in_channels * plane;
  const std::int64_t y0 = run.y * c.stride_y - c.pad_y, x0 = run.x * c.stride_x - c.pad_x;
  for (std::int64_t t = 0; t < taps; ++t) {
    const std::int64_t in_y = y0 + ky * c.dilation_y, in_x = x0 + kx * c.dilation_x;
    std::int64_t first = 0, last = 0;
    if (in_y >= 0 && in_y < c.in_height && in_x < c.in_width) {
      if (in_x < 0) first = std::min(run.length, (c.stride_x - 1 - in_x) / c.stride_x);
      last = std::min(run.length, (c.in_width - in_x + c.stride_x - 1) / c.stride_x);
      last = std::max(first, last);
    }
    const std::int64_t offset =
        first == last ? 0 : channel * plane + in_y * c.in_width + in_x + first * c.stride_x;
    visit(t, first, last, image + offset);
    if (++kx == c.kernel_width) {
      kx = 0;
      if (++ky == c.kernel_height) {
        ky = 0;
        ++channel;
      }
    }
  }
}

// A rectangle of the matrix of one group: rows are taps (of patches) or channels (of Y).
struct Part {
  std::int64_t group, row, rows, pixel, pixels;
};

// matrix[row * row_stride + pixel * pixel_stride] = patches. One of the strides is 1.
template <class T>
static void copy_patches(const Conv2d& c, const Part& part, T* matrix, std::int64_t row_stride,
                         std::int64_t pixel_stride) {
  T* input = static_cast<T*>(c.x);
  for_each_run(c, part.pixel, part.pixels, [&](const Run& run) {
    for_each_tap(c, input, part.group, part.row, part.rows, run,
                 [&](std::int64_t t, std::int64_t first, std::int64_t last, const T* from) {
      T* to = matrix + t * row_stride + run.at * pixel_stride;
      if (pixel_stride == 1 && c.stride_x == 1) {
        for (std::int64_t i = 0; i < first; ++i) to[i] = T{0};
        for (std::int64_t i = first; i < last; ++i) to[i] = from[i - first];
        for (std::int64_t i = last; i < run.length; ++i) to[i] = T{0};
      } else {
        for (std::int64_t i = 0; i < first; ++i) to[i * pixel_stride] = T{0};
        for (std::int64_t i = first; i < last; ++i, from += c.stride_x) to[i * pixel_stride] = *from;
        for (std::int64_t i = last; i < run.length; ++i) to[i * pixel_stride] = T{0};
      }
    });
  });
}

// x += a strip of values laid out like patches, (taps, strip).
template <class T>
static void add_patches(const Conv2d& c, const Part& part, const T* strip) {
  for_each_run(c, part.pixel, part.pixels, [&](const Run& run) {
    for_each_tap(c, static_cast<T*>(c.x), part.group, part.row, part.rows, run,
                 [&](std::int64_t t, std::int64_t first, std::int64_t last, T* to) {
      const T* from = strip + t * part.pixels + run.at + first;
      if (c.stride_x == 1) {
        for (std::int64_t i = 0; i < last - first; ++i) to[i] += from[i];
      } else {
        for (std::int64_t i = 0; i < last - first; ++i) to[i * c.stride_x] += from[i];
      }
    });
  });
}

// Visits the pixels of a strip image by image: visit(address in y of row 0, at, length).
template <class T, class Visit>
static void for_each_image(const Conv2d& c, const Part& part, const Visit& visit) {
  const std::int64_t pixels = c.pixels();
  for (std::int64_t at = 0; at < part.pixels;) {
    const std::int64_t image = (part.pixel + at) / pixels, first = (part.pixel + at) % pixels;
    const std::int64_t length = std::min(pixels - first, part.pixels - at);
    const std::int64_t channel = (image * c.groups + part.group) * c.out_channels + part.row;
    visit(static_cast<T*>(c.y) + channel * pixels + first, at, length);
    at += length;
  }
}

// matrix[row * row_stride + pixel * pixel_stride] = Y.
template <class T>
static void copy_outputs(const Conv2d& c, const Part& part, T* matrix, std::int64_t row_stride,
                         std::int64_t pixel_stride) {
  for_each_image<T>(c, part, [&](const T* from, std::int64_t at, std::int64_t length) {
    for (std::int64_t row = 0; row < part.rows; ++row, from += c.pixels()) {
      T* to = matrix + row * row_stride + at * pixel_stride;
      if (pixel_stride == 1) std::copy_n(from, length, to);
      else
        for (std::int64_t i = 0; i < length; ++i) to[i * pixel_stride] = from[i];
    }
  });
}

// Cuts `count` rows or pixels into panels of `width` and fills each: fill(panel, first, valid). An
// incomplete panel is zeroed beforehand.
template <class T, class Fill>
static void fill_panels(T* panel, std::int64_t count, std::int64_t depth, int width,
                        const Fill& fill) {
  for (std::int64_t first = 0; first < count; first += width, panel += depth * width) {
    const std::int64_t valid = std::min<std::int64_t>(width, count - first);
    if (valid < width) std::fill_n(panel, depth * width, T{0});
    fill(panel, first, valid);
  }
}

// Blocks of channels and taps bound the scratch memory, whatever the number of filters.
static constexpr std::int64_t kBlockChannels = 480;
static constexpr std::int64_t kBlockTaps = 1152;

// Pixels per strip: as many as let the strip's product, (rows, pixels), stay in L2.
static std::int64_t strip_pixels(std::int64_t rows) {
  constexpr std::int64_t elements = 1 << 17, unit = 32;
  return std::clamp(elements / std::max<std::int64_t>(rows, 1) / unit * unit, 2 * unit, 16 * unit);
}

template <class T>
static T* scratch_of(std::int64_t elements) {
  return static_cast<T*>(thread_scratch(static_cast<std::size_t>(elements) * sizeof(T)));
}

template <class T>
static const T* weight_of(const Conv2d& c, std::int64_t group) {
  return static_cast<const T*>(c.weight) + group * c.out_channels * c.taps();
}

template <class T>
static void forward_strip(const Conv2d& c, const Part& strip) {
  const std::int64_t rows = strip.rows, pixels = strip.pixels, taps = c.taps();
  T* product = scratch_of<T>(rows * pixels + packed_size<T>(rows, pixels, taps));
  const T* weight = weight_of<T>(c, strip.group) + strip.row * taps;
  const auto pack_weight = [&](T* panel, std::int64_t tap, std::int64_t depth) {
    pack(panel, weight + tap, rows, depth, taps, 1, kTileRows);
  };
  const auto pack_patches = [&](T* panels, std::int64_t tap, std::int64_t depth) {
    fill_panels(panels, pixels, depth, kTileColumns<T>, [&](T* panel, auto first, auto valid) {
      copy_patches(c, {strip.group, tap, depth, strip.pixel + first, valid}, panel,
                   kTileColumns<T>, 1);
    });
  };
  multiply_packed(rows, pixels, taps, pack_weight, pack_patches, product, pixels, false,
                  product + rows * pixels);
  const T* bias = static_cast<const T*>(c.bias);
  for_each_image<T>(c, strip, [&](T* y, std::int64_t at, std::int64_t length) {
    for (std::int64_t row = 0; row < rows; ++row, y += c.pixels()) {
      const T shift = bias ? bias[strip.group * c.out_channels + strip.row + row] : T{0};
      const T* from = product + row * pixels + at;
      for (std::int64_t i = 0; i < length; ++i) y[i] = from[i] + shift;
    }
  });
}

template <class T>
static void forward(const Conv2d& c) {
  const std::int64_t all = c.batch * c.pixels(), length =
                         strip_pixels(std::min(c.out_channels, kBlockChannels));
  const std::int64_t strips = (all + length - 1) / length;
  parallel_for(strips * c.groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t pixel = task % strips * length;
      for (std::int64_t row = 0; row < c.out_channels; row += kBlockChannels)
        forward_strip<T>(c, {task / strips, row, std::min(kBlockChannels, c.out_channels - row),
                             pixel, std::min(length, all - pixel)});
    }
  });
}

template <class T>
static void grad_input_strip(const Conv2d& c, const Part& strip) {
  const std::int64_t rows = strip.rows, pixels = strip.pixels;
  T* product = scratch_of<T>(rows * pixels + packed_size<T>(rows, pixels, c.out_channels));
  const T* weight = weight_of<T>(c, strip.group) + strip.row;
  const auto pack_weight = [&](T* panel, std::int64_t channel, std::int64_t depth) {
    pack(panel, weight + channel * c.taps(), rows, depth, 1, c.taps(), kTileRows);
  };
  const auto pack_y = [&](T* panels, std::int64_t channel, std::int64_t depth) {
    fill_panels(panels, pixels, depth, kTileColumns<T>, [&](T* panel, auto first, auto valid) {
      copy_outputs(c, {strip.group, channel, depth, strip.pixel + first, valid}, panel,
                   kTileColumns<T>, 1);
    });
  };
  multiply_packed(rows, pixels, c.out_channels, pack_weight, pack_y, product, pixels, false,
                  product + rows * pixels);
  add_patches(c, strip, product);
}

// Neighbouring strips add to the same pixels, so one task takes whole images of one group.
template <class T>
static void grad_input(const Conv2d& c) {
  const std::int64_t length = strip_pixels(std::min(c.taps(), kBlockTaps));
  const std::int64_t images_per_task = std::max<std::int64_t>(1, length / c.pixels());
  const std::int64_t tasks = (c.batch + images_per_task - 1) / images_per_task;
  const std::int64_t image_size = c.in_channels * c.in_height * c.in_width;
  parallel_for(tasks * c.groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t group = task / tasks, first = task % tasks * images_per_task;
      const std::int64_t last = std::min(first + images_per_task, c.batch);
      for (std::int64_t image = first; image < last; ++image)
        std::fill_n(static_cast<T*>(c.x) + (image * c.groups + group) * image_size, image_size, T{0});
      for (std::int64_t pixel = first * c.pixels(); pixel < last * c.pixels(); pixel += length)
        for (std::int64_t tap = 0; tap < c.taps(); tap += kBlockTaps)
          grad_input_strip<T>(c, {group, tap, std::min(kBlockTaps, c.taps() - tap), pixel,
                                  std::min(length, last * c.pixels() - pixel)});
    }
  });
}

static constexpr std::int64_t kWeightBlockRows = 96;
static constexpr std::int64_t kWeightBlockTaps = 256;

// One block of the filters' gradient, summed over one part of the batch.
template <class T>
static void grad_weight_block(const Conv2d& c, std::int64_t group, std::int64_t part,
                              std::int64_t channel, std::int64_t tap) {
  const std::int64_t channels = std::min(kWeightBlockRows, c.out_channels - channel);
  const std::int64_t taps = std::min(kWeightBlockTaps, c.taps() - tap);
  const std::int64_t begin = c.batch * part / c.parts * c.pixels();
  const std::int64_t end = c.batch * (part + 1) / c.parts * c.pixels();
  const auto pack_y = [&](T* panels, std::int64_t pixel, std::int64_t depth) {
    fill_panels(panels, channels, depth, kTileRows, [&](T* panel, auto first, auto valid) {
      copy_outputs(c, {group, channel + first, valid, begin + pixel, depth}, panel, 1, kTileRows);
    });
  };
  const auto pack_patches = [&](T* panels, std::int64_t pixel, std::int64_t depth) {
    fill_panels(panels, taps, depth, kTileColumns<T>, [&](T* panel, auto first, auto valid) {
      copy_patches(c, {group, tap + first, valid, begin + pixel, depth}, panel, 1,
                   kTileColumns<T>);
    });
  };
  T* weight = static_cast<T*>(c.parts > 1 ? c.partial_sums : c.weight) +
              ((part * c.groups + group) * c.out_channels + channel) * c.taps() + tap;
  multiply_packed(channels, taps, end - begin, pack_y, pack_patches, weight, c.taps(), false,
                  scratch_of<T>(packed_size<T>(channels, taps, end - begin)));
}

template <class T>
static void grad_weight(const Conv2d& c) {
  const std::int64_t channel_blocks = (c.out_channels + kWeightBlockRows - 1) / kWeightBlockRows;
  const std::int64_t tap_blocks = (c.taps() + kWeightBlockTaps - 1) / kWeightBlockTaps;
  const std::int64_t blocks = channel_blocks * tap_blocks;
  parallel_for(c.groups * c.parts * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t block = task % blocks, rest = task / blocks;
      grad_weight_block<T>(c, rest / c.parts, rest % c.parts, block / tap_blocks * kWeightBlockRows,
                           block % tap_blocks * kWeightBlockTaps);
    }
  });
  if (c.parts == 1) return;
  const std::int64_t size = c.groups * c.out_channels * c.taps();
  const T* partial = static_cast<const T*>(c.partial_sums);
  T* weight = static_cast<T*>(c.weight);
  parallel_for(size, 4096, [&](std::int64_t begin, std::int64_t end) {
    std::copy(partial + begin, partial + end, weight + begin);
    for (std::int64_t part = 1; part < c.parts; ++part)
      for (std::int64_t i = begin; i < end; ++i) weight[i] += partial[part * size + i];
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
