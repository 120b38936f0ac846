// Attention of halves on tensor cores (mma.sync, sm_80 and later), up to 128 features: the walks of
// ops/attention.cu, with products of halves that are summed in float32. Weights, and their slopes
// in backward, are rounded to halves on their way from one product to the next.
//
// A block of 4 warps owns 64 rows, each warp 16 of them: queries, or keys where their gradients are
// summed. It walks over the other side, 64 rows at a time forward and 32 backward, whose operands
// it brings to shared memory by cp.async (element by element where addresses are no multiples of 16
// bytes). A row there is kFeatures halves, in chunks of 16 bytes that are exchanged within the row
// so that the eight rows which ldmatrix reads lie in different banks. Scores stay in the registers
// in which the first product leaves them, which is how the second one takes its left operand.
//
// 24 KiB of shared memory for up to 64 features, 48 KiB for more; up to 255 registers: 2 blocks of
// 128 threads on a multiprocessor, one of which computes while the other waits.
#pragma once

#include <bit>

#include "attention_tiles.cuh"
#include "sums.cuh"
#include "tensor_cores.cuh"

namespace tilegrad::cuda {

inline constexpr int kHalfThreads = 128;
inline constexpr int kHalfRows = 64;  // of a block; kHalfRows / 16 warps
inline constexpr int kForwardRows = 64, kBackwardRows = 32;
// Of queries that the gradients of keys see at a time: sums of 128 features leave fewer registers.
template <int kFeatures>
inline constexpr int kSeenRows = kFeatures > 64 ? 16 : kBackwardRows;

// Which operands begin and go on at multiples of 16 bytes.
struct HalfAlignment {
  bool query, key, value, grad_y;
};

// kRows rows of a head in shared memory.
template <class T, int kRows, int kFeatures>
struct alignas(16) HalfRowTile {
  static constexpr int kChunk = 8;  // halves
  T at[kRows * kFeatures];

  static __device__ int place(int row, int chunk) {
    return row * kFeatures + (chunk ^ (row & 7)) * kChunk;
  }

  // Begins to bring the rows from `first` on; zeros behind the last row and feature.
  __device__ void load(const HeadRows<T>& x, std::int64_t first, bool aligned) {
    constexpr int kOfRow = kFeatures / kChunk;
#pragma unroll 1
    for (int n = threadIdx.x; n < kRows * kOfRow; n += kHalfThreads) {
      const int row = n / kOfRow, chunk = n % kOfRow;
      const std::int64_t left = first + row < x.rows ? x.features - chunk * kChunk : 0;
      const int valid = static_cast<int>(max(std::int64_t{0}, min(left, std::int64_t{kChunk})));
      const T* from = valid > 0 ? x.data + (first + row) * x.row_stride + chunk * kChunk : x.data;
      T* to = at + place(row, chunk);
      if (aligned) {
        copy_async(to, from, valid * static_cast<int>(sizeof(T)));
        continue;
      }
      Pack<T, kChunk> elements = {};
#pragma unroll
      for (int e = 0; e < kChunk; ++e)
        if (e < valid) elements.at[e] = from[e];
      *reinterpret_cast<Pack<T, kChunk>*>(to) = elements;
    }
  }

  // Fragments of 16 rows from `row` on and 16 features from `feature` on (tensor_cores.cuh): as a
  // left operand; as right operands of two instructions with a row for each column; as right
  // operands of two with a feature for each column.
  __device__ void as_left(int row, int feature, unsigned (&to)[4]) const {
    const int lane = threadIdx.x % kWarp, matrix = lane / 8;
    load_matrices<false>(
        to, at + place(row + matrix % 2 * 8 + lane % 8, feature / kChunk + matrix / 2));
  }
  __device__ void as_right_rows(int row, int feature, unsigned (&to)[4]) const {
    const int lane = threadIdx.x % kWarp, matrix = lane / 8;
    load_matrices<false>(
        to, at + place(row + matrix / 2 * 8 + lane % 8, feature / kChunk + matrix % 2));
  }
  __device__ void as_right_features(int row, int feature, unsigned (&to)[4]) const {
    const int lane = threadIdx.x % kWarp, matrix = lane / 8;
    load_matrices<true>(to,
                        at + place(row + matrix % 2 * 8 + lane % 8, feature / kChunk + matrix / 2));
  }
};

// What a warp has of a 16 x 8 * kParts matrix: element e of part j is in row own_row(e), column
// own_column(j, e).
template <int kParts>
struct WarpScores {
  float at[kParts][4];
};
static __device__ inline int own_row(int e) { return threadIdx.x % kWarp / 4 + e / 2 * 8; }
static __device__ inline int own_column(int j, int e) {
  return 8 * j + threadIdx.x % 4 * 2 + e % 2;
}

// sum[j], sum[j + 1] += left @ right for two parts of 8 columns.
template <class T>
static __device__ void multiply_two(float (&first)[4], float (&second)[4],
                                    const unsigned (&left)[4], const unsigned (&right)[4]) {
  const unsigned columns[2][2] = {{right[0], right[1]}, {right[2], right[3]}};
  multiply_fragments<T>(first, left, columns[0]);
  multiply_fragments<T>(second, left, columns[1]);
}

// scores = 16 rows of `left` from `row` on @ the rows of `right`, over all features.
template <class T, int kRows, int kOthers, int kFeatures>
static __device__ void multiply_features(const HalfRowTile<T, kRows, kFeatures>& left, int row,
                                         const HalfRowTile<T, kOthers, kFeatures>& right,
                                         WarpScores<kOthers / 8>& scores) {
  scores = {};
#pragma unroll
  for (int feature = 0; feature < kFeatures; feature += 16) {
    unsigned a[4];
    left.as_left(row, feature, a);
#pragma unroll
    for (int j = 0; j < kOthers / 8; j += 2) {
      unsigned b[4];
      right.as_right_rows(8 * j, feature, b);
      multiply_two<T>(scores.at[j], scores.at[j + 1], a, b);
    }
  }
}

// sum += weights @ x, weights rounded to halves.
template <class T, int kRows, int kFeatures>
static __device__ void multiply_weights(const WarpScores<kRows / 8>& weights,
                                        const HalfRowTile<T, kRows, kFeatures>& x,
                                        WarpScores<kFeatures / 8>& sum) {
#pragma unroll
  for (int k = 0; k < kRows / 8; k += 2) {
    const unsigned a[4] = {pack_halves<T>(weights.at[k][0], weights.at[k][1]),
                           pack_halves<T>(weights.at[k][2], weights.at[k][3]),
                           pack_halves<T>(weights.at[k + 1][0], weights.at[k + 1][1]),
                           pack_halves<T>(weights.at[k + 1][2], weights.at[k + 1][3])};
#pragma unroll
    for (int j = 0; j < kFeatures / 8; j += 2) {
      unsigned b[4];
      x.as_right_features(8 * k, 8 * j, b);
      multiply_two<T>(sum.at[j], sum.at[j + 1], a, b);
    }
  }
}

// Where a warp's scores lie: its first row and the first column, as query and key.
struct ScorePlace {
  int batch, head;
  std::int64_t query, key;
};

// Calls body(query, key, score) with the distances from `place`; kTransposed: rows are keys.
template <bool kTransposed, int kParts, class Body>
static __device__ void for_each_score(WarpScores<kParts>& scores, const Body& body) {
#pragma unroll
  for (int j = 0; j < kParts; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = own_row(e), column = own_column(j, e);
      body(kTransposed ? column : row, kTransposed ? row : column, scores.at[j][e]);
    }
}

// Products of queries and keys become scores: scaled, masked, minus infinity behind the last.
template <class T, bool kTransposed, int kParts>
static __device__ void mask_scores(const AttentionProblem& p, const ScorePlace& place,
                                   WarpScores<kParts>& scores) {
  const auto narrow = [](std::int64_t distance) {
    return static_cast<int>(max(std::int64_t{-128}, min(distance, std::int64_t{128})));
  };
  const int queries = narrow(p.queries - place.query), keys = narrow(p.keys - place.key);
  const int later = p.causal ? narrow(place.query - place.key) : 128;
  const float scale = static_cast<float>(p.scale);
  const std::int64_t from = place.batch * p.mask.batch_stride + place.head * p.mask.head_stride +
                            place.query * p.mask.query_stride + place.key * p.mask.key_stride;
  for_each_score<kTransposed>(scores, [&](int query, int key, float& score) {
    bool seen = query < queries && key < keys && key <= query + later;
    score *= scale;
    if (seen && p.mask.data != nullptr) {
      const std::int64_t at = from + query * p.mask.query_stride + key * p.mask.key_stride;
      if (p.mask.boolean) seen = static_cast<const bool*>(p.mask.data)[at];
      else score += static_cast<float>(static_cast<const T*>(p.mask.data)[at]);
    }
    if (!seen) score = -std::numeric_limits<float>::infinity();
  });
}

// Over the four lanes that share rows.
template <class Combine>
static __device__ float combine_columns(float value, const Combine& combine) {
  value = combine(value, exchanged(value, 1));
  return combine(value, exchanged(value, 2));
}

// Writes sum * factor, of the warp's rows from `row` on, as halves.
template <class T, int kParts>
static __device__ void write_halves(const AttentionOperand& x, std::int64_t batch,
                                    std::int64_t head, std::int64_t row, std::int64_t rows,
                                    std::int64_t features, const WarpScores<kParts>& sum,
                                    const float (&factor)[2]) {
  T* data = static_cast<T*>(x.data) + batch * x.batch_stride + head * x.head_stride;
#pragma unroll
  for (int j = 0; j < kParts; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const std::int64_t to = row + own_row(e);
      const int feature = own_column(j, e);
      if (to < rows && feature < features)
        data[to * x.row_stride + feature] = static_cast<T>(sum.at[j][e] * factor[e / 2]);
    }
}

// What a thread knows of the softmax of its two queries.
struct HalfRunning {
  float largest[2], sum[2];

  __device__ HalfRunning() : sum{} {
    largest[0] = largest[1] = -std::numeric_limits<float>::infinity();
  }

  // As Running::advance in ops/attention.cu.
  template <int kParts, int kResults>
  __device__ void advance(WarpScores<kParts>& scores, WarpScores<kResults>& result) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float most = largest[i];
#pragma unroll
      for (int j = 0; j < kParts; ++j)
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; ++e)
          most = scores.at[j][e] > most ? scores.at[j][e] : most;
      most = combine_columns(most, [](float a, float b) { return b > a ? b : a; });
      const float shift = most == -std::numeric_limits<float>::infinity() ? 0.0f : most;
      const float factor = exp(largest[i] - shift);
      largest[i] = most;
      sum[i] *= factor;
#pragma unroll
      for (int j = 0; j < kParts; ++j)
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; ++e)
          sum[i] += scores.at[j][e] = exp(scores.at[j][e] - shift);
#pragma unroll
      for (int j = 0; j < kResults; ++j)
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; ++e) result.at[j][e] *= factor;
    }
  }
};

template <class T, int kFeatures>
static __global__ void __launch_bounds__(kHalfThreads, 2)
    forward_halves(const Attention args, const HalfAlignment aligned) {
  __shared__ HalfRowTile<T, kForwardRows, kFeatures> keys, values;
  __shared__ HalfRowTile<T, kHalfRows, kFeatures> queries;
  const AttentionProblem& p = args.problem;
  const Place place = place_of<float>(p, p.heads, p.queries, 0, 1);
  const auto query = rows_of_head<T>(p.query, place.batch, place.head, p.queries, p.features);
  const auto key = rows_of_head<T>(p.key, place.batch, place.key_head, p.keys, p.features);
  const auto value =
      rows_of_head<T>(p.value, place.batch, place.key_head, p.keys, p.value_features);
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  HalfRunning running;
  WarpScores<kFeatures / 8> result = {};
  queries.load(query, place.first, aligned.query);
  commit_copies();
  const std::int64_t end = keys_seen<float>(p, place.first);
#pragma unroll 1
  for (std::int64_t first = 0; first < end; first += kForwardRows) {
    __syncthreads();  // everybody has finished with the rows before
    keys.load(key, first, aligned.key);
    commit_copies();
    values.load(value, first, aligned.value);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    WarpScores<kForwardRows / 8> scores;
    multiply_features(queries, row, keys, scores);
    const ScorePlace at = {place.batch, place.head, place.first + row, first};
    mask_scores<T, false>(p, at, scores);
    running.advance(scores, result);
    if (p.dropout > 0)
      for_each_score<false>(scores, [&](int query, int key, float& weight) {
        weight *=
            dropout_factor<float>(p, p.seed.read(), place.matrix, at.query + query, at.key + key);
      });
    wait_for_copies<0>();
    __syncthreads();
    multiply_weights(scores, values, result);
  }
  wait_for_copies<0>();  // of the queries, where there are no keys
  float factor[2];
  float* normalizer = static_cast<float*>(args.normalizer);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float sum = combine_columns(running.sum[i], Add{});
    factor[i] = sum == 0 ? 0.0f : 1.0f / sum;  // every key hidden: zeros
    const std::int64_t own = place.first + row + own_row(2 * i);
    if (normalizer && threadIdx.x % 4 == 0 && own < p.queries) {
      normalizer[2 * (place.matrix * p.queries + own)] = sum == 0 ? 0.0f : running.largest[i];
      normalizer[2 * (place.matrix * p.queries + own) + 1] = factor[i];
    }
  }
  write_halves<T>(args.y, place.batch, place.head, place.first + row, p.queries, p.value_features,
                  result, factor);
}

// --- backward, see ops/attention.cu ---

// Scores become the weights that forward gave them, `slopes` those of the scores, and weights those
// after dropout. Queries behind the last one are read as the last one, and see no key.
template <bool kTransposed, int kParts>
static __device__ void differentiate_halves(const AttentionBackward& args, const float* deltas,
                                            const ScorePlace& place, WarpScores<kParts>& weights,
                                            WarpScores<kParts>& slopes) {
  const AttentionProblem& p = args.problem;
  const std::int64_t first = (place.batch * p.heads + place.head) * p.queries;
  const auto* normalizer = static_cast<const float*>(args.normalizer);
#pragma unroll
  for (int j = 0; j < kParts; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int query = kTransposed ? own_column(j, e) : own_row(e);
      const int key = kTransposed ? own_row(e) : own_column(j, e);
      const std::int64_t known = first + min(place.query + query, p.queries - 1);
      float& weight = weights.at[j][e];
      float& slope = slopes.at[j][e];
      weight = exp(weight - normalizer[2 * known]) * normalizer[2 * known + 1];
      const float factor = p.dropout > 0 ? dropout_factor<float>(
                                               p, p.seed.read(), place.batch * p.heads + place.head,
                                               place.query + query, place.key + key)
                                         : 1.0f;
      slope = weight * (slope * factor - deltas[known]);
      weight *= factor;
    }
}

template <class T, int kFeatures>
static __global__ void __launch_bounds__(kHalfThreads, 2)
    query_halves(const AttentionBackward args, const float* deltas, const HalfAlignment aligned) {
  __shared__ HalfRowTile<T, kHalfRows, kFeatures> queries, grads;
  __shared__ HalfRowTile<T, kBackwardRows, kFeatures> keys, values;
  const AttentionProblem& p = args.problem;
  const Place place = place_of<float>(p, p.heads, p.queries, 0, 1);
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  queries.load(rows_of_head<T>(p.query, place.batch, place.head, p.queries, p.features),
               place.first, aligned.query);
  grads.load(rows_of_head<T>(args.grad_y, place.batch, place.head, p.queries, p.value_features),
             place.first, aligned.grad_y);
  commit_copies();
  WarpScores<kFeatures / 8> sum = {};
  const std::int64_t end = keys_seen<float>(p, place.first);
#pragma unroll 1
  for (std::int64_t first = 0; first < end; first += kBackwardRows) {
    __syncthreads();
    keys.load(rows_of_head<T>(p.key, place.batch, place.key_head, p.keys, p.features), first,
              aligned.key);
    values.load(rows_of_head<T>(p.value, place.batch, place.key_head, p.keys, p.value_features),
                first, aligned.value);
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    WarpScores<kBackwardRows / 8> scores, slopes;
    multiply_features(queries, row, keys, scores);
    multiply_features(grads, row, values, slopes);
    const ScorePlace at = {place.batch, place.head, place.first + row, first};
    mask_scores<T, false>(p, at, scores);
    differentiate_halves<false>(args, deltas, at, scores, slopes);
    multiply_weights(slopes, keys, sum);
  }
  wait_for_copies<0>();
  const float scale = static_cast<float>(p.scale), factor[2] = {scale, scale};
  write_halves<T>(args.grad_query, place.batch, place.head, place.first + row, p.queries,
                  p.features, sum, factor);
}

// Here rows are keys: scores are transposed.
template <class T, int kFeatures>
static __global__ void __launch_bounds__(kHalfThreads, 2)
    key_halves(const AttentionBackward args, const float* deltas, const HalfAlignment aligned) {
  __shared__ HalfRowTile<T, kHalfRows, kFeatures> keys, values;
  __shared__ HalfRowTile<T, kSeenRows<kFeatures>, kFeatures> queries, grads;
  const AttentionProblem& p = args.problem;
  const Place place = place_of<float>(p, p.heads / p.group, p.keys, 0, 1);
  const int row = static_cast<int>(threadIdx.x) / kWarp * 16;
  keys.load(rows_of_head<T>(p.key, place.batch, place.head, p.keys, p.features), place.first,
            aligned.key);
  values.load(rows_of_head<T>(p.value, place.batch, place.head, p.keys, p.value_features),
              place.first, aligned.value);
  commit_copies();
  WarpScores<kFeatures / 8> key_sum = {}, value_sum = {};
#pragma unroll 1
  for (int shared_by = 0; shared_by < p.group; ++shared_by) {
    const int head = static_cast<int>(place.head * p.group) + shared_by;
#pragma unroll 1
    for (std::int64_t first = p.causal ? place.first : 0; first < p.queries;
         first += kSeenRows<kFeatures>) {
      __syncthreads();
      queries.load(rows_of_head<T>(p.query, place.batch, head, p.queries, p.features), first,
                   aligned.query);
      grads.load(rows_of_head<T>(args.grad_y, place.batch, head, p.queries, p.value_features),
                 first, aligned.grad_y);
      commit_copies();
      wait_for_copies<0>();
      __syncthreads();
      WarpScores<kSeenRows<kFeatures> / 8> scores, slopes;
      multiply_features(keys, row, queries, scores);
      multiply_features(values, row, grads, slopes);
      const ScorePlace at = {place.batch, head, first, place.first + row};
      mask_scores<T, true>(p, at, scores);
      differentiate_halves<true>(args, deltas, at, scores, slopes);
      multiply_weights(scores, grads, value_sum);
      multiply_weights(slopes, queries, key_sum);
    }
  }
  wait_for_copies<0>();
  const float scale = static_cast<float>(p.scale), factor[2] = {scale, scale}, one[2] = {1, 1};
  write_halves<T>(args.grad_key, place.batch, place.head, place.first + row, p.keys, p.features,
                  key_sum, factor);
  write_halves<T>(args.grad_value, place.batch, place.head, place.first + row, p.keys,
                  p.value_features, value_sum, one);
}

// --- launches ---

static inline bool is_chunked(const AttentionOperand& x) {
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.batch_stride % 8 == 0 &&
         x.head_stride % 8 == 0 && x.row_stride % 8 == 0;
}

static inline HalfAlignment alignment_of(const AttentionProblem& p,
                                         const AttentionOperand& grad_y) {
  return {is_chunked(p.query), is_chunked(p.key), is_chunked(p.value), is_chunked(grad_y)};
}

// Calls with(features) with how many a tile has room for.
template <class Function>
static void with_half_features(const AttentionProblem& p, const Function& with) {
  if (std::max(p.features, p.value_features) <= 64) with(std::integral_constant<int, 64>{});
  else with(std::integral_constant<int, 128>{});
}

static inline unsigned half_blocks(std::int64_t heads, std::int64_t rows) {
  return blocks_of(heads * ((rows + kHalfRows - 1) / kHalfRows), 1);
}

template <class T>
static void attend_halves(const Attention& args) {
  const AttentionProblem& p = args.problem;
  if (p.batch * p.heads * p.queries == 0) return;
  with_half_features(p, [&](auto features) {
    launch(forward_halves<T, features>, {half_blocks(p.batch * p.heads, p.queries), kHalfThreads},
           args, alignment_of(p, args.y));
  });
}

template <class T>
static void differentiate_attention_of_halves(const AttentionBackward& args, const float* deltas) {
  const AttentionProblem& p = args.problem;
  const HalfAlignment aligned = alignment_of(p, args.grad_y);
  with_half_features(p, [&](auto features) {
    if (p.batch * p.heads * p.queries > 0)
      launch(query_halves<T, features>, {half_blocks(p.batch * p.heads, p.queries), kHalfThreads},
             args, deltas, aligned);
    if (p.batch * p.heads * p.keys > 0)
      launch(key_halves<T, features>,
             {half_blocks(p.batch * (p.heads / p.group), p.keys), kHalfThreads}, args, deltas,
             aligned);
  });
}

}  // namespace tilegrad::cuda
