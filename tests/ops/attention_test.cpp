// Attention on every instruction set: values and gradients against plain double-precision loops
// with the whole matrix of weights.
#include "ops/attention.h"

#include <algorithm>

#include "half.h"
#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kMatrices = 2;  // batch 1, two heads

// What may change the weights, beside `causal`.
struct Variation {
  std::int64_t group = 1;               // 2: both heads share one of key and value
  bool masked = false, biased = false;  // by booleans, by numbers that are added
  double dropout = 0;
};

struct Reference {
  std::int64_t queries, keys, features, values;
  bool causal;
  Variation variation;
  Array<bool> mask;       // (queries, keys)
  Array<double> bias;     // (queries, keys)
  Array<double> factors;  // (matrices, queries, keys), of dropout
  Array<double> q, k, v, grad, y, grad_q, grad_k, grad_v;

  Reference(std::int64_t queries, std::int64_t keys, std::int64_t features, std::int64_t values,
            bool causal, const Variation& variation = {})
      : queries(queries),
        keys(keys),
        features(features),
        values(values),
        causal(causal),
        variation(variation),
        mask(Array<bool>::random(queries * keys, 5)),
        bias(Array<double>::random(queries * keys, 6)),
        factors(kMatrices * queries * keys, 1),
        q(Array<double>::random(kMatrices * queries * features, 1)),
        k(Array<double>::random(kMatrices / variation.group * keys * features, 2)),
        v(Array<double>::random(kMatrices / variation.group * keys * values, 3)),
        grad(Array<double>::random(kMatrices * queries * values, 4)),
        y(grad.size),
        grad_q(q.size),
        grad_k(k.size),
        grad_v(v.size) {
    for (std::int64_t j = 0; j < keys; ++j) mask[j] = false;  // the first query sees nothing
    // As a stream of its own on every device: the same kernel without CUDA.
    if (variation.dropout > 0)
      attention_dropout_kernel.cpu[0](
          {DType::float64, factors.data(), kMatrices * queries, keys, variation.dropout, kSeed});
    compute();
  }

  void compute() {
    for (Array<double>* result : {&y, &grad_q, &grad_k, &grad_v})
      for (std::int64_t i = 0; i < result->size; ++i) (*result)[i] = 0;
    for (std::int64_t head = 0; head < kMatrices; ++head)
      for (std::int64_t i = 0; i < queries; ++i) row(head, i);
  }

  static double scale() { return 0.4; }
  static constexpr std::uint64_t kSeed = 0x123456789abcdef0u;

  void row(std::int64_t head, std::int64_t i) {
    const double* own = &q[(head * queries + i) * features];
    const double* slope = &grad[(head * queries + i) * values];
    const std::int64_t seen = causal ? std::min(keys, i + 1) : keys;
    const std::int64_t shared = head / variation.group;
    const double* factor = &factors[(head * queries + i) * keys];
    Array<double> weight(keys), grad_weight(keys);
    double sum = 0, mean = 0;
    for (std::int64_t j = 0; j < seen; ++j) {
      if (variation.masked && !mask[i * keys + j]) continue;
      double score = variation.biased ? bias[i * keys + j] / scale() : 0;
      for (std::int64_t f = 0; f < features; ++f)
        score += own[f] * k[(shared * keys + j) * features + f];
      sum += weight[j] = std::exp(score * scale());
    }
    for (std::int64_t j = 0; j < seen && sum > 0; ++j) {
      weight[j] /= sum;
      for (std::int64_t f = 0; f < values; ++f) {
        const std::int64_t at = (shared * keys + j) * values + f;
        y[(head * queries + i) * values + f] += weight[j] * factor[j] * v[at];
        grad_v[at] += weight[j] * factor[j] * slope[f];
        grad_weight[j] += factor[j] * slope[f] * v[at];
      }
      mean += weight[j] * grad_weight[j];
    }
    for (std::int64_t j = 0; j < seen; ++j)
      for (std::int64_t f = 0; f < features; ++f) {
        const double grad_score = weight[j] * (grad_weight[j] - mean) * scale();
        const std::int64_t at = (shared * keys + j) * features + f;
        grad_q[(head * queries + i) * features + f] += grad_score * k[at];
        grad_k[at] += grad_score * own[f];
      }
  }
};

template <class T>
Array<T> attention_array(const Array<double>& from) {
  Array<T> to(from.size);
  for (std::int64_t i = 0; i < from.size; ++i) to[i] = static_cast<T>(from[i]);
  return to;
}

template <class T>
AttentionOperand dense_operand(Array<T>& x, std::int64_t rows, std::int64_t columns) {
  return {x.data(), kMatrices * rows * columns, rows * columns, columns};
}

template <class T>
void check_attention(const Reference& r, double tolerance) {
  Array<T> q = attention_array<T>(r.q), k = attention_array<T>(r.k), v = attention_array<T>(r.v),
           grad = attention_array<T>(r.grad), bias = attention_array<T>(r.bias);
  Array<bool> mask(r.mask.size);
  for (std::int64_t i = 0; i < mask.size; ++i) mask[i] = r.mask[i];
  const Variation& variation = r.variation;
  const void* masks = variation.masked ? static_cast<const void*>(mask.data()) : bias.data();
  const bool any_mask = variation.masked || variation.biased;
  const AttentionProblem problem{
      .dtype = DTypeOf<T>::value,
      .batch = 1,
      .heads = kMatrices,
      .group = variation.group,
      .queries = r.queries,
      .keys = r.keys,
      .features = r.features,
      .value_features = r.values,
      .query = dense_operand(q, r.queries, r.features),
      .key = dense_operand(k, r.keys, r.features),
      .value = dense_operand(v, r.keys, r.values),
      .mask = {any_mask ? masks : nullptr, variation.masked, 0, 0, r.keys, 1},
      .scale = Reference::scale(),
      .causal = r.causal,
      .dropout = variation.dropout,
      .seed = Reference::kSeed};
  const auto padded = [](std::int64_t n) {
    return (n + kAttentionPadding - 1) / kAttentionPadding * kAttentionPadding;
  };
  for (std::int64_t chunks : {1, 2}) {
    Array<T> y(r.y.size, T{-7}), normalizer(2 * kMatrices * r.queries), grad_q(q.size, T{-7}),
        grad_k(k.size, T{-7}), grad_v(v.size, T{-7}),
        workspace(kMatrices * chunks * r.keys * (padded(r.features) + padded(r.values)));
    const AttentionOperand output = dense_operand(y, r.queries, r.values);
    for_each_isa([&](Isa isa) {
      run_on(isa, attention_kernel, Attention{problem, output, nullptr});
      expect_close(y, r.y, y.size, tolerance, tolerance);
      run_on(isa, attention_kernel, Attention{problem, output, normalizer.data()});
      expect_close(y, r.y, y.size, tolerance, tolerance);
      run_on(isa, attention_backward_kernel,
             AttentionBackward{problem, output, dense_operand(grad, r.queries, r.values),
                               dense_operand(grad_q, r.queries, r.features),
                               dense_operand(grad_k, r.keys, r.features),
                               dense_operand(grad_v, r.keys, r.values), normalizer.data(),
                               workspace.data(), chunks});
      expect_close(grad_q, r.grad_q, q.size, tolerance, tolerance);
      expect_close(grad_k, r.grad_k, k.size, tolerance, tolerance);
      expect_close(grad_v, r.grad_v, v.size, tolerance, tolerance);
    });
  }
}

// Halves: q, k, v and grad of the reference are rounded first. Weights are rounded between the
// products too, so that errors are a few steps of the largest terms.
template <class T>
void check_attention_of_halves(Reference r, DType dtype, double tolerance) {
  const auto rounded = [](Array<double>& from) {
    Array<T> to(from.size);
    for (std::int64_t i = 0; i < from.size; ++i) {
      to[i] = T(static_cast<float>(from[i]));
      from[i] = static_cast<double>(float(to[i]));
    }
    return to;
  };
  Array<T> q = rounded(r.q), k = rounded(r.k), v = rounded(r.v), grad = rounded(r.grad),
           bias = rounded(r.bias);
  r.compute();
  const Variation& variation = r.variation;
  const void* masks = variation.masked ? static_cast<const void*>(r.mask.data()) : bias.data();
  const bool any_mask = variation.masked || variation.biased;
  const AttentionProblem problem{
      .dtype = dtype,
      .batch = 1,
      .heads = kMatrices,
      .group = variation.group,
      .queries = r.queries,
      .keys = r.keys,
      .features = r.features,
      .value_features = r.values,
      .query = dense_operand(q, r.queries, r.features),
      .key = dense_operand(k, r.keys, r.features),
      .value = dense_operand(v, r.keys, r.values),
      .mask = {any_mask ? masks : nullptr, variation.masked, 0, 0, r.keys, 1},
      .scale = Reference::scale(),
      .causal = r.causal,
      .dropout = variation.dropout,
      .seed = Reference::kSeed};
  const auto expect = [&](const Array<T>& halves, const Array<double>& expected) {
    Array<float> wide(halves.size);
    double largest = 1;
    for (std::int64_t i = 0; i < halves.size; ++i) {
      wide[i] = float(halves[i]);
      largest = std::max(largest, std::abs(expected[i]));
    }
    expect_close(wide, expected, wide.size, tolerance, tolerance * largest);
  };
  for_each_isa([&](Isa isa) {
    Array<T> y(r.y.size), grad_q(q.size), grad_k(k.size), grad_v(v.size);
    Array<float> normalizer(2 * kMatrices * r.queries);
    const AttentionOperand output = dense_operand(y, r.queries, r.values);
    run_on(isa, attention_kernel, Attention{problem, output, normalizer.data()});
    expect(y, r.y);
    run_on(
        isa, attention_backward_kernel,
        AttentionBackward{problem, output, dense_operand(grad, r.queries, r.values),
                          dense_operand(grad_q, r.queries, r.features),
                          dense_operand(grad_k, r.keys, r.features),
                          dense_operand(grad_v, r.keys, r.values), normalizer.data(), nullptr, 1});
    expect(grad_q, r.grad_q);
    expect(grad_k, r.grad_k);
    expect(grad_v, r.grad_v);
  });
}

TEST(Attention, Halves) {
  if (!testing_cuda()) return;  // elsewhere halves are computed in float32, see src/gate.h
  const auto check = [](const auto&... arguments) {
    check_attention_of_halves<BFloat16>(Reference(arguments...), DType::bfloat16, 0x1p-6);
    check_attention_of_halves<Half>(Reference(arguments...), DType::float16, 0x1p-9);
  };
  const std::int64_t shapes[][4] = {{1, 1, 1, 1},     {17, 65, 16, 33},   {70, 64, 8, 64},
                                    {130, 70, 72, 5}, {3, 100, 128, 128}, {65, 1, 40, 24}};
  for (const auto& s : shapes)
    for (bool causal : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << s[0] << " queries, " << s[1] << " keys, causal " << causal);
      check(s[0], s[1], s[2], s[3], causal);
    }
  for (const Variation& variation :
       {Variation{2}, Variation{1, true}, Variation{1, false, true}, Variation{2, true, false, 0.3},
        Variation{1, false, false, 0.5}})
    check(std::int64_t{35}, std::int64_t{66}, std::int64_t{16}, std::int64_t{8}, false, variation);
}

TEST(Attention, ValuesAndGradients) {
  const std::int64_t shapes[][4] = {{1, 1, 1, 1},     {3, 5, 2, 7},      {17, 65, 16, 33},
                                    {70, 64, 8, 4},   {130, 131, 5, 16}, {33, 1, 3, 3},
                                    {1, 200, 64, 64}, {6, 131, 37, 40},  {2, 65, 15, 1}};
  for (const auto& s : shapes)
    for (bool causal : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << s[0] << " queries, " << s[1] << " keys, causal " << causal);
      const Reference reference(s[0], s[1], s[2], s[3], causal);
      check_attention<double>(reference, 1e-13);
      check_attention<float>(reference, 5e-6);
    }
}

TEST(Attention, MasksDropoutAndSharedHeads) {
  for (const Variation& variation :
       {Variation{2}, Variation{1, true}, Variation{1, false, true}, Variation{2, true, false, 0.3},
        Variation{1, false, false, 0.5}}) {
    SCOPED_TRACE(testing::Message()
                 << "group " << variation.group << ", masked " << variation.masked << ", biased "
                 << variation.biased << ", dropout " << variation.dropout);
    const Reference reference(35, 66, 9, 5, false, variation);
    check_attention<double>(reference, 1e-13);
    check_attention<float>(reference, 5e-6);
  }
}

TEST(Attention, DropoutFactorsAreThoseOfTheFirstInstructionSet) {
  Array<float> expected(5 * 300), actual(5 * 300);
  AttentionDropout args{DType::float32, expected.data(), 5, 300, 0.4, Reference::kSeed};
  attention_dropout_kernel.cpu[0](args);
  args.factors = actual.data();
  for_each_isa([&](Isa isa) {
    run_on(isa, attention_dropout_kernel, args);
    EXPECT_TRUE(actual == expected);
  });
}

}  // namespace
}  // namespace tilegrad
