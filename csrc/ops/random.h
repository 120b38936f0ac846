// Contracts of the kernels that draw random numbers. On the CPU they take them from a generator's
// state, in the order of the elements, by one thread; in CUDA from the stream that `key` selects
// (csrc/philox.h), and the state is not read.
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../random_key.h"
#include "../random_state.h"

namespace tilegrad {

enum class RandomOp : std::uint8_t {
  uniform,      // floating: in [a, b)
  normal,       // floating: mean a, standard deviation b
  integer,      // any dtype: in [first, first + range)
  full_range,   // any dtype: the integers from 0 that the dtype holds exactly
  bernoulli,    // any dtype: 1 with probability a, else 0
  exponential,  // floating: rate a
  permutation,  // int64: 0 ... size - 1 shuffled
};

// y is contiguous.
struct RandomFill {
  RandomOp op;
  DType dtype;
  void* y;
  std::int64_t size;
  double a = 0, b = 0;
  std::int64_t first = 0;
  std::uint64_t range = 0;  // 0 stands for 2^64
  RandomState* state;
  RandomKey key;
  bool one_by_one = false;  // normal numbers never in blocks: what PyTorch does off row-major order
};

// y[i] = 1 with probability p[i], else 0; both contiguous, of one floating dtype.
struct RandomChoice {
  DType dtype;
  void* y;
  const void* p;
  std::int64_t size;
  RandomState* state;
  RandomKey key;
};

// Per row of weights (rows, categories): `samples` categories, drawn with those relative weights.
struct Multinomial {
  const double* weights;
  std::int64_t* y;  // (rows, samples)
  double* sums;     // (categories), workspace
  std::int64_t rows, categories, samples;
  bool replacement;
  RandomState* state;
  RandomKey key;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(random, RandomFill)
TILEGRAD_KERNEL(random_choice, RandomChoice)
TILEGRAD_KERNEL(multinomial, Multinomial)
