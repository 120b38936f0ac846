// Grid sampling. Where a point lies is the same for all channels, so the elements around a block of
// points and their weights are found once and then used on one plane after the other.
#include "grid_sample.h"

#include <algorithm>
#include <cmath>

#include "../parallel.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr int kBlock = 64;           // points whose elements are found together
static constexpr int kMostTaps = 16;        // 4 x 4 of the cubic, 2 x 2 x 2 of the linear mode
static constexpr std::int64_t kPlanes = 8;  // that share them in a task of the backward kernel

// A position on an axis, in elements, and how fast it moves with the coordinate.
template <class T>
struct Position {
  T at, slope;
};

template <class T>
static inline Position<T> unnormalized(T coordinate, std::int64_t size, bool align_corners) {
  const T half = static_cast<T>(align_corners ? size - 1 : size) / 2;
  return {(coordinate + 1) * half - (align_corners ? T{0} : T{0.5}), half};
}

// Mirrored at both ends as often as it takes.
template <class T>
static inline Position<T> reflected(Position<T> p, std::int64_t size, bool align_corners) {
  const T twice = static_cast<T>(2 * (align_corners ? size - 1 : size));
  if (twice == 0) return {0, 0};
  const T low = align_corners ? T{0} : T{-0.5}, distance = std::abs(p.at - low);
  const T rest = distance - twice * std::trunc(distance / twice);
  const bool falls = rest > twice - rest;
  return {(falls ? twice - rest : rest) + low, (p.at < low) != falls ? -p.slope : p.slope};
}

template <class T>
static inline Position<T> clipped(Position<T> p, std::int64_t size) {
  const T last = static_cast<T>(size - 1);
  if (!(p.at > 0)) return {0, 0};  // NaN too
  if (p.at >= last) return {last, 0};
  return p;
}

template <class T>
static inline Position<T> padded(Position<T> p, std::int64_t size, const GridSample& args) {
  if (args.padding == GridPadding::zeros) return p;
  if (args.padding == GridPadding::reflection) p = reflected(p, size, args.align_corners);
  return clipped(p, size);
}

// The elements of one axis around a point: their index, -1 for none, their weight, and how fast the
// weight grows with the coordinate.
template <class T>
struct Taps {
  int count;
  std::int64_t index[4];
  T weight[4], slope[4];

  void set(int k, T at, std::int64_t size, T w, T s) {
    const bool inside = at >= 0 && at < static_cast<T>(size);
    index[k] = inside ? static_cast<std::int64_t>(at) : -1;
    weight[k] = inside ? w : T{0};
    slope[k] = inside ? s : T{0};
  }
};

// Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), with a = -0.75: the
// weight at a distance from 0 to 2, and its derivative.
template <class T>
static inline void cubic_weight(T distance, T& weight, T& slope) {
  const T a = T{-0.75}, x = distance;
  if (x <= 1) {
    weight = ((a + 2) * x - (a + 3)) * x * x + 1;
    slope = (3 * (a + 2) * x - 2 * (a + 3)) * x;
  } else {
    weight = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    slope = (3 * a * x - 10 * a) * x + 8 * a;
  }
}

template <class T>
static inline Taps<T> taps_of_axis(const GridSample& args, T coordinate, std::int64_t size) {
  Taps<T> taps;
  Position<T> p = unnormalized(coordinate, size, args.align_corners);
  if (args.mode == GridMode::cubic) {  // padding applies to each element by itself
    const T first = std::floor(p.at), share = p.at - first;
    taps.count = 4;
    for (int k = 0; k < 4; ++k) {
      T weight, slope;
      cubic_weight(std::abs(share + static_cast<T>(1 - k)), weight, slope);
      const Position<T> element = padded<T>({first + static_cast<T>(k - 1), 0}, size, args);
      taps.set(k, element.at, size, weight, (k < 2 ? slope : -slope) * p.slope);
    }
    return taps;
  }
  p = padded(p, size, args);
  if (args.mode == GridMode::nearest) {
    taps.count = 1;
    taps.set(0, std::nearbyint(p.at), size, T{1}, T{0});
    return taps;
  }
  const T first = std::floor(p.at);
  taps.count = 2;
  taps.set(0, first, size, first + 1 - p.at, -p.slope);
  taps.set(1, first + 1, size, p.at - first, p.slope);
  return taps;
}

// The elements around a block of points, side by side for each tap: offsets into a plane, -1 for
// elements outside, and weights. `slopes` is null, or takes the derivatives by each axis.
template <class T>
struct Block {
  int taps, points;
  std::int32_t offset[kMostTaps][kBlock];
  T weight[kMostTaps][kBlock];
};
template <class T>
struct Slopes {
  T by[3][kMostTaps][kBlock];
};

template <class T>
static void find_taps(const GridSample& args, const T* grid, int points, Block<T>& block,
                      Slopes<T>* slopes) {
  const std::int64_t height = args.in[1], width = args.in[2];
  block.points = points;
  for (int p = 0; p < points; ++p) {
    const T* point = grid + p * args.ndim;
    const Taps<T> x = taps_of_axis(args, point[0], width), y = taps_of_axis(args, point[1], height);
    Taps<T> z{.count = 1, .index = {0}, .weight = {T{1}}, .slope = {T{0}}};
    if (args.ndim == 3) z = taps_of_axis(args, point[2], args.in[0]);
    int t = 0;
    for (int k = 0; k < z.count; ++k)
      for (int j = 0; j < y.count; ++j)
        for (int i = 0; i < x.count; ++i, ++t) {
          const bool inside = x.index[i] >= 0 && y.index[j] >= 0 && z.index[k] >= 0;
          const std::int64_t offset = (z.index[k] * height + y.index[j]) * width + x.index[i];
          block.offset[t][p] = inside ? static_cast<std::int32_t>(offset) : -1;
          block.weight[t][p] = x.weight[i] * y.weight[j] * z.weight[k];
          if (slopes == nullptr) continue;
          slopes->by[0][t][p] = x.slope[i] * y.weight[j] * z.weight[k];
          slopes->by[1][t][p] = x.weight[i] * y.slope[j] * z.weight[k];
          slopes->by[2][t][p] = x.weight[i] * y.weight[j] * z.slope[k];
        }
    block.taps = t;
  }
}

// sums[p] = the weighted elements of one plane around every point.
template <class T>
static inline void weighted_sums(const Block<T>& block, const T (*weight)[kBlock], const T* plane,
                                 T* sums) {
  std::fill(sums, sums + block.points, T{0});
  for (int t = 0; t < block.taps; ++t) {
    const std::int32_t* offset = block.offset[t];
    const T* w = weight[t];
    for (int p = 0; p < block.points; ++p) {
      const T value = plane[std::max(offset[p], 0)];  // not used for what lies outside
      sums[p] += (offset[p] < 0 ? T{0} : value) * w[p];
    }
  }
}

// Calls visit(sample, first point, number of points) for every block of points, in parallel.
template <class Visit>
static void for_each_block(const GridSample& args, const Visit& visit) {
  const std::int64_t blocks = (args.points + kBlock - 1) / kBlock;
  const std::int64_t work = kBlock * args.channels * kMostTaps;
  parallel_for(args.batch * blocks, std::max<std::int64_t>(1, 2 * kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t first = i % blocks * kBlock;
                   visit(i / blocks, first,
                         static_cast<int>(std::min<std::int64_t>(kBlock, args.points - first)));
                 }
               });
}

static std::int64_t plane_size(const GridSample& args) {
  return args.in[0] * args.in[1] * args.in[2];
}

template <class T>
static void sample(const GridSample& args) {
  for_each_block(args, [&](std::int64_t n, std::int64_t first, int points) {
    Block<T> block;
    const T* grid = static_cast<const T*>(args.grid) + (n * args.points + first) * args.ndim;
    find_taps<T>(args, grid, points, block, nullptr);
    for (std::int64_t c = n * args.channels; c < (n + 1) * args.channels; ++c)
      weighted_sums(block, block.weight, static_cast<const T*>(args.x) + c * plane_size(args),
                    static_cast<T*>(args.y) + c * args.points + first);
  });
}

// A task owns some planes of one sample and adds to them point after point: no two tasks write to
// the same element, and the order of the sums is fixed.
template <class T>
static void gradient_of_planes(const GridSample& args) {
  const std::int64_t groups = (args.channels + kPlanes - 1) / kPlanes, plane = plane_size(args);
  parallel_for(args.batch * groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t n = task / groups, c = task % groups * kPlanes;
      const std::int64_t planes = std::min(kPlanes, args.channels - c);
      for (std::int64_t first = 0; first < args.points; first += kBlock) {
        Block<T> block;
        const auto points = static_cast<int>(std::min<std::int64_t>(kBlock, args.points - first));
        find_taps<T>(args, static_cast<const T*>(args.grid) + (n * args.points + first) * args.ndim,
                     points, block, nullptr);
        for (std::int64_t i = n * args.channels + c; i < n * args.channels + c + planes; ++i) {
          const T* grad = static_cast<const T*>(args.grad_y) + i * args.points + first;
          T* grad_x = static_cast<T*>(args.grad_x) + i * plane;
          for (int t = 0; t < block.taps; ++t)
            for (int p = 0; p < points; ++p)
              if (block.offset[t][p] >= 0)
                grad_x[block.offset[t][p]] += grad[p] * block.weight[t][p];
        }
      }
    }
  });
}

// The sum over the channels stays with one task, which owns the points.
template <class T>
static void gradient_of_points(const GridSample& args) {
  for_each_block(args, [&](std::int64_t n, std::int64_t first, int points) {
    Block<T> block;
    Slopes<T> slopes;
    const std::int64_t at = (n * args.points + first) * args.ndim;
    find_taps(args, static_cast<const T*>(args.grid) + at, points, block, &slopes);
    T totals[3][kBlock] = {}, sums[kBlock];
    for (std::int64_t c = n * args.channels; c < (n + 1) * args.channels; ++c) {
      const T* grad = static_cast<const T*>(args.grad_y) + c * args.points + first;
      const T* plane = static_cast<const T*>(args.x) + c * plane_size(args);
      for (int d = 0; d < args.ndim; ++d) {
        weighted_sums(block, slopes.by[d], plane, sums);
        for (int p = 0; p < points; ++p) totals[d][p] += grad[p] * sums[p];
      }
    }
    T* grad_grid = static_cast<T*>(args.grad_grid) + at;
    for (int p = 0; p < points; ++p)
      for (int d = 0; d < args.ndim; ++d) grad_grid[p * args.ndim + d] = totals[d][p];
  });
}

void grid_sample(const GridSample& args) {
  visit_floating(args.dtype, [&](auto type) { sample<typename decltype(type)::type>(args); });
}

void grid_sample_backward(const GridSample& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (args.grad_x != nullptr) gradient_of_planes<T>(args);
    if (args.grad_grid != nullptr) gradient_of_points<T>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
