// Contract of the cross-entropy of rows of scores with class indices or class probabilities, and of
// its gradient.
#pragma once

#include "../kernel.h"
#include "../strided.h"

// Of halves, which only CUDA takes, the scores, class probabilities and what cross_entropy_backward
// writes are halves, all other floating arrays float32: losses are summed before they are rounded.

namespace tilegrad {

enum class Reduction : std::uint8_t { none, mean, sum };

// What forward and backward share. With s = label_smoothing and w = weight (1 if absent), row n of
// class t = target[n] has the loss
//   (1 - s) * w[t] * (lse - x[t])  +  s / classes * sum_c w[c] * (lse - x[c])
// where lse = log(sum(exp(x))), or 0 if `normalized`: then x holds log-probabilities (nll_loss).
// Rows whose target is ignore_index count nothing. The mean divides by the sum of w[t].
struct CrossEntropyRows {
  DType dtype;  // float32 or float64, of every floating array; on CUDA also halves
  bool normalized;
  Reduction reduction;
  const void* x;               // (rows / inner, classes, inner)
  const std::int64_t* target;  // (rows,), each in [0, classes) or ignore_index
  const void* weight;          // (classes,), or null
  std::int64_t ignore_index;
  double label_smoothing;
  std::int64_t rows, classes;
  std::int64_t inner = 1;  // how far apart the scores of a row lie: 1, or the pixels of an image
};

struct CrossEntropy {
  CrossEntropyRows in;
  void* losses;  // (rows,): each row's loss
  void* lse;     // (rows,)
  void* loss;    // one element: mean or sum; unused for none
  void* total;   // one element: the sum of the weights of the targets
  // As x: the gradient of x for a gradient of 1 of the loss, or null. Not for normalized scores,
  // nor for the reduction none, nor of halves.
  void* grad_x;
};

struct CrossEntropyBackward {
  CrossEntropyRows in;
  void* grad_x;      // as x
  const void* grad;  // (rows,) for none, else one element
  const void* lse;
  const void* total;
};

// Class probabilities as targets: row n has the loss  sum_c q[c] * (lse - x[c])  with
//   q[c] = w[c] * ((1 - label_smoothing) * target[c] + label_smoothing / classes),
// and the mean divides by the number of rows.
struct CrossEntropySoft {
  DType dtype;  // float32 or float64, of all arrays; on CUDA also halves
  Reduction reduction;
  const void* x;       // (rows, classes)
  const void* target;  // (rows, classes)
  const void* weight;  // (classes,), or null
  double label_smoothing;
  std::int64_t rows, classes;
  void* losses;  // (rows,): each row's loss
  void* loss;    // one element: mean or sum; unused for none
  void* grad_x;  // (rows, classes): for a gradient of 1 of the loss (none: of each loss), or null
};

// Shares of a whole instead of scores, as a softmax layer's results: row n has the loss
//   -log(p)  with  p = x[t] / sum(x), kept in [epsilon, 1 - epsilon].
// Outside of it the loss is constant. The mean divides by the number of rows.
struct CrossEntropyShares {
  DType dtype;  // float32 or float64, of x and all results; on CUDA also halves
  Reduction reduction;
  const void* x;               // (rows, classes)
  const std::int64_t* target;  // (rows,), each in [0, classes)
  double epsilon;
  std::int64_t rows, classes;
  void* losses;  // (rows,): each row's loss
  void* loss;    // one element: mean or sum; unused for none
  void* grad_x;  // (rows, classes): for a gradient of 1 of the loss (none: of each loss), or null
};

}  // namespace tilegrad

TILEGRAD_KERNEL(cross_entropy_shares, CrossEntropyShares)
TILEGRAD_KERNEL(cross_entropy_soft, CrossEntropySoft)
TILEGRAD_KERNEL(cross_entropy, CrossEntropy)
TILEGRAD_KERNEL(cross_entropy_backward, CrossEntropyBackward)
