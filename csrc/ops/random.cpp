// Random numbers: one Mersenne Twister, read in element order by one thread, so that the numbers
// depend on the seed alone. How many bits each distribution takes, and what it makes of them,
// follows PyTorch's CPU generator.
#include "random.h"

#include <cmath>
#include <limits>
#include <utility>

#include "../random_draw.h"
#include "../trigonometry.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).
static double draw_normal(RandomState& state) {
  if (state.has_normal) {
    state.has_normal = 0;
    return state.normal;
  }
  const double turn = draw_unit<double>(state), level = draw_unit<double>(state);
  const double radius = std::sqrt(-2.0 * std::log1p(-level));
  const double angle = 2.0 * 3.14159265358979323846 * turn;
  state.normal = radius * std::sin(angle);
  state.has_normal = 1;
  return radius * std::cos(angle);
}

// The same on 16 uniform numbers at once: 8 levels, then 8 turns.
template <class T>
static void normal_block(T* y, T mean, T deviation) {
#pragma GCC ivdep  // y[j] and y[j + 8] do not meet
  for (int j = 0; j < 8; ++j) {
    const T radius = std::sqrt(T{-2} * natural_log(T{1} - y[j]));
    const T angle = static_cast<T>(2.0 * 3.14159265358979323846) * y[j + 8];
    y[j] = radius * cosine(angle) * deviation + mean;
    y[j + 8] = radius * sine(angle) * deviation + mean;
  }
}

template <class T>
static void fill_normal(const RandomFill& args) {
  T* y = static_cast<T*>(args.y);
  RandomState& state = *args.state;
  if (args.size < 16 || args.one_by_one) {
    for (std::int64_t i = 0; i < args.size; ++i)
      y[i] = static_cast<T>(draw_normal(state) * args.b + args.a);
    return;
  }
  const T mean = static_cast<T>(args.a), deviation = static_cast<T>(args.b);
  for (std::int64_t i = 0; i < args.size; ++i) y[i] = draw_unit<T>(state);
  for (std::int64_t i = 0; i + 16 <= args.size; i += 16) normal_block(y + i, mean, deviation);
  if (args.size % 16 == 0) return;
  T* last = y + args.size - 16;  // overlaps the block before: its end is drawn again
  for (int j = 0; j < 16; ++j) last[j] = draw_unit<T>(state);
  normal_block(last, mean, deviation);
}

template <class T>
static void fill_floating(const RandomFill& args) {
  T* y = static_cast<T*>(args.y);
  RandomState& state = *args.state;
  const T low = static_cast<T>(args.a), high = static_cast<T>(args.b);
  switch (args.op) {
    case RandomOp::uniform:
      for (std::int64_t i = 0; i < args.size; ++i) y[i] = draw_unit<T>(state) * (high - low) + low;
      return;
    case RandomOp::exponential:
      for (std::int64_t i = 0; i < args.size; ++i)
        y[i] = static_cast<T>(-std::log1p(-draw_unit<double>(state)) / args.a);
      return;
    default:
      return fill_normal<T>(args);
  }
}

template <class T>
static T draw_full_range(RandomState& state) {
  if constexpr (std::is_same_v<T, bool>) return draw32(state) & 1;
  else if constexpr (std::is_same_v<T, float>)
    return static_cast<float>(draw32(state) % ((1u << 24) + 1));
  else if constexpr (std::is_same_v<T, double>)
    return static_cast<double>(draw64(state) % ((1ull << 53) + 1));
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return static_cast<std::int64_t>(draw64(state) & 0x7fffffffffffffffull);
  else
    return static_cast<T>(draw32(state) %
                          (static_cast<std::uint32_t>(std::numeric_limits<T>::max()) + 1));
}

template <class T>
static void fill_any(const RandomFill& args) {
  T* y = static_cast<T*>(args.y);
  RandomState& state = *args.state;
  if (args.op == RandomOp::bernoulli) {
    for (std::int64_t i = 0; i < args.size; ++i)
      y[i] = static_cast<T>(draw_unit<double>(state) < args.a);
  } else if (args.op == RandomOp::full_range) {
    for (std::int64_t i = 0; i < args.size; ++i) y[i] = draw_full_range<T>(state);
  } else {
    // A remainder is uneven by range / 2^bits at most; wide ranges take 64 bits to keep that small.
    const bool wide = args.range == 0 || args.range >= std::uint64_t{1} << 28;
    for (std::int64_t i = 0; i < args.size; ++i) {
      std::uint64_t offset = wide ? draw64(state) : draw32(state);
      if (args.range != 0) offset %= args.range;
      y[i] = static_cast<T>(
          static_cast<std::int64_t>(static_cast<std::uint64_t>(args.first) + offset));
    }
  }
}

// Fisher and Yates, as given by Durstenfeld (1964).
static void fill_permutation(const RandomFill& args) {
  std::int64_t* y = static_cast<std::int64_t*>(args.y);
  const bool wide = args.size >= std::int64_t{0xffffffff} / 20;
  for (std::int64_t i = 0; i < args.size; ++i) y[i] = i;
  for (std::int64_t i = 0; i + 1 < args.size; ++i) {
    const std::uint64_t bits = wide ? draw64(*args.state) : draw32(*args.state);
    std::swap(y[i],
              y[i + static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(args.size - i))]);
  }
}

void random(const RandomFill& args) {
  switch (args.op) {
    case RandomOp::permutation:
      return fill_permutation(args);
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
    T* y = static_cast<T*>(args.y);
    for (std::int64_t i = 0; i < args.size; ++i)
      y[i] = static_cast<T>(draw_unit<T>(*args.state) < p[i]);
  });
}

// The category in whose share of [0, total) a uniform number falls; those of weight 0 have none.
static std::int64_t draw_category(const Multinomial& args) {
  const double total = args.sums[args.categories - 1];
  double level = draw_unit<double>(*args.state) * total;
  if (level >= total) level = std::nextafter(total, 0.0);  // rounded up to the end
  std::int64_t first = 0,
               last = args.categories - 1;  // the first sum above the level, by bisection
  while (first < last) {
    const std::int64_t middle = first + (last - first) / 2;
    if (args.sums[middle] > level) last = middle;
    else first = middle + 1;
  }
  return first;
}

static bool contains(const std::int64_t* y, std::int64_t count, std::int64_t value) {
  for (std::int64_t i = 0; i < count; ++i)
    if (y[i] == value) return true;
  return false;
}

void multinomial(const Multinomial& args) {
  for (std::int64_t row = 0; row < args.rows; ++row) {
    const double* weights = args.weights + row * args.categories;
    std::int64_t* y = args.y + row * args.samples;
    for (std::int64_t s = 0; s < args.samples; ++s) {
      if (s == 0 || !args.replacement) {  // without replacement: sums over what is left
        double sum = 0;
        for (std::int64_t c = 0; c < args.categories; ++c) {
          const bool taken = !args.replacement && contains(y, s, c);
          args.sums[c] = sum += taken ? 0.0 : weights[c];
        }
      }
      y[s] = draw_category(args);
    }
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
