// Stable sorting of rows by unsigned keys (csrc/order_key.h), for every operation that has to bring
// elements into an order. Equal keys stay in the order of their positions.
//
// Rows of up to 2048 elements are sorted in shared memory, as many in a block as fit, by Batcher's
// bitonic network: 24 KiB and 256 threads, 4 blocks on a multiprocessor. Longer ones are
// distributed in global memory by 8 bits of the key at a time, from the lowest. A pass reads the
// keys twice and moves them and their positions once: 3 * sizeof(Key) + 8 bytes an element. A block
// takes 2048 elements of a row; each of its warps ranks 256 of them in order, so that nothing
// depends on which thread comes first. Atomic operations only count. Sorting n elements in a block
// is log2(n) * (log2(n) + 1) / 4 comparisons an element; a pass counts and ranks each element once.
// Counting takes up to 24 registers, sorting in a block 39, distributing 56: 8, 6 and 4 blocks of
// 256 threads on a multiprocessor.
#pragma once

#include "order_key.h"
#include "scan.cuh"

namespace tilegrad::cuda {

// What is sorted: a class with
//   using Key = ...;                                                     // uint32 or uint64
//   Key key(std::int64_t row, std::int64_t i) const;                     // of element i
//   void put(std::int64_t row, std::int64_t rank, Key key, std::int64_t i) const;  // the result
// both __device__.

inline constexpr int kSortTile = 2048;  // elements of a block
inline constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
static_assert(kDigits == kBlock);

// Exchanges two entries that stand in the wrong order.
template <class Key>
static __device__ void order_entries(Key* keys, std::uint32_t* places, int a, int b) {
  const Key first = keys[a], second = keys[b];
  const std::uint32_t first_place = places[a], second_place = places[b];
  if (first < second || (first == second && first_place < second_place)) return;
  keys[a] = second;
  keys[b] = first;
  places[a] = second_place;
  places[b] = first_place;
}

// Sorts each aligned group of `width` (a power of two) of `count` entries in shared memory, by all
// threads of the block.
template <class Key>
static __device__ void sort_entries(Key* keys, std::uint32_t* places, int count, int width) {
  for (int run = 2; run <= width; run *= 2)
    for (int distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < count / 2; pair += kBlock) {
        const int low = pair / distance * 2 * distance + pair % distance, high = low + distance;
        if ((low & (width - 1) & run) == 0) order_entries(keys, places, low, high);
        else order_entries(keys, places, high, low);
      }
    }
  __syncthreads();
}

// Rows that fit into a block: each is padded to `width` elements, a power of two.
template <class Source>
static __global__ void __launch_bounds__(kBlock)
    sort_short_rows_kernel(const Source source, std::int64_t rows, int size, int width) {
  using Key = typename Source::Key;
  __shared__ Key keys[kSortTile];
  __shared__ std::uint32_t places[kSortTile];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kSortTile / width);
  for (int i = threadIdx.x; i < kSortTile; i += kBlock) {
    const std::int64_t row = first + i / width;
    const bool inside = row < rows && i % width < size;
    keys[i] = inside ? source.key(row, i % width) : static_cast<Key>(~Key{0});
    places[i] = inside ? static_cast<std::uint32_t>(i % width) : 0xffffffffu;
  }
  sort_entries(keys, places, kSortTile, width);
  for (int i = threadIdx.x; i < kSortTile; i += kBlock)
    if (first + i / width < rows && i % width < size)
      source.put(first + i / width, i % width, keys[i], places[i]);
}

// Keys of rows with their positions, in global memory.
template <class Key>
struct SortEntries {
  Key* keys;
  std::uint32_t* places;
};

template <class Source>
struct MakeEntries {
  Source source;
  SortEntries<typename Source::Key> to;
  std::int64_t size;
  __device__ void operator()(std::int64_t at) const {
    const Divided place = divide(at, size);
    to.keys[at] = source.key(place.quotient, place.remainder);
    to.places[at] = static_cast<std::uint32_t>(place.remainder);
  }
};
template <class Source>
struct PutEntries {
  Source source;
  SortEntries<typename Source::Key> from;
  std::int64_t size;
  __device__ void operator()(std::int64_t at) const {
    const Divided place = divide(at, size);
    source.put(place.quotient, place.remainder, from.keys[at], from.places[at]);
  }
};

// One pass over all rows. `starts` (rows, kDigits, tiles): how many elements of each digit a tile
// holds, and then where they go.
struct SortPass {
  std::int64_t size, tiles;  // of a row
  int shift;
  std::int64_t* starts;

  template <class Key>
  __device__ int digit(Key key) const {
    return static_cast<int>(key >> shift) & (kDigits - 1);
  }
  __device__ std::int64_t* start(std::int64_t row, int digit, std::int64_t tile) const {
    return starts + (row * kDigits + digit) * tiles + tile;
  }
};

template <class Key>
static __global__ void __launch_bounds__(kBlock)
    count_digits_kernel(const SortPass pass, const Key* keys) {
  __shared__ int counts[kDigits];
  const Divided at = divide(blockIdx.x, pass.tiles);
  counts[threadIdx.x] = 0;
  __syncthreads();
  const std::int64_t begin = at.remainder * kSortTile;
  const std::int64_t end = min(begin + kSortTile, pass.size);
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kBlock)
    atomicAdd(&counts[pass.digit(keys[at.quotient * pass.size + i])], 1);
  __syncthreads();
  *pass.start(at.quotient, threadIdx.x, at.remainder) = counts[threadIdx.x];
}

// The elements of a warp in order, 32 at a time: visit(digit, lanes with that digit, index); lanes
// without an element bring -1.
template <class Key, class Visit>
static __device__ void for_each_of_warp(const SortPass& pass, const Key* keys, std::int64_t row,
                                        std::int64_t tile, const Visit& visit) {
  constexpr int kOwn = kSortTile / (kBlock / kWarp);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int k = 0; k < kOwn; k += kWarp) {
    const std::int64_t i = tile * kSortTile + warp * kOwn + k + lane;
    const std::int64_t at = i < pass.size ? row * pass.size + i : -1;
    const int digit = at >= 0 ? pass.digit(keys[at]) : -1;
    visit(digit, __match_any_sync(kAllLanes, digit), at);
  }
}

// In code for 10.0 and later the 48 registers that nvcc settles for are too few.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
inline constexpr int kDistributeBlocks = 4;
#else
inline constexpr int kDistributeBlocks = 0;  // as many as there are
#endif

template <class Key>
static __global__ void __launch_bounds__(kBlock, kDistributeBlocks)
    distribute_kernel(const SortPass pass, const SortEntries<Key> from, const SortEntries<Key> to) {
  constexpr int kWarps = kBlock / kWarp;
  __shared__ std::int64_t starts[kWarps][kDigits];
  const Divided task = divide(blockIdx.x, pass.tiles);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int other = 0; other < kWarps; ++other) starts[other][threadIdx.x] = 0;
  __syncthreads();
  const auto first_of = [lane](unsigned lanes) {
    return __ffs(static_cast<int>(lanes)) - 1 == lane;
  };
  for_each_of_warp(pass, from.keys, task.quotient, task.remainder,
                   [&](int digit, unsigned lanes, std::int64_t) {
                     if (digit >= 0 && first_of(lanes)) starts[warp][digit] += __popc(lanes);
                     __syncwarp();
                   });
  __syncthreads();
  std::int64_t start = *pass.start(task.quotient, threadIdx.x, task.remainder);
  for (int other = 0; other < kWarps; ++other) {
    const std::int64_t count = starts[other][threadIdx.x];
    starts[other][threadIdx.x] = start;
    start += count;
  }
  __syncthreads();
  for_each_of_warp(pass, from.keys, task.quotient, task.remainder,
                   [&](int digit, unsigned lanes, std::int64_t at) {
                     if (digit >= 0) {
                       const int rank = __popc(lanes & ((1u << lane) - 1));
                       const std::int64_t place = starts[warp][digit] + rank;
                       to.keys[place] = from.keys[at];
                       to.places[place] = from.places[at];
                     }
                     __syncwarp();
                     if (digit >= 0 && first_of(lanes)) starts[warp][digit] += __popc(lanes);
                     __syncwarp();
                   });
}

// The rows of `from`, sorted by the lowest `bits` of their keys; returns which of the two holds the
// result. All rows together lie in one piece, so where a row's digits go follows from one scan.
template <class Key>
static SortEntries<Key> sort_long_rows(SortEntries<Key> from, SortEntries<Key> to,
                                       std::int64_t rows, std::int64_t size, int bits) {
  const std::int64_t tiles = (size + kSortTile - 1) / kSortTile, counts = rows * kDigits * tiles;
  const Scratch starts(static_cast<std::size_t>(counts) * sizeof(std::int64_t));
  const unsigned blocks = blocks_of(rows * tiles, 1);
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    const SortPass pass = {size, tiles, shift, static_cast<std::int64_t*>(starts.data)};
    launch(count_digits_kernel<Key>, {blocks, kBlock}, pass, from.keys);
    sum_counts_before(pass.starts, counts);
    launch(distribute_kernel<Key>, {blocks, kBlock}, pass, from, to);
    std::swap(from, to);
  }
  return from;
}

// Sorts rows of `size` elements by the lowest `bits` of their keys; the others are equal.
template <class Source>
static void sort_rows(const Source& source, std::int64_t rows, std::int64_t size,
                      int bits = 8 * sizeof(typename Source::Key)) {
  using Key = typename Source::Key;
  if (rows == 0 || size == 0) return;
  if (size <= kSortTile) {
    int width = 2;
    while (width < size) width *= 2;
    return launch(sort_short_rows_kernel<Source>, {blocks_of(rows, kSortTile / width), kBlock},
                  source, rows, static_cast<int>(size), width);
  }
  TILEGRAD_CHECK(size <= 0xffffffffll, runtime,
                 "CUDA: expected rows of fewer than 2**32 elements to sort, got ", size);
  const auto count = static_cast<std::size_t>(rows * size);
  const Scratch keys(2 * count * sizeof(Key)), places(2 * count * sizeof(std::uint32_t));
  const SortEntries<Key> first = {static_cast<Key*>(keys.data),
                                  static_cast<std::uint32_t*>(places.data)};
  const SortEntries<Key> second = {first.keys + count, first.places + count};
  for_each_index(rows * size, MakeEntries<Source>{source, first, size});
  const SortEntries<Key> sorted = sort_long_rows(first, second, rows, size, bits);
  for_each_index(rows * size, PutEntries<Source>{source, sorted, size});
}

// The first place in [0, count) of the sorted keys that is not below `key`; count if there is none.
template <class Key>
static __device__ std::int64_t lower_bound(const Key* keys, std::int64_t count, Key key) {
  std::int64_t first = 0;
  while (count > 0) {
    const std::int64_t half = count / 2;
    if (keys[first + half] < key) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

// Up to so many equal keys are taken by one thread, one after the other; a block shares more.
inline constexpr std::int64_t kFewEqual = 64;

// Finds the keys [begin, end) that equal keys[rank]: true if there are more than kFewEqual of them,
// and `rank` is the first multiple of kFewEqual among them, so that one block in a row takes them.
template <class Key>
static __device__ bool find_many_equal(const Key* keys, std::int64_t count, std::int64_t rank,
                                       std::int64_t* begin, std::int64_t* end) {
  const Key key = keys[rank];
  if (rank >= kFewEqual && keys[rank - kFewEqual] == key) return false;
  *begin = rank < kFewEqual ? 0 : rank - kFewEqual;
  *begin += lower_bound(keys + *begin, rank - *begin, key);
  *end = key == static_cast<Key>(~Key{0})
             ? count
             : rank + lower_bound(keys + rank, count - rank, static_cast<Key>(key + 1));
  return *end - *begin > kFewEqual;
}

// How many bits the numbers below `count` take.
static inline int bits_below(std::int64_t count) {
  return count <= 1 ? 1 : static_cast<int>(std::bit_width(static_cast<std::uint64_t>(count - 1)));
}

}  // namespace tilegrad::cuda
