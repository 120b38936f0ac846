// Scans along lines: element i of a line becomes x[0] + ... + x[i], for any associative "+".
//
// A long line is cut into chunks of a fixed length, which are folded first; then the chunks' totals
// are scanned, and then the chunks again, each from its own beginning. So the order of every sum
// depends on sizes alone. Lines that lie side by side in memory are taken by a thread each, others
// by a warp or a block, which shares a tile of 1024 elements at a time. Reads each element once, or
// twice where there are chunks, and writes it once; "+" is computed once or twice for each, in a
// warp or a block 2 to 5 times more. Lines side by side: up to 52 registers, 4 blocks of 256
// threads on a multiprocessor; others: 64 registers, 4 blocks.
#pragma once

#include <bit>
#include <type_traits>

#include "divide.cuh"
#include "launch.cuh"
#include "scratch.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {

// An operation is a class with
//   using State = ...;                                         // 4, 8 or 16 bytes
//   State identity() const;
//   State lift(std::int64_t at, std::int64_t i) const;         // element i of its line
//   State operator()(State a, State b) const;                  // combines, a before b
//   void store(std::int64_t at, State before, State with) const;  // without and with the element
// all of them __device__; `at` counts elements from the beginning of the array.

// (outer, length, inner), contiguous; a line goes along `length`.
struct ScanShape {
  std::int64_t outer, length, inner;
  bool reverse = false;  // from the last element of a line to the first

  __device__ std::int64_t place(std::int64_t line, std::int64_t i) const {
    const Divided at = inner == 1 ? Divided{line, 0} : divide(line, inner);
    return (at.quotient * length + (reverse ? length - 1 - i : i)) * inner + at.remainder;
  }
  constexpr std::int64_t lines() const { return outer * inner; }
};

inline constexpr int kScanItems = 4;                 // side by side, per thread
inline constexpr std::int64_t kScanRowChunk = 8192;  // elements
inline constexpr std::int64_t kScanColumnChunk = 256;
inline constexpr std::int64_t kEnoughRows = 1024;  // that many blocks or threads need no chunks
inline constexpr std::int64_t kEnoughColumns = 65536;
inline constexpr std::int64_t kScanShortRow = 512;  // a warp is enough

// The chunks of all lines. `totals` (lines, count): what comes before a chunk, or, while the chunks
// are folded, what is in it; null where a line is one chunk.
template <class State>
struct ScanChunks {
  std::int64_t count, size;
  State* totals;
};

// The value of the lane `distance` below.
template <class T>
static __device__ T from_lane_below(T value, int distance) {
  if constexpr (std::is_arithmetic_v<T>) {
    return __shfl_up_sync(kAllLanes, value, distance);
  } else {
    struct Words {
      unsigned long long word[sizeof(T) / 8];
    };
    Words words = std::bit_cast<Words>(value);
    for (auto& word : words.word) word = __shfl_up_sync(kAllLanes, word, distance);
    return std::bit_cast<T>(words);
  }
}

// What the threads of a warp before this one have brought; `all` is what all of them have.
template <class Op, class State>
static __device__ State warp_before(const Op& op, State own, State& all) {
  const int lane = threadIdx.x % kWarp;
  State with = own;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const State other = from_lane_below(with, distance);
    if (lane >= distance) with = op(other, with);
  }
  const State before = from_lane_below(with, 1);
  __shared__ State last[kBlock / kWarp];
  __syncwarp();
  if (lane == kWarp - 1) last[threadIdx.x / kWarp] = with;
  __syncwarp();
  all = last[threadIdx.x / kWarp];
  return lane == 0 ? op.identity() : before;
}

// The same for a group of kThreads threads: a warp, or the whole block.
template <int kThreads, class Op, class State>
static __device__ State group_before(const Op& op, State own, State& all) {
  const State before = warp_before(op, own, all);
  if constexpr (kThreads == kWarp) {
    return before;
  } else {
    constexpr int kWarps = kThreads / kWarp;
    __shared__ State of_warps[kWarps];
    const int warp = threadIdx.x / kWarp;
    __syncthreads();  // the call before this one may still be reading
    if (threadIdx.x % kWarp == 0) of_warps[warp] = all;
    __syncthreads();
    State sum = op.identity(), own_warp = sum;
#pragma unroll
    for (int other = 0; other < kWarps; ++other) {
      if (other == warp) own_warp = sum;
      sum = op(sum, of_warps[other]);
    }
    all = sum;
    return op(own_warp, before);
  }
}

// A group of kThreads threads scans (or, without kStore, folds) a chunk of a line.
template <int kThreads, bool kStore, class Op>
static __global__ void __launch_bounds__(kBlock, 3)
    scan_rows_kernel(const Op op, const ScanShape shape,
                     const ScanChunks<typename Op::State> chunks) {
  using State = typename Op::State;
  const std::int64_t task =
      (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) / kThreads;
  if (task >= shape.lines() * chunks.count) return;  // a whole group
  const Divided at = divide(task, chunks.count);
  const std::int64_t begin = at.remainder * chunks.size;
  const std::int64_t end = min(begin + chunks.size, shape.length);
  State carry = kStore && chunks.totals ? chunks.totals[task] : op.identity();
  for (std::int64_t tile = begin; tile < end; tile += kThreads * kScanItems) {
    const std::int64_t first = tile + threadIdx.x % kThreads * kScanItems;
    State items[kScanItems], sum = op.identity(), all;
#pragma unroll
    for (int k = 0; k < kScanItems; ++k) {
      const bool inside = first + k < end;
      items[k] = inside ? op.lift(shape.place(at.quotient, first + k), first + k) : op.identity();
      sum = op(sum, items[k]);
    }
    State before = op(carry, group_before<kThreads>(op, sum, all));
    if constexpr (kStore) {
#pragma unroll
      for (int k = 0; k < kScanItems; ++k) {
        const State with = op(before, items[k]);
        if (first + k < end) op.store(shape.place(at.quotient, first + k), before, with);
        before = with;
      }
    }
    carry = op(carry, all);
  }
  if (!kStore && threadIdx.x % kThreads == 0) chunks.totals[task] = carry;
}

// A thread scans a chunk of a line; its neighbours have the lines beside it.
template <bool kStore, class Op>
static __global__ void __launch_bounds__(kBlock)
    scan_columns_kernel(const Op op, const ScanShape shape,
                        const ScanChunks<typename Op::State> chunks) {
  using State = typename Op::State;
  const std::int64_t task = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (task >= shape.lines() * chunks.count) return;
  const Divided at = divide(task, shape.lines());  // (chunk, line)
  State* total =
      chunks.totals ? chunks.totals + at.remainder * chunks.count + at.quotient : nullptr;
  const std::int64_t begin = at.quotient * chunks.size;
  const std::int64_t end = min(begin + chunks.size, shape.length);
  std::int64_t place = shape.place(at.remainder, begin);
  const std::int64_t step = shape.reverse ? -shape.inner : shape.inner;
  State state = kStore && total ? *total : op.identity();
  for (std::int64_t i = begin; i < end; ++i, place += step) {
    const State before = state;
    state = op(state, op.lift(place, i));
    if constexpr (kStore) op.store(place, before, state);
  }
  if (!kStore) *total = state;
}

// Turns what is in each chunk into what comes before it.
template <class Op>
struct ChunksBefore {
  using State = typename Op::State;
  Op op;
  State* totals;
  __device__ State identity() const { return op.identity(); }
  __device__ State lift(std::int64_t at, std::int64_t) const { return totals[at]; }
  __device__ State operator()(State a, State b) const { return op(a, b); }
  __device__ void store(std::int64_t at, State before, State) const { totals[at] = before; }
};

template <bool kStore, class Op>
static void scan_chunks(const Op& op, const ScanShape& shape,
                        const ScanChunks<typename Op::State>& chunks) {
  const std::int64_t tasks = shape.lines() * chunks.count;
  if (shape.inner > 1)
    launch(scan_columns_kernel<kStore, Op>, {blocks_of(tasks, kBlock), kBlock}, op, shape, chunks);
  else if (std::min(shape.length, chunks.size) <= kScanShortRow)
    launch(scan_rows_kernel<kWarp, kStore, Op>, {blocks_of(tasks, kBlock / kWarp), kBlock}, op,
           shape, chunks);
  else
    launch(scan_rows_kernel<kBlock, kStore, Op>, {blocks_of(tasks, 1), kBlock}, op, shape, chunks);
}

template <class Op>
static void scan_lines(const Op& op, const ScanShape& shape) {
  using State = typename Op::State;
  if (shape.lines() == 0 || shape.length == 0) return;
  const bool columns = shape.inner > 1;
  const std::int64_t size = columns ? kScanColumnChunk : kScanRowChunk;
  const bool enough = shape.lines() >= (columns ? kEnoughColumns : kEnoughRows);
  ScanChunks<State> chunks = {1, shape.length, nullptr};
  if (enough || shape.length <= size) return scan_chunks<true>(op, shape, chunks);
  chunks.count = (shape.length + size - 1) / size;
  chunks.size = size;
  const Scratch totals(static_cast<std::size_t>(shape.lines() * chunks.count) * sizeof(State));
  chunks.totals = static_cast<State*>(totals.data);
  scan_chunks<false>(op, shape, chunks);
  scan_chunks<true>(ChunksBefore<Op>{op, chunks.totals}, {shape.lines(), chunks.count, 1},
                    ScanChunks<State>{1, chunks.count, nullptr});
  scan_chunks<true>(op, shape, chunks);
}

// Of counts, in place: each becomes the sum of those before it.
struct CountsBefore {
  using State = std::int64_t;
  std::int64_t* counts;
  __device__ State identity() const { return 0; }
  __device__ State lift(std::int64_t at, std::int64_t) const { return counts[at]; }
  __device__ State operator()(State a, State b) const { return a + b; }
  __device__ void store(std::int64_t at, State before, State) const { counts[at] = before; }
};
static inline void sum_counts_before(std::int64_t* counts, std::int64_t size) {
  scan_lines(CountsBefore{counts}, {1, size, 1});
}

}  // namespace tilegrad::cuda
