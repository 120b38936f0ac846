// Runs: how a product with few tiles and a long inner dimension is cut, so that it keeps a card
// busy.
//
// Gradients of weights, small batches and late layers of convolutional networks have fewer tiles
// than a card has multiprocessors. Their inner dimension is cut into runs. Each run of a tile is a
// block of its own and writes its sums to memory; then a thread for each element adds up those of
// its runs, in order, and finishes it. The cut depends on sizes alone, and so does every rounding.
//
// The second kernel moves (4 * runs + sizeof(T)) bytes an element, mostly from the second cache,
// and adds once for each run; 256 threads at up to 32 registers: full occupancy.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tilegrad::cuda {

struct Cut {
  std::int64_t count,
      length;  // runs, and their share of the inner dimension; the last may be short
};

// As many blocks as a large card, of 128 multiprocessors with `resident` tiles each, holds at a
// time, but no runs below `shortest`, whose sums would cost more than they save. What fills half of
// the card stays whole. Lengths are multiples of `step`.
static inline Cut cut_into_runs(std::int64_t tiles, std::int64_t inner, int resident,
                                std::int64_t shortest, std::int64_t step) {
  constexpr std::int64_t kMultiprocessors = 128;
  const std::int64_t most =
      std::min(kMultiprocessors * resident / std::max<std::int64_t>(tiles, 1), inner / shortest);
  if (most <= 1) return {1, inner};
  const std::int64_t share = (inner + most - 1) / most;
  const std::int64_t length = (share + step - 1) / step * step;
  return {(inner + length - 1) / length, length};
}

}  // namespace tilegrad::cuda
