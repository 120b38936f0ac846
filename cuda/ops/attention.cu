// Attention without the matrix of queries x keys in memory, forward and backward.
//
// Forward: a block takes a tile of queries and walks over the keys, a tile at a time: scores, their
// weights relative to the largest score so far, and their share of the result, which is brought to
// the new largest score (Milakov and Gimelshein, 2018; Dao et al., 2022). Backward computes the
// weights again from the saved normalizers, in two kernels: one walks like forward and sums the
// gradient of its queries, one takes a tile of keys, walks over the queries of all heads that share
// it, and sums the gradients of key and value. So every sum is made by one thread in one order. A
// block makes up to 128 features of the result (64 in the gradients); where there are more, several
// blocks compute the same scores.
//
// Operations per pair of query and key: features + value_features multiplications forward, 4 *
// features + 3 * value_features backward. Bytes: key and value once per tile of 64 queries, mostly
// from the second cache. In float32 26 to 34 KiB of shared memory, 128 registers and 2 blocks of
// 256 threads, 16 warps on a multiprocessor. For halves (attention_halves.cuh):
// Up to 248 registers, 2 blocks of 128 threads on a multiprocessor.
#include "ops/attention.h"

#include "attention_halves.cuh"
#include "attention_tiles.cuh"
#include "scratch.cuh"

namespace tilegrad::cuda {
namespace {

// Points the block's operands to those heads; everybody must have finished with those before.
template <class T, int kWide>
__device__ void open_heads(AttentionShared<T, kWide>& shared, const AttentionProblem& p,
                           const AttentionOperand& grad_y, std::int64_t batch, std::int64_t head,
                           std::int64_t key_head) {
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.query = rows_of_head<T>(p.query, batch, head, p.queries, p.features);
    shared.key = rows_of_head<T>(p.key, batch, key_head, p.keys, p.features);
    shared.value = rows_of_head<T>(p.value, batch, key_head, p.keys, p.value_features);
    shared.grad_y = rows_of_head<T>(grad_y, batch, head, p.queries, p.value_features);
    shared.seed = p.seed.read();
  }
  __syncthreads();
}

template <class T>
__device__ T largest_of_row(T value) {
#pragma unroll
  for (int distance = kSide / 2; distance > 0; distance /= 2) {
    const T other = exchanged(value, distance);
    value = other > value ? other : value;  // a NaN is caught by the sum
  }
  return value;
}
template <class T>
__device__ T sum_of_row(T value) {
#pragma unroll
  for (int distance = kSide / 2; distance > 0; distance /= 2)
    value = value + exchanged(value, distance);
  return value;
}

// What a thread knows of its queries' softmax; `sum` is of its own keys.
template <class T, int kWide>
struct Running {
  T largest[kPatch<T>], sum[kPatch<T>], result[kPatch<T>][kWide];

  __device__ Running() : sum{}, result{} {
#pragma unroll
    for (int i = 0; i < kPatch<T>; ++i) largest[i] = -std::numeric_limits<T>::infinity();
  }

  // Turns scores into weights relative to the largest so far, and brings the rest to it. Where no
  // key was seen yet it counts as 0: weights of hidden keys are then exp(-inf) = 0.
  __device__ void advance(T (&scores)[kPatch<T>][kPatch<T>]) {
#pragma unroll
    for (int i = 0; i < kPatch<T>; ++i) {
      T most = largest[i];
#pragma unroll
      for (int j = 0; j < kPatch<T>; ++j) most = scores[i][j] > most ? scores[i][j] : most;
      most = largest_of_row(most);
      const T shift = most == -std::numeric_limits<T>::infinity() ? T{0} : most;
      const T factor = exp(largest[i] - shift);
      largest[i] = most;
      sum[i] *= factor;
#pragma unroll
      for (int j = 0; j < kPatch<T>; ++j) sum[i] += scores[i][j] = exp(scores[i][j] - shift);
#pragma unroll
      for (int j = 0; j < kWide; ++j) result[i][j] *= factor;
    }
  }
};

// Writes sum * factor to the block's rows and features of x.
template <class T, int kWide>
__device__ void write_rows(const AttentionOperand& x, const Place& place, std::int64_t head,
                           std::int64_t rows, std::int64_t features, T (&sum)[kPatch<T>][kWide],
                           const T (&factor)[kPatch<T>]) {
  const int y = threadIdx.x / kSide * kPatch<T>;
  T* data = static_cast<T*>(x.data) + place.batch * x.batch_stride + head * x.head_stride;
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i)
#pragma unroll
    for (int j = 0; j < kWide; ++j) {
      const std::int64_t row = place.first + y + i;
      const std::int64_t feature = place.feature + feature_of<kWide>(j);
      if (row < rows && feature < features)
        data[row * x.row_stride + feature] = sum[i][j] * factor[i];
    }
}

template <class T, int kWide>
__global__ void __launch_bounds__(kBlock, 2)
    forward_kernel(const Attention args, std::int64_t parts) {
  __shared__ AttentionShared<T, kWide> shared;
  const AttentionProblem& p = args.problem;
  const Place place = place_of<T>(p, p.heads, p.queries, kSide * kWide, parts);
  open_heads(shared, p, args.y, place.batch, place.head, place.key_head);
  const int y = threadIdx.x / kSide * kPatch<T>, x = threadIdx.x % kSide * kPatch<T>;
  Running<T, kWide> running;
  const std::int64_t keys = keys_seen<T>(p, place.first);
#pragma unroll 1
  for (std::int64_t first = 0; first < keys; first += kTile<T>) {
    T scores[kPatch<T>][kPatch<T>];
    multiply_tiles(shared.query, place.first, shared.key, first, shared.left, shared.right, scores);
    mask_patch<false>(p, place.batch, place.head, place.first + y, first + x, scores);
    running.advance(scores);
    if (p.dropout > 0) {
#pragma unroll
      for (int i = 0; i < kPatch<T>; ++i)
#pragma unroll
        for (int j = 0; j < kPatch<T>; ++j)
          scores[i][j] *=
              dropout_factor<T>(p, shared.seed, place.matrix, place.first + y + i, first + x + j);
    }
    __syncthreads();  // the weights before these have been used up
    keep_patch(scores, shared.weights);
    multiply_rows(shared, shared.value, first, place.feature, running.result);
  }
  T factor[kPatch<T>];
  T* normalizer = static_cast<T*>(args.normalizer);
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i) {
    const T sum = sum_of_row(running.sum[i]);
    factor[i] = sum == T{0} ? T{0} : T{1} / sum;  // every key hidden: zeros, as in PyTorch
    const std::int64_t row = place.first + y + i;
    if (normalizer && x == 0 && place.feature == 0 && row < p.queries) {
      normalizer[2 * (place.matrix * p.queries + row)] = sum == T{0} ? T{0} : running.largest[i];
      normalizer[2 * (place.matrix * p.queries + row) + 1] = factor[i];
    }
  }
  write_rows(args.y, place, place.head, p.queries, p.value_features, running.result, factor);
}

// --- backward: with P the weights, F the factors of dropout and D = rowsum(grad_y * y),
//   grad_value = (P * F)^T @ grad_y,        grad_scores = P * ((grad_y @ value^T) * F - D),
//   grad_query = scale * grad_scores @ key, grad_key = scale * grad_scores^T @ query ---

// D, one warp per query.
template <class T>
__global__ void __launch_bounds__(kBlock)
    deltas_kernel(const AttentionBackward args, Sum<T>* deltas) {
  const AttentionProblem& p = args.problem;
  const std::int64_t row = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) / kWarp;
  if (row >= p.batch * p.heads * p.queries) return;
  const std::int64_t matrix = row / p.queries, query = row % p.queries;
  const auto y = rows_of_head<T>(args.y, matrix / p.heads, matrix % p.heads, 0, 0);
  const auto grad = rows_of_head<T>(args.grad_y, matrix / p.heads, matrix % p.heads, 0, 0);
  Sum<T> sum{0};
  for (std::int64_t f = threadIdx.x % kWarp; f < p.value_features; f += kWarp)
    sum += static_cast<Sum<T>>(y.data[query * y.row_stride + f]) *
           static_cast<Sum<T>>(grad.data[query * grad.row_stride + f]);
  sum = warp_reduce(sum, Add{});
  if (threadIdx.x % kWarp == 0) deltas[row] = sum;
}

// What backward was told about a query, in memory; queries behind the last one see no key.
template <class T>
struct Known {
  const T *normalizer, *delta;
  __device__ Known(const AttentionBackward& args, const T* deltas, std::int64_t matrix,
                   std::int64_t query) {
    const std::int64_t row = matrix * args.problem.queries + min(query, args.problem.queries - 1);
    normalizer = static_cast<const T*>(args.normalizer) + 2 * row;
    delta = deltas + row;
  }
};

// Products of queries and keys from (query, key) on become the weights that forward gave them,
// before dropout.
template <bool kTransposed, class T>
__device__ void weigh(const AttentionBackward& args, const T* deltas, int batch, int head,
                      std::int64_t query, std::int64_t key, T (&patch)[kPatch<T>][kPatch<T>]) {
  mask_patch<kTransposed>(args.problem, batch, head, query, key, patch);
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i) {
    const Known<T> known(args, deltas, batch * args.problem.heads + head, query + i);
    const T largest = known.normalizer[0], inverse = known.normalizer[1];
#pragma unroll
    for (int j = 0; j < kPatch<T>; ++j) {
      T& weight = element<kTransposed>(patch, i, j);
      weight = exp(weight - largest) * inverse;
    }
  }
}

// Slopes of weights after dropout become those of the scores, and weights those after dropout.
template <bool kTransposed, class T>
__device__ void differentiate(const AttentionBackward& args, const std::uint64_t& seed,
                              const T* deltas, int batch, int head, std::int64_t query,
                              std::int64_t key, T (&weights)[kPatch<T>][kPatch<T>],
                              T (&slopes)[kPatch<T>][kPatch<T>]) {
  const AttentionProblem& p = args.problem;
  const std::int64_t matrix = batch * p.heads + head;
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i) {
    const std::int64_t row = matrix * p.queries + min(query + i, p.queries - 1);
    const T delta = deltas[row];
#pragma unroll
    for (int j = 0; j < kPatch<T>; ++j) {
      const T factor =
          p.dropout > 0 ? dropout_factor<T>(p, seed, matrix, query + i, key + j) : T{1};
      T& weight = element<kTransposed>(weights, i, j);
      T& slope = element<kTransposed>(slopes, i, j);
      slope = weight * (slope * factor - delta);
      weight *= factor;
    }
  }
}

template <class T, int kWide>
__global__ void __launch_bounds__(kBlock, 2)
    query_kernel(const AttentionBackward args, const T* deltas, std::int64_t parts) {
  __shared__ AttentionShared<T, kWide> shared;
  const AttentionProblem& p = args.problem;
  const Place place = place_of<T>(p, p.heads, p.queries, kSide * kWide, parts);
  open_heads(shared, p, args.grad_y, place.batch, place.head, place.key_head);
  const int y = threadIdx.x / kSide * kPatch<T>, x = threadIdx.x % kSide * kPatch<T>;
  T sum[kPatch<T>][kWide] = {};
  const std::int64_t keys = keys_seen<T>(p, place.first);
#pragma unroll 1
  for (std::int64_t first = 0; first < keys; first += kTile<T>) {
    T scores[kPatch<T>][kPatch<T>], slopes[kPatch<T>][kPatch<T>];
    multiply_tiles(shared.query, place.first, shared.key, first, shared.left, shared.right, scores);
    weigh<false>(args, deltas, place.batch, place.head, place.first + y, first + x, scores);
    multiply_tiles(shared.grad_y, place.first, shared.value, first, shared.left, shared.right,
                   slopes);
    differentiate<false>(args, shared.seed, deltas, place.batch, place.head, place.first + y,
                         first + x, scores, slopes);
    __syncthreads();
    keep_patch(slopes, shared.weights);
    multiply_rows(shared, shared.key, first, place.feature, sum);
  }
  T factor[kPatch<T>];
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i) factor[i] = static_cast<T>(p.scale);
  write_rows(args.grad_query, place, place.head, p.queries, p.features, sum, factor);
}

// Here rows are keys: tiles of scores are transposed.
template <class T, int kWide>
__global__ void __launch_bounds__(kBlock, 2)
    key_kernel(const AttentionBackward args, const T* deltas, std::int64_t parts) {
  __shared__ AttentionShared<T, kWide> shared;
  const AttentionProblem& p = args.problem;
  const std::int64_t key_heads = p.heads / p.group;
  __shared__ Place place;  // not in registers, of which the loops need all
  if (threadIdx.x == 0) place = place_of<T>(p, key_heads, p.keys, kSide * kWide, parts);
  __syncthreads();
  const int y = threadIdx.x / kSide * kPatch<T>, x = threadIdx.x % kSide * kPatch<T>;
  T key_sum[kPatch<T>][kWide] = {}, value_sum[kPatch<T>][kWide] = {};
#pragma unroll 1
  for (int shared_by = 0; shared_by < p.group; ++shared_by) {
    const int head = static_cast<int>(place.head * p.group) + shared_by;
    open_heads(shared, p, args.grad_y, place.batch, head, place.head);
#pragma unroll 1
    for (std::int64_t first = p.causal ? place.first : 0; first < p.queries; first += kTile<T>) {
      T scores[kPatch<T>][kPatch<T>], slopes[kPatch<T>][kPatch<T>];
      multiply_tiles(shared.key, place.first, shared.query, first, shared.left, shared.right,
                     scores);
      weigh<true>(args, deltas, place.batch, head, first + x, place.first + y, scores);
      multiply_tiles(shared.value, place.first, shared.grad_y, first, shared.left, shared.right,
                     slopes);
      differentiate<true>(args, shared.seed, deltas, place.batch, head, first + x, place.first + y,
                          scores, slopes);
      __syncthreads();
      keep_patch(scores, shared.weights);
      multiply_rows(shared, shared.grad_y, first, place.feature, value_sum);
      __syncthreads();
      keep_patch(slopes, shared.weights);
      multiply_rows(shared, shared.query, first, place.feature, key_sum);
    }
  }
  T factor[kPatch<T>], one[kPatch<T>];
#pragma unroll
  for (int i = 0; i < kPatch<T>; ++i) factor[i] = static_cast<T>(p.scale), one[i] = T{1};
  write_rows(args.grad_key, place, place.head, p.keys, p.features, key_sum, factor);
  write_rows(args.grad_value, place, place.head, p.keys, p.value_features, value_sum, one);
}

template <class T>
__global__ void __launch_bounds__(kBlock) factors_kernel(const AttentionDropout args) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  const DropoutDraw draw(args.dropout);
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
       i < args.rows * args.keys; i += step)
    static_cast<T*>(args.factors)[i] = kept(row_hash(args.seed.read(), i / args.keys),
                                            i % args.keys, draw.limit, static_cast<T>(draw.scale));
}

// --- launches ---

// Calls with(wide) with how many features a thread makes, so that few of them are beyond the end.
template <class T, int kMost, class Function>
void with_width(std::int64_t features, const Function& with) {
  if constexpr (std::is_same_v<T, double>) return with(std::integral_constant<int, 2>{});
  else if (features <= 32) return with(std::integral_constant<int, 2>{});
  else if (kMost == 4 || features <= 64) return with(std::integral_constant<int, 4>{});
  else return with(std::integral_constant<int, kMost>{});
}

std::int64_t parts_of(std::int64_t features, int of_block) {
  return std::max<std::int64_t>(1, (features + of_block - 1) / of_block);
}

template <class T>
std::int64_t tiles_of(std::int64_t rows) {
  return (rows + kTile<T> - 1) / kTile<T>;
}

template <class T>
void forward(const Attention& args) {
  const AttentionProblem& p = args.problem;
  with_width<T, 8>(p.value_features, [&](auto wide) {
    const std::int64_t parts = parts_of(p.value_features, kSide * wide);
    const std::int64_t blocks = p.batch * p.heads * tiles_of<T>(p.queries) * parts;
    if (blocks > 0) launch(forward_kernel<T, wide>, {blocks_of(blocks, 1), kBlock}, args, parts);
  });
}

template <class T>
void sum_gradients(const AttentionBackward& args, const T* deltas) {
  const AttentionProblem& p = args.problem;
  with_width<T, 4>(p.features, [&](auto wide) {
    const std::int64_t parts = parts_of(p.features, kSide * wide);
    const std::int64_t blocks = p.batch * p.heads * tiles_of<T>(p.queries) * parts;
    if (blocks > 0)
      launch(query_kernel<T, wide>, {blocks_of(blocks, 1), kBlock}, args, deltas, parts);
  });
  const std::int64_t most = std::max(p.features, p.value_features);
  constexpr int kWide = std::is_same_v<T, double> ? 2 : 4;
  const std::int64_t parts = parts_of(most, kSide * kWide);
  const std::int64_t blocks = p.batch * (p.heads / p.group) * tiles_of<T>(p.keys) * parts;
  if (blocks > 0) launch(key_kernel<T, kWide>, {blocks_of(blocks, 1), kBlock}, args, deltas, parts);
}

template <class T>
void backward(const AttentionBackward& args) {
  const AttentionProblem& p = args.problem;
  const std::int64_t rows = p.batch * p.heads * p.queries;
  const Scratch scratch(static_cast<std::size_t>(rows) * sizeof(Sum<T>));
  auto* const deltas = static_cast<Sum<T>*>(scratch.data);
  if (rows > 0) launch(deltas_kernel<T>, {blocks_of(rows, kBlock / kWarp), kBlock}, args, deltas);
  if constexpr (kIsHalf<T>) return differentiate_attention_of_halves<T>(args, deltas);
  else sum_gradients<T>(args, deltas);
}

}  // namespace

void attention(const Attention& args) {
  visit_stored(args.problem.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (kIsHalf<T>) attend_halves<T>(args);
    else forward<T>(args);
  });
}

void attention_backward(const AttentionBackward& args) {
  visit_stored(args.problem.dtype,
               [&](auto type) { backward<typename decltype(type)::type>(args); });
}

void attention_dropout(const AttentionDropout& args) {
  if (args.rows * args.keys == 0) return;
  visit_floating(args.dtype, [&](auto type) {
    launch(factors_kernel<typename decltype(type)::type>,
           {blocks_for(args.rows * args.keys), kBlock}, args);
  });
}

}  // namespace tilegrad::cuda
