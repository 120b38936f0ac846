// Random numbers from the counter-based stream of args.key (philox.cuh); the state of the CPU's
// generator is not touched here.
//
// A thread draws the four numbers of one counter and makes two or four elements of them, 16 apart:
// sizeof(T) bytes written and at most 20 integer operations an element, some 60 more where a normal
// number takes a logarithm, a root and a sine. A permutation sorts positions by 64 random bits
// (order.cuh). Categories with replacement take a scan of the weights and a binary search; without,
// those whose exponential variables with the weights as rates are smallest (Efraimidis and
// Spirakis, "Weighted random sampling with a reservoir", 2006). Up to 56 registers, 4 blocks of 256
// threads on a multiprocessor, in scans and sorts; 40 and 6 where numbers are drawn.
#include "ops/random.h"

#include <limits>

#include "flag.cuh"
#include "order.cuh"
#include "philox.cuh"
#include "reduce.cuh"

namespace tilegrad::cuda {
namespace {

__device__ std::uint64_t wide(const PhiloxNumbers& numbers, int k) {
  return static_cast<std::uint64_t>(numbers.word[2 * k]) << 32 | numbers.word[2 * k + 1];
}
// In [0, 1): as many bits as the significand holds.
template <class T>
__device__ T unit(const PhiloxNumbers& numbers, int k) {
  if constexpr (std::is_same_v<T, float>)
    return static_cast<float>(numbers.word[k] & 0xffffffu) * 0x1p-24f;
  else return static_cast<double>(wide(numbers, k) & 0x1fffffffffffffull) * 0x1p-53;
}
// In (0, 1], for logarithms.
template <class T>
__device__ T positive(const PhiloxNumbers& numbers, int k) {
  return T{1} - unit<T>(numbers, k);
}

// How many elements of a type the four numbers of a counter make.
template <class T>
inline constexpr int kOfCounter = sizeof(T) == 8 ? 2 : 4;

// A distribution is a class with
//   static constexpr int kElements;      // 2 or 4
//   T operator()(const PhiloxNumbers& numbers, int k) const;     // element k of those
template <class T>
struct UniformDraw {
  static constexpr int kElements = kOfCounter<T>;
  T low, high;
  __device__ T operator()(const PhiloxNumbers& numbers, int k) const {
    return unit<T>(numbers, k) * (high - low) + low;
  }
};

template <class T>
struct ExponentialDraw {
  static constexpr int kElements = kOfCounter<T>;
  T rate;
  __device__ T operator()(const PhiloxNumbers& numbers, int k) const {
    return -log(positive<T>(numbers, k)) / rate;
  }
};

// Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958): two of two.
template <class T>
struct NormalDraw {
  static constexpr int kElements = kOfCounter<T>;
  T mean, deviation;
  __device__ T operator()(const PhiloxNumbers& numbers, int k) const {
    const int pair = k / 2 * 2;
    const T radius = sqrt(T{-2} * log(positive<T>(numbers, pair)));
    T sine, cosine;
    sincospi(T{2} * unit<T>(numbers, pair + 1), &sine, &cosine);
    return radius * (k == pair ? cosine : sine) * deviation + mean;
  }
};

template <class T>
struct BernoulliDraw {
  static constexpr int kElements = 4;
  double p;
  __device__ T operator()(const PhiloxNumbers& numbers, int k) const {
    return static_cast<T>(static_cast<double>(numbers.word[k]) * 0x1p-32 < p);
  }
};

template <class T, bool kWide>
struct IntegerDraw {
  static constexpr int kElements = kWide ? 2 : 4;
  std::uint64_t first, range;
  __device__ T operator()(const PhiloxNumbers& numbers, int k) const {
    std::uint64_t offset;
    if constexpr (kWide) offset = range == 0 ? wide(numbers, k) : wide(numbers, k) % range;
    else offset = numbers.word[k] % static_cast<std::uint32_t>(range);
    return static_cast<T>(static_cast<std::int64_t>(first + offset));
  }
};

template <class T>
struct FullRangeDraw {
  static constexpr int kElements = kOfCounter<T>;
  __device__ T operator()(const PhiloxNumbers& numbers, int k) const {
    if constexpr (std::is_same_v<T, bool>) return (numbers.word[k] & 1) != 0;
    else if constexpr (std::is_same_v<T, float>)
      return static_cast<float>(numbers.word[k] % ((1u << 24) + 1));
    else if constexpr (std::is_same_v<T, double>)
      return static_cast<double>(wide(numbers, k) % ((1ull << 53) + 1));
    else if constexpr (std::is_same_v<T, std::int64_t>)
      return static_cast<std::int64_t>(wide(numbers, k) & 0x7fffffffffffffffull);
    else
      return static_cast<T>(numbers.word[k] &
                            static_cast<std::uint32_t>(std::numeric_limits<T>::max()));
  }
};

template <class T, class Draw>
struct FillCounter {
  Draw draw;
  T* y;
  std::int64_t size;
  RandomKey key;
  __device__ void operator()(std::int64_t counter) const {
    const PhiloxNumbers numbers = philox(key.read(), static_cast<std::uint64_t>(counter));
    const std::int64_t first =
        counter / kPhiloxStep * (kPhiloxStep * Draw::kElements) + counter % kPhiloxStep;
#pragma unroll
    for (int k = 0; k < Draw::kElements; ++k)
      if (first + k * kPhiloxStep < size) y[first + k * kPhiloxStep] = draw(numbers, k);
  }
};

template <class T, class Draw>
void fill(const RandomFill& args, const Draw& draw) {
  constexpr std::int64_t kGroup = kPhiloxStep * Draw::kElements;
  for_each_index((args.size + kGroup - 1) / kGroup * kPhiloxStep,
                 FillCounter<T, Draw>{draw, static_cast<T*>(args.y), args.size, args.key});
}

template <class T>
void fill_any(const RandomFill& args) {
  if (args.op == RandomOp::bernoulli) return fill<T>(args, BernoulliDraw<T>{args.a});
  if (args.op == RandomOp::full_range) return fill<T>(args, FullRangeDraw<T>{});
  const auto first = static_cast<std::uint64_t>(args.first);
  // A remainder is uneven by range / 2^bits at most; wide ranges take 64 bits to keep that small.
  if (args.range == 0 || args.range >= std::uint64_t{1} << 28)
    return fill<T>(args, IntegerDraw<T, true>{first, args.range});
  fill<T>(args, IntegerDraw<T, false>{first, args.range});
}

template <class T>
void fill_floating(const RandomFill& args) {
  const T a = static_cast<T>(args.a), b = static_cast<T>(args.b);
  if (args.op == RandomOp::uniform) return fill<T>(args, UniformDraw<T>{a, b});
  if (args.op == RandomOp::exponential) return fill<T>(args, ExponentialDraw<T>{a});
  fill<T>(args, NormalDraw<T>{a, b});
}

// The 64 bits of element i among those of a key.
__device__ std::uint64_t bits_of(std::uint64_t key, std::int64_t i) {
  return wide(philox(key, static_cast<std::uint64_t>(i)), 0);
}

struct RandomOrder {
  using Key = std::uint64_t;
  RandomKey seed;
  std::int64_t* y;
  __device__ Key key(std::int64_t, std::int64_t i) const { return bits_of(seed.read(), i); }
  __device__ void put(std::int64_t, std::int64_t rank, Key, std::int64_t i) const { y[rank] = i; }
};

template <class T>
struct ChooseElement {
  const T* p;
  T* y;
  RandomKey key;
  __device__ void operator()(std::int64_t i) const {
    const auto counter = static_cast<std::uint64_t>(i);
    y[i] = static_cast<T>(unit<T>(philox(key.read(), counter), 0) < p[i]);
  }
};

// Elsewhere the host has looked at probabilities and weights; while a graph is captured it cannot,
// so each replay does.
template <class T>
struct CheckProbability {
  const T* p;
  int* flag;
  __device__ void operator()(std::int64_t i) const {
    if (!(p[i] >= T{0} && p[i] <= T{1})) raise_flag(flag, Fault::probability);
  }
};

// How many categories of a row are possible; -1 if one of them has no weight that is a number.
struct CountPossible {
  using Accumulator = std::int64_t;
  const double* weights;
  std::int64_t wanted;
  int* flag;
  __device__ std::int64_t identity() const { return 0; }
  __device__ std::int64_t lift(std::int64_t offset, std::int64_t) const {
    const double weight = weights[offset];
    return weight >= 0 && weight <= std::numeric_limits<double>::max() ? weight > 0 : -1;
  }
  __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const {
    return a < 0 || b < 0 ? -1 : a + b;
  }
  __device__ void store(std::int64_t, std::int64_t possible) const {
    if (possible < wanted) raise_flag(flag, Fault::probability);
  }
};

void check_weights_of_replays(const Multinomial& args) {
  ReduceShape shape = line_shape(args.categories);
  shape.kept_ndim = 1;
  shape.kept_shape[0] = args.rows;
  shape.kept_strides[0] = args.categories;
  const std::int64_t wanted = args.replacement ? 1 : args.samples;
  reduce_by(CountPossible{args.weights, wanted, fault_of_captured()}, shape);
}

// --- categories ---

struct WeightSums {
  using State = double;
  const double* weights;
  double* sums;
  __device__ State identity() const { return 0; }
  __device__ State lift(std::int64_t at, std::int64_t) const { return weights[at]; }
  __device__ State operator()(State a, State b) const { return a + b; }
  __device__ void store(std::int64_t at, State, State with) const { sums[at] = with; }
};

// The first category whose sum lies above a uniform number; those of weight 0 never are.
struct FindCategory {
  Multinomial args;
  const double* sums;
  __device__ void operator()(std::int64_t i) const {
    const double* row = sums + i / args.samples * args.categories;
    const double total = row[args.categories - 1];
    double level = unit<double>(philox(args.key.read(), static_cast<std::uint64_t>(i)), 0) * total;
    if (level >= total) level = nextafter(total, 0.0);  // rounded up to the end
    std::int64_t first = 0, last = args.categories - 1;
    while (first < last) {
      const std::int64_t middle = first + (last - first) / 2;
      if (row[middle] > level) last = middle;
      else first = middle + 1;
    }
    args.y[i] = first;
  }
};

struct FirstToArrive {
  using Key = std::uint64_t;
  Multinomial args;
  __device__ Key key(std::int64_t row, std::int64_t i) const {
    const std::int64_t at = row * args.categories + i;
    const double level =
        positive<double>(philox(args.key.read(), static_cast<std::uint64_t>(at)), 0);
    const double weight = args.weights[at];
    return weight > 0 ? key_of(-log(level) / weight) : ~Key{0};
  }
  __device__ void put(std::int64_t row, std::int64_t rank, Key, std::int64_t i) const {
    if (rank < args.samples) args.y[row * args.samples + rank] = i;
  }
};

}  // namespace

void random(const RandomFill& args) {
  switch (args.op) {
    case RandomOp::permutation:
      return sort_rows(RandomOrder{args.key, static_cast<std::int64_t*>(args.y)}, 1, args.size);
    case RandomOp::integer:
    case RandomOp::full_range:
    case RandomOp::bernoulli:
      return visit(args.dtype, [&](auto t) { fill_any<typename decltype(t)::type>(args); });
    default:
      return visit_floating(args.dtype,
                            [&](auto t) { fill_floating<typename decltype(t)::type>(args); });
  }
}

void random_choice(const RandomChoice& args) {
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T* p = static_cast<const T*>(args.p);
    if (is_capturing()) for_each_index(args.size, CheckProbability<T>{p, fault_of_captured()});
    for_each_index(args.size, ChooseElement<T>{p, static_cast<T*>(args.y), args.key});
  });
}

void multinomial(const Multinomial& args) {
  if (is_capturing()) check_weights_of_replays(args);
  if (!args.replacement) return sort_rows(FirstToArrive{args}, args.rows, args.categories);
  const Scratch memory(static_cast<std::size_t>(args.rows * args.categories) * sizeof(double));
  auto* sums = static_cast<double*>(memory.data);
  scan_lines(WeightSums{args.weights, sums}, {args.rows, args.categories, 1});
  for_each_index(args.rows * args.samples, FindCategory{args, sums});
}

}  // namespace tilegrad::cuda
