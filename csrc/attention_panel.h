// What the attention kernels are built from: products of small blocks, scores of a panel, dropout.
// Included once per instruction set.
//
// A panel is kPanel neighbouring queries, one per vector lane. Scores of a panel are kept as
// (keys, kPanel), so that maxima, sums and factors per query are plain vectors: nothing is ever
// reduced across lanes, and any number of keys or features fits.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "attention_draw.h"
#include "ops/attention.h"
#include "softmax_row.h"
#include "transpose.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
static constexpr std::int64_t kPanel = 2 * kLanes<T>;  // queries
static constexpr std::int64_t kKeyBlock = 64;          // keys whose scores are taken at a time

// Rows of a register tile: with two vectors per row, accumulators and operands fit 32 or 16
// registers.
#if defined(__AVX512F__) || defined(__aarch64__)
static constexpr int kProductRows = 8;
#else
static constexpr int kProductRows = 4;
#endif

// The left operand of a product: a[i][p] = data[i * row + p * step], each broadcast over a vector.
template <class T>
struct LeftOperand {
  const T* data;
  std::int64_t row, step;
};

// The right operand and the result: matrices whose columns lie side by side.
template <class T>
struct Block {
  T* data;
  std::int64_t row;
};

// c (+)= a @ b for one register tile of kRows x kVectors vectors.
template <class T, int kRows, int kVectors>
TILEGRAD_INLINE void multiply_registers(std::int64_t inner, LeftOperand<T> a, Block<const T> b,
                                        Block<T> c, bool accumulate) {
  Vec<T> sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Vec<T>{};
  for (std::int64_t p = 0; p < inner; ++p) {
    Vec<T> right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) right[v] = load(b.data + v * kLanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[i][v] += a.data[i * a.row] * right[v];
    a.data += a.step;
    b.data += b.row;
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* to = c.data + i * c.row + v * kLanes<T>;
      store(to, accumulate ? load(to) + sum[i][v] : sum[i][v]);
    }
}

// Rows kRows at a time; what is left in halves of that.
template <class T, int kRows, int kVectors>
[[gnu::noinline]] static void multiply_rows(std::int64_t rows, std::int64_t inner, LeftOperand<T> a,
                                            Block<const T> b, Block<T> c, bool accumulate) {
  for (; rows >= kRows; rows -= kRows) {
    multiply_registers<T, kRows, kVectors>(inner, a, b, c, accumulate);
    a.data += kRows * a.row;
    c.data += kRows * c.row;
  }
  if constexpr (kRows > 1)
    if (rows > 0) multiply_rows<T, kRows / 2, kVectors>(rows, inner, a, b, c, accumulate);
}

// c (rows, columns) (+)= a (rows, inner) @ b (inner, columns); columns are whole vectors.
template <class T>
static void multiply(std::int64_t rows, std::int64_t columns, std::int64_t inner, LeftOperand<T> a,
                     Block<const T> b, Block<T> c, bool accumulate) {
  for (std::int64_t j = 0; j < columns; j += 2 * kLanes<T>, b.data += 2 * kLanes<T>) {
    const Block<T> to{c.data + j, c.row};
    if (j + kLanes<T> < columns)
      multiply_rows<T, kProductRows, 2>(rows, inner, a, b, to, accumulate);
    else multiply_rows<T, kProductRows, 1>(rows, inner, a, b, to, accumulate);
  }
}

// Asks for a row before it is needed: panels are short, and the processor does not see far ahead.
template <class T>
static void prefetch_rows(const T* rows, std::int64_t row_stride, std::int64_t count,
                          std::int64_t columns) {
  for (std::int64_t i = 0; i < count; ++i)
    for (std::int64_t j = 0; j < columns; j += 64 / static_cast<std::int64_t>(sizeof(T)))
      __builtin_prefetch(rows + i * row_stride + j, 0, 2);
}

// Row `row` of head `head` of batch `batch`.
template <class T>
static T* row_of(const AttentionOperand& x, std::int64_t batch, std::int64_t head,
                 std::int64_t row) {
  return static_cast<T*>(x.data) + batch * x.batch_stride + head * x.head_stride +
         row * x.row_stride;
}

// A panel of queries: where it stands in the problem.
struct PanelPlace {
  std::int64_t batch, head, key_head;
  std::int64_t first, count;  // queries
  std::int64_t keys;          // that the panel may see: with a causal mask not all
};

template <class T>
static PanelPlace place_of(const AttentionProblem& p, std::int64_t matrix, std::int64_t first) {
  const std::int64_t head = matrix % p.heads, count = std::min(kPanel<T>, p.queries - first);
  return {.batch = matrix / p.heads,
          .head = head,
          .key_head = head / p.group,
          .first = first,
          .count = count,
          .keys = p.causal ? std::min(p.keys, first + count) : p.keys};
}

// to[f][lane] = factor * rows[lane][f]; lanes without a query are 0.
template <class T>
static void pack_columns(T* to, const T* rows, std::int64_t row_stride, std::int64_t count,
                         std::int64_t features, T factor) {
  if (count < kPanel<T>) std::fill_n(to, features * kPanel<T>, T{0});
  transpose(rows, row_stride, count, features, to, kPanel<T>);
  for (std::int64_t i = 0; i < features * kPanel<T>; ++i) to[i] *= factor;
}

// row = 0 where a key is seen, else minus infinity: from bits, since the compiler would branch.
template <class T>
[[gnu::noinline]] static void hide_unseen(std::int64_t keys, const bool* __restrict seen,
                                          T* __restrict row) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  constexpr Bits kHidden = std::bit_cast<Bits>(kMinusInfinity<T>);
  for (std::int64_t j = 0; j < keys; ++j)
    row[j] = std::bit_cast<T>((static_cast<Bits>(seen[j]) - 1) & kHidden);
}

// Adds the mask's block to the scores. `rows` and `columns` are scratch for kPanel * kKeyBlock
// elements each.
template <class T>
static void add_mask(const AttentionMask& mask, const PanelPlace& place, std::int64_t first_key,
                     std::int64_t keys, T* scores, T* rows, T* columns) {
  const std::int64_t start = place.batch * mask.batch_stride + place.head * mask.head_stride +
                             place.first * mask.query_stride + first_key * mask.key_stride;
  for (std::int64_t i = 0; i < place.count; ++i) {
    const std::int64_t from = start + i * mask.query_stride;
    T* row = rows + i * kKeyBlock;
    if (mask.boolean) {
      const bool* seen = static_cast<const bool*>(mask.data) + from;
      if (mask.key_stride == 1) hide_unseen(keys, seen, row);
      else
        for (std::int64_t j = 0; j < keys; ++j)
          row[j] = seen[j * mask.key_stride] ? T{0} : kMinusInfinity<T>;
    } else {
      const T* bias = static_cast<const T*>(mask.data) + from;
      for (std::int64_t j = 0; j < keys; ++j) row[j] = bias[j * mask.key_stride];
    }
  }
  if (place.count < kPanel<T>) std::fill_n(columns, keys * kPanel<T>, T{0});
  transpose(rows, kKeyBlock, place.count, keys, columns, kPanel<T>);
  for (std::int64_t i = 0; i < keys * kPanel<T>; ++i) scores[i] += columns[i];
}

// Minus infinity where the key comes after the query.
template <class T>
static void hide_later_keys(const PanelPlace& place, std::int64_t first_key, std::int64_t keys,
                            T* scores) {
  for (std::int64_t key = std::max(first_key, place.first + 1); key < first_key + keys; ++key)
    std::fill_n(scores + (key - first_key) * kPanel<T>, std::min(kPanel<T>, key - place.first),
                kMinusInfinity<T>);
}

// scores (keys, kPanel) of one block, masked. `query` is (features, kPanel), scaled already.
template <class T>
static void score_block(const AttentionProblem& p, const PanelPlace& place, std::int64_t first_key,
                        std::int64_t keys, const T* query, T* scores, T* mask_scratch) {
  const T* key = row_of<const T>(p.key, place.batch, place.key_head, first_key);
  multiply<T>(keys, kPanel<T>, p.features, {key, p.key.row_stride, 1}, {query, kPanel<T>},
              {scores, kPanel<T>}, false);
  if (p.mask.data)
    add_mask(p.mask, place, first_key, keys, scores, mask_scratch,
             mask_scratch + kPanel<T> * kKeyBlock);
  if (p.causal) hide_later_keys(place, first_key, keys, scores);
}

// factors (keys, kPanel) of one block.
template <class T>
static void dropout_block(const AttentionProblem& p, const PanelPlace& place,
                          std::int64_t first_key, std::int64_t keys, T* __restrict factors) {
  const DropoutDraw draw(p.dropout);
  const T scale = static_cast<T>(draw.scale);
  const std::int64_t row = (place.batch * p.heads + place.head) * p.queries + place.first;
  std::uint32_t hashes[kPanel<T>];
  for (std::int64_t j = 0; j < kPanel<T>; ++j) hashes[j] = row_hash(p.seed.read(), row + j);
  for (std::int64_t i = 0; i < keys; ++i)
    for (std::int64_t j = 0; j < kPanel<T>; ++j)
      factors[i * kPanel<T> + j] = kept(hashes[j], first_key + i, draw.limit, scale);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
