// Embedding: rows gathered forward; backward the places are sorted by the entry that they name
// (a counting sort, which keeps their order), and each row of the gradient is summed by one task
// and written once. No atomics, no zeroing pass, the same bits for any number of threads.
#include "embedding.h"

#include <algorithm>
#include <cstring>

#include "../parallel.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static std::int64_t rows_per_task(std::int64_t features) {
  return std::max<std::int64_t>(1, kGrain / 2 / std::max<std::int64_t>(1, features));
}

void embedding(const Embedding& args) {
  const auto bytes = static_cast<std::size_t>(args.row_bytes);
  parallel_for(args.count, rows_per_task(args.row_bytes / 4),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   std::memcpy(args.y + i * args.row_bytes,
                               args.weight + args.index[i] * args.row_bytes, bytes);
               });
}

// --- bags
// -----------------------------------------------------------------------------------------

// to += factor * from
template <class T>
static void add_row(T* __restrict to, const T* __restrict from, T factor, std::int64_t count) {
  for (std::int64_t f = 0; f < count; ++f) to[f] += factor * from[f];
}

template <class T>
static void sum_bag(const EmbeddingBag& args, std::int64_t bag) {
  T* y = static_cast<T*>(args.y) + bag * args.features;
  const T* factors = static_cast<const T*>(args.factors);
  std::fill_n(y, args.features, T{0});
  std::int64_t counted = 0;
  for (std::int64_t i = args.offsets[bag]; i < args.offsets[bag + 1]; ++i) {
    if (args.index[i] == args.padding_idx) continue;
    add_row(y, static_cast<const T*>(args.weight) + args.index[i] * args.features,
            factors ? factors[i] : T{1}, args.features);
    ++counted;
  }
  if (args.mode == BagMode::mean && counted > 1)
    for (std::int64_t f = 0; f < args.features; ++f) y[f] /= static_cast<T>(counted);
}

template <class T>
static void largest_of_bag(const EmbeddingBag& args, std::int64_t bag) {
  T* y = static_cast<T*>(args.y) + bag * args.features;
  std::int64_t* largest = args.largest + bag * args.features;
  std::fill_n(y, args.features, T{0});
  std::fill_n(largest, args.features, std::int64_t{-1});
  for (std::int64_t i = args.offsets[bag]; i < args.offsets[bag + 1]; ++i) {
    const std::int64_t entry = args.index[i];
    if (entry == args.padding_idx) continue;
    const T* row = static_cast<const T*>(args.weight) + entry * args.features;
    for (std::int64_t f = 0; f < args.features; ++f)
      if (largest[f] < 0 || row[f] > y[f]) {
        y[f] = row[f];
        largest[f] = entry;
      }
  }
}

template <class T>
static void reduce_bags(const EmbeddingBag& args) {
  parallel_for(args.bags, rows_per_task(4 * args.features),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t bag = begin; bag < end; ++bag)
                   args.mode == BagMode::max ? largest_of_bag<T>(args, bag) : sum_bag<T>(args, bag);
               });
}

void embedding_bag(const EmbeddingBag& args) {
  args.dtype == DType::float32 ? reduce_bags<float>(args) : reduce_bags<double>(args);
}

// --- backward
// -------------------------------------------------------------------------------------

// order: the places, sorted by entry; starts[e] is the first of entry e.
static void sort_places(const EmbeddingBackward& args) {
  std::int64_t* starts = args.starts;
  std::fill_n(starts, args.entries + 1, std::int64_t{0});
  for (std::int64_t i = 0; i < args.count; ++i) ++starts[args.index[i]];
  std::int64_t total = 0;
  for (std::int64_t e = 0; e <= args.entries; ++e) starts[e] = total += starts[e];  // ends
  for (std::int64_t i = args.count - 1; i >= 0; --i) args.order[--starts[args.index[i]]] = i;
}

template <class T>
static void sum_entry(const EmbeddingBackward& args, std::int64_t entry) {
  T* sum = static_cast<T*>(args.grad_weight) + entry * args.features;
  const T* factors = static_cast<const T*>(args.factors);
  const std::int64_t begin = args.starts[entry], end = args.starts[entry + 1];
  std::fill_n(sum, args.features, T{0});
  if (entry == args.padding_idx) return;
  const T share = args.divide_by_frequency ? T{1} / static_cast<T>(end - begin) : T{1};
  for (std::int64_t k = begin; k < end; ++k) {
    const std::int64_t i = args.order[k], row = args.source ? args.source[i] : i;
    if (row < 0) continue;
    add_row(sum, static_cast<const T*>(args.grad) + row * args.features,
            factors ? factors[i] * share : share, args.features);
  }
}

template <class T>
static void sum_entries(const EmbeddingBackward& args) {
  sort_places(args);
  parallel_for(args.entries, rows_per_task(args.features),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t e = begin; e < end; ++e) sum_entry<T>(args, e);
               });
}

void embedding_backward(const EmbeddingBackward& args) {
  args.dtype == DType::float32 ? sum_entries<float>(args) : sum_entries<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
