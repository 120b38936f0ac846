// Selection by quickselect on packed (key, position) entries. For few of many, a row is read once:
// what cannot be among the best of those seen so far is passed over a block at a time.
#include "topk.h"

#include "../host_memory.h"
#include "../order.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kBlock = 32;

// The keys of a block, and whether one of them is below `limit`.
template <class T, class Key>
static inline bool block_keys(const T* x, Key flip, Key limit, Key* keys) {
  Key below = 0;
  for (std::int64_t i = 0; i < kBlock; ++i) {
    keys[i] = key_of(x[i]) ^ flip;
    below |= keys[i] < limit;
  }
  return below != 0;
}

// How many entries wait before the best k of them are selected; the whole row if sorting it is
// cheaper than passing over its parts.
static std::int64_t pool_size(std::int64_t size, std::int64_t k) {
  if (4 * k >= size) return size;
  return std::min(size, std::max<std::int64_t>(2 * k, 64) + kBlock);
}

// The k smallest entries of the row, sorted: in `pool` of pool_size entries or the spare ones
// behind them.
template <class T, class Entry>
static const Entry* collect_best(const T* x, std::int64_t size, std::int64_t k, bool largest,
                                 Entry* pool) {
  using Key = decltype(key_of(T{}));
  const Key flip = largest ? ~Key{0} : Key{0};
  const std::int64_t capacity = pool_size(size, k);
  Entry* spare = pool + capacity;
  make_entries(x, capacity, largest, pool);
  if (capacity == size) return sort_entries(pool, spare, size);
  select_entries(pool, spare, capacity, k - 1);
  const auto worst_key = [&] { return static_cast<Key>(pool[k - 1] >> kHalfBits<Entry>); };
  const auto add = [&](Key key, std::int64_t position, std::int64_t& count, Key limit) {
    pool[count] =
        static_cast<Entry>(key) << kHalfBits<Entry> | static_cast<HalfOf<Entry>>(position);
    count += key < limit;  // an equal one comes later than those kept
  };
  Key limit = worst_key(), keys[kBlock];
  std::int64_t count = k, i = capacity;
  for (; i + kBlock <= size; i += kBlock) {
    if (!block_keys(x + i, flip, limit, keys)) continue;
    if (count + kBlock >= capacity) {
      select_entries(pool, spare, count, k - 1);
      count = k;
      limit = worst_key();
    }
    for (std::int64_t j = 0; j < kBlock; ++j) add(keys[j], i + j, count, limit);
  }
  if (count + kBlock >= capacity) {
    select_entries(pool, spare, count, k - 1);
    count = k;
    limit = worst_key();
  }
  for (; i < size; ++i) add(key_of(x[i]) ^ flip, i, count, limit);
  select_entries(pool, spare, count, k - 1);
  return merge_sort_entries(pool, spare, k);  // their positions are in no order
}

template <class T, class Entry>
static void topk_row(const TopK& args, std::int64_t row) {
  const T* x = static_cast<const T*>(args.x) + row * args.size;
  T* y = static_cast<T*>(args.y) + row * args.k;
  std::int64_t* index = args.index + row * args.k;
  const std::int64_t capacity = pool_size(args.size, args.k);
  auto* pool =
      static_cast<Entry*>(thread_scratch(2 * static_cast<std::size_t>(capacity) * sizeof(Entry)));
  const Entry* best = collect_best(x, args.size, args.k, args.largest, pool);
  for (std::int64_t i = 0; i < args.k; ++i) {
    index[i] = position_of(best[i]);
    y[i] = x[index[i]];
  }
}

static std::int64_t rows_per_chunk(std::int64_t size) {
  return std::max<std::int64_t>(1, kGrain / 4 / std::max<std::int64_t>(size, 1));
}

void topk(const TopK& args) {
  if (args.k == 0) return;
  visit(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    parallel_for(args.rows, rows_per_chunk(args.size), [&](std::int64_t begin, std::int64_t end) {
      with_entry<T>(args.size, [&](auto entry) {
        for (std::int64_t row = begin; row < end; ++row) topk_row<T, decltype(entry)>(args, row);
      });
    });
  });
}

// The position of the first NaN, or -1.
template <class T>
static std::int64_t first_nan(const T* x, std::int64_t size) {
  if constexpr (std::is_floating_point_v<T>) {
    std::int32_t found = 0;
    for (std::int64_t i = 0; i < size; ++i) found |= x[i] != x[i];
    for (std::int64_t i = 0; found && i < size; ++i)
      if (x[i] != x[i]) return i;
  }
  return -1;
}

template <class T, class Entry>
static std::int64_t select_position(const T* x, std::int64_t size, std::int64_t position) {
  auto* entries =
      static_cast<Entry*>(thread_scratch(2 * static_cast<std::size_t>(size) * sizeof(Entry)));
  make_entries(x, size, false, entries);
  select_entries(entries, entries + size, size, position);
  return position_of(entries[position]);
}

void select_at(const SelectAt& args) {
  visit(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    parallel_for(args.rows, rows_per_chunk(args.size), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* x = static_cast<const T*>(args.x) + row * args.size;
        std::int64_t at = args.nan_wins ? first_nan(x, args.size) : -1;
        if (at < 0)
          with_entry<T>(args.size, [&](auto entry) {
            at = select_position<T, decltype(entry)>(x, args.size, args.position);
          });
        args.index[row] = at;
        static_cast<T*>(args.y)[row] = x[at];
      }
    });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
