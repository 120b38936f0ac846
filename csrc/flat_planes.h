// Depthwise convolution of small planes: rows without gaps, and masks where they meet.
//
// A plane of a few rows lies in memory as one short array, and so does the result. Seen through a
// tap, it is that array shifted; a lane whose shifted column would lie in the row before or behind
// is masked out, and rows of zeros lie above and below. So a vector holds pieces of several rows
// and no row is copied by itself. With stride 2 the plane is sorted into its four phases first.
// Several images are computed side by side, with one broadcast weight. Included once per
// instruction set.
#pragma once

#include "conv_epilogue.h"
#include "host_memory.h"
#include "parallel.h"
#include "strips.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The geometry: where the source phases of a plane lie in a buffer, and how long a target phase is.
template <class T>
struct FlatPlanes {
  static constexpr Int kMostVectors = 64;
  static constexpr Int kLargest = 3072;   // elements of a buffered plane
  static constexpr Int kBuffered = 6144;  // of all planes that are buffered together

  StripAxis y, x;
  Int pitch, size;   // of a target phase: its rows are `pitch` long, also those of the sources
  Int vectors;       // the last one ends with the phase and may repeat some of the one before
  Int above, below;  // rows of zeros
  Int origin;        // where the rows of a source phase begin
  Int phase_size, plane_size;
  struct Rows {
    Int first, count, from;  // window row of the first one, and its place in the source
  } rows[4];
  Int first_column, width;  // of a source that is not sorted
  bool swapped;             // phase 0 of the columns holds the odd ones

  FlatPlanes(const Conv2d& c, bool grad)
      : y(grad, c.in_height, c.out_height, c.kernel_height, c.stride_y, c.pad_y, c.dilation_y),
        x(grad, c.in_width, c.out_width, c.kernel_width, c.stride_x, c.pad_x, c.dilation_x) {
    constexpr Int lanes = kLanes<T>;
    pitch = x.count;
    size = y.count * pitch;
    vectors = divide_up(size, lanes);
    above = below = 0;
    Int tallest = 0, left = 0;
    for (const StripAxis::Tap* t = y.tap; t < y.tap + y.taps; ++t) {
      const Int f = t->source_phase, first = y.first(f), height = y.last(f) - first;
      above = std::max(above, first - t->shift);
      below = std::max(below, y.count + t->shift - first - height);
      tallest = std::max(tallest, height);
    }
    for (Int f = 0; f < x.source_step; ++f) left = std::max(left, x.first(f));
    for (Int f = 0; f < y.source_step; ++f) {
      const Int first = y.first(f), row = first * y.source_step + f - y.origin;
      rows[f] = {first, y.last(f) - first, row * x.source};
    }
    first_column = x.first(0) - x.origin;
    width = x.last(0) - x.first(0);
    swapped = x.first(0) * 2 != x.origin;
    origin = divide_up(above * pitch + left, lanes) * lanes;
    phase_size = divide_up(origin + (tallest + below) * pitch + x.reach, lanes) * lanes + 2 * lanes;
    plane_size = y.source_step * x.source_step * phase_size;
  }

  // Whether these kernels are the right ones.
  bool fits(const Conv2d& c) const {
    if (c.out_channels != 1 || c.stride_x > 2 || c.kernel_height > 7 || c.kernel_width > 7)
      return false;
    const Int widest = c.stride_x == 1 ? kLanes<T> / 2 : 2 * kLanes<T>;  // measured
    if (size < kLanes<T> || vectors > kMostVectors) return false;
    if (pitch > widest || plane_size > kLargest) return false;
    for (Int f = 0; f < x.source_step; ++f)
      if (x.last(f) - x.first(f) > pitch) return false;
    return true;
  }

  // Planes are buffered for some images and some neighbouring channels: those of a channel share
  // its weights, those of an image lie side by side in memory.
  Int images(Int batch) const { return std::min<Int>(batch, 8); }
  Int channels(Int batch, Int all) const {
    return std::clamp<Int>(kBuffered / (images(batch) * plane_size), 1, std::min<Int>(8, all));
  }

  Int start(Int vector) const { return std::min(vector * kLanes<T>, size - kLanes<T>); }
  Int target_phases() const { return y.target_phases() * x.target_step; }
  Int target_size() const { return y.target * x.target; }
  Int source_size() const { return y.source * x.source; }
  // Elements that are read behind a plane.
  Int overhang() const {
    return x.source_step == 1 ? 0 : 4 * kLanes<T> * divide_up(pitch, kLanes<T>);
  }

  // Whether a plane may be read in whole vectors although `behind` elements lie behind its start.
  bool reads_safely(Int behind) const { return source_size() + overhang() <= behind; }

  // Sorts a plane into the rows of its phases, between zeros that are there already.
  void fill(const T* from, T* to) const {
    for (Int f = 0; f < y.source_step; ++f, to += x.source_step * phase_size) {
      const T* row = from + rows[f].from;
      if (x.source_step == 1) copy_rows(row, rows[f].count, y.source_step * x.source, to + origin);
      else sort_rows(row, rows[f].count, y.source_step * x.source, to + origin);
    }
  }

  void copy_rows(const T* from, Int rows, Int step, T* to) const {
    from += first_column;
    if (width == pitch && step == pitch) return copy_elements(from, rows * pitch, to);
    for (Int i = 0; i < rows; ++i, from += step, to += pitch) copy_elements(from, width, to);
  }

  static void copy_elements(const T* from, Int count, T* to) {
    constexpr Int lanes = kLanes<T>;
    if (count < lanes) {
      for (Int i = 0; i < count; ++i) to[i] = from[i];
      return;
    }
    for (Int i = 0; i < count - lanes; i += lanes) store(to + i, load(from + i));
    store(to + count - lanes, load(from + count - lanes));  // may overlap the one before
  }

  // Whole vectors are written: the next row overwrites what is too much, zeros the last one's.
  void sort_rows(const T* from, Int rows, Int step, T* to) const {
    constexpr Int lanes = kLanes<T>;
    using Lanes = std::make_integer_sequence<int, lanes>;
    T *even = to + (swapped ? phase_size : 0), *odd = to + (swapped ? 0 : phase_size);
    for (Int i = 0; i < rows; ++i, from += step, even += pitch, odd += pitch)
      for (Int j = 0; j < pitch; j += lanes) {
        const Vec<T> left = load(from + 2 * j), right = load(from + 2 * j + lanes);
        store(even + j, even_lanes<T>(left, right, Lanes{}));
        store(odd + j, odd_lanes<T>(left, right, Lanes{}));
      }
    for (Int i = 0; i < below * pitch + lanes; i += lanes) {
      store(even + i, Vec<T>{});
      store(odd + i, Vec<T>{});
    }
  }

  // Puts the phases of a result together; whole vectors are written as long as there is `space`.
  void merge(const T* tile, Int tile_size, T* to) const {
    Int space = target_size();
    for (Int row = 0; row < y.target; ++row, to += x.target, space -= x.target) {
      const T* from =
          tile + row % y.target_step * x.target_step * tile_size + row / y.target_step * pitch;
      if (x.target_step == 2) copy_pairs(from, from + tile_size, x.target, space, to);
      else copy_elements(from, x.target, to);
    }
  }
};

// The taps, column by column of the filter, and the lanes that see each column.
template <class T>
struct FlatTaps {
  struct Column {
    Int begin, end;  // taps
    const T* mask;   // one vector of bits for each vector of the target; null: all lanes count
  };
  static constexpr Int kMost = 49, kColumns = 7 * 4;

  Int offset[kMost], weight[kMost];
  Column column[kColumns];
  Int begin[9];  // the columns of each target phase
  alignas(64) T masks[7 * FlatPlanes<T>::kMostVectors * kLanes<T>];

  // `once`: every element counts in one vector only.
  FlatTaps(const FlatPlanes<T>& f, bool once) {
    for (Int i = 0; i < f.x.taps; ++i)
      for (Int v = 0; v < f.vectors; ++v)
        store_mask(f, f.x.tap[i], v, once, masks + (i * f.vectors + v) * kLanes<T>);
    Int columns = 0, taps = 0, phase = 0;
    for (Int fy = 0; fy < f.y.target_phases(); ++fy)
      for (Int fx = 0; fx < f.x.target_step; ++fx) {
        begin[phase++] = columns;
        for (Int i = 0; i < f.x.taps; ++i) {
          if (f.x.tap[i].target_phase != fx) continue;
          const Int first = taps;
          for (Int j = 0; j < f.y.taps; ++j)
            if (f.y.tap[j].target_phase == fy) add(f, f.y.tap[j], f.x.tap[i], taps++);
          if (first < taps) column[columns++] = {first, taps, masks + i * f.vectors * kLanes<T>};
          if (first < taps && !once && sees_all(f, f.x.tap[i])) column[columns - 1].mask = nullptr;
        }
      }
    begin[phase] = columns;
  }

  void add(const FlatPlanes<T>& f, const StripAxis::Tap& y, const StripAxis::Tap& x, Int at) {
    const Int phase = y.source_phase * f.x.source_step + x.source_phase;
    offset[at] = phase * f.phase_size + f.origin + (y.shift - f.y.first(y.source_phase)) * f.pitch +
                 x.shift - f.x.first(x.source_phase);
    weight[at] = y.tap * f.x.taps + x.tap;
  }

  static bool sees_all(const FlatPlanes<T>& f, const StripAxis::Tap& x) {
    return f.x.first(x.source_phase) <= x.shift && f.x.last(x.source_phase) - x.shift >= f.pitch;
  }

  static void store_mask(const FlatPlanes<T>& f, const StripAxis::Tap& x, Int vector, bool once,
                         T* to) {
    Bits<T> bits;
    for (int i = 0; i < kLanes<T>; ++i) {
      const Int at = f.start(vector) + i, source = at % f.pitch + x.shift;
      const bool is_new = !once || at >= vector * kLanes<T>;
      const bool inside = source >= f.x.first(x.source_phase) && source < f.x.last(x.source_phase);
      bits[i] = is_new && inside ? -1 : 0;
    }
    store(to, (Vec<T>)bits);
  }
};

// One target phase of kImages planes whose buffers and results lie so far apart. Constant kRows:
// all columns have that many taps.
template <int kImages, int kRows, class T>
[[gnu::noinline]] static void convolve_flat(const FlatPlanes<T>& f, const FlatTaps<T>& taps,
                                            Int phase, const T* source, Int source_step,
                                            const T* weight, T bias, T* to, Int to_step) {
  for (Int v = 0; v < f.vectors; ++v) {
    const Int at = f.start(v);
    Vec<T> sum[kImages];
#pragma GCC unroll 4
    for (int i = 0; i < kImages; ++i) sum[i] = Vec<T>{} + bias;
    for (Int c = taps.begin[phase]; c < taps.begin[phase + 1]; ++c) {
      const auto& column = taps.column[c];
      Vec<T> own[kImages] = {};
      const auto add = [&](Int t) {
        const Vec<T> factor = Vec<T>{} + weight[t];
        const T* x = source + taps.offset[t] + at;
#pragma GCC unroll 4
        for (int i = 0; i < kImages; ++i) own[i] += factor * load(x + i * source_step);
      };
      if constexpr (kRows > 0)
#pragma GCC unroll 7
        for (int r = 0; r < kRows; ++r) add(column.begin + r);
      else
        for (Int t = column.begin; t < column.end; ++t) add(t);
      if (column.mask == nullptr) {
#pragma GCC unroll 4
        for (int i = 0; i < kImages; ++i) sum[i] += own[i];
        continue;
      }
      const auto mask = (Bits<T>)load(column.mask + v * kLanes<T>);
#pragma GCC unroll 4
      for (int i = 0; i < kImages; ++i) sum[i] += masked<T>(own[i], mask);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kImages; ++i) store(to + i * to_step + at, sum[i]);
  }
}

// The forward pass, or the gradient for the inputs.
template <class T>
struct FlatPass {
  const Conv2d& c;
  const FlatPlanes<T>& f;
  const T *source, *bias;
  T* target;
  ConvEpilogue<T> after;

  bool in_place() const { return f.y.target_step == 1 && f.x.target_step == 1; }
  Int tile_size() const { return divide_up(f.size, kLanes<T>) * kLanes<T> + 2 * kLanes<T>; }
  Int tiles() const { return f.y.target_step * f.x.target_step * tile_size(); }

  // The buffered planes of one channel in `images` images from `image` on; its planes lie
  // `plane_step` apart.
  void run_channel(const FlatTaps<T>& taps, Int image, Int images, Int channel, const T* buffer,
                   Int plane_step, T* tile) const {
    T weight[FlatTaps<T>::kMost];
    const T* own = static_cast<const T*>(c.weight) + channel * c.taps();
    for (Int t = 0; t < c.taps(); ++t) weight[t] = own[taps.weight[t]];
    const Int target_step = c.groups * f.target_size();
    T* to = target + image * target_step + channel * f.target_size();
    const T shift = bias ? bias[channel] : T{0};
    for (Int phase = 0; phase < f.target_phases(); ++phase) {
      T* result = in_place() ? to : tile + phase * tile_size();
      convolve(taps, phase, images, buffer, plane_step, weight, shift, result,
               in_place() ? target_step : tiles());
    }
    for (Int i = 0; i < images && after; ++i)
      after.apply(channel, to + i * target_step, f.target_size());
    if (in_place()) return;
    for (Int i = 0; i < images; ++i) f.merge(tile + i * tiles(), tile_size(), to + i * target_step);
  }

  // Buffers the planes of some channels in some images; `spare` has room for one.
  void fill(Int image, Int images, Int channel, Int channels, T* buffer, T* spare) const {
    const Int image_size = c.groups * f.source_size();
    const T* end = source + c.batch * image_size;
    for (Int i = 0; i < images; ++i) {
      const T* from = source + (image + i) * image_size + channel * f.source_size();
      for (Int k = 0; k < channels; ++k, from += f.source_size(), buffer += f.plane_size) {
        const T* plane = from;
        if (!f.reads_safely(end - from)) {
          std::copy_n(from, f.source_size(), spare);
          plane = spare;
        }
        f.fill(plane, buffer);
      }
    }
  }

  void convolve(const FlatTaps<T>& taps, Int phase, Int images, const T* buffer, Int plane_step,
                const T* weight, T shift, T* to, Int to_step) const {
    const bool three = c.kernel_height == 3 && c.stride_y == 1;
    const auto four = three ? convolve_flat<4, 3, T> : convolve_flat<4, 0, T>;
    const auto one = three ? convolve_flat<1, 3, T> : convolve_flat<1, 0, T>;
    Int i = 0;
    for (; i + 4 <= images; i += 4)
      four(f, taps, phase, buffer + i * plane_step, plane_step, weight, shift, to + i * to_step,
           to_step);
    for (; i < images; ++i)
      one(f, taps, phase, buffer + i * plane_step, plane_step, weight, shift, to + i * to_step,
          to_step);
  }

  void run() const {
    const Int images = f.images(c.batch), runs = divide_up(c.batch, images);
    const Int block = f.channels(c.batch, c.groups), planes = images * block * f.plane_size;
    const FlatTaps<T> taps(f, false);
    const Int all = planes + std::max(tiles() * images, f.source_size() + f.overhang());
    constexpr Int task_size = 65536;
    const Int blocks = std::max<Int>(1, task_size / (images * block * f.source_size()));
    const Int channels = std::min(blocks * block, c.groups);  // of a task
    parallel_for(divide_up(c.groups, channels) * runs, 1, [&](Int begin, Int end) {
      T* memory = static_cast<T*>(thread_scratch(static_cast<std::size_t>(all) * sizeof(T)));
      std::fill_n(memory, all, T{0});
      T *buffer = memory, *tile = buffer + planes;
      for (Int task = begin; task < end; ++task) {
        const Int image = task % runs * images, count = std::min(images, c.batch - image);
        const Int first = task / runs * channels, last = std::min(first + channels, c.groups);
        for (Int channel = first; channel < last; channel += block) {
          const Int some = std::min(block, last - channel);
          fill(image, count, channel, some, buffer, tile);
          for (Int k = 0; k < some; ++k)
            run_channel(taps, image, count, channel + k, buffer + k * f.plane_size,
                        some * f.plane_size, tile);
        }
      }
    });
  }
};

// sums[c][r] += output gradients, masked for each of kColumns columns, times inputs, for all
// planes of a run. A masked lane may still meet an input, which is as good unless it is infinite.
template <int kRows, int kColumns, class T>
[[gnu::noinline]] static void add_flat(const FlatPlanes<T>& f, const FlatTaps<T>& taps, Int first,
                                       Int images, const T* source, Int source_step, const T* grad,
                                       Int grad_step, T* sums) {
  constexpr int lanes = kLanes<T>;
  Vec<T> sum[kColumns][kRows];
  const T* x[kColumns][kRows];
#pragma GCC unroll 3
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 7
    for (int r = 0; r < kRows; ++r) {
      sum[c][r] = load(sums + (c * kRows + r) * lanes);
      x[c][r] = source + taps.offset[taps.column[first + c].begin + r];
    }
  for (Int i = 0; i < images; ++i, grad += grad_step)
    for (Int v = 0; v < f.vectors; ++v) {
      const Int at = f.start(v);
      const Vec<T> all = load(grad + at);
#pragma GCC unroll 3
      for (int c = 0; c < kColumns; ++c) {
        const auto mask = (Bits<T>)load(taps.column[first + c].mask + v * lanes);
        const Vec<T> own = masked<T>(all, mask);
#pragma GCC unroll 7
        for (int r = 0; r < kRows; ++r) sum[c][r] += own * load(x[c][r] + i * source_step + at);
      }
    }
#pragma GCC unroll 3
  for (int c = 0; c < kColumns; ++c)
#pragma GCC unroll 7
    for (int r = 0; r < kRows; ++r) store(sums + (c * kRows + r) * lanes, sum[c][r]);
}

// The gradient of the weights.
template <class T>
struct FlatWeightPass {
  const Conv2d& c;
  const FlatPlanes<T>& f;

  void add(const FlatTaps<T>& taps, Int images, const T* buffer, Int step, const T* grad,
           Int grad_step, T* sums) const {
    if (c.kernel_height == 3 && c.kernel_width == 3)
      return add_flat<3, 3>(f, taps, 0, images, buffer, step, grad, grad_step, sums);
    const auto column = c.kernel_height == 1   ? add_flat<1, 1, T>
                        : c.kernel_height == 2 ? add_flat<2, 1, T>
                        : c.kernel_height == 3 ? add_flat<3, 1, T>
                        : c.kernel_height == 4 ? add_flat<4, 1, T>
                        : c.kernel_height == 5 ? add_flat<5, 1, T>
                        : c.kernel_height == 6 ? add_flat<6, 1, T>
                                               : add_flat<7, 1, T>;
    for (Int i = 0; i < c.kernel_width; ++i)
      column(f, taps, i, images, buffer, step, grad, grad_step,
             sums + taps.column[i].begin * kLanes<T>);
  }

  // Sums up the gradients of `channels` channels over the images [first, end).
  void add_images(const FlatTaps<T>& taps, Int channel, Int channels, Int first, Int end, T* buffer,
                  T* spare, T* sums) const {
    const FlatPass<T> pass{c, f, static_cast<const T*>(c.x), nullptr, nullptr, {}};
    const Int grad_step = c.groups * f.target_size(), images = f.images(c.batch);
    T* bias = sums + channels * c.taps() * kLanes<T>;
    for (Int image = first; image < end; image += images) {
      const Int count = std::min(images, end - image);
      pass.fill(image, count, channel, channels, buffer, spare);
      const T* grad = static_cast<const T*>(c.y) + image * grad_step + channel * f.target_size();
      for (Int k = 0; k < channels; ++k) {
        const T* own = grad + k * f.target_size();
        add(taps, count, buffer + k * f.plane_size, channels * f.plane_size, own, grad_step,
            sums + k * c.taps() * kLanes<T>);
        for (Int i = 0; i < count && c.bias_gradient; ++i)
          bias[k] += sum_elements(own + i * grad_step, f.target_size());
      }
    }
  }

  // Adds up the lanes; false if a sum is infinite or NaN.
  bool finish(const FlatTaps<T>& taps, const T* sums, T* weight) const {
    T check = 0;
    for (Int t = 0; t < c.taps(); ++t, sums += kLanes<T>) {
      T total = 0;
      for (int i = 0; i < kLanes<T>; ++i) total += sums[i];
      weight[taps.weight[t]] = total;
      check += T{0} * total;
    }
    return check == 0;
  }

  // False if a result is infinite or NaN: then a masked lane may be the cause.
  bool run() const {
    const Int block = f.channels(c.batch, divide_up(c.groups, 16));
    const FlatTaps<T> taps(f, true);
    const Int sums = block * (c.taps() + 1) * kLanes<T>;
    const Int planes = f.images(c.batch) * block * f.plane_size;
    const Int all = sums + planes + f.source_size() + f.overhang();
    bool invalid = false;
    parallel_for(divide_up(c.groups, block) * c.parts, 1, [&](Int begin, Int end) {
      T* memory = static_cast<T*>(thread_scratch(static_cast<std::size_t>(all) * sizeof(T)));
      std::fill_n(memory, all, T{0});
      T *sum = memory, *buffer = sum + sums;
      for (Int task = begin; task < end; ++task) {
        const Int part = task % c.parts, first = task / c.parts * block;
        const Int channels = std::min(block, c.groups - first);
        std::fill_n(sum, sums, T{0});
        add_images(taps, first, channels, c.batch * part / c.parts, c.batch * (part + 1) / c.parts,
                   buffer, buffer + planes, sum);
        for (Int k = 0; k < channels; ++k)
          if (!finish(taps, sum + k * c.taps() * kLanes<T>,
                      c.weight_of_part<T>(part) + (first + k) * c.taps()))
            __atomic_store_n(&invalid, true, __ATOMIC_RELAXED);
        if (c.bias_gradient)
          std::copy_n(sum + channels * c.taps() * kLanes<T>, channels,
                      c.bias_of_part<T>(part) + first);
      }
    });
    return !invalid;
  }
};

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
