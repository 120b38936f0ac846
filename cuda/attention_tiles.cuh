// What the attention kernels are built from: products of tiles that are staged in shared memory.
//
// 256 threads as 16 x 16. In a tile of scores, rows are what a block owns (queries, or keys where
// their gradients are summed) and columns what it walks over; thread (y, x) has the patch of kPatch
// x kPatch that begins at row y * kPatch, column x * kPatch. The result of a block has the same
// rows and 16 * kWide features, of which thread x has kWide.
#pragma once

#include <limits>

#include "attention_draw.h"
#include "launch.cuh"
#include "ops/attention.h"
#include "warp.cuh"

namespace tilegrad::cuda {

inline constexpr int kSide = 16;   // threads
inline constexpr int kStage = 16;  // features, or rows of the second product, staged at a time

template <class T>
inline constexpr int kPatch = sizeof(T) == 4 ? 4 : 2;
template <class T>
inline constexpr int kTile = kSide * kPatch<T>;  // 64 floats, 32 doubles

// A block's place: a tile of rows, and the features of the result that it makes.
struct Place {
  int matrix, batch, head, key_head;  // a grid has less than 2^31 blocks
  std::int64_t first;
  int feature;
};

// Numbers count the features fastest; the last tiles begin first, since with a causal mask their
// way is the longest.
template <class T>
static __device__ Place place_of(const AttentionProblem& p, std::int64_t heads, std::int64_t rows,
                                 int features, std::int64_t parts) {
  std::int64_t rest = blockIdx.x;
  Place place;
  place.feature = static_cast<int>(rest % parts) * features;
  rest /= parts;
  const std::int64_t tiles = (rows + kTile<T> - 1) / kTile<T>;
  place.first = (tiles - 1 - rest % tiles) * kTile<T>;
  place.matrix = static_cast<int>(rest / tiles);
  place.batch = static_cast<int>(place.matrix / heads);
  place.head = static_cast<int>(place.matrix % heads);
  place.key_head = static_cast<int>(place.head / p.group);
  return place;
}

// The keys that some query of the tile sees.
template <class T>
static __device__ std::int64_t keys_seen(const AttentionProblem& p, std::int64_t first_query) {
  return p.causal ? min(p.keys, first_query + kTile<T>) : p.keys;
}

// Neighbours that are read at once.
template <class T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Pack {
  T at[kCount];
};

// The rows of one head of a tensor; those behind the last one count as zeros.
template <class T>
struct HeadRows {
  const T* data;
  std::int64_t row_stride, rows, features;
};
template <class T>
static __device__ HeadRows<T> rows_of_head(const AttentionOperand& x, std::int64_t batch,
                                           std::int64_t head, std::int64_t rows,
                                           std::int64_t features) {
  return {static_cast<const T*>(x.data) + batch * x.batch_stride + head * x.head_stride,
          x.row_stride, rows, features};
}

// The operands of a block lie in shared memory too: in registers they would take the place of sums.
// Four more columns: rows keep their alignment, and fewer of them begin in the same bank.
template <class T, int kWide>
struct AttentionShared {
  alignas(16) T left[kStage][kTile<T> + 4], right[kStage][kTile<T> + 4];  // by feature, then row
  alignas(16) T weights[kTile<T>][kTile<T> + 4];
  alignas(16) T rows[kStage][kSide * kWide];
  HeadRows<T> query, key, value, grad_y;
  std::uint64_t seed;  // of dropout: from here it is read anew each time and takes no register
};

// to[f][i] = x[first + i][feature + f]
template <class T>
static __device__ void stage_features(const HeadRows<T>& x, std::int64_t first,
                                      std::int64_t feature, T (&to)[kStage][kTile<T> + 4]) {
  const int f = threadIdx.x % kStage;
#pragma unroll
  for (int i = threadIdx.x / kStage; i < kTile<T>; i += kBlock / kStage) {
    const bool inside = first + i < x.rows && feature + f < x.features;
    to[f][i] = inside ? x.data[(first + i) * x.row_stride + feature + f] : T{0};
  }
}

// scores[i][j] = sum over features of left[left_first + i] * right[right_first + j], in order.
template <class T>
static __device__ void multiply_tiles(const HeadRows<T>& left, std::int64_t left_first,
                                      const HeadRows<T>& right, std::int64_t right_first,
                                      T (&left_stage)[kStage][kTile<T> + 4],
                                      T (&right_stage)[kStage][kTile<T> + 4],
                                      T (&scores)[kPatch<T>][kPatch<T>]) {
  using Vector = Pack<T, kPatch<T>>;
  const int y = threadIdx.x / kSide * kPatch<T>, x = threadIdx.x % kSide * kPatch<T>;
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i)
#pragma unroll
    for (int j = 0; j < kPatch<T>; ++j) scores[i][j] = T{0};
#pragma unroll 1
  for (std::int64_t feature = 0; feature < left.features; feature += kStage) {
    __syncthreads();  // the stage before this one has been used up
    stage_features(left, left_first, feature, left_stage);
    stage_features(right, right_first, feature, right_stage);
    __syncthreads();
#pragma unroll 4
    for (int p = 0; p < kStage; ++p) {
      const Vector a = *reinterpret_cast<const Vector*>(&left_stage[p][y]);
      const Vector b = *reinterpret_cast<const Vector*>(&right_stage[p][x]);
#pragma unroll
      for (int i = 0; i < kPatch<T>; ++i)
#pragma unroll
        for (int j = 0; j < kPatch<T>; ++j) scores[i][j] += a.at[i] * b.at[j];
    }
  }
}

// The features of a result that a thread has: packs of kVector neighbours, 16 packs side by side.
template <int kWide>
inline constexpr int kVector = kWide < 4 ? kWide : 4;
template <int kWide>
static __device__ int feature_of(int j) {
  constexpr int vector = kVector<kWide>;
  return j / vector * (kSide * vector) + threadIdx.x % kSide * vector + j % vector;
}

// Puts a patch into the tile `weights`.
template <class T>
static __device__ void keep_patch(const T (&patch)[kPatch<T>][kPatch<T>],
                                  T (&weights)[kTile<T>][kTile<T> + 4]) {
  using Vector = Pack<T, kPatch<T>>;
  const int y = threadIdx.x / kSide * kPatch<T>, x = threadIdx.x % kSide * kPatch<T>;
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i) {
    Vector row;
#pragma unroll
    for (int j = 0; j < kPatch<T>; ++j) row.at[j] = patch[i][j];
    *reinterpret_cast<Vector*>(&weights[y + i][x]) = row;
  }
}

// sum[i][j] += weights[row i] @ x[first : first + kTile, feature + column j]. Begins with a
// barrier: the tile of weights may have been written just before.
template <class T, int kWide>
static __device__ void multiply_rows(AttentionShared<T, kWide>& shared, const HeadRows<T>& x,
                                     std::int64_t first, std::int64_t feature,
                                     T (&sum)[kPatch<T>][kWide]) {
  using Left = Pack<T, kPatch<T>>;
  using Right = Pack<T, kVector<kWide>>;
  constexpr int kColumns = kSide * kWide;
  const int y = threadIdx.x / kSide * kPatch<T>;
#pragma unroll 1
  for (int k = 0; k < kTile<T>; k += kStage) {
    __syncthreads();
#pragma unroll
    for (int n = threadIdx.x; n < kStage * kColumns; n += kBlock) {
      const int row = n / kColumns, column = n % kColumns;
      const bool inside = first + k + row < x.rows && feature + column < x.features;
      shared.rows[row][column] =
          inside ? x.data[(first + k + row) * x.row_stride + feature + column] : T{0};
    }
    __syncthreads();
#pragma unroll 1
    for (int p = 0; p < kStage; p += kPatch<T>) {
      Left a[kPatch<T>];
#pragma unroll
      for (int i = 0; i < kPatch<T>; ++i)
        a[i] = *reinterpret_cast<const Left*>(&shared.weights[y + i][k + p]);
#pragma unroll
      for (int q = 0; q < kPatch<T>; ++q)
#pragma unroll
        for (int j = 0; j < kWide; j += kVector<kWide>) {
          const Right b =
              *reinterpret_cast<const Right*>(&shared.rows[p + q][feature_of<kWide>(j)]);
#pragma unroll
          for (int v = 0; v < kVector<kWide>; ++v)
#pragma unroll
            for (int i = 0; i < kPatch<T>; ++i) sum[i][j + v] += a[i].at[q] * b.at[v];
        }
    }
  }
}

// Element (query i, key j) of a patch, whose rows are keys if it is transposed.
template <bool kTransposed, class T>
static __device__ T& element(T (&patch)[kPatch<T>][kPatch<T>], int i, int j) {
  return kTransposed ? patch[j][i] : patch[i][j];
}

// Turns the products of queries and keys from (query, key) on into scores: scaled, masked, minus
// infinity behind the last of them.
template <bool kTransposed, class T>
static __device__ void mask_patch(const AttentionProblem& p, int batch, int head,
                                  std::int64_t query, std::int64_t key,
                                  T (&patch)[kPatch<T>][kPatch<T>]) {
  constexpr T kHidden = -std::numeric_limits<T>::infinity();
  const auto narrow = [](std::int64_t distance) {
    return static_cast<int>(max(std::int64_t{-64}, min(distance, std::int64_t{64})));
  };
  const int queries = narrow(p.queries - query), keys = narrow(p.keys - key);
  const int later = p.causal ? narrow(query - key) : kPatch<T>;  // seen by query i: up to i + later
  const T scale = static_cast<T>(p.scale);
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i)
#pragma unroll
    for (int j = 0; j < kPatch<T>; ++j) {
      T& score = element<kTransposed>(patch, i, j);
      score = i < queries && j < keys && j <= i + later ? score * scale : kHidden;
    }
  if (p.mask.data == nullptr) return;
  const std::int64_t from = batch * p.mask.batch_stride + head * p.mask.head_stride +
                            query * p.mask.query_stride + key * p.mask.key_stride;
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i)
#pragma unroll
    for (int j = 0; j < kPatch<T>; ++j) {
      if (i >= queries || j >= keys) continue;
      const std::int64_t at = from + i * p.mask.query_stride + j * p.mask.key_stride;
      T& score = element<kTransposed>(patch, i, j);
      if (!p.mask.boolean) score += static_cast<const T*>(p.mask.data)[at];
      else if (!static_cast<const bool*>(p.mask.data)[at]) score = kHidden;
    }
}

// The factor that dropout gives to a weight; rows are counted over all heads.
template <class T>
static __device__ T dropout_factor(const AttentionProblem& p, std::uint64_t seed,
                                   std::int64_t matrix, std::int64_t query, std::int64_t key) {
  const DropoutDraw draw(p.dropout);
  return kept(row_hash(seed, matrix * p.queries + query), key, draw.limit,
              static_cast<T>(draw.scale));
}

}  // namespace tilegrad::cuda
