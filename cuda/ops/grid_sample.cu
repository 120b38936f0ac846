// Grid sampling and its gradients.
//
// Forward, a thread takes a point and 8 planes: it finds the elements around the point once (1, 4,
// 8 or 16 of them) and reads them from each plane; neighbouring points usually share cache lines.
// The gradient of the grid takes a thread per point and all planes. For the gradient of the input
// all (point, element) pairs of a sample are sorted by the element (order.cuh, some 12 bytes a pair
// and pass), and a thread adds up what goes to one element of one plane, in order; a block shares
// more than 64 pairs. Per output and element around it sizeof(T) bytes, mostly from caches, and two
// operations. Up to 192 registers, 1 block of 256 threads on a multiprocessor, in the gradient of
// the grid of the cubic mode, whose 16 weights live in them; the others at most 136, most 48 and 5.
#include "ops/grid_sample.h"

#include "order.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kPlanesOfThread = 8;

// A position on an axis, in elements, and how fast it moves with the coordinate.
template <class T>
struct Position {
  T at, slope;
};

template <class T>
__device__ Position<T> unnormalized(T coordinate, int size, bool align_corners) {
  const T half = static_cast<T>(align_corners ? size - 1 : size) / 2;
  return {(coordinate + 1) * half - (align_corners ? T{0} : T{0.5}), half};
}

template <class T>
__device__ Position<T> reflected(Position<T> p, int size, bool align_corners) {
  const T twice = static_cast<T>(2 * static_cast<std::int64_t>(align_corners ? size - 1 : size));
  if (twice == 0) return {0, 0};
  const T low = align_corners ? T{0} : T{-0.5}, distance = fabs(p.at - low);
  const T rest = distance - twice * trunc(distance / twice);
  const bool falls = rest > twice - rest;
  return {(falls ? twice - rest : rest) + low, (p.at < low) != falls ? -p.slope : p.slope};
}

template <class T>
__device__ Position<T> padded(Position<T> p, int size, const GridSample& args) {
  if (args.padding == GridPadding::zeros) return p;
  if (args.padding == GridPadding::reflection) p = reflected(p, size, args.align_corners);
  const T last = static_cast<T>(size - 1);
  if (!(p.at > 0)) return {0, 0};  // NaN too
  return p.at >= last ? Position<T>{last, 0} : p;
}

constexpr int taps_of(GridMode mode) {
  return mode == GridMode::nearest ? 1 : mode == GridMode::linear ? 2 : 4;
}

// The elements of one axis around a point: their index, -1 for none, their weight, and how fast the
// weight grows with the coordinate.
template <class T, int kTaps>
struct AxisTaps {
  int index[kTaps];
  T weight[kTaps], slope[kTaps];

  __device__ void set(int k, T at, int size, T w, T s) {
    const bool inside = at >= 0 && at < static_cast<T>(size);
    index[k] = inside ? static_cast<int>(at) : -1;
    weight[k] = inside ? w : T{0};
    slope[k] = inside ? s : T{0};
  }
};

// Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), with a = -0.75: the
// weight at a distance from 0 to 2, and its derivative.
template <class T>
__device__ Pair<T> cubic_weight(T x) {
  const T a = T{-0.75};
  if (x <= 1) return {((a + 2) * x - (a + 3)) * x * x + 1, (3 * (a + 2) * x - 2 * (a + 3)) * x};
  return {((a * x - 5 * a) * x + 8 * a) * x - 4 * a, (3 * a * x - 10 * a) * x + 8 * a};
}

template <GridMode kMode, class T>
__device__ AxisTaps<T, taps_of(kMode)> axis_taps(const GridSample& args, T coordinate, int size) {
  AxisTaps<T, taps_of(kMode)> taps;
  Position<T> p = unnormalized(coordinate, size, args.align_corners);
  if constexpr (kMode == GridMode::cubic) {  // padding applies to each element by itself
    const T first = floor(p.at), share = p.at - first;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const Pair<T> weight = cubic_weight(fabs(share + static_cast<T>(1 - k)));
      const Position<T> element = padded<T>({first + static_cast<T>(k - 1), 0}, size, args);
      taps.set(k, element.at, size, weight.first,
               (k < 2 ? weight.second : -weight.second) * p.slope);
    }
  } else if constexpr (kMode == GridMode::nearest) {
    taps.set(0, rint(padded(p, size, args).at), size, T{1}, T{0});
  } else {
    p = padded(p, size, args);
    const T first = floor(p.at);
    taps.set(0, first, size, first + 1 - p.at, -p.slope);
    taps.set(1, first + 1, size, p.at - first, p.slope);
  }
  return taps;
}

// All elements around a point.
template <GridMode kMode, int kDims, class T>
struct PointTaps {
  static constexpr int kAlong = taps_of(kMode), kDeep = kDims == 3 ? kAlong : 1;
  static constexpr int kCount = kAlong * kAlong * kDeep;
  AxisTaps<T, kAlong> x, y;
  AxisTaps<T, kDeep> z;
  int height, width;

  __device__ PointTaps(const GridSample& args, std::int64_t point)
      : height(static_cast<int>(args.in[1])), width(static_cast<int>(args.in[2])) {
    const T* at = static_cast<const T*>(args.grid) + point * kDims;
    x = axis_taps<kMode>(args, at[0], width);
    y = axis_taps<kMode>(args, at[1], height);
    if constexpr (kDims == 3) z = axis_taps<kMode>(args, at[2], static_cast<int>(args.in[0]));
    else z = {{0}, {T{1}}, {T{0}}};
  }
  // visit(offset in the plane, tap along x, y, z) for those inside.
  template <class Visit>
  __device__ void for_each(const Visit& visit) const {
#pragma unroll
    for (int k = 0; k < kDeep; ++k)
#pragma unroll
      for (int j = 0; j < kAlong; ++j)
#pragma unroll
        for (int i = 0; i < kAlong; ++i)
          if (x.index[i] >= 0 && y.index[j] >= 0 && z.index[k] >= 0)
            visit((z.index[k] * height + y.index[j]) * width + x.index[i], i, j, k);
  }
};

__device__ std::int64_t plane_size(const GridSample& args) {
  return args.in[0] * args.in[1] * args.in[2];
}

template <GridMode kMode, int kDims, class T>
struct SamplePoint {
  GridSample args;
  std::int64_t groups;  // of planes
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, args.points), sample = divide(at.quotient, groups);
    const PointTaps<kMode, kDims, T> taps(args, sample.quotient * args.points + at.remainder);
    const std::int64_t first = sample.remainder * kPlanesOfThread;
    const std::int64_t last = min(first + kPlanesOfThread, args.channels), plane = plane_size(args);
    for (std::int64_t c = first; c < last; ++c) {
      const std::int64_t image = sample.quotient * args.channels + c;
      const T* const x = static_cast<const T*>(args.x) + image * plane;
      T sum = 0;
      taps.for_each([&](int offset, int a, int b, int d) {
        sum += x[offset] * (taps.x.weight[a] * taps.y.weight[b] * taps.z.weight[d]);
      });
      static_cast<T*>(args.y)[image * args.points + at.remainder] = sum;
    }
  }
};

template <GridMode kMode, int kDims, class T>
struct PointGradient {
  GridSample args;
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, args.points);
    const PointTaps<kMode, kDims, T> taps(args, i);
    const std::int64_t plane = plane_size(args);
    T totals[3] = {};
    for (std::int64_t c = 0; c < args.channels; ++c) {
      const std::int64_t image = at.quotient * args.channels + c;
      const T* const x = static_cast<const T*>(args.x) + image * plane;
      const T grad = static_cast<const T*>(args.grad_y)[image * args.points + at.remainder];
      T sums[3] = {};
      taps.for_each([&](int offset, int a, int b, int d) {
        const T value = x[offset];
        sums[0] += value * (taps.x.slope[a] * taps.y.weight[b] * taps.z.weight[d]);
        sums[1] += value * (taps.x.weight[a] * taps.y.slope[b] * taps.z.weight[d]);
        if constexpr (kDims == 3)
          sums[2] += value * (taps.x.weight[a] * taps.y.weight[b] * taps.z.slope[d]);
      });
#pragma unroll
      for (int d = 0; d < kDims; ++d) totals[d] += grad * sums[d];
    }
#pragma unroll
    for (int d = 0; d < kDims; ++d) static_cast<T*>(args.grad_grid)[i * kDims + d] = totals[d];
  }
};

// --- gradient of the input ---

// (point, tap) pairs of each sample, by the element that they lead to; plane_size: none.
template <GridMode kMode, int kDims, class T>
struct SortedTaps {
  using Key = std::uint32_t;
  using Taps = PointTaps<kMode, kDims, T>;
  GridSample args;
  std::int64_t pairs;  // of a sample
  Key* elements;
  std::uint32_t* points;
  T* weights;

  // The element and the weight of a pair.
  __device__ Key find(std::int64_t row, std::int64_t pair, T* weight) const {
    const std::int64_t point = pair / Taps::kCount;
    const int wanted = static_cast<int>(pair % Taps::kCount);
    const Taps taps(args, row * args.points + point);
    auto found = static_cast<Key>(plane_size(args));
    *weight = 0;
    taps.for_each([&](int offset, int a, int b, int d) {
      if ((d * Taps::kAlong + b) * Taps::kAlong + a != wanted) return;
      found = static_cast<Key>(offset);
      *weight = taps.x.weight[a] * taps.y.weight[b] * taps.z.weight[d];
    });
    return found;
  }
  __device__ Key key(std::int64_t row, std::int64_t pair) const {
    T weight;
    return find(row, pair, &weight);
  }
  __device__ void put(std::int64_t row, std::int64_t rank, Key key, std::int64_t pair) const {
    const std::int64_t at = row * pairs + rank;
    elements[at] = key;
    points[at] = static_cast<std::uint32_t>(pair / Taps::kCount);
    find(row, pair, &weights[at]);
  }
};

// What the sorted pairs bring to the planes.
template <class T>
struct PlaneSums {
  GridSample args;
  std::int64_t pairs;
  const std::uint32_t *elements, *points;
  const T* weights;

  __device__ T term(std::int64_t image, std::int64_t at) const {
    return static_cast<const T*>(args.grad_y)[image * args.points + points[at]] * weights[at];
  }
  __device__ void store(std::int64_t image, std::uint32_t element, T sum) const {
    static_cast<T*>(args.grad_x)[image * plane_size(args) + element] = sum;
  }
  // The pair `rank` of a plane: where it is the first of few for an element, all of them.
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, pairs);
    const std::int64_t image = at.quotient, rank = at.remainder;
    const std::int64_t first = divide(image, args.channels).quotient * pairs;
    const std::uint32_t* const sorted = elements + first;
    const std::uint32_t element = sorted[rank];
    if (element >= plane_size(args) || (rank > 0 && sorted[rank - 1] == element)) return;
    if (rank + kFewEqual < pairs && sorted[rank + kFewEqual] == element) return;
    T sum = 0;
    for (std::int64_t k = rank; k < pairs && sorted[k] == element; ++k)
      sum += term(image, first + k);
    store(image, element, sum);
  }
};

// Elements that many pairs lead to: a block takes one, of one plane.
template <class T>
__global__ void __launch_bounds__(kBlock)
    many_pairs_kernel(const PlaneSums<T> sums, std::int64_t blocks) {
  const Divided at = divide(blockIdx.x, blocks);
  const std::int64_t image = at.quotient, rank = at.remainder * kFewEqual;
  const std::int64_t first = divide(image, sums.args.channels).quotient * sums.pairs;
  const std::uint32_t* const sorted = sums.elements + first;
  std::int64_t begin, end;
  if (sorted[rank] >= plane_size(sums.args) ||
      !find_many_equal(sorted, sums.pairs, rank, &begin, &end))
    return;
  T sum = 0;
  for (std::int64_t k = begin + threadIdx.x; k < end; k += kBlock)
    sum += sums.term(image, first + k);
  sum = group_sum<kBlock>(sum);
  if (threadIdx.x == 0) sums.store(image, sorted[rank], sum);
}

template <GridMode kMode, int kDims, class T>
void gradient_of_planes(const GridSample& args) {
  using Sorted = SortedTaps<kMode, kDims, T>;
  const std::int64_t pairs = args.points * Sorted::Taps::kCount;
  const auto count = static_cast<std::size_t>(args.batch * pairs);
  const Scratch elements(count * sizeof(std::uint32_t)), points(count * sizeof(std::uint32_t)),
      weights(count * sizeof(T));
  const Sorted sorted = {args, pairs, static_cast<std::uint32_t*>(elements.data),
                         static_cast<std::uint32_t*>(points.data), static_cast<T*>(weights.data)};
  sort_rows(sorted, args.batch, pairs, bits_below(args.in[0] * args.in[1] * args.in[2] + 1));
  const PlaneSums<T> sums = {args, pairs, sorted.elements, sorted.points, sorted.weights};
  const std::int64_t images = args.batch * args.channels;
  for_each_index<4>(images * pairs, sums);
  if (pairs <= kFewEqual) return;
  const std::int64_t blocks = (pairs + kFewEqual - 1) / kFewEqual;
  launch(many_pairs_kernel<T>, {blocks_of(images * blocks, 1), kBlock}, sums, blocks);
}

template <GridMode kMode, int kDims, class T>
void sample(const GridSample& args) {
  const std::int64_t groups = (args.channels + kPlanesOfThread - 1) / kPlanesOfThread;
  for_each_index<2>(args.batch * groups * args.points, SamplePoint<kMode, kDims, T>{args, groups});
}

template <GridMode kMode, int kDims, class T>
void gradients(const GridSample& args) {
  if (args.grad_x != nullptr) gradient_of_planes<kMode, kDims, T>(args);
  if (args.grad_grid != nullptr)
    for_each_index<sizeof(T) == 8 ? 1 : 2>(args.batch * args.points,
                                           PointGradient<kMode, kDims, T>{args});
}

// body(a mode, a number of dimensions, a value of type T), the first two as constants.
template <class Body>
void visit_grid(const GridSample& args, const Body& body) {
  const auto with = [&](auto mode, auto dims) {
    visit_floating(args.dtype,
                   [&](auto type) { body(mode, dims, typename decltype(type)::type{}); });
  };
  using Two = std::integral_constant<int, 2>;
  using Three = std::integral_constant<int, 3>;
  const auto with_mode = [&](auto mode) {
    args.ndim == 3 ? with(mode, Three{}) : with(mode, Two{});
  };
  if (args.mode == GridMode::nearest)
    return with_mode(std::integral_constant<GridMode, GridMode::nearest>{});
  if (args.mode == GridMode::linear)
    return with_mode(std::integral_constant<GridMode, GridMode::linear>{});
  with(std::integral_constant<GridMode, GridMode::cubic>{}, Two{});
}

}  // namespace

void grid_sample(const GridSample& args) {
  visit_grid(
      args, [&](auto mode, auto dims, auto zero) { sample<mode(), dims(), decltype(zero)>(args); });
}

void grid_sample_backward(const GridSample& args) {
  visit_grid(args, [&](auto mode, auto dims, auto zero) {
    gradients<mode(), dims(), decltype(zero)>(args);
  });
}

}  // namespace tilegrad::cuda
