// Embedding: rows of a table by index, bags of them, and the gradient of the table.
//
// Forward, a thread moves a piece of up to 16 bytes, neighbours side by side: 2 * row_bytes + 8
// bytes a row. In bags, a thread takes one feature and walks the places of its bag. Backward, the
// places are sorted by the entry that they name (order.cuh, some 12 bytes a place and pass); then a
// thread sums one feature of an entry that has up to 64 places, and a block 32 features of one that
// has more, warp w every eighth place. Each gradient row is read once and each row of the result
// written once, with one addition an element. Up to 56 registers, 4 blocks of 256 threads on a
// multiprocessor, in the sort; 32 and 8 forward.
#include "ops/embedding.h"

#include "flag.cuh"
#include "order.cuh"

namespace tilegrad::cuda {
namespace {

struct alignas(16) Quad {
  std::uint64_t half[2];
};

template <class Unit>
struct CopyRow {
  Unit* y;
  const Unit* weight;
  const std::int64_t* index;
  std::int64_t units;  // of a row
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, units);
    y[i] = weight[index[at.quotient] * units + at.remainder];
  }
};

template <class Unit>
void copy_rows(const Embedding& args) {
  const std::int64_t units = args.row_bytes / static_cast<std::int64_t>(sizeof(Unit));
  for_each_index(args.count * units,
                 CopyRow<Unit>{reinterpret_cast<Unit*>(args.y),
                               reinterpret_cast<const Unit*>(args.weight), args.index, units});
}

// --- bags ---

template <class T>
struct ReduceBag {
  EmbeddingBag args;

  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, args.features);
    const std::int64_t begin = args.offsets[at.quotient], end = args.offsets[at.quotient + 1];
    if (args.mode == BagMode::max) take_largest(i, at.remainder, begin, end);
    else add_up(i, at.remainder, begin, end);
  }
  __device__ T row(std::int64_t entry, std::int64_t feature) const {
    return static_cast<const T*>(args.weight)[entry * args.features + feature];
  }
  __device__ void add_up(std::int64_t i, std::int64_t feature, std::int64_t begin,
                         std::int64_t end) const {
    const T* factors = static_cast<const T*>(args.factors);
    T sum = 0;
    std::int64_t counted = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      if (args.index[k] == args.padding_idx) continue;
      sum += (factors ? factors[k] : T{1}) * row(args.index[k], feature);
      ++counted;
    }
    if (args.mode == BagMode::mean && counted > 1) sum /= static_cast<T>(counted);
    static_cast<T*>(args.y)[i] = sum;
  }
  __device__ void take_largest(std::int64_t i, std::int64_t feature, std::int64_t begin,
                               std::int64_t end) const {
    T most = 0;
    std::int64_t from = -1;
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t entry = args.index[k];
      if (entry == args.padding_idx) continue;
      const T value = row(entry, feature);
      if (from >= 0 && !(value > most)) continue;
      most = value;
      from = entry;
    }
    static_cast<T*>(args.y)[i] = most;
    args.largest[i] = from;
  }
};

// --- backward ---

constexpr int kWarps = kBlock / kWarp;

// The places in the order of their entries.
template <class K>
struct SortedPlaces {
  using Key = K;
  const std::int64_t* index;
  Key* entries;
  std::uint32_t* order;
  __device__ Key key(std::int64_t, std::int64_t i) const { return static_cast<Key>(index[i]); }
  __device__ void put(std::int64_t, std::int64_t rank, Key key, std::int64_t i) const {
    entries[rank] = key;
    order[rank] = static_cast<std::uint32_t>(i);
  }
};

template <class Key>
struct FindStart {
  const Key* entries;
  std::int64_t count;
  std::int64_t* starts;
  __device__ void operator()(std::int64_t e) const {
    starts[e] = lower_bound(entries, count, static_cast<Key>(e));
  }
};

template <class T>
struct EntrySums {
  EmbeddingBackward args;
  const std::uint32_t* order;

  // What place k of the sorted ones adds to a feature.
  __device__ T term(std::int64_t k, std::int64_t feature) const {
    const std::int64_t i = order[k], row = args.source ? args.source[i] : i;
    if (row < 0) return T{0};
    const T grad = static_cast<const T*>(args.grad)[row * args.features + feature];
    return args.factors ? grad * static_cast<const T*>(args.factors)[i] : grad;
  }
  __device__ void store(std::int64_t entry, std::int64_t feature, T sum) const {
    if (args.divide_by_frequency)
      sum *= T{1} / static_cast<T>(args.starts[entry + 1] - args.starts[entry]);
    static_cast<T*>(args.grad_weight)[entry * args.features + feature] = sum;
  }
  // Entries with few places: element i of grad_weight.
  __device__ void operator()(std::int64_t i) const {
    const Divided at = divide(i, args.features);
    const std::int64_t entry = at.quotient, begin = args.starts[entry];
    const std::int64_t end = args.starts[entry + 1];
    if (begin == end || entry == args.padding_idx) {
      static_cast<T*>(args.grad_weight)[i] = 0;
    } else if (end - begin <= kFewEqual) {
      T sum = 0;
      for (std::int64_t k = begin; k < end; ++k) sum += term(k, at.remainder);
      store(entry, at.remainder, sum);
    }
  }
};

// Entries with many places. Such an entry holds some multiples of kFewEqual: the block of the
// first one takes it.
template <class T, class Key>
__global__ void __launch_bounds__(kBlock)
    long_entries_kernel(const EntrySums<T> sums, const Key* entries, std::int64_t groups) {
  __shared__ T of_warps[kWarps][kWarp];
  const EmbeddingBackward& args = sums.args;
  const Divided task = divide(blockIdx.x, groups);
  const std::int64_t place = task.quotient * kFewEqual;
  const std::int64_t entry = static_cast<std::int64_t>(entries[place]);
  const std::int64_t begin = args.starts[entry], end = args.starts[entry + 1];
  if (end - begin <= kFewEqual || place - begin >= kFewEqual || entry == args.padding_idx) return;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::int64_t feature = task.remainder * kWarp + lane;
  T sum = 0;
  if (feature < args.features) {
#pragma unroll 4
    for (std::int64_t k = begin + warp; k < end; k += kWarps) sum += sums.term(k, feature);
  }
  of_warps[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || feature >= args.features) return;
  for (int other = 1; other < kWarps; ++other) sum += of_warps[other][lane];
  sums.store(entry, feature, sum);
}

template <class T, class Key>
void sum_entries(const EmbeddingBackward& args) {
  const auto count = static_cast<std::size_t>(args.count);
  const Scratch entries(count * sizeof(Key)), order(count * sizeof(std::uint32_t));
  const SortedPlaces<Key> places = {args.index, static_cast<Key*>(entries.data),
                                    static_cast<std::uint32_t*>(order.data)};
  sort_rows(places, 1, args.count, bits_below(args.entries));
  for_each_index(args.entries + 1, FindStart<Key>{places.entries, args.count, args.starts});
  const EntrySums<T> sums = {args, places.order};
  for_each_index(args.entries * args.features, sums);
  if (args.count <= kFewEqual) return;
  const std::int64_t groups = (args.features + kWarp - 1) / kWarp;
  const std::int64_t blocks = (args.count + kFewEqual - 1) / kFewEqual * groups;
  launch(long_entries_kernel<T, Key>, {blocks_of(blocks, 1), kBlock}, sums, places.entries, groups);
}

template <class T>
void sum_entries(const EmbeddingBackward& args) {
  if (args.entries <= 0x7fffffff) return sum_entries<T, std::uint32_t>(args);
  sum_entries<T, std::uint64_t>(args);
}

}  // namespace

void embedding(const Embedding& args) {
  const auto pieces = reinterpret_cast<std::uintptr_t>(args.y) |
                      reinterpret_cast<std::uintptr_t>(args.weight) |
                      static_cast<std::uintptr_t>(args.row_bytes);
  if (pieces % 16 == 0) return copy_rows<Quad>(args);
  if (pieces % 8 == 0) return copy_rows<std::uint64_t>(args);
  if (pieces % 4 == 0) return copy_rows<std::uint32_t>(args);
  if (pieces % 2 == 0) return copy_rows<std::uint16_t>(args);
  copy_rows<std::uint8_t>(args);
}

void embedding_bag(const EmbeddingBag& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for_each_index(args.bags * args.features, ReduceBag<T>{args});
  });
}

void embedding_backward(const EmbeddingBackward& args) {
  visit_floating(args.dtype, [&](auto type) { sum_entries<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
