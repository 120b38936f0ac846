// Convolution by Winograd's transforms: which sizes profit, blocking, the passes over the tiles.
//
// A task takes a chunk of tiles that fits L2 and transforms its inputs to 36 matrices, one per
// point: (tiles, channels). Each is multiplied with that point's matrix of filters, and what comes
// out is transformed back, a panel of filters at a time. The gradient of the filters multiplies
// the transformed inputs with transformed output gradients instead and sums over the tiles.
// float32 only: the transforms cost a digit of accuracy. Included once per instruction set.
#pragma once

#include <cstdlib>

#include "cache_size.h"
#include "conv_epilogue.h"
#include "host_memory.h"
#include "parallel.h"
#include "patches.h"
#include "winograd.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr int kLaneCount = kLanes<float>;
static constexpr Int kGap = kLaneCount;  // between matrices, lest their rows share a cache set

// Some rows of tiles, counted through all images, and some columns of each.
struct Chunk {
  Int row, rows, column, columns;
  Int tiles() const { return rows * columns; }
};

// The tiles of all images, cut into chunks. Depends on sizes only.
struct Tiles {
  Int outputs, down, across, all_rows;  // tiles of an image are `down` x `across`
  Int rows, columns, stacks, segments;  // of a full chunk, and how many chunks lie each way

  Tiles(const Pass& p, const Scheme& scheme, Int target)
      : outputs(scheme.outputs),
        down((p.y.out + outputs - 1) / outputs),
        across((p.x.out + outputs - 1) / outputs),
        all_rows(p.batch * down) {
    segments = (across + target - 1) / target;
    columns = (across + segments - 1) / segments;
    rows = std::clamp<Int>(target / columns, 1, all_rows);
    stacks = (all_rows + rows - 1) / rows;
  }

  Int chunks() const { return stacks * segments; }
  Int most() const { return round_up(rows * columns, kTileRows); }
  Chunk at(Int index) const {
    const Int row = index / segments * rows, column = index % segments * columns;
    return {row, std::min(rows, all_rows - row), column, std::min(columns, across - column)};
  }

  // visit(image, first row of tiles, end, slot of the first tile) for each image of a chunk.
  template <class Visit>
  void for_each_image(const Chunk& chunk, const Visit& visit) const {
    for (Int row = chunk.row; row < chunk.row + chunk.rows;) {
      const Int image = row / down, first = row % down;
      const Int end = std::min(down, first + chunk.row + chunk.rows - row);
      visit(image, first, end, (row - chunk.row) * chunk.columns);
      row += end - first;
    }
  }
};

// Tiles for one chunk, for so many channels at 36 points: few enough that they stay in an L2 of 1
// MB, enough to use each filter often. (Tile rows of the micro-kernel divide these numbers.)
static inline Int chunk_tiles(Int channels) { return std::clamp<Int>(192 / channels, 2, 12) * 12; }

// The same where results do not depend on it: a larger L2 holds more of them.
static inline Int chunk_tiles_here(Int channels) {
  constexpr Int bytes_of_tile = kSquare * sizeof(float);
  const Int most = second_cache_bytes() * 2 / 3 / (bytes_of_tile * channels) / 12 * 12;
  return std::max(chunk_tiles(channels), std::min<Int>(most, 48));
}

// Room for the pixels of kLanes channels that a chunk reads or writes.
static inline Int chunk_pixels(const Tiles& tiles, const Scheme& scheme) {
  const Int step = std::max(scheme.in_step, scheme.outputs);
  const Int overlap = std::max(scheme.in_size - scheme.in_step, 0);
  return (tiles.rows * step + overlap * (tiles.rows / tiles.down + 2)) *
         (tiles.columns * step + overlap) * kLaneCount;
}

// Whether one of `count` vectors holds an infinity or NaN.
static inline bool any_invalid(const float* vectors, Int stride, Int count) {
  Vec<float> sum{};
  for (Int i = 0; i < count; ++i) sum += 0.0f * load(vectors + i * stride);
  float total = 0;
  for (int i = 0; i < kLaneCount; ++i) total += sum[i];
  return !(total == 0);
}

// The n x n pixels at (y, x), rows and columns counted in `inside`; those that lie
// outside it are zeros, put together with the others in `patch`.
static inline Pixels<const float> tile_at(const Pixels<const float>& from, const Region& inside,
                                          Int y, Int x, Int n, float* patch) {
  if (y >= inside.y0 && y + n <= inside.y1 && x >= inside.x0 && x + n <= inside.x1)
    return {from.at(y - inside.y0, x - inside.x0), from.row_stride, from.pixel_stride};
  for (Int i = 0; i < n; ++i)
    for (Int j = 0; j < n; ++j) {
      const bool valid =
          y + i >= inside.y0 && y + i < inside.y1 && x + j >= inside.x0 && x + j < inside.x1;
      store(patch + (i * n + j) * kLaneCount,
            valid ? load(from.at(y + i - inside.y0, x + j - inside.x0)) : Vec<float>{});
    }
  return {patch, n * kLaneCount, kLaneCount};
}

// Calls transform(pixels, place) for every tile of a chunk and every block of channels
// [first, first + count) of the images. Tiles start `step` pixels apart, at -pad, and read n x n.
// Tile t and channel c of the group go to matrix[t * row_size + c].
template <class Transform>
static void transform_chunk(const Images<const float>& x, const Tiles& tiles, const Chunk& chunk,
                            Int first, Int count, Int step, Int n, Int pad_y, Int pad_x,
                            Int row_size, float* matrix, float* buffer,
                            const Transform& transform) {
  alignas(64) float patch[9 * 9 * kLaneCount];
  const Int x_first = chunk.column * step - pad_x;
  tiles.for_each_image(chunk, [&](Int image, Int row, Int end, Int slot) {
    const Int y_first = row * step - pad_y;
    const Region inside{std::clamp<Int>(y_first, 0, x.height),
                        std::clamp<Int>((end - 1) * step - pad_y + n, 0, x.height),
                        std::clamp<Int>(x_first, 0, x.width),
                        std::clamp<Int>(x_first + (chunk.columns - 1) * step + n, 0, x.width)};
    for (Int block = 0; block * kLaneCount < count; ++block) {
      const Int channel = block_start<float>(block, count);
      const auto pixels = read_pixels(x, image, first + channel, inside, buffer);
      float* to = matrix + slot * row_size + channel;
      for (Int i = 0; i < end - row; ++i)
        for (Int j = 0; j < chunk.columns; ++j, to += row_size)
          transform(tile_at(pixels, inside, y_first + i * step, x_first + j * step, n, patch), to);
    }
  });
}

// y, (kRowCount, kVectors * kLanes), (+)= x @ panel for rows of x that lie `stride` apart. Four
// pointers and two multiples of the stride reach twelve rows: more would not fit the registers.
// Meanwhile the panel of the next matrix is fetched into L2, `next_step` elements in each step.
template <int kRowCount, int kVectors>
[[gnu::noinline]] static void multiply_strided(Int inner, const float* x, Int stride,
                                               const float* panel, float* y, bool accumulate,
                                               const float* next, Int next_step) {
  Vec<float> sum[kRowCount][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRowCount; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Vec<float>{};
  const float* rows[(kRowCount + 2) / 3];
#pragma GCC unroll 4
  for (int i = 0; i < (kRowCount + 2) / 3; ++i) rows[i] = x + 3 * i * stride;
  for (Int k = 0; k < inner; ++k, panel += kVectors * kLaneCount, next += next_step) {
    __builtin_prefetch(next, 0, 2);
    Vec<float> right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) right[v] = load(panel + v * kLaneCount);
#pragma GCC unroll 16
    for (int i = 0; i < kRowCount; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[i][v] += rows[i / 3][k + i % 3 * stride] * right[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRowCount; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* to = y + (i * kVectors + v) * kLaneCount;
      store(to, accumulate ? load(to) + sum[i][v] : sum[i][v]);
    }
}

static constexpr int kTwoThirds = std::max(kTileRows * 2 / 3, 2),
                     kThird = std::max(kTileRows / 3, 1);

// Calls multiply(constant number of rows, first row) until `rows` rows are covered, and few more.
template <class Multiply>
static inline void for_each_row_tile(Int rows, const Multiply& multiply) {
  Int i = 0;
  for (; rows - i > kTwoThirds; i += kTileRows)
    multiply(std::integral_constant<int, kTileRows>{}, i);
  if (rows - i > kThird) multiply(std::integral_constant<int, kTwoThirds>{}, i);
  else if (rows > i) multiply(std::integral_constant<int, kThird>{}, i);
}

// Channels of a panel of the packed filters that starts at block `block` of all.
static inline Int panel_vectors(Int block, Int blocks) { return std::min<Int>(2, blocks - block); }

// Elements of a panel of filters at the 36 points: matrices (in_channels, panel), kGap apart.
static inline Int panel_size(const Pass& p) {
  return kSquare * (p.in_channels * 2 * kLaneCount + kGap);
}

// The filters of a pass. They lie `across` elements apart in `weight`, their channels `along`.
struct Filters {
  const float* weight;
  Int across, along, group_stride;

  // Room that `transform` needs.
  static Int memory(const Pass& p) { return p.in_channels * p.y.taps * p.x.taps * kLaneCount; }

  // Writes a panel of two vectors of filters, or one at the end, at the 36 points.
  void transform(const Pass& p, const Scheme& scheme, Int group, Int panel, float* to,
                 float* memory) const {
    const Int blocks = (p.out_channels + kLaneCount - 1) / kLaneCount, taps = p.y.taps * p.x.taps;
    const Int vectors = panel_vectors(panel * 2, blocks), width = vectors * kLaneCount;
    const Int step = p.x.taps * kLaneCount;
    for (Int v = 0; v < vectors; ++v, to += kLaneCount) {
      const Int first = block_start<float>(panel * 2 + v, p.out_channels);
      read(weight + group * group_stride + first * across, p.in_channels, taps, memory);
      for (Int c = 0; c < p.in_channels; ++c) {
        const float* own = memory + c * taps * kLaneCount;
        const Pixels<const float> tile =
            p.x.tap_step < 0
                ? Pixels<const float>{own + (taps - 1) * kLaneCount, -step, -kLaneCount}
                : Pixels<const float>{own, step, kLaneCount};
        scheme.transform_filter(tile, to + c * width, p.in_channels * width + kGap);
      }
    }
  }

  // to[(c * taps + t) * kLanes + i] = tap t of channel c of filter i.
  void read(const float* from, Int channels, Int taps, float* to) const {
    if (along == taps) return gather_lanes(from, across, channels * taps, to);
    for (Int c = 0; c < channels; ++c, from += along)
      for (Int t = 0; t < taps; ++t, to += kLaneCount)
        for (Int i = 0; i < kLaneCount; ++i) to[i] = from[i * across + t];
  }
};

struct WinogradForward {
  Pass p;
  Scheme scheme;
  Images<const float> x;
  Images<float> y;
  Filters filters;
  const float* packed;  // the filters at the points; null: each task transforms its own
  const float* bias;
  Tiles tiles;
  Int blocks;  // of filters
  ConvEpilogue<float> after;

  // Elements between the matrices of two points.
  Int input_matrix() const { return tiles.most() * p.in_channels + kGap; }
  Int output_matrix() const { return tiles.most() * 2 * kLaneCount + kGap; }

  Int panels() const { return (blocks + 1) / 2; }

  bool run_chunk(const Chunk& chunk, Int group, Int first_panel, Int end_panel) const {
    const Int slack = kTileRows * p.in_channels;
    const Int elements = scheme.inputs() * input_matrix() + slack +
                         scheme.products() * output_matrix() + chunk_pixels(tiles, scheme) +
                         (packed ? 0 : panel_size(p) + Filters::memory(p));
    auto* inputs = static_cast<float*>(thread_scratch(elements * sizeof(float)));
    float* outputs = inputs + scheme.inputs() * input_matrix() + slack;
    float* buffer = outputs + scheme.products() * output_matrix();
    float* own_filters = buffer + chunk_pixels(tiles, scheme);
    transform_chunk(x, tiles, chunk, group * p.in_channels, p.in_channels, scheme.in_step,
                    scheme.in_size, p.y.pad, p.x.pad, p.in_channels, inputs, buffer,
                    [&](const Pixels<const float>& tile, float* to) {
                      scheme.transform_input(tile, to, input_matrix());
                    });
    clear_behind(chunk.tiles(), inputs);
    bool valid = true;
    for (Int panel = first_panel; panel < end_panel; ++panel) {
      const Int vectors = panel_vectors(panel * 2, blocks);
      const float* filter =
          packed ? packed + (group * panels() + panel) * panel_size(p) : own_filters;
      if (!packed)
        filters.transform(p, scheme, group, panel, own_filters, own_filters + panel_size(p));
      multiply(chunk, vectors, inputs, filter, outputs);
      for (Int v = 0; v < vectors; ++v) {
        const Int channel = block_start<float>(panel * 2 + v, p.out_channels);
        valid &= write_block(chunk, group * p.out_channels + channel, outputs + v * kLaneCount,
                             vectors * kLaneCount, buffer);
      }
    }
    return valid;
  }

  // Tiles of the micro-kernel also read the rows behind the last tile of outputs. What was left
  // there may be numbers below the normal ones, which cost some processors more than a hundred
  // cycles each.
  void clear_behind(Int count, float* inputs) const {
    const Int rows = round_up(count, kTileRows) - count;
    for (int u = 0; u < scheme.inputs(); ++u)
      std::fill_n(inputs + u * input_matrix() + count * p.in_channels, rows * p.in_channels, 0.0f);
  }

  void multiply(const Chunk& chunk, Int vectors, const float* inputs, const float* filter,
                float* outputs) const {
    const Int width = vectors * kLaneCount, channels = p.in_channels;
    const Int row_tiles = (chunk.tiles() + kTileRows - 1) / kTileRows;
    const Int next_step = (width + row_tiles - 1) / row_tiles;
    for (int u = 0; u < scheme.inputs(); ++u) {
      const float* from = inputs + u * input_matrix();
      const float* right = filter + scheme.filter(u) * (channels * width + kGap);
      const bool last = u + 1 == scheme.inputs();
      const float* next =
          last ? filter + panel_size(p) : filter + scheme.filter(u + 1) * (channels * width + kGap);
      float* to = outputs + scheme.output(u) * output_matrix();
      const bool accumulate = !scheme.first_part(u);
      for_each_row_tile(chunk.tiles(), [&](auto rows, Int i) {
        const auto multiply_tile_rows =
            vectors == 2 ? multiply_strided<rows(), 2> : multiply_strided<rows(), 1>;
        multiply_tile_rows(channels, from + i * channels, channels, right, to + i * width,
                           accumulate, next + i / kTileRows * channels * next_step, next_step);
      });
    }
  }

  // Transforms kLanes channels of a chunk's results back and writes them; false if one of them is
  // infinite or NaN.
  bool write_block(const Chunk& chunk, Int channel, const float* outputs, Int width,
                   float* buffer) const {
    alignas(64) float patch[8 * 8 * kLaneCount];
    const Int n = scheme.outputs;
    const Vec<float> shift = bias ? load(bias + channel) : Vec<float>{};
    bool valid = true;
    tiles.for_each_image(chunk, [&](Int image, Int row, Int end, Int slot) {
      const Region region{row * n, std::min(end * n, p.y.out), chunk.column * n,
                          std::min((chunk.column + chunk.columns) * n, p.x.out)};
      const auto pixels = place_pixels(y, image, channel, region, buffer);
      const float* from = outputs + slot * width;
      for (Int i = 0; i < region.rows(); i += n)
        for (Int j = 0; j < region.columns(); j += n, from += width) {
          const Int rows = std::min<Int>(n, region.rows() - i);
          const Int columns = std::min<Int>(n, region.columns() - j);
          const bool whole = rows == n && columns == n;
          const Pixels<float> to{pixels.at(i, j), pixels.row_stride, pixels.pixel_stride};
          const Pixels<float> own{patch, n * kLaneCount, kLaneCount};
          scheme.transform_output(from, output_matrix(), shift, whole ? to : own);
          if (whole) continue;
          for (Int k = 0; k < rows; ++k)
            for (Int l = 0; l < columns; ++l) store(to.at(k, l), load(own.at(k, l)));
        }
      for (Int i = 0; i < region.rows(); ++i)
        valid = valid && !any_invalid(pixels.at(i, 0), pixels.pixel_stride, region.columns());
      write_pixels(y, image, channel, region, buffer);
      if (after) finish(image, channel, region);
    });
    return valid;
  }

  // Applies what follows to kLanes channels of a region.
  void finish(Int image, Int channel, const Region& region) const {
    for (Int k = channel; k < channel + kLaneCount; ++k) {
      float* to = y.data + image * y.image_size() + k * y.plane() + region.x0;
      if (region.columns() == y.width)
        after.apply(k, to + region.y0 * y.width, region.rows() * y.width);
      else
        for (Int row = region.y0; row < region.y1; ++row)
          after.apply(k, to + row * y.width, region.columns());
    }
  }
};

// Whether an axis is that of a scheme: all taps of a filter, one after the other, and outputs that
// are a whole array (an input gradient with a stride comes in parts, of every second tap and
// input).
static inline bool fits_scheme(const Axis& a, Int taps, Int stride) {
  return a.taps == taps && a.stride == stride && a.dilation == 1 && std::abs(a.tap_step) == 1 &&
         a.out == a.size;
}

static inline bool fits_scheme(const Pass& p, Int taps, Int stride) {
  return fits_scheme(p.y, taps, stride) && fits_scheme(p.x, taps, stride);
}

// Whether the transforms pay: enough channels to multiply, and tiles that are mostly filled.
static bool winograd_wins(const Pass& p, const Scheme& scheme) {
  if (p.in_channels < 16 || p.out_channels < 16) return false;
  const Tiles tiles(p, scheme, 1);
  const Int count = tiles.all_rows * tiles.across;
  return count >= 12 && 2 * p.batch * p.y.out * p.x.out >= count * scheme.outputs * scheme.outputs;
}

// The scheme that computes a convolution, or null.
static const Scheme* winograd_scheme(const Pass& p) {
  const Scheme* scheme = fits_scheme(p, 3, 1)   ? &kScheme3
                         : fits_scheme(p, 5, 1) ? &kScheme5
                         : fits_scheme(p, 3, 2) ? &kStridedScheme
                                                : nullptr;
  return scheme && winograd_wins(p, *scheme) ? scheme : nullptr;
}

// y of a pass from x and the filters; false if a result is infinite or NaN: then the transforms
// may have carried it to its neighbours, and y must be computed directly.
static bool winograd_forward(const Pass& p, const Scheme& scheme, const Images<const float>& x,
                             const Images<float>& y, const float* weight, Int across, Int along,
                             Int group_stride, const float* bias, const ConvEpilogue<float>& after,
                             float* workspace) {
  const Tiles tiles(p, scheme, chunk_tiles_here(p.in_channels * scheme.inputs() / kSquare));
  const Int blocks = (p.out_channels + kLaneCount - 1) / kLaneCount, panels = (blocks + 1) / 2;
  const Filters filters{weight, across, along, group_stride};
  // A single chunk uses each filter once: while it still is in cache.
  float* packed = tiles.chunks() == 1 ? nullptr : workspace;
  if (packed)
    parallel_for(p.groups * panels, 1, [&](Int begin, Int end) {
      auto* memory = static_cast<float*>(thread_scratch(Filters::memory(p) * sizeof(float)));
      for (Int task = begin; task < end; ++task)
        filters.transform(p, scheme, task / panels, task % panels, packed + task * panel_size(p),
                          memory);
    });
  const WinogradForward pass{p, scheme, x, y, filters, packed, bias, tiles, blocks, after};
  // With few chunks, several tasks share one and each takes some of the filters.
  // (Not where two panels share a channel, see block_start.)
  const bool apart = p.out_channels % kLaneCount == 0;
  const Int shares = apart ? std::clamp<Int>(8 / (tiles.chunks() * p.groups), 1, panels) : 1;
  bool invalid = false;
  parallel_for(tiles.chunks() * p.groups * shares, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int share = task % shares, rest = task / shares;
      if (!pass.run_chunk(tiles.at(rest % tiles.chunks()), rest / tiles.chunks(),
                          panels * share / shares, panels * (share + 1) / shares))
        __atomic_store_n(&invalid, true, __ATOMIC_RELAXED);
    }
  });
  return !invalid;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
