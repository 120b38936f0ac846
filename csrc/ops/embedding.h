// Contract of embedding: rows of a table by index, one each or reduced by bags, and its gradient.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

// y (count, row_bytes): copies of the rows of weight at index, each in range.
struct Embedding {
  char* y;
  const char* weight;
  const std::int64_t* index;  // (count,)
  std::int64_t count, row_bytes;
};

enum class BagMode : std::uint8_t { sum, mean, max };

// Row b of y reduces the rows of weight at index[offsets[b]] to index[offsets[b + 1]], without
// those at padding_idx; zeros where there are none.
struct EmbeddingBag {
  DType dtype;
  BagMode mode;
  void* y;                      // (bags, features)
  const void* weight;           // (entries, features)
  const std::int64_t* index;    // each in range
  const std::int64_t* offsets;  // (bags + 1,), not decreasing
  const void* factors;          // one per index, or null; sum only
  std::int64_t* largest;        // (bags, features), max only: where each came from, or -1
  std::int64_t bags, features, padding_idx;
};

// Row e of grad_weight is the sum over all places i with index[i] == e, in order, of
//   factors[i] * grad[source[i]]
// and 0 for padding_idx. Places whose source is negative count nothing.
struct EmbeddingBackward {
  DType dtype;
  void* grad_weight;           // (entries, features)
  const void* grad;            // (rows, features)
  const std::int64_t* index;   // (count,), each in range
  const std::int64_t* source;  // (count,), or null: i itself
  const void* factors;         // (count,), or null: 1
  std::int64_t* starts;        // scratch, (entries + 1,)
  std::int64_t* order;         // scratch, (count,)
  std::int64_t entries, features, count, padding_idx;
  bool divide_by_frequency;  // by the number of places of each entry
};

}  // namespace tilegrad

TILEGRAD_KERNEL(embedding, Embedding)
TILEGRAD_KERNEL(embedding_bag, EmbeddingBag)
TILEGRAD_KERNEL(embedding_backward, EmbeddingBackward)
