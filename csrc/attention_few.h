// Attention of a few queries, such as the last one of a text that is being generated: too few to
// fill the lanes of a panel, and bound by the time to read keys and values, which they do once.
// Here keys and features are the lanes. Included once per instruction set.
#pragma once

#include "attention_panel.h"
#include "host_memory.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kFewQueries = 6;

// The products of a query and a key, summed over the features of each lane.
template <class T>
TILEGRAD_INLINE Vec<T> lane_products(const T* query, const T* key, std::int64_t features) {
  Vec<T> sum[2]{};
  std::int64_t f = 0;
  for (; f + 2 * kLanes<T> <= features; f += 2 * kLanes<T>)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v)
      sum[v] += load(query + f + v * kLanes<T>) * load(key + f + v * kLanes<T>);
  if (f + kLanes<T> <= features) {
    sum[0] += load(query + f) * load(key + f);
    f += kLanes<T>;
  }
  if (f < features) sum[1] += load_part(query + f, features - f) * load_part(key + f, features - f);
  return sum[0] + sum[1];
}

// scores[i] = query . keys[i], kLanes keys at a time: scores has room for whole vectors.
template <class T>
[[gnu::noinline]] static void score_keys(const T* query, const T* keys, std::int64_t key_row,
                                         std::int64_t count, std::int64_t features, T* scores) {
  constexpr std::int64_t lanes = kLanes<T>;
  alignas(64) T parts[lanes * lanes];
  for (std::int64_t first = 0; first < count; first += lanes) {
    const std::int64_t valid = std::min(lanes, count - first);
    for (std::int64_t i = 0; i < valid; ++i)
      store(parts + i * lanes, lane_products(query, keys + (first + i) * key_row, features));
    transpose_square(parts, lanes, parts, lanes, static_cast<int>(valid));
    Vec<T> sum[2]{};
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) sum[i % 2] += load(parts + i * lanes);
    store(scores + first, sum[0] + sum[1]);
  }
}

// y (features) += weights (count) @ values (count, features).
template <class T>
[[gnu::noinline]] static void add_values(const T* weights, const T* values, std::int64_t value_row,
                                         std::int64_t count, std::int64_t features,
                                         T* __restrict y) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4, values += 4 * value_row) {
    const T *w = weights + i, *v = values;
    for (std::int64_t f = 0; f < features; ++f)
      y[f] += w[0] * v[f] + w[1] * v[f + value_row] + w[2] * v[f + 2 * value_row] +
              w[3] * v[f + 3 * value_row];
  }
  for (; i < count; ++i, values += value_row)
    for (std::int64_t f = 0; f < features; ++f) y[f] += weights[i] * values[f];
}

// Turns scores into weights and returns their sum; scores beyond `count` become 0.
template <class T>
[[gnu::noinline]] static T weigh(T* scores, std::int64_t count, T largest) {
  const T shift = largest == kMinusInfinity<T> ? T{0} : largest;
  std::int64_t padded = (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  std::fill(scores + count, scores + padded, kMinusInfinity<T>);
  Vec<T> sum{};
  for (std::int64_t i = 0; i < padded; i += kLanes<T>) {
    const Vec<T> weight = exponential_below<T>(load(scores + i) - shift);
    store(scores + i, weight);
    sum += weight;
  }
  T total = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) total += sum[lane];
  return total;
}

template <class T>
static void mask_scores(const AttentionProblem& p, const PanelPlace& place, std::int64_t query,
                        T* scores) {
  const AttentionMask& mask = p.mask;
  const std::int64_t start =
      place.batch * mask.batch_stride + place.head * mask.head_stride + query * mask.query_stride;
  for (std::int64_t i = 0; i < place.keys; ++i) {
    const std::int64_t at = start + i * mask.key_stride;
    if (!mask.boolean) scores[i] += static_cast<const T*>(mask.data)[at];
    else if (!static_cast<const bool*>(mask.data)[at]) scores[i] = kMinusInfinity<T>;
  }
}

// All queries of one head, without dropout.
template <class T>
static void attend_few(const Attention& args, std::int64_t matrix) {
  const AttentionProblem& p = args.problem;
  PanelPlace place = place_of<T>(p, matrix, 0);
  place.count = p.queries;
  place.keys = p.causal ? std::min(p.keys, p.queries) : p.keys;
  const std::int64_t row = (p.keys + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  T* scores = static_cast<T*>(
      thread_scratch(static_cast<std::size_t>(p.queries * (row + p.features)) * sizeof(T)));
  T* query = scores + p.queries * row;
  for (std::int64_t i = 0; i < p.queries; ++i) {
    const T* from = row_of<const T>(p.query, place.batch, place.head, i);
    for (std::int64_t f = 0; f < p.features; ++f)
      query[i * p.features + f] = from[f] * static_cast<T>(p.scale);
  }
  for (std::int64_t first = 0; first < place.keys; first += kKeyBlock)
    for (std::int64_t i = 0; i < p.queries; ++i)
      score_keys(query + i * p.features, row_of<const T>(p.key, place.batch, place.key_head, first),
                 p.key.row_stride, std::min(kKeyBlock, place.keys - first), p.features,
                 scores + i * row + first);
  for (std::int64_t i = 0; i < p.queries; ++i) {
    T* own = scores + i * row;
    T* y = row_of<T>(args.y, place.batch, place.head, i);
    if (p.causal) std::fill(own + std::min(i + 1, place.keys), own + place.keys, kMinusInfinity<T>);
    if (p.mask.data) mask_scores(p, place, i, own);
    T largest = kMinusInfinity<T>;
    for (std::int64_t j = 0; j < place.keys; ++j) largest = own[j] > largest ? own[j] : largest;
    const T sum = weigh(own, place.keys, largest);
    const bool blind = sum == 0;  // every key is excluded: torch gives zeros
    std::fill_n(y, p.value_features, T{0});
    for (std::int64_t j = 0; j < place.keys; ++j) own[j] = blind ? T{0} : own[j] / sum;
  }
  for (std::int64_t first = 0; first < place.keys; first += kKeyBlock)
    for (std::int64_t i = 0; i < p.queries; ++i)
      add_values(scores + i * row + first,
                 row_of<const T>(p.value, place.batch, place.key_head, first), p.value.row_stride,
                 std::min(kKeyBlock, place.keys - first), p.value_features,
                 row_of<T>(args.y, place.batch, place.head, i));
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
