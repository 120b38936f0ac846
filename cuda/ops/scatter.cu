// Writes through index offsets, with or without a reduction.
//
// The dimensions along which offsets change are sorted by the element that they lead to (order.cuh;
// a stable sort, so that what meets in one element keeps its order); the other dimensions are not,
// since different places there never meet. Then a thread takes one element that is written, and up
// to 64 values for it, one after the other; where there are more, a block shares them, in an order
// that depends on their number alone. Moves some 12 bytes a pass of the sort for a
// place, and 3 * sizeof(T) bytes and one operation for a value. Up to 56 registers, 4 blocks of 256
// threads on a multiprocessor.
#include "ops/scatter.h"

#include <limits>

#include "elementwise.cuh"
#include "order.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kWarps = kBlock / kWarp;

template <class T>
struct Combination {
  ScatterMode mode;

  __device__ T operator()(T a, T b) const {
    switch (mode) {
      case ScatterMode::add:
        if constexpr (std::is_floating_point_v<T>) return a + b;
        else return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
      case ScatterMode::multiply:
        if constexpr (std::is_floating_point_v<T>) return a * b;
        else return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
      case ScatterMode::maximum:  // NaN wins
        return a > b || a != a ? a : b;
      case ScatterMode::minimum:
        return a < b || a != a ? a : b;
      default:
        return b;
    }
  }
};

// The loop in two parts: places are what is sorted, and each has the same elements.
struct Parts {
  StridedLoop<3> places;    // operands: x, source, offsets
  StridedLoop<2> elements;  // x, source
  std::int64_t scale, count, width;

  explicit Parts(const Scatter& args) : scale(args.scale) {
    const StridedLoop<3>& loop = args.loop;
    for (int k = 0; k < 3; ++k) places.data[k] = loop.data[k];
    elements.data[0] = elements.data[1] = nullptr;
    for (int d = 0; d < loop.ndim; ++d) {
      if (loop.strides[2][d] == 0 && loop.strides[0][d] != 0) {
        elements.shape[elements.ndim] = loop.shape[d];
        for (int k = 0; k < 2; ++k) elements.strides[k][elements.ndim] = loop.strides[k][d];
        ++elements.ndim;
      } else {
        places.shape[places.ndim] = loop.shape[d];
        for (int k = 0; k < 3; ++k) places.strides[k][places.ndim] = loop.strides[k][d];
        ++places.ndim;
      }
    }
    count = places.size();
    width = elements.size();
  }

  // Of a place: the byte of x where it begins, and its part of the source.
  __device__ std::int64_t destination(std::int64_t place) const {
    char* at[3];
    pointers_at(places, count, place, at);
    return at[0] - places.data[0] + *reinterpret_cast<const std::int64_t*>(at[2]) * scale;
  }
  __device__ const char* source(std::int64_t place) const {
    char* at[3];
    pointers_at(places, count, place, at);
    return at[1];
  }
  // Where element e of every place lies in x and in the source, in bytes.
  __device__ void locate(std::int64_t e, std::int64_t* in_x, std::int64_t* in_source) const {
    *in_x = *in_source = 0;
    for (int d = 0; d < elements.ndim; ++d) {
      const Divided at = divide(e, elements.shape[d]);
      *in_x += at.remainder * elements.strides[0][d];
      *in_source += at.remainder * elements.strides[1][d];
      e = at.quotient;
    }
  }
};

template <class K>
struct SortedByDestination {
  using Key = K;
  Parts parts;
  int unit;  // the logarithm of an element's size
  Key* keys;
  std::uint32_t* order;
  __device__ Key key(std::int64_t, std::int64_t place) const {
    return static_cast<Key>(parts.destination(place) >> unit);
  }
  __device__ void put(std::int64_t, std::int64_t rank, Key key, std::int64_t place) const {
    keys[rank] = key;
    order[rank] = static_cast<std::uint32_t>(place);
  }
};

// What is known after sorting.
template <class T, class Key>
struct Destinations {
  Parts parts;
  const Key* keys;
  const std::uint32_t* order;
  Combination<T> combine;

  __device__ T* element(Key key, std::int64_t in_x) const {
    return reinterpret_cast<T*>(parts.places.data[0] + in_x) + key;
  }
  __device__ T value(std::int64_t rank, std::int64_t in_source) const {
    return *reinterpret_cast<const T*>(parts.source(order[rank]) + in_source);
  }
};

// The last of the places that lead to an element wins.
template <class T, class Key>
struct AssignLast {
  Destinations<T, Key> to;
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, to.parts.width);
    const std::int64_t rank = at.quotient;
    if (rank + 1 < to.parts.count && to.keys[rank + 1] == to.keys[rank]) return;
    std::int64_t in_x, in_source;
    to.parts.locate(at.remainder, &in_x, &in_source);
    *to.element(to.keys[rank], in_x) = to.value(rank, in_source);
  }
};

// Elements to which few places lead: the thread of the first place takes all.
template <class T, class Key>
struct ReduceFew {
  Destinations<T, Key> to;
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, to.parts.width);
    const std::int64_t rank = at.quotient, count = to.parts.count;
    const Key key = to.keys[rank];
    if (rank > 0 && to.keys[rank - 1] == key) return;
    if (rank + kFewEqual < count && to.keys[rank + kFewEqual] == key) return;
    std::int64_t in_x, in_source;
    to.parts.locate(at.remainder, &in_x, &in_source);
    T* const element = to.element(key, in_x);
    T result = *element;
    for (std::int64_t k = rank; k < count && to.keys[k] == key; ++k)
      result = to.combine(result, to.value(k, in_source));
    *element = result;
  }
};

// 32 elements side by side: warp w takes every eighth place.
template <class T, class Key>
__global__ void __launch_bounds__(kBlock)
    reduce_many_kernel(const Destinations<T, Key> to, std::int64_t groups) {
  __shared__ T of_warps[kWarps][kWarp];
  const Divided task = divide(blockIdx.x, groups);
  std::int64_t begin, end;
  const std::int64_t rank = task.quotient * kFewEqual;
  if (!find_many_equal(to.keys, to.parts.count, rank, &begin, &end)) return;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::int64_t e = task.remainder * kWarp + lane;
  std::int64_t in_x = 0, in_source = 0;
  T result{};
  if (e < to.parts.width) {
    to.parts.locate(e, &in_x, &in_source);
    result = to.value(begin + warp, in_source);
#pragma unroll 4
    for (std::int64_t k = begin + warp + kWarps; k < end; k += kWarps)
      result = to.combine(result, to.value(k, in_source));
  }
  of_warps[warp][lane] = result;
  __syncthreads();
  if (warp != 0 || e >= to.parts.width) return;
  T* const element = to.element(to.keys[rank], in_x);
  result = to.combine(*element, result);
  for (int other = 1; other < kWarps; ++other) result = to.combine(result, of_warps[other][lane]);
  *element = result;
}

// One element for each place: all threads of the block share the places, 64 of them at least.
template <class T, class Key>
__global__ void __launch_bounds__(kBlock) reduce_line_kernel(const Destinations<T, Key> to) {
  __shared__ T of_threads[kBlock];
  std::int64_t begin, end;
  const std::int64_t rank = static_cast<std::int64_t>(blockIdx.x) * kFewEqual;
  if (!find_many_equal(to.keys, to.parts.count, rank, &begin, &end)) return;
  const std::int64_t first = begin + threadIdx.x;
  if (first < end) {
    T result = to.value(first, 0);
    for (std::int64_t k = first + kBlock; k < end; k += kBlock)
      result = to.combine(result, to.value(k, 0));
    of_threads[threadIdx.x] = result;
  }
  int size = end - begin < kBlock ? static_cast<int>(end - begin) : kBlock;
  while (size > 1) {  // pairs at half the distance, the rest as it is
    __syncthreads();
    const int half = (size + 1) / 2, other = threadIdx.x + half;
    if (other < size)
      of_threads[threadIdx.x] = to.combine(of_threads[threadIdx.x], of_threads[other]);
    size = half;
  }
  if (threadIdx.x != 0) return;
  T* const element = to.element(to.keys[rank], 0);
  *element = to.combine(*element, of_threads[0]);
}

template <class T, class Key>
void write(const Scatter& args, const Parts& parts, int bits) {
  const auto count = static_cast<std::size_t>(parts.count);
  const Scratch keys(count * sizeof(Key)), order(count * sizeof(std::uint32_t));
  const SortedByDestination<Key> sorted = {parts, std::countr_zero(sizeof(T)),
                                           static_cast<Key*>(keys.data),
                                           static_cast<std::uint32_t*>(order.data)};
  sort_rows(sorted, 1, parts.count, bits);
  const Destinations<T, Key> to = {parts, sorted.keys, sorted.order, {args.mode}};
  const std::int64_t values = parts.count * parts.width;
  if (args.mode == ScatterMode::assign) return for_each_index(values, AssignLast<T, Key>{to});
  for_each_index(values, ReduceFew<T, Key>{to});
  if (parts.count <= kFewEqual) return;
  const std::int64_t blocks = (parts.count + kFewEqual - 1) / kFewEqual;
  if (parts.width == 1)
    return launch(reduce_line_kernel<T, Key>, {blocks_of(blocks, 1), kBlock}, to);
  const std::int64_t groups = (parts.width + kWarp - 1) / kWarp;
  launch(reduce_many_kernel<T, Key>, {blocks_of(blocks * groups, 1), kBlock}, to, groups);
}

template <class T>
void write(const Scatter& args) {
  const Parts parts(args);
  if (parts.count == 0 || parts.width == 0) return;
  const std::int64_t elements = args.span / static_cast<std::int64_t>(sizeof(T));
  if (elements > 0 && elements <= 0xffffffffll)
    return write<T, std::uint32_t>(args, parts, bits_below(elements));
  write<T, std::uint64_t>(args, parts, elements > 0 ? bits_below(elements) : 64);
}

}  // namespace

void scatter(const Scatter& args) {
  if (args.mode != ScatterMode::assign)
    return visit(args.dtype, [&](auto t) { write<typename decltype(t)::type>(args); });
  switch (size_of(args.dtype)) {  // only the element's size matters
    case 1:
      return write<std::uint8_t>(args);
    case 2:
      return write<std::uint16_t>(args);
    case 4:
      return write<std::uint32_t>(args);
    default:
      return write<std::uint64_t>(args);
  }
}

}  // namespace tilegrad::cuda
