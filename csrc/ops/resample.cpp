// Resampling along one dimension. Where elements lie beside each other that share a place in the
// dimension, registers hold them. Along the last dimension there are none: as many rows as a
// register has lanes are turned into columns, computed together and turned back.
#include "resample.h"

#include <algorithm>

#include "../host_memory.h"
#include "../parallel.h"
#include "../strided.h"
#include "../transpose.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// to[j * to_stride + i] = from[i * from_stride + j]: squares of registers, the last of which
// overlap those before, where both sides are as long as a register.
template <class T>
static void turn(const T* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns,
                 T* to, std::int64_t to_stride) {
  constexpr std::int64_t lanes = kLanes<T>;
  if (rows < lanes || columns < lanes)
    return transpose(from, from_stride, rows, columns, to, to_stride);
  for (std::int64_t i = 0; i < rows; i += lanes)
    for (std::int64_t j = 0; j < columns; j += lanes) {
      const std::int64_t top = std::min(i, rows - lanes), left = std::min(j, columns - lanes);
      transpose_square(from + top * from_stride + left, from_stride, to + left * to_stride + top,
                       to_stride);
    }
}

// At most as many rows as a register has lanes: each becomes a lane, so that places and weights are
// read once for all of them. `columns` has room for all elements of x and y.
template <class T>
static void resample_rows(const Resample& args, const T* x, T* y, std::int64_t rows, T* columns) {
  constexpr std::int64_t lanes = kLanes<T>;
  const auto* weight = static_cast<const T*>(args.weight);
  T* results = columns + args.length * lanes;
  if (rows < lanes) std::fill_n(columns, args.length * lanes, T{0});
  turn(x, args.length, rows, args.length, columns, lanes);
  for (std::int64_t j = 0; j < args.size; ++j) {
    Vec<T> sum{};
    for (std::int64_t k = args.begin[j]; k < args.begin[j + 1]; ++k)
      sum += weight[k] * load(columns + args.index[k] * lanes);
    store(results + j * lanes, sum);
  }
  turn(results, lanes, args.size, rows, y, args.size);
}

template <class T>
static void resample_last(const Resample& args) {
  constexpr std::int64_t lanes = kLanes<T>;
  const std::int64_t groups = (args.outer + lanes - 1) / lanes;
  const auto room = static_cast<std::size_t>((args.length + args.size) * lanes) * sizeof(T);
  parallel_for(groups, std::max<std::int64_t>(1, kGrain / (lanes * args.size)),
               [&](std::int64_t begin, std::int64_t end) {
                 T* columns = static_cast<T*>(thread_scratch(room));
                 for (std::int64_t row = begin * lanes; row < std::min(end * lanes, args.outer);
                      row += lanes)
                   resample_rows(args, static_cast<const T*>(args.x) + row * args.length,
                                 static_cast<T*>(args.y) + row * args.size,
                                 std::min(lanes, args.outer - row), columns);
               });
}

// One place of the dimension: `inner` elements side by side, in registers of which the last may
// overlap the one before.
template <class T>
static void resample_place(const Resample& args, std::int64_t j, const T* x, T* y) {
  constexpr std::int64_t lanes = kLanes<T>;
  const auto* weight = static_cast<const T*>(args.weight);
  const std::int64_t begin = args.begin[j], end = args.begin[j + 1], inner = args.inner;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= inner; i += 2 * lanes) {
    Vec<T> first{}, second{};
    for (std::int64_t k = begin; k < end; ++k) {
      const T* row = x + args.index[k] * inner + i;
      first += weight[k] * load(row);
      second += weight[k] * load(row + lanes);
    }
    store(y + i, first);
    store(y + i + lanes, second);
  }
  for (; i < inner && inner >= lanes; i += lanes) {
    const std::int64_t at = std::min(i, inner - lanes);
    Vec<T> sum{};
    for (std::int64_t k = begin; k < end; ++k)
      sum += weight[k] * load(x + args.index[k] * inner + at);
    store(y + at, sum);
  }
  for (; i < inner; ++i) {
    T sum = 0;
    for (std::int64_t k = begin; k < end; ++k) sum += weight[k] * x[args.index[k] * inner + i];
    y[i] = sum;
  }
}

template <class T>
static void resample_inner(const Resample& args) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  parallel_for(args.outer * args.size, std::max<std::int64_t>(1, kGrain / args.inner),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t o = task / args.size, j = task % args.size;
                   resample_place(args, j, x + o * args.length * args.inner, y + task * args.inner);
                 }
               });
}

void resample(const Resample& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    args.inner == 1 ? resample_last<T>(args) : resample_inner<T>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
