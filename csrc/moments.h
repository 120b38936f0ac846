// Mean and variance in one pass over memory that is safe against cancellation: a piece of some
// thousand elements is read from the cache a second time, for its squares about its own mean;
// pieces are merged by the rule of Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
// Algorithm for Computing Sample Variances" (1979). Included once per instruction set.
#pragma once

#include <algorithm>

#include "row_sums.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kPiece = 4096;  // elements: two passes over them stay in the cache

// Mean and sum of squared deviations of what was merged so far. `total` is the plain sum: unlike
// the merged mean it stays infinite where one element is.
struct Moments {
  double mean = 0, squares = 0, total = 0;

  // `share` is count / (all elements with these), `weight` is share * (elements before).
  void merge(double sum, double count, double more_squares, double share, double weight) {
    const double delta = sum / count - mean;
    mean += delta * share;
    squares += more_squares + delta * delta * weight;
    total += sum;
  }
};

// Of one row.
template <class T>
[[gnu::noinline]] static Moments row_moments(const T* x, std::int64_t size) {
  Moments moments;
  for (std::int64_t begin = 0; begin < size; begin += kPiece) {
    const T* piece = x + begin;
    const std::int64_t count = std::min(kPiece, size - begin);
    const T sum =
        sum_lanes<T>(add_row<T>(Vec<T>{}, count, [piece](auto place) { return place(piece); }));
    const Vec<T> center = splat(sum / static_cast<T>(count));
    const T squares = sum_lanes<T>(add_row<T>(Vec<T>{}, count, [piece, center](auto place) {
      const Vec<T> deviation = place(piece) - center;
      return deviation * deviation;
    }));
    const double share = static_cast<double>(count) / static_cast<double>(begin + count);
    moments.merge(static_cast<double>(sum), static_cast<double>(count),
                  static_cast<double>(squares), share, share * static_cast<double>(begin));
  }
  return moments;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
