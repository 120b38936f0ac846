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

// More places than a block of CUDA's threads sorts, some entries with many of them.
template <class T>
void check_many_places(std::int64_t features, bool by_frequency) {
  constexpr std::int64_t kPlaces = 3000, kRows = 50, kTable = 70;
  Array<T> grad = Array<T>::random(kRows * features, 2), factors = Array<T>::random(kPlaces, 3);
  Array<std::int64_t> index(kPlaces), source(kPlaces);
  std::vector<std::int64_t> frequency(kTable);
  for (std::int64_t i = 0; i < kPlaces; ++i) {
    index[i] = i % 3 == 0 ? 5 : i % 3 == 1 ? i * i % kTable : 66;
    source[i] = i % 10 == 9 ? -1 : i * 7 % kRows;
    ++frequency[static_cast<std::size_t>(index[i])];
  }
  Array<double> expected(kTable * features);
  for (std::int64_t i = 0; i < kPlaces; ++i) {
    if (index[i] == kPadding || source[i] < 0) continue;
    const double share =
        by_frequency ? 1.0 / static_cast<double>(frequency[static_cast<std::size_t>(index[i])]) : 1;
    for (std::int64_t f = 0; f < features; ++f)
      expected[index[i] * features + f] += share * static_cast<double>(factors[i]) *
                                           static_cast<double>(grad[source[i] * features + f]);
  }
  const double tolerance = std::is_same_v<T, float> ? 1e-4 : 1e-12;
  for_each_isa([&](Isa isa) {
    Array<T> grad_weight(kTable * features, T{-7});
    Array<std::int64_t> starts(kTable + 1), order(kPlaces);
    run_on(isa, embedding_backward_kernel,
           EmbeddingBackward{DTypeOf<T>::value, grad_weight.data(), grad.data(), index.data(),
                             source.data(), factors.data(), starts.data(), order.data(), kTable,
                             features, kPlaces, kPadding, by_frequency});
    expect_close(grad_weight, expected, expected.size, tolerance, tolerance);
  });
}

TEST(Embedding, GradientOfManyPlaces) {
  for (bool by_frequency : {false, true}) {
    check_many_places<float>(40, by_frequency);
    check_many_places<double>(3, by_frequency);
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
