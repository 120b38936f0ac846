// Attention without the matrix of queries x keys in memory: for a panel of queries, the scores of
// one block of keys at a time are computed, turned into weights and used up in cache.
//
// Forward keeps a running maximum and sum per query and rescales what it has (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention",
// 2022). Backward computes the weights again from the saved log-sum-exp. Both walk panels in order,
// and sums over queries are cut into chunks that depend on sizes alone.
#include "attention.h"

#include "../attention_few.h"
#include "../attention_panel.h"
#include "../host_memory.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Hands out consecutive parts of a thread's scratch memory.
template <class T>
struct Scratch {
  T* next;
  explicit Scratch(std::int64_t size)
      : next(static_cast<T*>(thread_scratch(static_cast<std::size_t>(size) * sizeof(T)))) {}
  T* take(std::int64_t size) {
    T* part = next;
    next += size;
    return part;
  }
};

template <class T>
struct RunningSoftmax {
  T largest[kPanel<T>], sum[kPanel<T>];
  RunningSoftmax() {
    std::fill_n(largest, kPanel<T>, -std::numeric_limits<T>::infinity());
    std::fill_n(sum, kPanel<T>, T{0});
  }
};

// Turns a block of scores into weights relative to the new maximum, and brings the sums and the
// output (features, kPanel) to it. Where no key was seen yet, the maximum counts as 0: weights of
// excluded keys are then exp(-inf) = 0.
template <class T>
[[gnu::noinline]] static void advance(RunningSoftmax<T>& running, std::int64_t keys, T* scores,
                                      std::int64_t features, T* output) {
  Vec<T> largest[2], shift[2], factor[2], sum[2];
  bool moved = false;
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) largest[v] = load(running.largest + v * kLanes<T>);
  for (std::int64_t i = 0; i < keys; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const Vec<T> score = load(scores + i * kPanel<T> + v * kLanes<T>);
      largest[v] = score > largest[v] ? score : largest[v];  // a NaN is caught by the sum
    }
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    shift[v] = largest[v] == kMinusInfinity<T> ? Vec<T>{} : largest[v];
    factor[v] = exponential_below<T>(load(running.largest + v * kLanes<T>) - shift[v]);
    sum[v] = load(running.sum + v * kLanes<T>) * factor[v];
    for (int lane = 0; lane < kLanes<T>; ++lane) moved = moved || factor[v][lane] != T{1};
  }
  for (std::int64_t i = 0; i < keys; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      T* at = scores + i * kPanel<T> + v * kLanes<T>;
      const Vec<T> weight = exponential_below<T>(load(at) - shift[v]);
      store(at, weight);
      sum[v] += weight;
    }
  if (moved)
    for (std::int64_t i = 0; i < features; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        T* at = output + i * kPanel<T> + v * kLanes<T>;
        store(at, load(at) * factor[v]);
      }
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    store(running.largest + v * kLanes<T>, largest[v]);
    store(running.sum + v * kLanes<T>, sum[v]);
  }
}

// Divides by the sums and writes rows of y and their normalizers.
template <class T>
static void finish(const Attention& args, const PanelPlace& place, const RunningSoftmax<T>& running,
                   T* output) {
  const AttentionProblem& p = args.problem;
  T scale[kPanel<T>];
  T* normalizer = static_cast<T*>(args.normalizer);
  if (normalizer) normalizer += 2 * (place.batch * p.heads + place.head) * p.queries;
  for (std::int64_t j = 0; j < kPanel<T>; ++j) {
    const bool blind = running.sum[j] == 0;  // every key is excluded: torch gives zeros
    scale[j] = blind ? T{0} : T{1} / running.sum[j];
    if (j >= place.count || !normalizer) continue;
    normalizer[2 * (place.first + j)] = blind ? T{0} : running.largest[j];
    normalizer[2 * (place.first + j) + 1] = scale[j];
  }
  for (std::int64_t i = 0; i < p.value_features; ++i)
    for (std::int64_t j = 0; j < kPanel<T>; ++j) output[i * kPanel<T> + j] *= scale[j];
  transpose(output, kPanel<T>, p.value_features, place.count,
            row_of<T>(args.y, place.batch, place.head, place.first), args.y.row_stride);
}

template <class T>
static void attend(const Attention& args, const PanelPlace& place) {
  const AttentionProblem& p = args.problem;
  constexpr std::int64_t kBlock = kPanel<T> * kKeyBlock;
  Scratch<T> scratch((p.features + p.value_features) * kPanel<T> + 4 * kBlock);
  T *query = scratch.take(p.features * kPanel<T>),
    *output = scratch.take(p.value_features * kPanel<T>), *scores = scratch.take(kBlock),
    *factors = scratch.take(kBlock), *mask_scratch = scratch.take(2 * kBlock);
  pack_columns(query, row_of<const T>(p.query, place.batch, place.head, place.first),
               p.query.row_stride, place.count, p.features, static_cast<T>(p.scale));
  std::fill_n(output, p.value_features * kPanel<T>, T{0});
  RunningSoftmax<T> running;
  const std::int64_t next = place.first + place.count;
  prefetch_rows(row_of<const T>(p.query, place.batch, place.head, next), p.query.row_stride,
                std::min(kPanel<T>, p.queries - next), p.features);
  for (std::int64_t first = 0; first < place.keys; first += kKeyBlock) {
    const std::int64_t keys = std::min(kKeyBlock, place.keys - first);
    score_block(p, place, first, keys, query, scores, mask_scratch);
    advance(running, keys, scores, p.value_features, output);
    if (p.dropout > 0) {
      dropout_block(p, place, first, keys, factors);
      for (std::int64_t i = 0; i < keys * kPanel<T>; ++i) scores[i] *= factors[i];
    }
    const T* value = row_of<const T>(p.value, place.batch, place.key_head, first);
    multiply<T>(p.value_features, kPanel<T>, keys, {value, 1, p.value.row_stride},
                {scores, kPanel<T>}, {output, kPanel<T>}, true);
  }
  finish(args, place, running, output);
}

template <class T>
static void forward(const Attention& args) {
  const AttentionProblem& p = args.problem;
  // Backward computes the scores again and must find the very same: those of panels.
  if (p.queries <= kFewQueries && p.dropout == 0 && args.normalizer == nullptr) {
    const std::int64_t work = 1 + p.queries * p.keys * (p.features + p.value_features);
    parallel_for(p.batch * p.heads, std::max<std::int64_t>(1, 8 * kGrain / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t task = begin; task < end; ++task) attend_few<T>(args, task);
                 });
    return;
  }
  const std::int64_t panels = (p.queries + kPanel<T> - 1) / kPanel<T>;
  const std::int64_t work = kPanel<T> * (1 + p.keys) * (1 + p.features + p.value_features);
  parallel_for(p.batch * p.heads * panels, std::max<std::int64_t>(1, 8 * kGrain / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task)
                   attend<T>(args, place_of<T>(p, task / panels, task % panels * kPanel<T>));
               });
}

// --- backward
// -------------------------------------------------------------------------------------
//
// With P the weights, P' those after dropout, and D = rowsum(grad_y * y):
//   grad_value = P'^T @ grad_y,  grad_P = (grad_y @ value^T) * factors,
//   grad_scores = P * (grad_P - D),  grad_query = scale * grad_scores @ key,
//   grad_key = grad_scores^T @ (scale * query).

static inline std::int64_t padded(std::int64_t features) {
  return (features + kAttentionPadding - 1) / kAttentionPadding * kAttentionPadding;
}

// What backward needs of a panel of queries: both ways round, as columns and as rows.
template <class T>
struct BackwardPanel {
  T *query, *grad_y;                             // (features, kPanel)
  T *query_rows, *grad_y_rows;                   // (kPanel, padded features)
  T* grad_query;                                 // (features, kPanel)
  T *weights, *slopes, *factors, *mask_scratch;  // (kKeyBlock, kPanel)
  T largest[kPanel<T>], inverse[kPanel<T>], delta[kPanel<T>];

  explicit BackwardPanel(const AttentionProblem& p) {
    const std::int64_t block = kPanel<T> * kKeyBlock, features = p.features * kPanel<T>,
                       values = p.value_features * kPanel<T>,
                       feature_rows = padded(p.features) * kPanel<T>,
                       value_rows = padded(p.value_features) * kPanel<T>;
    Scratch<T> scratch(2 * features + values + feature_rows + value_rows + 5 * block);
    query = scratch.take(features);
    grad_query = scratch.take(features);
    grad_y = scratch.take(values);
    query_rows = scratch.take(feature_rows);
    grad_y_rows = scratch.take(value_rows);
    weights = scratch.take(block);
    slopes = scratch.take(block);
    factors = scratch.take(block);
    mask_scratch = scratch.take(2 * block);
  }
};

// to (count, padded) = factor * from (count, columns), padded with zeros.
template <class T>
static void pack_rows(T* to, const T* from, std::int64_t from_row, std::int64_t count,
                      std::int64_t columns, T factor) {
  for (std::int64_t i = 0; i < count; ++i, to += padded(columns), from += from_row) {
    for (std::int64_t j = 0; j < columns; ++j) to[j] = factor * from[j];
    for (std::int64_t j = columns; j < padded(columns); ++j) to[j] = T{0};
  }
}

template <class T>
static T dot(const T* left, const T* right, std::int64_t count) {
  Vec<T> parts{};
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) parts += load(left + i) * load(right + i);
  T sum = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) sum += parts[lane];
  for (; i < count; ++i) sum += left[i] * right[i];
  return sum;
}

template <class T>
static void load_panel(const AttentionBackward& args, const PanelPlace& place,
                       BackwardPanel<T>& panel) {
  const AttentionProblem& p = args.problem;
  const T* query = row_of<const T>(p.query, place.batch, place.head, place.first);
  const T* y = row_of<const T>(args.y, place.batch, place.head, place.first);
  const T* grad_y = row_of<const T>(args.grad_y, place.batch, place.head, place.first);
  const T* normalizer =
      static_cast<const T*>(args.normalizer) + 2 * (place.batch * p.heads + place.head) * p.queries;
  const T scale = static_cast<T>(p.scale);
  pack_columns(panel.query, query, p.query.row_stride, place.count, p.features, scale);
  pack_columns(panel.grad_y, grad_y, args.grad_y.row_stride, place.count, p.value_features, T{1});
  pack_rows(panel.query_rows, query, p.query.row_stride, place.count, p.features, scale);
  pack_rows(panel.grad_y_rows, grad_y, args.grad_y.row_stride, place.count, p.value_features, T{1});
  std::fill_n(panel.grad_query, p.features * kPanel<T>, T{0});
  std::fill_n(panel.largest, kPanel<T>, T{0});
  std::fill_n(panel.inverse, kPanel<T>, T{0});
  std::fill_n(panel.delta, kPanel<T>, T{0});
  for (std::int64_t j = 0; j < place.count; ++j) {
    panel.largest[j] = normalizer[2 * (place.first + j)];
    panel.inverse[j] = normalizer[2 * (place.first + j) + 1];
    panel.delta[j] =
        dot(y + j * args.y.row_stride, grad_y + j * args.grad_y.row_stride, p.value_features);
  }
}

template <class T>
static void prefetch_panel(const AttentionBackward& args, const PanelPlace& place) {
  const AttentionProblem& p = args.problem;
  prefetch_rows(row_of<const T>(p.query, place.batch, place.head, place.first), p.query.row_stride,
                place.count, p.features);
  for (const AttentionOperand& x : {args.y, args.grad_y})
    prefetch_rows(row_of<const T>(x, place.batch, place.head, place.first), x.row_stride,
                  place.count, p.value_features);
}

// weights: scores -> P';  slopes: grad_P before dropout -> grad_scores.
template <class T>
[[gnu::noinline]] static void differentiate(const BackwardPanel<T>& panel, std::int64_t keys,
                                            bool dropout) {
  for (int v = 0; v < 2; ++v) {
    const Vec<T> largest = load(panel.largest + v * kLanes<T>),
                 inverse = load(panel.inverse + v * kLanes<T>),
                 delta = load(panel.delta + v * kLanes<T>);
    for (std::int64_t i = 0; i < keys; ++i) {
      const std::int64_t at = i * kPanel<T> + v * kLanes<T>;
      const Vec<T> weight = exponential_below<T>(load(panel.weights + at) - largest) * inverse;
      const Vec<T> slope = load(panel.slopes + at);
      if (dropout) {
        const Vec<T> factor = load(panel.factors + at);
        store(panel.slopes + at, weight * (slope * factor - delta));
        store(panel.weights + at, weight * factor);
      } else {
        store(panel.slopes + at, weight * (slope - delta));
        store(panel.weights + at, weight);
      }
    }
  }
}

// Where one chunk of one head sums the gradients of key and value, rows of whole vectors. Rows from
// `begun` on hold nothing yet.
template <class T>
struct KeyGradients {
  Block<T> key, value;
  std::int64_t begun = 0;
};

// c (+)= a @ b for keys [first, first + keys), of which those that were begun are added to.
template <class T>
static void add_to_keys(const KeyGradients<T>& sums, Block<T> c, std::int64_t first,
                        std::int64_t keys, std::int64_t columns, std::int64_t inner,
                        LeftOperand<T> a, Block<const T> b) {
  const std::int64_t begun = std::clamp<std::int64_t>(sums.begun - first, 0, keys);
  c.data += first * c.row;
  multiply<T>(begun, columns, inner, a, b, c, true);
  a.data += begun * a.row, c.data += begun * c.row;
  multiply<T>(keys - begun, columns, inner, a, b, c, false);
}

template <class T>
static void backward_block(const AttentionProblem& p, const PanelPlace& place,
                           BackwardPanel<T>& panel, std::int64_t first, std::int64_t keys,
                           const KeyGradients<T>& sums) {
  const T* key = row_of<const T>(p.key, place.batch, place.key_head, first);
  const T* value = row_of<const T>(p.value, place.batch, place.key_head, first);
  constexpr std::int64_t kWidth = kPanel<T>;
  score_block(p, place, first, keys, panel.query, panel.weights, panel.mask_scratch);
  multiply<T>(keys, kWidth, p.value_features, {value, p.value.row_stride, 1},
              {panel.grad_y, kWidth}, {panel.slopes, kWidth}, false);
  if (p.dropout > 0) dropout_block(p, place, first, keys, panel.factors);
  differentiate(panel, keys, p.dropout > 0);
  add_to_keys<T>(sums, sums.value, first, keys, padded(p.value_features), place.count,
                 {panel.weights, kWidth, 1}, {panel.grad_y_rows, padded(p.value_features)});
  add_to_keys<T>(sums, sums.key, first, keys, padded(p.features), place.count,
                 {panel.slopes, kWidth, 1}, {panel.query_rows, padded(p.features)});
  multiply<T>(p.features, kWidth, keys, {key, 1, p.key.row_stride}, {panel.slopes, kWidth},
              {panel.grad_query, kWidth}, true);
}

template <class T>
static KeyGradients<T> key_gradients(const AttentionBackward& args, std::int64_t matrix,
                                     std::int64_t chunk) {
  const AttentionProblem& p = args.problem;
  if (!args.workspace) {
    const std::int64_t batch = matrix / p.heads, head = matrix % p.heads;
    return {{row_of<T>(args.grad_key, batch, head, 0), args.grad_key.row_stride},
            {row_of<T>(args.grad_value, batch, head, 0), args.grad_value.row_stride}};
  }
  const std::int64_t part = matrix * args.chunks + chunk, key_row = padded(p.features),
                     value_row = padded(p.value_features);
  T* keys = static_cast<T*>(args.workspace) + part * p.keys * (key_row + value_row);
  return {{keys, key_row}, {keys + p.keys * key_row, value_row}};
}

template <class T>
static void backward_chunk(const AttentionBackward& args, std::int64_t matrix, std::int64_t chunk) {
  const AttentionProblem& p = args.problem;
  KeyGradients<T> sums = key_gradients<T>(args, matrix, chunk);
  BackwardPanel<T> panel(p);
  const std::int64_t panels = (p.queries + kPanel<T> - 1) / kPanel<T>;
  for (std::int64_t i = panels * chunk / args.chunks; i < panels * (chunk + 1) / args.chunks; ++i) {
    const PanelPlace place = place_of<T>(p, matrix, i * kPanel<T>);
    load_panel(args, place, panel);
    prefetch_panel<T>(args, place_of<T>(p, matrix, (i + 1) * kPanel<T>));
    for (std::int64_t first = 0; first < place.keys; first += kKeyBlock)
      backward_block(p, place, panel, first, std::min(kKeyBlock, place.keys - first), sums);
    sums.begun = std::max(sums.begun, place.keys);
    for (std::int64_t j = 0; j < p.features * kPanel<T>; ++j)
      panel.grad_query[j] *= static_cast<T>(p.scale);
    transpose(panel.grad_query, kPanel<T>, p.features, place.count,
              row_of<T>(args.grad_query, place.batch, place.head, place.first),
              args.grad_query.row_stride);
  }
  for (std::int64_t i = sums.begun; i < p.keys; ++i) {  // keys that no query sees
    std::fill_n(sums.key.data + i * sums.key.row, padded(p.features), T{0});
    std::fill_n(sums.value.data + i * sums.value.row, padded(p.value_features), T{0});
  }
}

// One row of grad_key and grad_value: the parts of all heads of the group and all chunks, in order.
template <class T>
static void combine_row(const AttentionBackward& args, std::int64_t batch, std::int64_t key_head,
                        std::int64_t row) {
  const AttentionProblem& p = args.problem;
  T* grad_key = row_of<T>(args.grad_key, batch, key_head, row);
  T* grad_value = row_of<T>(args.grad_value, batch, key_head, row);
  std::fill_n(grad_key, p.features, T{0});
  std::fill_n(grad_value, p.value_features, T{0});
  for (std::int64_t head = key_head * p.group; head < (key_head + 1) * p.group; ++head)
    for (std::int64_t chunk = 0; chunk < args.chunks; ++chunk) {
      const KeyGradients<T> part = key_gradients<T>(args, batch * p.heads + head, chunk);
      const T *key = part.key.data + row * part.key.row,
              *value = part.value.data + row * part.value.row;
      for (std::int64_t f = 0; f < p.features; ++f) grad_key[f] += key[f];
      for (std::int64_t f = 0; f < p.value_features; ++f) grad_value[f] += value[f];
    }
}

template <class T>
static void backward(const AttentionBackward& args) {
  const AttentionProblem& p = args.problem;
  const std::int64_t chunks = args.chunks, key_heads = p.heads / p.group;
  parallel_for(p.batch * p.heads * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task)
      backward_chunk<T>(args, task / chunks, task % chunks);
  });
  if (!args.workspace) return;
  parallel_for(p.batch * key_heads * p.keys, kKeyBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      combine_row<T>(args, i / p.keys / key_heads, i / p.keys % key_heads, i % p.keys);
  });
}

template <class T>
static void dropout_factors(const AttentionDropout& args) {
  const DropoutDraw draw(args.dropout);
  for (std::int64_t i = 0; i < args.rows; ++i) {
    T* row = static_cast<T*>(args.factors) + i * args.keys;
    const std::uint32_t hash = row_hash(args.seed.read(), i);
    for (std::int64_t j = 0; j < args.keys; ++j)
      row[j] = kept(hash, j, draw.limit, static_cast<T>(draw.scale));
  }
}

void attention(const Attention& args) {
  args.problem.dtype == DType::float32 ? forward<float>(args) : forward<double>(args);
}

void attention_backward(const AttentionBackward& args) {
  args.problem.dtype == DType::float32 ? backward<float>(args) : backward<double>(args);
}

void attention_dropout(const AttentionDropout& args) {
  args.dtype == DType::float32 ? dropout_factors<float>(args) : dropout_factors<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
