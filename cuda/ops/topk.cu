// The best k of each row, and the element at one position, without sorting the row.
//
// A block takes a row. It finds the key at the wanted rank by 8 bits at a time, from the highest:
// each pass counts the digits of the elements that agree so far in shared memory (the counts do not
// depend on who comes first). Then it collects what is better than that key, and the first of the
// equal ones, in order, and sorts these k (order.cuh). Rows are read sizeof(Key) + 1 times, from
// the cache after the first if they fit; up to 1024 of k, for more the rows are sorted. Shared
// memory 13 KiB; a few integer operations an element and pass. Up to 56 registers, 4 blocks of 256
// threads on a multiprocessor. One row alone keeps one multiprocessor busy.
#include "ops/topk.h"

#include "order.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kMostSelected = 1024;
constexpr int kWarps = kBlock / kWarp;

template <class T>
using KeyOf = decltype(key_of(T{}));

void check_row_size(const char* op, std::int64_t size) {
  TILEGRAD_CHECK(size <= 0xffffffffll, runtime, op,
                 " in CUDA: expected rows of fewer than 2**32 elements, got ", size);
}

// The key at a rank of a row, and how many elements have a lower one.
template <class Key>
struct Threshold {
  Key key;
  std::int64_t below;
};

// The digit at which the counts of a block reach beyond `rank`, which becomes the rank among those
// with that digit. All threads of the block get the answer.
__device__ inline int find_digit(const unsigned* counts, std::int64_t& rank) {
  __shared__ int found;
  __shared__ std::int64_t before;
  std::int64_t all;
  const std::int64_t own = counts[threadIdx.x];
  const std::int64_t below = group_before<kBlock>(CountsBefore{nullptr}, own, all);
  if (below <= rank && rank < below + own) {  // true for one thread
    found = threadIdx.x;
    before = below;
  }
  __syncthreads();
  rank -= before;
  return found;
}

// The key of rank `rank` among those of a row; a block calls it together.
template <class T>
__device__ Threshold<KeyOf<T>> find_rank(const T* row, std::int64_t size, KeyOf<T> flip,
                                         std::int64_t rank) {
  using Key = KeyOf<T>;
  __shared__ unsigned counts[kDigits];
  constexpr int kBits = 8 * sizeof(Key);
  const std::int64_t wanted = rank;
  Key prefix = 0;
  for (int shift = kBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    __syncthreads();
    counts[threadIdx.x] = 0;
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < size; i += kBlock) {
      const Key key = key_of(row[i]) ^ flip;
      const bool agrees = shift == kBits - kDigitBits || (key ^ prefix) >> shift < kDigits;
      if (agrees) atomicAdd(&counts[key >> shift & (kDigits - 1)], 1u);
    }
    __syncthreads();
    prefix |= static_cast<Key>(find_digit(counts, rank)) << shift;
  }
  return {prefix, wanted - rank};
}

// How many threads before this one in the block say true, and how many there are in all.
__device__ inline int count_before(bool flag, int& all) {
  __shared__ int of_warps[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const unsigned votes = __ballot_sync(kAllLanes, flag);
  __syncthreads();  // the call before this one may still be reading
  if (lane == 0) of_warps[warp] = __popc(votes);
  __syncthreads();
  int before = __popc(votes & ((1u << lane) - 1));
  all = 0;
  for (int other = 0; other < kWarps; ++other) {
    if (other < warp) before += of_warps[other];
    all += of_warps[other];
  }
  return before;
}

template <class T>
__global__ void __launch_bounds__(kBlock, 4)
    select_kernel(const T* x, T* y, std::int64_t* index, std::int64_t size, int k, int width,
                  KeyOf<T> flip) {
  using Key = KeyOf<T>;
  __shared__ Key keys[kMostSelected];
  __shared__ std::uint32_t places[kMostSelected];
  const std::int64_t row = blockIdx.x;
  const T* const from = x + row * size;
  const Threshold<Key> limit = find_rank(from, size, flip, k - 1);
  for (int i = threadIdx.x; i < width; i += kBlock) {
    keys[i] = static_cast<Key>(~Key{0});
    places[i] = 0xffffffffu;
  }
  __syncthreads();
  std::int64_t better = 0, equal = limit.below;
  for (std::int64_t first = 0; first < size; first += kBlock) {
    const std::int64_t i = first + threadIdx.x;
    const Key key = i < size ? static_cast<Key>(key_of(from[i]) ^ flip) : Key{0};
    const bool is_better = i < size && key < limit.key, is_equal = i < size && key == limit.key;
    int all_better, all_equal;
    const std::int64_t at_better = better + count_before(is_better, all_better);
    const std::int64_t at_equal = equal + count_before(is_equal, all_equal);
    const std::int64_t to = is_better ? at_better : at_equal;
    if (is_better || (is_equal && to < k)) {
      keys[to] = key;
      places[to] = static_cast<std::uint32_t>(i);
    }
    better += all_better;
    equal += all_equal;
  }
  sort_entries(keys, places, width, width);
  for (int i = threadIdx.x; i < k; i += kBlock) {
    index[row * k + i] = places[i];
    y[row * k + i] = from[places[i]];
  }
}

// Of rows that are sorted whole, the first k.
template <class T>
struct FirstOfRows {
  using Key = KeyOf<T>;
  const T* x;
  T* y;
  std::int64_t* index;
  std::int64_t size, k;
  Key flip;
  __device__ Key key(std::int64_t row, std::int64_t i) const {
    return key_of(x[row * size + i]) ^ flip;
  }
  __device__ void put(std::int64_t row, std::int64_t rank, Key, std::int64_t i) const {
    if (rank >= k) return;
    y[row * k + rank] = x[row * size + i];
    index[row * k + rank] = i;
  }
};

template <class T>
void select_best(const TopK& args) {
  using Key = KeyOf<T>;
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  const Key flip = args.largest ? static_cast<Key>(~Key{0}) : Key{0};
  if (args.size <= kSortTile || args.k > kMostSelected)
    return sort_rows(FirstOfRows<T>{x, y, args.index, args.size, args.k, flip}, args.rows,
                     args.size);
  check_row_size("topk", args.size);
  int width = 2;
  while (width < args.k) width *= 2;
  launch(select_kernel<T>, {blocks_of(args.rows, 1), kBlock}, x, y, args.index, args.size,
         static_cast<int>(args.k), width, flip);
}

// The first element of a row that `wanted` is true of, counting from `rank` of those; a block calls
// it together. -1: there are not so many.
template <class T, class Wanted>
__device__ std::int64_t find_first(const T* row, std::int64_t size, std::int64_t rank,
                                   const Wanted& wanted) {
  __shared__ std::int64_t found;
  if (threadIdx.x == 0) found = -1;
  std::int64_t seen = 0;
  for (std::int64_t first = 0; first < size && seen <= rank; first += kBlock) {
    const std::int64_t i = first + threadIdx.x;
    int all;
    const bool is_wanted = i < size && wanted(row[i]);
    const std::int64_t at = seen + count_before(is_wanted, all);
    if (is_wanted && at == rank) found = i;
    seen += all;
  }
  __syncthreads();
  const std::int64_t result = found;
  __syncthreads();
  return result;
}

template <class T>
__global__ void __launch_bounds__(kBlock, 4) select_at_kernel(const SelectAt args) {
  const std::int64_t row = blockIdx.x;
  const T* const x = static_cast<const T*>(args.x) + row * args.size;
  std::int64_t at = -1;
  if (args.nan_wins) at = find_first(x, args.size, 0, [](T value) { return value != value; });
  if (at < 0) {
    const Threshold<KeyOf<T>> limit = find_rank(x, args.size, KeyOf<T>{0}, args.position);
    at = find_first(x, args.size, args.position - limit.below,
                    [&](T value) { return key_of(value) == limit.key; });
  }
  if (threadIdx.x != 0) return;
  args.index[row] = at;
  static_cast<T*>(args.y)[row] = x[at];
}

}  // namespace

void topk(const TopK& args) {
  if (args.k == 0 || args.rows == 0) return;
  visit(args.dtype, [&](auto type) { select_best<typename decltype(type)::type>(args); });
}

void select_at(const SelectAt& args) {
  if (args.rows == 0) return;
  check_row_size("select_at", args.size);
  visit(args.dtype, [&](auto type) {
    launch(select_at_kernel<typename decltype(type)::type>, {blocks_of(args.rows, 1), kBlock},
           args);
  });
}

}  // namespace tilegrad::cuda
