// The transforms of Winograd's minimal filtering: a tile of outputs from fewer multiplications.
//
// After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). A convolution
// of length 6 is a product of polynomials; its values at six points (0, +-a, +-b and infinity)
// determine it, and there the product is one multiplication. In two directions, 4 x 4 outputs of a
// 3 x 3 filter, or 2 x 2 of a 5 x 5 filter, take 36 multiplications instead of 144 or 100:
//   outputs          Y = A^T [(G W G^T) * (B^T X B)] A    summed over channels inside the brackets
//   filter gradient  W' = G^T [(A Y' A^T) * (B^T X B)] G  summed over tiles: the same, transposed
// A evaluates a polynomial at the points, and so does G but for the factors 1 / N of Lagrange's
// formula, so two functions in one direction, `evaluate` and its transpose `interpolate`, make both
// formulas. With a = sqrt(1/2) and b = sqrt(2) the rounding errors are smaller than with whole
// numbers. The lanes of every vector are channels. Included once per instruction set.
#pragma once

#include "gemm.h"
#include "images.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr int kPoints = 6;
static constexpr int kSquare = kPoints * kPoints;

static constexpr double kA2 = 0.5, kB2 = 2;  // a and b squared
static constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;

// point^k for the points a and b.
static constexpr float power(double square, double point, int k) {
  double result = k % 2 ? point : 1;
  for (int i = 0; i < k / 2; ++i) result *= square;
  return static_cast<float>(result);
}

// 1 / N of each point: the product of its differences from the other finite points, inverted.
static constexpr float kWeights[kPoints] = {static_cast<float>(1 / (kA2 * kB2)),
                                            static_cast<float>(1 / (2 * kA2 * (kA2 - kB2))),
                                            static_cast<float>(1 / (2 * kA2 * (kA2 - kB2))),
                                            static_cast<float>(1 / (2 * kB2 * (kB2 - kA2))),
                                            static_cast<float>(1 / (2 * kB2 * (kB2 - kA2))),
                                            1};

// B^T x, the inputs' side.
template <class V>
[[gnu::always_inline]] static inline void input_points(const V* x, V* points) {
  constexpr auto a = static_cast<float>(kA), b = static_cast<float>(kB);
  constexpr auto a2 = static_cast<float>(kA2), b2 = static_cast<float>(kB2);
  const V even_a = x[4] - b2 * x[2], odd_a = a * (x[3] - b2 * x[1]);
  const V even_b = x[4] - a2 * x[2], odd_b = b * (x[3] - a2 * x[1]);
  points[0] = (a2 * b2) * x[0] - (a2 + b2) * x[2] + x[4];
  points[1] = even_a + odd_a;
  points[2] = even_a - odd_a;
  points[3] = even_b + odd_b;
  points[4] = even_b - odd_b;
  points[5] = (a2 * b2) * x[1] - (a2 + b2) * x[3] + x[5];
}

// The polynomial with n coefficients at the six points.
template <int n, class V>
[[gnu::always_inline]] static inline void evaluate(const V* x, V* points) {
  V even_a = x[0], even_b = x[0];
  V odd_a = power(kA2, kA, 1) * x[1], odd_b = power(kB2, kB, 1) * x[1];
#pragma GCC unroll 4
  for (int i = 2; i < n; ++i) {
    V& at_a = i % 2 ? odd_a : even_a;
    V& at_b = i % 2 ? odd_b : even_b;
    at_a += power(kA2, kA, i) * x[i];
    at_b += power(kB2, kB, i) * x[i];
  }
  points[0] = x[0];
  points[1] = even_a + odd_a;
  points[2] = even_a - odd_a;
  points[3] = even_b + odd_b;
  points[4] = even_b - odd_b;
  points[5] = x[n - 1];
}

// The transpose of evaluate<n>.
template <int n, class V>
[[gnu::always_inline]] static inline void interpolate(const V* points, V* x) {
  const V even_a = points[1] + points[2], odd_a = points[1] - points[2];
  const V even_b = points[3] + points[4], odd_b = points[3] - points[4];
  x[0] = points[0] + even_a + even_b;
#pragma GCC unroll 4
  for (int i = 1; i < n; ++i)
    x[i] =
        power(kA2, kA, i) * (i % 2 ? odd_a : even_a) + power(kB2, kB, i) * (i % 2 ? odd_b : even_b);
  x[n - 1] += points[5];
}

// to[i * 6 + j] = B^T x B at (i, j), `stride` elements apart.
[[gnu::noinline]] static void transform_input(const Pixels<const float>& x, float* to, Int stride) {
  using V = Vec<float>;
  V half[kPoints][kPoints];  // [column point][row]
#pragma GCC unroll 6
  for (int i = 0; i < kPoints; ++i) {
    V row[kPoints], points[kPoints];
#pragma GCC unroll 6
    for (int j = 0; j < kPoints; ++j) row[j] = load(x.at(i, j));
    input_points(row, points);
#pragma GCC unroll 6
    for (int j = 0; j < kPoints; ++j) half[j][i] = points[j];
  }
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    V points[kPoints];
    input_points(half[j], points);
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) store(to + (i * kPoints + j) * stride, points[i]);
  }
}

// to[i * 6 + j] = the n x n pixels evaluated at the points (i, j): A x A^T, or, with kWeighted,
// G x G^T.
template <int n, bool kWeighted>
[[gnu::noinline]] static void transform_evaluate(const Pixels<const float>& x, float* to,
                                                 Int stride) {
  using V = Vec<float>;
  V half[kPoints][n];
#pragma GCC unroll 5
  for (int i = 0; i < n; ++i) {
    V row[n], points[kPoints];
#pragma GCC unroll 5
    for (int j = 0; j < n; ++j) row[j] = load(x.at(i, j));
    evaluate<n>(row, points);
#pragma GCC unroll 6
    for (int j = 0; j < kPoints; ++j) half[j][i] = points[j];
  }
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    V points[kPoints];
    evaluate<n>(half[j], points);
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) {
      const V scaled = kWeighted ? kWeights[i] * kWeights[j] * points[i] : points[i];
      store(to + (i * kPoints + j) * stride, scaled);
    }
  }
}

// x = A^T points A or, with kWeighted, G^T points G: n x n pixels, plus `shift`.
template <int n, bool kWeighted>
[[gnu::noinline]] static void transform_interpolate(const float* from, Int stride, Vec<float> shift,
                                                    const Pixels<float>& x) {
  using V = Vec<float>;
  V half[n][kPoints];  // [pixel row][column point]
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    V points[kPoints], column[n];
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) {
      points[i] = load(from + (i * kPoints + j) * stride);
      if constexpr (kWeighted) points[i] *= kWeights[i] * kWeights[j];
    }
    interpolate<n>(points, column);
#pragma GCC unroll 5
    for (int i = 0; i < n; ++i) half[i][j] = column[i];
  }
#pragma GCC unroll 5
  for (int i = 0; i < n; ++i) {
    V row[n];
    interpolate<n>(half[i], row);
#pragma GCC unroll 5
    for (int j = 0; j < n; ++j) store(x.at(i, j), row[j] + shift);
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
