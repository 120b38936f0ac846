// Reductions over any dimensions, along a fixed tree.
//
// The reduced elements of one output are cut into leaves of a fixed size, and the results of the
// leaves are combined pairwise. Within a leaf many accumulators share the elements. Leaves are the
// unit of parallel work, so the tree, and with it every rounding, depends on sizes and strides
// alone; and a float32 sum errs about as little as pairwise summation (Higham, "The Accuracy of
// Floating Point Summation", 1993). Two ways through memory:
//
//   rows     the reduced elements lie side by side: kAccumulators accumulators for one output;
//   columns  the kept elements lie side by side: one accumulator per output, and a block of
//            outputs at once.
#include "reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../host_memory.h"
#include "../row_sums.h"
#include "../vec.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kAccumulators = 64;  // of one leaf of a row
static constexpr std::int64_t kRowLeaf = 4096;     // elements: 64 per accumulator
static constexpr std::int64_t kShortRow = 16;      // below, lanes are not worth their combination
static constexpr std::int64_t kVectorRow = 2048;   // to here four registers of accumulators suffice
static constexpr std::int64_t kColumnBlock = 1024;  // outputs side by side, a page of floats;
static constexpr std::int64_t kNarrowBlock = 256;   // fewer where threads would have no work
static constexpr std::int64_t kColumnRun = 64;      // rows summed one after the other ...
static constexpr std::int64_t kColumnLeaf = 1024;   // ... and rows of a leaf

static constexpr std::int64_t ceil_divide(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step;
}

// The operations: an accumulator starts as identity(), takes elements as lift(x, center), and two
// accumulators become one by combine(). Integers wrap around, in unsigned arithmetic. lift_each()
// and combine_each() do the same to vectors.
template <class T>
using Unsigned = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;

template <class T, class A = std::conditional_t<std::is_integral_v<T>, std::int64_t, T>>
struct Sum {
  using Element = T;
  using Accumulator = A;
  static A identity() { return A{0}; }
  static A lift(T x, A) { return static_cast<A>(x); }
  static A combine(A a, A b) {
    return static_cast<A>(static_cast<Unsigned<A>>(a) + static_cast<Unsigned<A>>(b));
  }
  template <class V>
  static V lift_each(V x, V) {
    return x;
  }
  template <class V>
  static V combine_each(V a, V b) {
    return a + b;
  }
};
template <class T>
struct SumAbs : Sum<T> {
  static T lift(T x, T) { return std::fabs(x); }
  template <class V>
  static V lift_each(V x, V) {
    return x < 0 ? -x : x;
  }
};
template <class T>
struct SumSquares : Sum<T> {
  static T lift(T x, T) { return x * x; }
  template <class V>
  static V lift_each(V x, V) {
    return x * x;
  }
};
template <class T>
struct SumSquaredDeviations : Sum<T> {
  static T lift(T x, T center) { return (x - center) * (x - center); }
  template <class V>
  static V lift_each(V x, V center) {
    return (x - center) * (x - center);
  }
};
template <class T>
struct Prod {
  using Element = T;
  using Accumulator = T;
  static T identity() { return T{1}; }
  static T lift(T x, T) { return x; }
  static T combine(T a, T b) {
    return static_cast<T>(static_cast<Unsigned<T>>(a) * static_cast<Unsigned<T>>(b));
  }
  template <class V>
  static V lift_each(V x, V) {
    return x;
  }
  template <class V>
  static V combine_each(V a, V b) {
    return a * b;
  }
};
template <class T>
struct Max {
  using Element = T;
  using Accumulator = T;
  static T identity() {
    if constexpr (std::is_floating_point_v<T>) return -std::numeric_limits<T>::infinity();
    return std::numeric_limits<T>::lowest();
  }
  static T lift(T x, T) { return x; }
  static T combine(T a, T b) { return a > b || a != a ? a : b; }
  template <class V>
  static V lift_each(V x, V) {
    return x;
  }
  template <class V>
  static V combine_each(V a, V b) {
    return (a > b) | (a != a) ? a : b;
  }
};
template <class T>
struct Min {
  using Element = T;
  using Accumulator = T;
  static T identity() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::infinity();
    return std::numeric_limits<T>::max();
  }
  static T lift(T x, T) { return x; }
  static T combine(T a, T b) { return a < b || a != a ? a : b; }
  template <class V>
  static V lift_each(V x, V) {
    return x;
  }
  template <class V>
  static V combine_each(V a, V b) {
    return (a < b) | (a != a) ? a : b;
  }
};

// Where an index (counted over all dimensions, the innermost fastest) lies, in elements.
static std::int64_t offset_of(std::int64_t index, int ndim, const std::int64_t* shape,
                              const std::int64_t* strides) {
  std::int64_t offset = 0;
  for (int d = 0; d < ndim; ++d) {
    offset += index % shape[d] * strides[d];
    index /= shape[d];
  }
  return offset;
}

// Calls segment(first, count) for the pieces of the reduced elements [begin, end) that lie along
// the innermost reduced dimension.
template <class T, class Segment>
static void walk_reduced(const ReduceShape& shape, const T* x, std::int64_t begin, std::int64_t end,
                         const Segment& segment) {
  const std::int64_t length = shape.reduced_ndim == 0 ? 1 : shape.reduced_shape[0];
  while (begin < end) {
    const std::int64_t count = std::min(end - begin, length - begin % length);
    segment(x + offset_of(begin, shape.reduced_ndim, shape.reduced_shape, shape.reduced_strides),
            count);
    begin += count;
  }
}

// Adds `blocks` blocks of kAccumulators elements to the accumulators, some registers' worth at a
// time: as a loop over an array GCC keeps these in memory, at the price of a store for each load.
// Eight registers hold them all but in the baseline set, and the row is read once, in order.
template <class Op, class T = typename Op::Element>
[[gnu::noinline]] static void accumulate_blocks(const T* x, std::int64_t blocks, T center,
                                                T* accumulators) {
  constexpr std::int64_t width = kLanes<T>;
  constexpr std::int64_t together = std::min<std::int64_t>(8, kAccumulators / width);
  const Vec<T> middle = Vec<T>{} + center;
  for (std::int64_t first = 0; first < kAccumulators; first += together * width) {
    Vec<T> sum[together];
#pragma GCC unroll 8
    for (int v = 0; v < together; ++v) sum[v] = load(accumulators + first + v * width);
    const T* from = x + first;
    for (std::int64_t block = 0; block < blocks; ++block, from += kAccumulators)
#pragma GCC unroll 8
      for (int v = 0; v < together; ++v)
        sum[v] = Op::combine_each(sum[v], Op::lift_each(load(from + v * width), middle));
#pragma GCC unroll 8
    for (int v = 0; v < together; ++v) store(accumulators + first + v * width, sum[v]);
  }
}

template <class Op, class A = typename Op::Accumulator>
static A combine_accumulators(A* lanes) {
  for (std::int64_t width = kAccumulators / 2; width > 0; width /= 2)
    for (std::int64_t j = 0; j < width; ++j) lanes[j] = Op::combine(lanes[j], lanes[j + width]);
  return lanes[0];
}

// One leaf of one output: the reduced elements [begin, end) of the row that starts at x.
template <class Op, class T = typename Op::Element, class A = typename Op::Accumulator>
static A reduce_row_leaf(const ReduceShape& shape, const T* x, std::int64_t begin, std::int64_t end,
                         A center) {
  const std::int64_t stride = shape.reduced_ndim == 0 ? 1 : shape.reduced_strides[0];
  if (end - begin < kShortRow) {
    A sum = Op::identity();
    walk_reduced(shape, x, begin, end, [&](const T* from, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i)
        sum = Op::combine(sum, Op::lift(from[i * stride], center));
    });
    return sum;
  }
  A lanes[kAccumulators];
  std::fill_n(lanes, kAccumulators, Op::identity());
  walk_reduced(shape, x, begin, end, [&](const T* from, std::int64_t count) {
    std::int64_t i = 0;
    if (stride == 1) {
      if constexpr (std::is_floating_point_v<T>) {
        accumulate_blocks<Op>(from, count / kAccumulators, center, lanes);
        i = count / kAccumulators * kAccumulators;
      }
      for (; i + kAccumulators <= count; i += kAccumulators)
        for (std::int64_t j = 0; j < kAccumulators; ++j)
          lanes[j] = Op::combine(lanes[j], Op::lift(from[i + j], center));
      for (std::int64_t j = 0; j < count - i; ++j)
        lanes[j] = Op::combine(lanes[j], Op::lift(from[i + j], center));
    } else {
      for (; i < count; ++i)
        lanes[i % kAccumulators] =
            Op::combine(lanes[i % kAccumulators], Op::lift(from[i * stride], center));
    }
  });
  return combine_accumulators<Op>(lanes);
}

// One leaf of `width` outputs, whose first elements lie at x[j * stride]: the reduced elements
// [begin, end), into result[j].
template <class Op, class T = typename Op::Element, class A = typename Op::Accumulator>
static void reduce_column_leaf(const ReduceShape& shape, const T* x, std::int64_t width,
                               std::int64_t begin, std::int64_t end, const A* center, A* result) {
  const std::int64_t stride = shape.kept_strides[0];
  const std::int64_t row_stride = shape.reduced_ndim == 0 ? 0 : shape.reduced_strides[0];
  static constexpr A none[kColumnBlock] = {};
  if (center == nullptr) center = none;
  std::fill_n(result, width, Op::identity());
  for (std::int64_t first = begin; first < end; first += kColumnRun) {
    A sum[kColumnBlock];
    std::fill_n(sum, width, Op::identity());
    walk_reduced(shape, x, first, std::min(first + kColumnRun, end),
                 [&](const T* row, std::int64_t rows) {
                   for (; rows > 0; --rows, row += row_stride) {
                     if (stride == 1)
                       for (std::int64_t j = 0; j < width; ++j)
                         sum[j] = Op::combine(sum[j], Op::lift(row[j], center[j]));
                     else
                       for (std::int64_t j = 0; j < width; ++j)
                         sum[j] = Op::combine(sum[j], Op::lift(row[j * stride], center[j]));
                   }
                 });
    for (std::int64_t j = 0; j < width; ++j) result[j] = Op::combine(result[j], sum[j]);
  }
}

// Combines the leaves of each output, leaf l of output o at partial[l * kept + o], and writes y.
template <class Op, class A = typename Op::Accumulator>
static void combine_leaves(const Reduce& args, A* partial, std::int64_t leaves) {
  const std::int64_t kept = args.shape.kept();
  A* y = static_cast<A*>(args.y);
  const bool divides = std::is_floating_point_v<A> && args.divisor != 1;
  parallel_for(kept, std::max<std::int64_t>(1, kGrain / leaves),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t step = 1; step < leaves; step *= 2)
                   for (std::int64_t l = 0; l + step < leaves; l += 2 * step) {
                     A* left = partial + l * kept;
                     const A* right = partial + (l + step) * kept;
                     for (std::int64_t o = begin; o < end; ++o)
                       left[o] = Op::combine(left[o], right[o]);
                   }
                 if (divides)
                   for (std::int64_t o = begin; o < end; ++o)
                     y[o] = static_cast<A>(partial[o] / static_cast<A>(args.divisor));
                 else if (partial != y) std::copy(partial + begin, partial + end, y + begin);
               });
}

// Memory for the results of the leaves: y itself if there is but one.
template <class A>
static A* leaf_results(const Reduce& args, std::int64_t leaves) {
  if (leaves == 1) return static_cast<A*>(args.y);
  return static_cast<A*>(
      thread_scratch(static_cast<std::size_t>(leaves * args.shape.kept()) * sizeof(A)));
}

// A contiguous row of kLanes elements or more in kApart registers of accumulators; the last
// register of the row overlaps the one before, of which the elements in common count once.
template <class Op, class T = typename Op::Element>
static T reduce_vector_row(const T* x, std::int64_t count, T center) {
  constexpr std::int64_t width = kLanes<T>;
  const Vec<T> middle = Vec<T>{} + center, nothing = Vec<T>{} + Op::identity();
  Vec<T> sums[kApart] = {nothing, nothing, nothing, nothing};
  std::int64_t i = 0;
  for (; i + kApart * width <= count; i += kApart * width)
#pragma GCC unroll 4
    for (int k = 0; k < kApart; ++k)
      sums[k] = Op::combine_each(sums[k], Op::lift_each(load(x + i + k * width), middle));
  Vec<T> sum =
      Op::combine_each(Op::combine_each(sums[0], sums[1]), Op::combine_each(sums[2], sums[3]));
  for (; i + width <= count; i += width)
    sum = Op::combine_each(sum, Op::lift_each(load(x + i), middle));
  if (i < count) {
    const Vec<T> last = Op::lift_each(load(x + count - width), middle);
    const auto is_new = lane_numbers<T>() >= static_cast<int>(width - (count - i));
    sum = Op::combine_each(sum, is_new ? last : nothing);
  }
#pragma GCC unroll 4
  for (int step = width / 2; step > 0; step /= 2)
    sum = Op::combine_each(sum, __builtin_shuffle(sum, lane_numbers<T>() + step));
  return sum[0];
}

// Many short rows at even distances: nothing but the loops.
template <class Op, class T = typename Op::Element, class A = typename Op::Accumulator>
static void reduce_short_rows(const Reduce& args) {
  const ReduceShape& shape = args.shape;
  const std::int64_t reduced = shape.reduced();
  const std::int64_t row = shape.kept_ndim == 0 ? 0 : shape.kept_strides[0];
  const std::int64_t step = shape.reduced_ndim == 0 ? 0 : shape.reduced_strides[0];
  const A* center = static_cast<const A*>(args.center);
  const std::int64_t grain = kGrain / std::max(kShortRow, reduced);
  parallel_for(shape.kept(), grain, [&](std::int64_t begin, std::int64_t end) {
    const T* x = static_cast<const T*>(args.x) + begin * row;
    for (std::int64_t o = begin; o < end; ++o, x += row) {
      const A middle = center == nullptr ? A{} : center[o];
      if constexpr (std::is_floating_point_v<T>)
        if (step == 1 && reduced >= kLanes<T>) {
          static_cast<A*>(args.y)[o] = reduce_vector_row<Op>(x, reduced, middle);
          continue;
        }
      A sum = Op::identity();
      for (std::int64_t i = 0; i < reduced; ++i)
        sum = Op::combine(sum, Op::lift(x[i * step], middle));
      static_cast<A*>(args.y)[o] = sum;
    }
  });
  combine_leaves<Op>(args, static_cast<A*>(args.y), 1);
}

template <class Op, class T = typename Op::Element, class A = typename Op::Accumulator>
static void reduce_rows(const Reduce& args) {
  const ReduceShape& shape = args.shape;
  const std::int64_t kept = shape.kept(), reduced = shape.reduced();
  const std::int64_t leaves = std::max<std::int64_t>(1, ceil_divide(reduced, kRowLeaf));
  A* partial = leaf_results<A>(args, leaves);
  const std::int64_t leaf = std::clamp<std::int64_t>(reduced, 1, kRowLeaf);
  const A* center = static_cast<const A*>(args.center);
  parallel_for(kept * leaves, std::max<std::int64_t>(1, kGrain / leaf),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t o = task / leaves, l = task % leaves;
                   const T* x = static_cast<const T*>(args.x) +
                                offset_of(o, shape.kept_ndim, shape.kept_shape, shape.kept_strides);
                   partial[l * kept + o] = reduce_row_leaf<Op>(
                       shape, x, l * kRowLeaf, std::min((l + 1) * kRowLeaf, reduced),
                       center == nullptr ? A{} : center[o]);
                 }
               });
  combine_leaves<Op>(args, partial, leaves);
}

template <class Op, class T = typename Op::Element, class A = typename Op::Accumulator>
static void reduce_columns(const Reduce& args) {
  const ReduceShape& shape = args.shape;
  const std::int64_t kept = shape.kept(), reduced = shape.reduced(), columns = shape.kept_shape[0];
  const std::int64_t leaves = std::max<std::int64_t>(1, ceil_divide(reduced, kColumnLeaf));
  // Every output has its own tree, so the width of a block may depend on the number of threads.
  const std::int64_t tasks = kept / columns * ceil_divide(columns, kColumnBlock) * leaves;
  const std::int64_t width = tasks >= 2 * num_threads() ? kColumnBlock : kNarrowBlock;
  const std::int64_t blocks = ceil_divide(columns, width);
  A* partial = leaf_results<A>(args, leaves);
  const std::int64_t work =
      std::min(columns, width) * std::clamp<std::int64_t>(reduced, 1, kColumnLeaf);
  const A* center = static_cast<const A*>(args.center);
  parallel_for(kept / columns * blocks * leaves, std::max<std::int64_t>(1, kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t l = task % leaves, block = task / leaves % blocks;
                   const std::int64_t first = block * width;
                   const std::int64_t o = task / leaves / blocks * columns + first;
                   const T* x = static_cast<const T*>(args.x) +
                                offset_of(o, shape.kept_ndim, shape.kept_shape, shape.kept_strides);
                   reduce_column_leaf<Op>(shape, x, std::min(width, columns - first),
                                          l * kColumnLeaf, std::min((l + 1) * kColumnLeaf, reduced),
                                          center == nullptr ? nullptr : center + o,
                                          partial + l * kept + o);
                 }
               });
  combine_leaves<Op>(args, partial, leaves);
}

template <class Op>
static void reduce_by(const Reduce& args) {
  const ReduceShape& shape = args.shape;
  if (shape.kept() == 0) return;
  const bool columns = shape.kept_ndim > 0 && shape.kept_strides[0] != 0 &&
                       (shape.reduced_ndim == 0 || shape.reduced_strides[0] == 0 ||
                        shape.kept_strides[0] < shape.reduced_strides[0]);
  if (columns) return reduce_columns<Op>(args);
  constexpr bool vectors = std::is_floating_point_v<typename Op::Element>;
  const bool dense = vectors && shape.reduced_ndim == 1 && shape.reduced_strides[0] == 1;
  if (shape.reduced() < (dense ? kVectorRow : kShortRow) && shape.kept_ndim <= 1 &&
      shape.reduced_ndim <= 1)
    return reduce_short_rows<Op>(args);
  reduce_rows<Op>(args);
}

// int64 and the floating dtypes, and bool where the operation has it.
template <template <class> class Op, bool with_bool>
static void for_each_dtype(const Reduce& args) {
  if (is_floating(args.dtype))
    return visit_floating(args.dtype,
                          [&](auto t) { reduce_by<Op<typename decltype(t)::type>>(args); });
#if defined(TILEGRAD_IS_FIRST_ISA)  // see TILEGRAD_INTEGERS_ELSEWHERE
  if constexpr (with_bool)
    if (args.dtype == DType::boolean) return reduce_by<Op<bool>>(args);
  reduce_by<Op<std::int64_t>>(args);
#endif
}

template <template <class> class Op>
static void for_each_floating(const Reduce& args) {
  visit_floating(args.dtype, [&](auto t) { reduce_by<Op<typename decltype(t)::type>>(args); });
}

template <class T>
using PlainSum = Sum<T>;

void reduce(const Reduce& args) {
  TILEGRAD_INTEGERS_ELSEWHERE(reduce, args, args.dtype);
  switch (args.op) {
    case ReduceOp::sum:
      return for_each_dtype<PlainSum, true>(args);
    case ReduceOp::prod:
      return for_each_dtype<Prod, false>(args);
    case ReduceOp::amax:
      return for_each_dtype<Max, true>(args);
    case ReduceOp::amin:
      return for_each_dtype<Min, true>(args);
    case ReduceOp::sum_abs:
      return for_each_floating<SumAbs>(args);
    case ReduceOp::sum_squares:
      return for_each_floating<SumSquares>(args);
    case ReduceOp::sum_squared_deviations:
      return for_each_floating<SumSquaredDeviations>(args);
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
