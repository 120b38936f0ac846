// Contract of scaled-dot-product attention, softmax(scale * query @ key^T + mask) @ value, forward
// and backward.
#pragma once

#include "../kernel.h"
#include "../random_key.h"
#include "../strided.h"

namespace tilegrad {

// A tensor (batch, heads, length, features). Strides count elements; features lie side by side.
struct AttentionOperand {
  void* data;
  std::int64_t batch_stride, head_stride, row_stride;
};

// A mask (batch, heads, queries, keys), or none if `data` is null. Of booleans false excludes a
// key; other masks have the problem's dtype and are added to the scores.
struct AttentionMask {
  const void* data;
  bool boolean;
  std::int64_t batch_stride, head_stride, query_stride, key_stride;
};

struct AttentionProblem {
  // float32 or float64; on CUDA also bfloat16 and float16 with up to kMostHalfFeatures, summed in
  // float32, weights rounded between the products
  DType dtype;
  std::int64_t batch, heads;
  std::int64_t group;  // so many neighbouring heads of query share a head of key and value
  std::int64_t queries, keys, features, value_features;
  AttentionOperand query, key, value;
  AttentionMask mask;
  double scale;
  bool causal;     // query i sees keys 0 to i only
  double dropout;  // probability that a weight is dropped; the others are scaled to make up for it
  RandomKey seed;  // of the dropped weights
};

inline constexpr std::int64_t kMostHalfFeatures = 128;

struct Attention {
  AttentionProblem problem;
  AttentionOperand y;  // (batch, heads, queries, value_features)
  // (batch, heads, queries, 2): the largest score of a query and 1 / sum(exp(score - largest)),
  // both 0 where no key is seen. Their logarithm in one number would lose digits of large scores.
  // Of halves, float32.
  // Null if there will be no backward.
  void* normalizer;
};

// Where each head's gradients of key and value are summed before they are added up:
// (batch * heads, chunks, keys, padded features), first for key, then for value.
inline constexpr std::int64_t kAttentionPadding = 16;

struct AttentionBackward {
  AttentionProblem problem;
  AttentionOperand y, grad_y, grad_query, grad_key, grad_value;
  const void* normalizer;
  void* workspace;      // null: each head's sums go straight to grad_key and grad_value
  std::int64_t chunks;  // of neighbouring queries, each summed by itself
};

// The factor of each weight: 0 if dropped, else 1 / (1 - dropout).
struct AttentionDropout {
  DType dtype;
  void* factors;  // (rows, keys)
  std::int64_t rows, keys;
  double dropout;
  RandomKey seed;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(attention, Attention)
TILEGRAD_KERNEL(attention_backward, AttentionBackward)
TILEGRAD_KERNEL(attention_dropout, AttentionDropout)
