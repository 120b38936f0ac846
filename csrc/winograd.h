// The transforms of Winograd's minimal filtering: a tile of outputs from fewer multiplications.
//
// After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). A convolution
// of length 6 is a product of polynomials; its values at six points (0, +-a, +-b and infinity)
// determine it, and there the product is one multiplication. In two directions, 4 x 4 outputs of a
// 3 x 3 filter, or 2 x 2 of a 5 x 5 filter, take 36 multiplications instead of 144 or 100:
//   outputs          Y = A^T [(G W G^T) * (B^T X B)] A    summed over channels inside the brackets
//   filter gradient  W' = G^T [(A Y' A^T) * (B^T X B)] G  summed over tiles: the same, transposed
// A evaluates a polynomial at the points, and so does G but for the factors 1 / N of Lagrange's
// formula, so two functions in one direction, Evaluate and its transpose Interpolate, make both
// formulas. With a = sqrt(1/2) and b = sqrt(2) the rounding errors are smaller than with whole
// numbers.
//
// With stride 2 the even inputs meet the first and last of three taps, which makes a convolution of
// length 5 for four outputs (the points +-a, +-b and infinity), and the odd inputs meet the middle
// tap: 9 x 9 multiplications instead of 144 for 4 x 4 outputs. The gradient of the inputs works the
// other way round: two kinds of outputs from one input.
//
// The lanes of every vector are channels. Included once per instruction set.
#pragma once

#include "gemm.h"
#include "images.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr int kPoints = 6;
static constexpr int kSquare = kPoints * kPoints;

static constexpr double kA2 = 0.5, kB2 = 2;  // a and b squared
static constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;

// The same for stride 2, where 0 is no point: at a and -a it has different signs.
static constexpr float kWeightA = static_cast<float>(1 / (2 * kA * (kA2 - kB2)));
static constexpr float kWeightB = static_cast<float>(1 / (2 * kB * (kB2 - kA2)));

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

// A transform in one direction takes `kFrom` vectors to `kTo`.

// B^T x, the inputs' side.
struct InputPoints {
  static constexpr int kFrom = 6, kTo = 6;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* x, V* points) {
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
};

// The polynomial with n coefficients at the six points, if kWeighted times 1 / N.
template <int n, bool kWeighted>
struct Evaluate {
  static constexpr int kFrom = n, kTo = 6;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* x, V* points) {
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
    if constexpr (kWeighted)
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) points[i] *= kWeights[i];
  }
};

// The transpose of Evaluate.
template <int n, bool kWeighted>
struct Interpolate {
  static constexpr int kFrom = 6, kTo = n;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* points, V* x) {
    V even_a = points[1] + points[2], odd_a = points[1] - points[2];
    V even_b = points[3] + points[4], odd_b = points[3] - points[4];
    V zero = points[0];
    if constexpr (kWeighted) {
      zero *= kWeights[0], even_a *= kWeights[1], odd_a *= kWeights[1];
      even_b *= kWeights[3], odd_b *= kWeights[3];
    }
    x[0] = zero + even_a + even_b;
#pragma GCC unroll 4
    for (int i = 1; i < n; ++i)
      x[i] = power(kA2, kA, i) * (i % 2 ? odd_a : even_a) +
             power(kB2, kB, i) * (i % 2 ? odd_b : even_b);
    x[n - 1] += points[5];
  }
};

// Stride 2, the inputs' side of a convolution of four inputs with one tap at the points +-a, +-b.
// Input i is x[i * kStep].
template <int kStep, class V>
[[gnu::always_inline]] static inline void four_points(const V* x, V* points) {
  constexpr auto a = static_cast<float>(kA), b = static_cast<float>(kB);
  constexpr auto a2 = static_cast<float>(kA2), b2 = static_cast<float>(kB2);
  const V odd_a = x[3 * kStep] - b2 * x[kStep], even_a = a * (x[2 * kStep] - b2 * x[0]);
  const V odd_b = x[3 * kStep] - a2 * x[kStep], even_b = b * (x[2 * kStep] - a2 * x[0]);
  points[0] = odd_a + even_a;
  points[1] = odd_a - even_a;
  points[2] = odd_b + even_b;
  points[3] = odd_b - even_b;
}

// The same for five inputs and two taps: one more point, infinity.
template <int kStep, class V>
[[gnu::always_inline]] static inline void five_points(const V* x, V* points) {
  constexpr auto a2 = static_cast<float>(kA2), b2 = static_cast<float>(kB2);
  four_points<kStep>(x, points);
  points[4] = (a2 * b2) * x[0] - (a2 + b2) * x[2 * kStep] + x[4 * kStep];
}

// The four outputs behind values at these points.
template <class V>
[[gnu::always_inline]] static inline void from_five_points(const V* points, V* x) {
  const V even_a = kWeightA * (points[0] - points[1]), odd_a = kWeightA * (points[0] + points[1]);
  const V even_b = kWeightB * (points[2] - points[3]), odd_b = kWeightB * (points[2] + points[3]);
  x[0] = even_a + even_b;
  x[1] = power(kA2, kA, 1) * odd_a + power(kB2, kB, 1) * odd_b;
  x[2] = power(kA2, kA, 2) * even_a + power(kB2, kB, 2) * even_b;
  x[3] = power(kA2, kA, 3) * odd_a + power(kB2, kB, 3) * odd_b + points[4];
}

// Five points of the even inputs, four of the odd ones.
struct StridedInput {
  static constexpr int kFrom = 9, kTo = 9;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* x, V* points) {
    five_points<2>(x, points);
    four_points<2>(x + 1, points + 5);
  }
};

struct StridedOutput {
  static constexpr int kFrom = 5, kTo = 4;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* points, V* x) {
    from_five_points(points, x);
  }
};

// The outer taps at the five points, then the middle one.
struct StridedFilter {
  static constexpr int kFrom = 3, kTo = 6;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* x, V* points) {
    points[0] = x[0] + power(kA2, kA, 1) * x[2];
    points[1] = x[0] - power(kA2, kA, 1) * x[2];
    points[2] = x[0] + power(kB2, kB, 1) * x[2];
    points[3] = x[0] - power(kB2, kB, 1) * x[2];
    points[4] = x[2];
    points[5] = x[1];
  }
};

// The gradient for inputs of stride 2: odd outputs, which the outer taps make, through five points,
// even ones, which the middle tap makes, directly.
struct SpreadInput {
  static constexpr int kFrom = 5, kTo = 9;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* x, V* points) {
    five_points<1>(x, points);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) points[5 + i] = x[i];
  }
};

struct SpreadOutput {
  static constexpr int kFrom = 9, kTo = 8;
  template <class V>
  [[gnu::always_inline]] static void apply(const V* points, V* x) {
    V odd[4];
    from_five_points(points, odd);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      x[2 * i] = points[5 + i];
      x[2 * i + 1] = odd[i];
    }
  }
};

// to[i * F::kTo + j] = the pixels transformed in both directions, `stride` elements apart.
template <class F>
[[gnu::noinline]] static void transform_pixels(const Pixels<const float>& x, float* to,
                                               Int stride) {
  using V = Vec<float>;
  V half[F::kTo][F::kFrom];
#pragma GCC unroll 9
  for (int i = 0; i < F::kFrom; ++i) {
    V row[F::kFrom], points[F::kTo];
#pragma GCC unroll 9
    for (int j = 0; j < F::kFrom; ++j) row[j] = load(x.at(i, j));
    F::apply(row, points);
#pragma GCC unroll 9
    for (int j = 0; j < F::kTo; ++j) half[j][i] = points[j];
  }
#pragma GCC unroll 9
  for (int j = 0; j < F::kTo; ++j) {
    V points[F::kTo];
    F::apply(half[j], points);
#pragma GCC unroll 9
    for (int i = 0; i < F::kTo; ++i) store(to + (i * F::kTo + j) * stride, points[i]);
  }
}

// The pixels x = what lies at from[(i * F::kFrom + j) * stride] transformed, plus `shift`.
template <class F>
[[gnu::noinline]] static void transform_to_pixels(const float* from, Int stride, Vec<float> shift,
                                                  const Pixels<float>& x) {
  using V = Vec<float>;
  V half[F::kTo][F::kFrom];
#pragma GCC unroll 9
  for (int j = 0; j < F::kFrom; ++j) {
    V points[F::kFrom], column[F::kTo];
#pragma GCC unroll 9
    for (int i = 0; i < F::kFrom; ++i) points[i] = load(from + (i * F::kFrom + j) * stride);
    F::apply(points, column);
#pragma GCC unroll 9
    for (int i = 0; i < F::kTo; ++i) half[i][j] = column[i];
  }
#pragma GCC unroll 9
  for (int i = 0; i < F::kTo; ++i) {
    V row[F::kTo];
    F::apply(half[i], row);
#pragma GCC unroll 9
    for (int j = 0; j < F::kTo; ++j) store(x.at(i, j), row[j] + shift);
  }
}

// The matrices of a transform and how they meet: of the products of inputs and filters, matrix u of
// the inputs times matrix filter(u) is a part of output(u). All three count u row by row.
struct Scheme {
  int in_points, out_points;      // in one direction; filters always have six
  int in_step, in_size, outputs;  // tiles of the inputs start in_step apart and are in_size wide
  bool combined;                  // stride 2 forward: inputs 5 to 8 belong to outputs 0 to 3
  void (*transform_input)(const Pixels<const float>&, float*, Int);
  void (*transform_filter)(const Pixels<const float>&, float*, Int);
  void (*transform_output)(const float*, Int, Vec<float>, const Pixels<float>&);

  static int index(int u, int limit, bool clamped) {  // in one direction
    return u < limit ? u : clamped ? limit : u - limit;
  }
  int filter(int u) const {
    const int limit = in_points == kPoints ? kPoints : 5;
    return index(u / in_points, limit, true) * kPoints + index(u % in_points, limit, true);
  }
  int output(int u) const {
    if (!combined) return u;
    return index(u / in_points, 5, false) * 5 + index(u % in_points, 5, false);
  }
  bool first_part(int u) const { return !combined || (u / in_points < 5 && u % in_points < 5); }
  int inputs() const { return in_points * in_points; }
  int products() const { return out_points * out_points; }
};

static constexpr Scheme kScheme3 = {6,
                                    6,
                                    4,
                                    6,
                                    4,
                                    false,
                                    transform_pixels<InputPoints>,
                                    transform_pixels<Evaluate<3, true>>,
                                    transform_to_pixels<Interpolate<4, false>>};
static constexpr Scheme kScheme5 = {6,
                                    6,
                                    2,
                                    6,
                                    2,
                                    false,
                                    transform_pixels<InputPoints>,
                                    transform_pixels<Evaluate<5, true>>,
                                    transform_to_pixels<Interpolate<2, false>>};
static constexpr Scheme kStridedScheme = {9,
                                          5,
                                          8,
                                          9,
                                          4,
                                          true,
                                          transform_pixels<StridedInput>,
                                          transform_pixels<StridedFilter>,
                                          transform_to_pixels<StridedOutput>};
static constexpr Scheme kSpreadScheme = {9,
                                         9,
                                         4,
                                         5,
                                         8,
                                         false,
                                         transform_pixels<SpreadInput>,
                                         transform_pixels<StridedFilter>,
                                         transform_to_pixels<SpreadOutput>};

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
