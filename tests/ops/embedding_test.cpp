// Embedding on every instruction set: rows, bags and the gradient against plain loops.
#include "ops/embedding.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kEntries = 11, kCount = 40, kPadding = 4;

Array<std::int64_t> some_indices() {
  Random random(5);
  Array<std::int64_t> index(kCount);
  for (std::int64_t i = 0; i < kCount; ++i)
    index[i] = static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(kEntries));
  return index;
}

template <class T>
void check_embedding(std::int64_t features) {
  SCOPED_TRACE(testing::Message() << features << " features");
  Array<std::int64_t> index = some_indices();
  Array<T> weight = Array<T>::random(kEntries * features, 1),
           grad = Array<T>::random(kCount * features, 2);
  Array<T> rows(kCount * features), sums(kEntries * features);
  for (std::int64_t i = 0; i < kCount; ++i)
    for (std::int64_t f = 0; f < features; ++f) {
      rows[i * features + f] = weight[index[i] * features + f];
      if (index[i] != kPadding) sums[index[i] * features + f] += grad[i * features + f];
    }
  for_each_isa([&](Isa isa) {
    Array<T> y(kCount * features, T{-7}), grad_weight(kEntries * features, T{-7});
    run_on(isa, embedding_kernel,
           Embedding{reinterpret_cast<char*>(y.data()), reinterpret_cast<char*>(weight.data()),
                     index.data(), kCount, features * static_cast<std::int64_t>(sizeof(T))});
    EXPECT_TRUE(y == rows);
    Array<std::int64_t> starts(kEntries + 1), order(kCount);
    run_on(isa, embedding_backward_kernel,
           EmbeddingBackward{DTypeOf<T>::value, grad_weight.data(), grad.data(), index.data(),
                             nullptr, nullptr, starts.data(), order.data(), kEntries, features,
                             kCount, kPadding, false});
    expect_close(grad_weight, sums, sums.size, 1e-6, 1e-6);
  });
}

TEST(Embedding, RowsAndGradient) {
  for (std::int64_t features : {1, 3, 16, 37}) {
    check_embedding<float>(features);
    check_embedding<double>(features);
  }
}

TEST(Embedding, Bags) {
  constexpr std::int64_t kFeatures = 19;
  Array<std::int64_t> index = some_indices(), offsets(4);
  offsets[1] = offsets[2] = 13;
  offsets[3] = kCount;
  Array<double> weight = Array<double>::random(kEntries * kFeatures, 1), sum(3 * kFeatures),
                mean(3 * kFeatures), largest(3 * kFeatures);
  for (std::int64_t bag = 0; bag < 3; ++bag)
    for (std::int64_t f = 0; f < kFeatures; ++f) {
      std::int64_t counted = 0;
      double total = 0, most = 0;
      for (std::int64_t i = offsets[bag]; i < offsets[bag + 1]; ++i) {
        if (index[i] == kPadding) continue;
        const double value = weight[index[i] * kFeatures + f];
        most = counted == 0 || value > most ? value : most;
        total += value;
        ++counted;
      }
      sum[bag * kFeatures + f] = total;
      mean[bag * kFeatures + f] = counted ? total / static_cast<double>(counted) : 0;
      largest[bag * kFeatures + f] = most;
    }
  for_each_isa([&](Isa isa) {
    const auto check = [&](BagMode mode, const Array<double>& expected) {
      Array<double> y(3 * kFeatures, -7.0);
      Array<std::int64_t> chosen(3 * kFeatures);
      run_on(isa, embedding_bag_kernel,
             EmbeddingBag{DType::float64, mode, y.data(), weight.data(), index.data(),
                          offsets.data(), nullptr, chosen.data(), 3, kFeatures, kPadding});
      expect_close(y, expected, y.size, 1e-14, 1e-14);
    };
    check(BagMode::sum, sum);
    check(BagMode::mean, mean);
    check(BagMode::max, largest);
  });
}

}  // namespace
}  // namespace tilegrad
