// conv2d and its gradients as products with gathered matrices, see gather_product.cuh.
//
// y: rows are output channels, columns are pixels of all images, and the inner dimension are the
// taps. The gradient of x is the same with other walks: a pixel of x sees every tap that leads to a
// whole position of y, so pixels are sorted by their remainder modulo the stride; within such a
// class the taps are the same for all, and nothing is multiplied by inserted zeros. Where there are
// few tiles, the taps of either are cut into runs (runs.cuh). The gradient of the weight sums over
// pixels: rows are output channels, columns are taps; where there are few of both, the pixels are
// cut into runs, each with a sum of its own, and the sums are added up in order. All cuts depend on
// sizes alone.
//
// Halves go to warpgroups where a card has them (wgmma_conv.cuh, wgmma_conv_weight.cuh).
//
// Two operations per pixel, tap and output channel. Bytes: x once per 128 output channels and tap,
// mostly from the caches; every result is written once. Up to 128 registers and 25 KiB of shared
// memory, 2 blocks of 256 threads; by warpgroups, with 81 to 193 KiB: Up to 160 registers, 1 block
// of 288 threads on a multiprocessor.
#include "ops/conv2d.h"

#include "conv_walk.cuh"
#include "gather_product.cuh"
#include "wgmma_conv_weight.cuh"

namespace tilegrad::cuda {
namespace {

// The convolution (kBackward: the gradient of x). The block's number counts tiles of rows fastest:
// blocks that run at one time read the same pixels.
template <class T, class Tile, bool kBackward>
struct Convolution : GatherProblem<T> {
  static constexpr bool kStepsFast = false;
  Conv2d args;
  std::int64_t group, plane, result_plane, result_channels, step_left;
  Walk y, x;
  // Gradients that are not rounded are sums themselves.
  static constexpr bool kIsSum = kBackward && !kIsHalf<T>;
  Sum<T>* sums;  // of this run; null where it is the only one and its sums are not the result

  __device__ void begin(const ConvolutionArguments& given, std::int64_t block) {
    const Conv2d& c = given.conv;
    args = c;
    this->rows = kBackward ? c.in_channels : c.out_channels;
    const std::int64_t row_tiles = (this->rows + Tile::kRows - 1) / Tile::kRows;
    const std::int64_t column_tiles =
        (most_columns(c, kBackward) + Tile::kColumns - 1) / Tile::kColumns;
    std::int64_t tile, column_tile, kind = 0;
    block = divide(block, row_tiles, tile);
    block = divide(block, column_tiles, column_tile);
    if (kBackward) {
      std::int64_t kind_x;
      const std::int64_t kinds_x = classes_of(horizontal(c)), kinds_y = classes_of(vertical(c));
      block = divide(block, kinds_x * kinds_y, kind);
      const std::int64_t kind_y = divide(kind, kinds_x, kind_x);
      y = backward_walk(vertical(c), kind_y);
      x = backward_walk(horizontal(c), kind_x);
    } else {
      y = forward_walk(vertical(c));
      x = forward_walk(horizontal(c));
    }
    this->first_row = tile * Tile::kRows;
    this->first_column = column_tile * Tile::kColumns;
    this->columns = c.batch * y.count * x.count;
    const std::int64_t run = divide(block, c.groups, group);
    if (given.steps.count > 1) sums = static_cast<Sum<T>*>(given.sums) + run * given.size;
    else sums = kIsSum ? static_cast<Sum<T>*>(c.x) : nullptr;
    point_to(c, run * given.steps.length, given.steps.length);
  }

  __device__ void point_to(const Conv2d& c, std::int64_t first, std::int64_t length) {
    const std::int64_t read_channels = kBackward ? c.out_channels : c.in_channels;
    const std::int64_t filter = c.kernel_height * c.kernel_width;
    this->first_step = first;
    this->end_step = min(first + length, read_channels * y.taps * x.taps);
    this->height = static_cast<int>(kBackward ? c.out_height : c.in_height);
    this->width = static_cast<int>(kBackward ? c.out_width : c.in_width);
    plane = std::int64_t{this->height} * this->width;
    result_plane = kBackward ? c.in_height * c.in_width : c.pixels();
    result_channels = c.groups * this->rows;
    this->left = static_cast<const T*>(c.weight) + group * c.out_channels * c.taps();
    this->left_row = kBackward ? filter : c.taps();
    step_left = kBackward ? c.taps() : filter;
    this->right = static_cast<const T*>(kBackward ? c.y : c.x) + group * read_channels * plane;
  }

  __device__ GatherStep step(std::int64_t k) const {
    std::int64_t tap, tap_x;
    const std::int64_t channel = divide(k, y.taps * x.taps, tap);
    const std::int64_t tap_y = divide(tap, x.taps, tap_x);
    const std::int64_t down = tap_y * y.step, across = tap_x * x.step;
    return {channel * step_left + (y.tap_first + tap_y * y.tap_step) * args.kernel_width +
                x.tap_first + tap_x * x.tap_step,
            channel * plane + down * this->width + across, static_cast<int>(down),
            static_cast<int>(across)};
  }

  __device__ GatherColumn column(std::int64_t n) const {
    std::int64_t pixel, j_x;
    const std::int64_t image = divide(n, y.count * x.count, pixel);
    const std::int64_t j_y = divide(pixel, x.count, j_x);
    const std::int64_t down = j_y * y.scale + y.base, across = j_x * x.scale + x.base;
    const std::int64_t read_channels =
        args.groups * (kBackward ? args.out_channels : args.in_channels);
    const std::int64_t result_width = kBackward ? args.in_width : args.out_width;
    return {image * read_channels * plane + down * this->width + across,
            (image * result_channels + group * this->rows) * result_plane +
                (y.first + j_y * y.spread) * result_width + x.first + j_x * x.spread,
            static_cast<int>(down), static_cast<int>(across)};
  }

  __device__ void store(std::int64_t row, std::int64_t result, Sum<T> sum) const {
    const std::int64_t to = result + row * result_plane;
    if (kIsSum || sums != nullptr) sums[to] = sum;
    else if constexpr (kBackward) static_cast<T*>(args.x)[to] = static_cast<T>(sum);
    else static_cast<T*>(args.y)[to] = followed<T>(args, group * args.out_channels + row, to, sum);
  }
};

// What conv2d_grad_weight is given: the pixels of all images are cut into `runs` of `run` pixels,
// and each writes its sums behind those of the one before.
struct WeightArguments {
  Conv2d conv;
  std::int64_t runs, run;
  void* sums;
};

template <class T, class Tile>
struct WeightGradient : GatherProblem<T> {
  static constexpr bool kStepsFast = true;
  Conv2d args;
  Sum<T>* sums;

  __device__ void begin(const WeightArguments& given, std::int64_t block) {
    const Conv2d& c = given.conv;
    args = c;
    this->rows = c.out_channels;
    this->columns = c.taps();
    std::int64_t tile, column_tile, run;
    block = divide(block, (this->rows + Tile::kRows - 1) / Tile::kRows, tile);
    block = divide(block, (this->columns + Tile::kColumns - 1) / Tile::kColumns, column_tile);
    const std::int64_t group = divide(block, given.runs, run);
    this->first_row = tile * Tile::kRows;
    this->first_column = column_tile * Tile::kColumns;
    this->first_step = run * given.run;
    this->end_step = min(this->first_step + given.run, c.batch * c.pixels());
    this->height = static_cast<int>(c.in_height);
    this->width = static_cast<int>(c.in_width);
    this->left = static_cast<const T*>(c.y) + group * c.out_channels * c.pixels();
    this->left_row = c.pixels();
    this->right = static_cast<const T*>(c.x) + group * c.in_channels * c.in_height * c.in_width;
    sums = static_cast<Sum<T>*>(given.sums) + (run * c.groups + group) * c.out_channels * c.taps();
  }

  __device__ GatherStep step(std::int64_t k) const {
    const Conv2d& c = args;
    std::int64_t pixel, column;
    const std::int64_t image = divide(k, c.pixels(), pixel);
    const std::int64_t row = divide(pixel, c.out_width, column);
    const std::int64_t down = row * c.stride_y - c.pad_y, across = column * c.stride_x - c.pad_x;
    return {
        image * c.groups * c.out_channels * c.pixels() + pixel,
        image * c.groups * c.in_channels * c.in_height * c.in_width + down * c.in_width + across,
        static_cast<int>(down), static_cast<int>(across)};
  }

  __device__ GatherColumn column(std::int64_t n) const {
    const Conv2d& c = args;
    std::int64_t tap, tap_x;
    const std::int64_t channel = divide(n, c.kernel_height * c.kernel_width, tap);
    const std::int64_t tap_y = divide(tap, c.kernel_width, tap_x);
    const std::int64_t down = tap_y * c.dilation_y, across = tap_x * c.dilation_x;
    return {channel * c.in_height * c.in_width + down * c.in_width + across, n,
            static_cast<int>(down), static_cast<int>(across)};
  }

  __device__ void store(std::int64_t row, std::int64_t result, Sum<T> sum) const {
    sums[row * this->columns + result] = sum;
  }
};

// --- launches ---

// Calls launch_with(tile) with the tile for that many rows: tall ones for many, and in double
// always the one whose patches fit registers. kMostColumns: where a thread has more columns to
// bring, those of the tallest tile would not fit either.
template <class T, int kMostColumns, class Function>
void with_tile(std::int64_t rows, const Function& launch_with) {
  constexpr int kColumns =
      kIsHalf<T> ? 64 : kMostColumns;  // of halves a thread brings twice as many
  if constexpr (std::is_same_v<T, double>) return launch_with(GatherTile<T, 64, 64, 4, 4>{});
  else if (rows > 64) return launch_with(GatherTile<T, 128, kColumns, 8, kColumns / 16>{});
  else if (rows > 32) return launch_with(GatherTile<T, 64, 128, 4, 8>{});
  else return launch_with(GatherTile<T, 32, 128, 4, 4>{});
}

template <class Tile>
std::int64_t tiles_of(std::int64_t rows, std::int64_t columns) {
  return (rows + Tile::kRows - 1) / Tile::kRows * ((columns + Tile::kColumns - 1) / Tile::kColumns);
}

// Positions are 32-bit numbers in the loop.
void check_extent(const char* op, const Conv2d& c) {
  for (const Direction& d : {vertical(c), horizontal(c)})
    TILEGRAD_CHECK(d.in < -kOutside - 2 * d.pad - d.stride && d.pad < -kOutside / 4, runtime, op,
                   ": images of ", d.in, " pixels in one direction with padding ", d.pad,
                   " are too large for CUDA, which takes up to 2^30 with padding");
}

// Halves, and floats where TF32 is allowed, on tensor cores.
template <class Problem, class Tile, class Arguments>
void launch_gather(std::int64_t blocks, const Arguments& args, [[maybe_unused]] bool allow_tf32) {
  using T = typename Problem::Element;
  const Shape shape = {blocks_of(blocks, 1), kBlock};
  if constexpr (!std::is_same_v<T, double>)
    if (kIsHalf<T> || allow_tf32)
      return launch(gather_kernel<Problem, Tile, GatherMmaPatch<T, Tile>, Arguments>, shape, args);
  if constexpr (!kIsHalf<T>)
    launch(gather_kernel<Problem, Tile, GatherPatch<T, Tile>, Arguments>, shape, args);
}

// Taps of the class of pixels that has most.
std::int64_t most_taps(const Conv2d& c, bool backward) {
  if (!backward) return c.taps();
  const auto along = [](const Direction& d) {
    const std::int64_t step = d.stride / common_divisor(d.stride, d.dilation);
    return (d.kernel + step - 1) / step;
  };
  return c.out_channels * along(vertical(c)) * along(horizontal(c));
}

template <class T, bool kBackward>
void convolve(const Conv2d& c) {
  if constexpr (kIsHalf<T>)
    if (convolve_by_warpgroups<T, kBackward>(c)) return;
  const std::int64_t rows = kBackward ? c.in_channels : c.out_channels;
  const std::int64_t kinds = kBackward ? classes_of(vertical(c)) * classes_of(horizontal(c)) : 1;
  const std::int64_t plane = kBackward ? c.in_height * c.in_width : c.pixels();
  with_tile<T, 128>(rows, [&](auto tile) {
    using Tile = decltype(tile);
    const std::int64_t tiles = tiles_of<Tile>(rows, most_columns(c, kBackward)) * kinds * c.groups;
    const Cut steps = cut_into_runs(tiles, most_taps(c, kBackward), 2, 512, kTable);
    ConvolutionArguments args = {c, steps, c.batch * c.groups * rows * plane};
    const std::int64_t sums = steps.count == 1 ? 0 : steps.count * args.size;
    const Scratch memory(static_cast<std::size_t>(sums) * sizeof(Sum<T>));
    args.sums = memory.data;
    launch_gather<Convolution<T, Tile, kBackward>, Tile>(tiles * steps.count, args, c.allow_tf32);
    if (steps.count > 1) for_each_index(args.size, FinishElement<T, kBackward>{args});
  });
}

// Enough blocks to fill a large card twice, none with less than a few hundred pixels.
std::int64_t runs_of(std::int64_t tiles, std::int64_t pixels) {
  constexpr std::int64_t enough = 512, shortest = 512;
  return std::clamp<std::int64_t>(enough / tiles, 1, (pixels + shortest - 1) / shortest);
}

template <class T>
void sum_filters(const Conv2d& c) {
  if constexpr (kIsHalf<T>)
    if (sum_filters_by_warpgroups<T>(c)) return;
  const std::int64_t pixels = c.batch * c.pixels(), size = c.groups * c.out_channels * c.taps();
  with_tile<T, 64>(c.out_channels, [&](auto tile) {
    using Tile = decltype(tile);
    const std::int64_t tiles = tiles_of<Tile>(c.out_channels, c.taps()) * c.groups;
    WeightArguments args = {c, runs_of(tiles, pixels), 0, c.weight};
    args.run = (pixels + args.runs - 1) / args.runs;
    const bool apart = kIsHalf<T> || args.runs > 1;  // halves are rounded when all is summed
    const auto bytes = static_cast<std::size_t>(args.runs * size) * sizeof(Sum<T>);
    const Scratch sums(apart ? bytes : 0);
    if (apart) args.sums = sums.data;
    launch_gather<WeightGradient<T, Tile>, Tile>(tiles * args.runs, args, c.allow_tf32);
    if (apart)
      add_runs(static_cast<const Sum<T>*>(args.sums), static_cast<T*>(c.weight), size, args.runs);
  });
}

template <class T>
void weight_gradient(const Conv2d& c) {
  sum_filters<T>(c);
  if (c.bias_gradient) sum_channels<T>(c);
}

}  // namespace

void conv2d(const Conv2d& args) {
  check_extent("conv2d", args);
  visit_stored(args.dtype,
               [&](auto type) { convolve<typename decltype(type)::type, false>(args); });
}

void conv2d_grad_input(const Conv2d& args) {
  check_extent("conv2d_grad_input", args);
  visit_stored(args.dtype, [&](auto type) { convolve<typename decltype(type)::type, true>(args); });
}

void conv2d_grad_weight(const Conv2d& args) {
  check_extent("conv2d_grad_weight", args);
  visit_stored(args.dtype,
               [&](auto type) { weight_gradient<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
