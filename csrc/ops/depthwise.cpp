// Depthwise convolution: per channel, a few shifted copies of its plane times one weight each.
//
// A task takes neighbouring channels and some images. It copies a band of rows into the windows of
// strips.h, where every tap of every target is a constant offset, and walks down the columns one
// vector wide. With stride 1 and square filters a vector of a row is loaded once per tap column and
// used for all targets above and below that see it; otherwise once per tap. Small planes and, with
// AVX-512, 3x3 filters of stride 1 have kernels of their own (flat_planes.h, register_planes.h,
// direct_rows.h).
//   depthwise              y = windows of x * weight
//   depthwise_grad_input   x = windows of y * weight, reversed
//   depthwise_grad_weight  weight = windows of x * y, summed over images, rows and lanes
#include "depthwise.h"

#include "../direct_rows.h"
#include "../flat_planes.h"
#include "../host_memory.h"
#include "../parallel.h"
#include "../register_planes.h"
#include "../strips.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr Int kTableBytes = 16384;  // of weights, or of their gradients, that a task keeps
static constexpr Int kTaskSize = 65536;    // elements

// A column of targets, one vector wide, and where its results go. Lanes beyond the width of the
// plane spill into the next row, which is written later; the last row has a place of its own.
template <class T>
struct Column {
  T* to;
  Int pitch, rows;
  T* last;

  T* at(Int row) const { return row == rows - 1 ? last : to + row * pitch; }
};

// Square filters of kSize rows with stride 1, down one column. Window rows outside [first, last)
// are zeros. sum[i] belongs to target row j - (kSize - 1) + i.
template <int kSize, class T>
[[gnu::noinline]] static void roll(const T* window, Int pitch, Int column_step, Int first, Int last,
                                   const T* weight, Int weight_step, Vec<T> start,
                                   Column<T> column) {
  Vec<T> sum[kSize], kept[kSize * kSize];
#pragma GCC unroll 7
  for (int i = 0; i < kSize; ++i) sum[i] = start;
  if constexpr (kSize == 3) {  // the larger ones do not fit registers
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) kept[t] = load(weight + t * weight_step);
  }
  const auto next_row = [&](Int row) {
    if (row >= 0) store(column.at(row), sum[0]);
#pragma GCC unroll 7
    for (int i = 0; i + 1 < kSize; ++i) sum[i] = sum[i + 1];
    sum[kSize - 1] = start;
  };
  for (Int j = first; j < last; ++j) {
    const T* row = window + j * pitch;
#pragma GCC unroll 7
    for (int s = 0; s < kSize; ++s) {
      const Vec<T> x = load(row + s * column_step);
#pragma GCC unroll 7
      for (int i = 0; i < kSize; ++i) {
        const int t = (kSize - 1 - i) * kSize + s;
        if constexpr (kSize == 3) sum[i] += kept[t] * x;
        else sum[i] += load(weight + t * weight_step) * x;
      }
    }
    next_row(j - (kSize - 1));
  }
  for (Int row = last - (kSize - 1); row < column.rows; ++row) next_row(row);
}

// kRowsAtOnce targets below each other, from `row` on, for any taps.
template <int kRowsAtOnce, class T>
static inline void correlate(const T* window, Int pitch, const Int* offset, Int taps,
                             const T* weight, Int weight_step, Vec<T> start, Int row,
                             const Column<T>& column) {
  Vec<T> sum[kRowsAtOnce];
#pragma GCC unroll 8
  for (int r = 0; r < kRowsAtOnce; ++r) sum[r] = start;
  for (Int t = 0; t < taps; ++t, weight += weight_step) {
    const T* x = window + row * pitch + offset[t];
    const Vec<T> factor = load(weight);
#pragma GCC unroll 8
    for (int r = 0; r < kRowsAtOnce; ++r) sum[r] += factor * load(x + r * pitch);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRowsAtOnce; ++r) store(column.at(row + r), sum[r]);
}

template <class T>
[[gnu::noinline]] static void correlate_rows(const T* window, Int pitch, const Int* offset,
                                             Int taps, const T* weight, Int weight_step,
                                             Vec<T> start, const Column<T>& column) {
  Int row = 0;
  for (; row + 6 <= column.rows; row += 6)
    correlate<6>(window, pitch, offset, taps, weight, weight_step, start, row, column);
  for (; row + 2 <= column.rows; row += 2)
    correlate<2>(window, pitch, offset, taps, weight, weight_step, start, row, column);
  if (row < column.rows)
    correlate<1>(window, pitch, offset, taps, weight, weight_step, start, row, column);
}

// The size of the filter if `roll` takes it, else 0.
static Int rolling_size(const Conv2d& c, const Strips& s) {
  const bool square = c.kernel_height == c.kernel_width && c.stride_y == 1 && c.stride_x == 1;
  const bool simple = square && c.dilation_y == 1 && s.windows == 1;
  return simple && (c.kernel_width == 3 || c.kernel_width == 5 || c.kernel_width == 7)
             ? c.kernel_width
             : 0;
}

// Columns of results meet the lines of memory in an order that the processor does not foresee.
template <class T>
static void fetch_to_write(T* from, Int count) {
  for (Int i = 0; i < count; i += 64 / static_cast<Int>(sizeof(T)))
    __builtin_prefetch(from + i, 1, 2);
}

// Everything about a forward pass or a gradient for the inputs but the task. The source has
// s.windows planes per channel, the target `targets`.
template <class T>
struct StripPass {
  const Conv2d& c;
  const Strips& s;
  const Taps& taps;
  const RowBuilder<T>* builders;
  const T *source, *bias;
  T* target;
  Int targets;
  ConvEpilogue<T> after;

  // One vector of weights per tap stands for all blocks of a wide plane; narrow planes that share
  // a strip need one for every block.
  Int table_blocks() const { return s.planes == 1 ? 1 : s.blocks; }
  Int tap_step() const { return table_blocks() * s.lanes; }
  Int table_size() const { return (targets * taps.count + targets) * tap_step(); }  // bias first

  [[gnu::noinline]] void fill_table(Int strip, T* table) const {
    const T* weight = static_cast<const T*>(c.weight);
    const Int size = tap_step();
    for (Int j = 0; j < targets; ++j)
      for (Int p = 0; p < s.planes; ++p) {
        const Int channel = std::min(strip * s.planes + p, s.channels - 1);
        const Int filter = channel * targets + j;
        T* to = table + j * (taps.count + 1) * size + p * s.plane_pitch;
        const Int count = p + 1 < s.planes ? s.plane_pitch : size - p * s.plane_pitch;
        std::fill_n(to, count, bias ? bias[filter] : T{0});
        for (Int t = 0; t < taps.count; ++t)
          std::fill_n(to += size, count, weight[filter * taps.count + taps.weight[t]]);
      }
  }

  // Target rows [first, first + rows) of each phase, from the windows to `to`.
  [[gnu::noinline]] void compute(const T* window, const T* table, Int first, Int rows, T* to,
                                 Int to_pitch) const {
    const Int size = rolling_size(c, s), phases = s.y.target_phases() * s.x.target_step;
    const bool direct = s.is_direct();
    for (Int phase = 0; phase < phases; ++phase)
      for (Int i = 0; i < s.blocks; ++i) {
        const Int block = i == 0 ? s.blocks - 1 : i - 1;  // first the one that spills
        const Int at = block * s.lanes;
        const T* weight = table + (s.planes == 1 ? 0 : at);
        const bool spills = direct && at + s.lanes > s.x.target;
        alignas(64) T last_row[kLanes<T>];
        Column<T> column = {to + phase * s.tile_size() + at, to_pitch, rows, last_row};
        if (!spills) column.last = column.to + (rows - 1) * to_pitch;
        convolve(size, phase, window + at, weight, first, column);
        if (spills) std::copy_n(last_row, s.x.target - at, column.to + (rows - 1) * to_pitch);
      }
  }

  void convolve(Int size, Int phase, const T* window, const T* weight, Int first,
                const Column<T>& column) const {
    const Int step = tap_step(), begin = taps.begin[phase];
    const Vec<T> start = load(weight);
    weight += step;
    if (size == 0)
      return correlate_rows(window, s.pitch, taps.offset + begin, taps.begin[phase + 1] - begin,
                            weight + begin * step, step, start, column);
    const Int from = std::clamp<Int>(s.y.origin - first, 0, size - 1);
    const Int last = std::clamp<Int>(s.y.source + s.y.origin - first, from, column.rows + size - 1);
    const auto kernel = size == 3 ? roll<3, T> : size == 5 ? roll<5, T> : roll<7, T>;
    kernel(window, s.pitch, c.dilation_x, from, last, weight, step, start, column);
  }

  [[gnu::noinline]] void run_strip(Int image, Int strip, const T* table, T* window, T* tile) const {
    const Int in_plane = s.y.source * s.x.source, out_plane = s.y.target * s.x.target;
    const Int channel = strip * s.planes, planes = std::min(s.planes, s.channels - channel);
    const T* from = source + (image * s.channels + channel) * s.windows * in_plane;
    const T* end = source + c.batch * s.channels * s.windows * in_plane;
    for (Int first = 0; first < s.y.count; first += s.rows) {
      const Int rows = std::min(s.rows, s.y.count - first);
      T* to = target + (image * s.channels + channel) * targets * out_plane;
      if (s.is_direct()) fetch_to_write(to + first * s.x.target, rows * s.x.target);
      fill_windows(s, builders, from, planes, s.windows * in_plane, first, source, end, window);
      for (Int j = 0; j < targets; ++j, to += out_plane) {
        const T* weight = table + j * (taps.count + 1) * tap_step();
        if (s.is_direct()) {
          compute(window, weight, first, rows, to + first * s.x.target, s.x.target);
          continue;
        }
        compute(window, weight, first, rows, tile, s.pitch);
        empty_tile(s, tile, planes, targets * out_plane, first, to);
      }
    }
    for (Int i = channel * targets; i < (channel + planes) * targets && after; ++i)
      after.apply(i, target + (image * s.channels * targets + i) * out_plane, out_plane);
  }

  void run() const {
    const Int strips = s.strips(), table = table_size(), image_size = s.y.target * s.x.target;
    const Int bytes = static_cast<Int>(sizeof(T));
    const Int per_task = std::clamp<Int>(kTableBytes / (table * bytes), 1, strips);
    const Int of_image = per_task * s.planes * targets * image_size;
    const Int images = std::clamp<Int>(kTaskSize / of_image, 1, c.batch);
    const Int runs = divide_up(c.batch, images);
    parallel_for(divide_up(strips, per_task) * runs, 1, [&](Int begin, Int end) {
      const Int elements = per_task * table + s.window_elements() + s.tile_elements();
      T* tables = static_cast<T*>(thread_scratch(static_cast<std::size_t>(elements * bytes)));
      T* window = tables + per_task * table;
      std::fill_n(window, s.window_elements() + s.tile_elements(), T{0});
      for (Int task = begin; task < end; ++task) {
        const Int first = task / runs * per_task, last = std::min(first + per_task, strips);
        for (Int i = first; i < last; ++i) fill_table(i, tables + (i - first) * table);
        const Int stop = std::min((task % runs + 1) * images, c.batch);
        for (Int image = task % runs * images; image < stop; ++image)
          for (Int i = first; i < last; ++i)
            run_strip(image, i, tables + (i - first) * table, window, window + s.window_elements());
      }
    });
  }
};

// sum[r][s] += output row j - r times window row j, shifted by s: kColumns columns of a square
// filter of kSize rows, down one column of vectors. Window rows outside [first, last) are zeros.
template <int kSize, int kColumns, class T>
[[gnu::noinline]] static void roll_weight(const T* window, Int pitch, Int column_step, Int first,
                                          Int last, const T* y, Int y_pitch, Int rows, T* total,
                                          Int total_step) {
  Vec<T> sum[kSize][kColumns], of_row[kSize];
  const auto for_each_sum = [&](const auto& visit) {
#pragma GCC unroll 7
    for (int r = 0; r < kSize; ++r)
#pragma GCC unroll 7
      for (int s = 0; s < kColumns; ++s) visit(sum[r][s], total + (r * kSize + s) * total_step);
  };
  for_each_sum([](Vec<T>& value, T* at) { value = load(at); });
#pragma GCC unroll 7
  for (int r = 0; r < kSize; ++r)
    of_row[r] =
        first - 1 - r >= 0 && first - 1 - r < rows ? load(y + (first - 1 - r) * y_pitch) : Vec<T>{};
  const auto next = [&](Int j, const auto& exists) {
#pragma GCC unroll 7
    for (int r = kSize - 1; r > 0; --r) of_row[r] = of_row[r - 1];
    if (exists(0)) of_row[0] = load(y + j * y_pitch);
    Vec<T> x[kColumns];
#pragma GCC unroll 7
    for (int s = 0; s < kColumns; ++s) x[s] = load(window + j * pitch + s * column_step);
#pragma GCC unroll 7
    for (int r = 0; r < kSize; ++r)
      if (exists(r))
#pragma GCC unroll 7
        for (int s = 0; s < kColumns; ++s) sum[r][s] += of_row[r] * x[s];
  };
  Int j = first;  // near the edges not all output rows exist
  const auto edge = [&](int r) { return j - r >= 0 && j - r < rows; };
  for (; j < std::min<Int>(kSize - 1, last); ++j) next(j, edge);
  for (; j < std::min(rows, last); ++j) next(j, [](int) { return true; });
  for (; j < last; ++j) next(j, edge);
  for_each_sum([](const Vec<T>& value, T* at) { store(at, value); });
}

// sum[i] += output row times window row at offset[i], for kTaps taps and all rows.
template <int kTaps, class T>
static void correlate_weight(const T* window, Int pitch, const Int* offset, const T* y, Int y_pitch,
                             Int rows, T* total, Int total_step) {
  Vec<T> sum[kTaps];
  const T* x[kTaps];
#pragma GCC unroll 8
  for (int i = 0; i < kTaps; ++i) sum[i] = load(total + i * total_step), x[i] = window + offset[i];
  for (Int row = 0; row < rows; ++row) {
    const Vec<T> factor = load(y + row * y_pitch);
    const Int at = row * pitch;
#pragma GCC unroll 8
    for (int i = 0; i < kTaps; ++i) sum[i] += factor * load(x[i] + at);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTaps; ++i) store(total + i * total_step, sum[i]);
}

// The gradient of the weights. Every lane of every block sums for itself, over rows and images;
// at the end the lanes of each plane are added up.
template <class T>
struct WeightPass {
  const Conv2d& c;
  const Strips& s;
  const Taps& taps;
  const RowBuilder<T>*builders, *output_builder;

  // The blocks of a wide plane share their sums, but for the last one: not all its lanes count.
  Int total_blocks() const { return s.planes == 1 ? std::min<Int>(s.blocks, 2) : s.blocks; }
  Int total_block(Int block) const {
    return s.planes == 1 ? (block == s.blocks - 1 ? total_blocks() - 1 : 0) : block;
  }
  Int tap_step() const { return total_blocks() * s.lanes; }
  Int table_size() const { return c.out_channels * taps.count * tap_step(); }

  void add(const T* window, Int first, Int rows, const T* y, Int y_pitch, T* total) const {
    const Int size = rolling_size(c, s), step = tap_step();
    const Int from = std::clamp<Int>(s.y.origin - first, 0, std::max<Int>(size - 1, 0));
    const Int last = std::clamp<Int>(s.y.source + s.y.origin - first, from, rows + size - 1);
    for (Int b = 0; b < s.blocks; ++b) {
      const Int at = b * s.lanes;
      T* sum = total + total_block(b) * s.lanes;
      const auto roll_columns = [&](const auto& kernel, Int column) {
        kernel(window + at + column * c.dilation_x, s.pitch, c.dilation_x, from, last, y + at,
               y_pitch, rows, sum + column * step, step);
      };
      constexpr bool many_registers = TILEGRAD_VECTOR_BYTES == 64;
      constexpr int columns = many_registers ? 5 : 1, columns_of_7 = many_registers ? 3 : 1;
      if (size == 3) {
        roll_columns(roll_weight<3, 3, T>, 0);
      } else if (size == 5) {
        for (Int i = 0; i < 5; i += columns) roll_columns(roll_weight<5, columns, T>, i);
      } else if (size == 7) {
        for (Int i = 0; i + columns_of_7 <= 6; i += columns_of_7)
          roll_columns(roll_weight<7, columns_of_7, T>, i);
        roll_columns(roll_weight<7, 1, T>, 6);
      } else {
        Int t = 0;
        for (; t + 8 <= taps.count; t += 8)
          correlate_weight<8>(window + at, s.pitch, taps.offset + t, y + at, y_pitch, rows,
                              sum + t * step, step);
        for (; t + 3 <= taps.count; t += 3)
          correlate_weight<3>(window + at, s.pitch, taps.offset + t, y + at, y_pitch, rows,
                              sum + t * step, step);
        for (; t < taps.count; ++t)
          correlate_weight<1>(window + at, s.pitch, taps.offset + t, y + at, y_pitch, rows,
                              sum + t * step, step);
      }
    }
  }

  // `bias`: of the strip's filters, where the sums of their gradients are added.
  [[gnu::noinline]] void run_strip(Int image, Int strip, T* total, T* bias, T* window,
                                   T* tile) const {
    const Int in_plane = s.y.source * s.x.source, out_plane = s.y.target * s.x.target;
    const Int channel = strip * s.planes, planes = std::min(s.planes, s.channels - channel);
    const T *x = static_cast<const T*>(c.x), *x_end = x + c.batch * s.channels * in_plane;
    const T* y = static_cast<const T*>(c.y);
    const T* y_end = y + c.batch * s.channels * c.out_channels * out_plane;
    const T* x_first = x + (image * s.channels + channel) * in_plane;
    const T* y_first = y + (image * s.channels + channel) * c.out_channels * out_plane;
    for (Int first = 0; first < s.y.count; first += s.rows) {
      const Int rows = std::min(s.rows, s.y.count - first);
      fill_windows(s, builders, x_first, planes, in_plane, first, x, x_end, window);
      for (Int j = 0; j < c.out_channels; ++j) {
        T* sum = total + j * taps.count * tap_step();
        const T* from = y_first + j * out_plane + first * s.x.target;
        const bool in_place =
            planes == 1 && s.planes == 1 &&
            y_end - from >= (rows - 1) * s.x.target + s.blocks * s.lanes;  // reads whole vectors
        if (in_place) {
          add(window, first, rows, from, s.x.target, sum);
          continue;
        }
        output_builder->build(tile, from, rows, s.x.target, planes, c.out_channels * out_plane, y,
                              y_end);
        add(window, first, rows, tile, s.pitch, sum);
      }
    }
    for (Int i = 0; i < planes * c.out_channels && c.bias_gradient; ++i)
      bias[i] += sum_elements(y_first + i * out_plane, out_plane);
  }

  // Adds up the lanes; `weight` is the whole gradient or one part of it.
  void finish(Int strip, const T* total, T* weight) const {
    const Int channel = strip * s.planes, planes = std::min(s.planes, s.channels - channel);
    for (Int j = 0; j < c.out_channels; ++j)
      for (Int t = 0; t < taps.count; ++t, total += tap_step())
        for (Int p = 0; p < planes; ++p) {
          T sum = 0;
          if (s.planes > 1) {
            for (Int i = 0; i < s.x.target; ++i) sum += total[p * s.plane_pitch + i];
          } else {
            const Int valid = s.x.target - (s.blocks - 1) * s.lanes;  // of the last block
            for (Int i = 0; i < tap_step() - s.lanes + valid; ++i) sum += total[i];
          }
          weight[((channel + p) * c.out_channels + j) * taps.count + taps.weight[t]] = sum;
        }
  }

  void run() const {
    const Int strips = s.strips(), table = table_size(), bytes = static_cast<Int>(sizeof(T));
    const Int shared = std::max<Int>(1, strips / 16);  // leaves work for 16 threads
    const Int per_task = std::min(shared, std::max<Int>(1, kTableBytes / (table * bytes)));
    const Int filters = s.planes * c.out_channels;  // of a strip
    parallel_for(divide_up(strips, per_task) * c.parts, 1, [&](Int begin, Int end) {
      const Int tables = per_task * (table + filters);
      const Int elements = tables + s.window_elements() + s.tile_elements();
      T* totals = static_cast<T*>(thread_scratch(static_cast<std::size_t>(elements * bytes)));
      T *biases = totals + per_task * table, *window = totals + tables;
      for (Int task = begin; task < end; ++task) {
        const Int part = task % c.parts, first = task / c.parts * per_task;
        const Int last = std::min(first + per_task, strips);
        std::fill_n(totals, elements, T{0});
        for (Int image = c.batch * part / c.parts; image < c.batch * (part + 1) / c.parts; ++image)
          for (Int i = first; i < last; ++i)
            run_strip(image, i, totals + (i - first) * table, biases + (i - first) * filters,
                      window, window + s.window_elements());
        for (Int i = first; i < last; ++i)
          finish(i, totals + (i - first) * table, c.weight_of_part<T>(part));
        if (c.bias_gradient)
          std::copy_n(biases,
                      std::min(last * filters, s.channels * c.out_channels) - first * filters,
                      c.bias_of_part<T>(part) + first * filters);
      }
    });
  }
};

template <class T>
static void add_parts(const Conv2d& c) {
  if (c.parts == 1) return;
  const Int filters = c.groups * c.out_channels;
  const auto add = [&](const T* part, Int size, T* total) {
    std::copy_n(part, size, total);
    for (Int i = 1; i < c.parts; ++i)
      for (Int j = 0; j < size; ++j) total[j] += part[i * size + j];
  };
  add(c.weight_of_part<T>(0), filters * c.taps(), static_cast<T*>(c.weight));
  if (c.bias_gradient) add(c.bias_of_part<T>(0), filters, static_cast<T*>(c.bias_gradient));
}

template <class T>
static void prepare_builders(const Strips& s, RowBuilder<T>* builders) {
  for (Int f = 0; f < s.x.source_step; ++f)
    builders[f].prepare(s, s.x.first(f), s.x.last(f), s.x.source_step, f - s.x.origin);
}

template <class T>
static void run_depthwise(const Conv2d& c, bool grad) {
  const T* source = static_cast<const T*>(grad ? c.y : c.x);
  const T* bias = grad ? nullptr : static_cast<const T*>(c.bias);
  T* target = static_cast<T*>(grad ? c.x : c.y);
  if constexpr (TILEGRAD_VECTOR_BYTES == 64)
    if (RegisterPlanes<T>::fits(c)) return register_convolve(c, source, grad, bias, target);
  if constexpr (TILEGRAD_VECTOR_BYTES == 64)
    if (DirectRows<T>::fits(c)) return direct_convolve(c, source, grad, bias, target);
  const ConvEpilogue<T> after = grad ? ConvEpilogue<T>{} : ConvEpilogue<T>::of(c);
  const FlatPlanes<T> flat(c, grad);
  if (flat.fits(c)) return FlatPass<T>{c, flat, source, bias, target, after}.run();
  const Strips s(c, grad, kLanes<T>);
  const Taps taps(s);
  RowBuilder<T> builders[4];
  prepare_builders(s, builders);
  StripPass<T> pass{c, s, taps, builders};
  pass.source = source;
  pass.bias = bias;
  pass.target = target;
  pass.targets = grad ? 1 : c.out_channels;
  pass.after = after;
  pass.run();
}

template <class T>
static void run_weight(const Conv2d& c) {
  if constexpr (TILEGRAD_VECTOR_BYTES == 64)
    if (RegisterPlanes<T>::fits(c) && register_correlate<T>(c)) return add_parts<T>(c);
  if constexpr (TILEGRAD_VECTOR_BYTES == 64)
    if (DirectRows<T>::fits(c)) return direct_correlate<T>(c), add_parts<T>(c);
  const FlatPlanes<T> flat(c, false);
  if (flat.fits(c) && FlatWeightPass<T>{c, flat}.run()) return add_parts<T>(c);
  const Strips s(c, false, kLanes<T>);
  const Taps taps(s);
  RowBuilder<T> builders[4], output_builder;
  prepare_builders(s, builders);
  output_builder.prepare(s, 0, s.x.target, 1, 0);
  WeightPass<T>{c, s, taps, builders, &output_builder}.run();
  add_parts<T>(c);
}

void depthwise(const Conv2d& args) {
  if (args.dtype == DType::float32) return run_depthwise<float>(args, false);
  run_depthwise<double>(args, false);
}

void depthwise_grad_input(const Conv2d& args) {
  if (args.dtype == DType::float32) return run_depthwise<float>(args, true);
  run_depthwise<double>(args, true);
}

void depthwise_grad_weight(const Conv2d& args) {
  if (args.dtype == DType::float32) return run_weight<float>(args);
  run_weight<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
