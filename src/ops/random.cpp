// random: the generator object, its seed and state, and the checks of every distribution.
#include "ops/random.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "../cuda/runtime.h"
#include "bind.h"
#include "device.h"
#include "dispatch.h"
#include "gate.h"
#include "half.h"
#include "loop.h"
#include "ops/binary.h"
#include "rng.h"
#include "scalar.h"

namespace tilegrad {

namespace {

void set_seed(RandomState& state, std::uint64_t seed) {
  state = RandomState{};
  state.seed = seed;
  state.words[0] = static_cast<std::uint32_t>(seed);
  for (std::uint32_t i = 1; i < 624; ++i)
    state.words[i] = 1812433253u * (state.words[i - 1] ^ (state.words[i - 1] >> 30)) + i;
}

std::uint64_t fresh_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

static_assert(std::is_trivially_copyable_v<RandomState>);

Tensor get_state(const Generator& generator) {
  Tensor y = empty({static_cast<std::int64_t>(sizeof(RandomState))}, DType::uint8, Device{});
  std::memcpy(y.bytes(), &generator.state, sizeof(RandomState));
  return y;
}

void load_state(Generator& generator, const Tensor& saved) {
  TILEGRAD_CHECK(saved.dtype == DType::uint8 && saved.device().is_cpu(), type,
                 "set_state: argument 'new_state': expected a uint8 tensor on the CPU, got ",
                 info(saved.dtype).name, " on ", saved.device().str());
  TILEGRAD_CHECK(saved.numel() == static_cast<std::int64_t>(sizeof(RandomState)), runtime,
                 "set_state: RNG state is wrong size: expected ", sizeof(RandomState),
                 " bytes, got ", saved.numel());
  RandomState state;
  std::memcpy(&state, contiguous(saved).bytes(), sizeof(RandomState));
  TILEGRAD_CHECK(state.next >= 0 && state.next <= 624, runtime,
                 "set_state: invalid RNG state: its position ", state.next, " is not in [0, 624]");
  generator.state = state;
}

}  // namespace

std::uint64_t draw_key(Generator& generator) {
  std::int64_t key = 0;
  run(random_kernel, Device{},
      RandomFill{.op = RandomOp::integer,
                 .dtype = DType::int64,
                 .y = &key,
                 .size = 1,
                 .state = &generator.state},
      0);  // with the GIL: it guards the generator
  return static_cast<std::uint64_t>(key);
}

RandomKey next_key(Generator& generator, Device device) {
  if (device.is_cpu()) return {};
  const std::optional<Tensor> place = captured_key(generator, device);
  return place ? RandomKey(0, place->data<std::uint64_t>()) : draw_key(generator);
}

RandomKey held_key(const Operand& key, Device device, const char* op) {
  if (!key.is_tensor()) return static_cast<std::uint64_t>(key.scalar.integer);
  const Tensor& place = *key.tensor;
  TILEGRAD_CHECK(place.dtype == DType::int64 && place.numel() == 1 && !device.is_cpu() &&
                     place.device() == device,
                 runtime, op, ": argument 'key': expected a number or an int64 tensor with one ",
                 "element on ", device.str(), ", a CUDA device; got ", info(place.dtype).name,
                 " on ", place.device().str());
  return {0, place.data<std::uint64_t>()};
}

namespace {

// The tensor with its dimensions in memory order: draws follow the memory, whatever the view.
Tensor in_memory_order(Tensor y) {
  for (int i = 1; i < y.ndim(); ++i)
    for (int d = i; d > 0 && y.strides[d - 1] < y.strides[d]; --d) {
      std::swap(y.strides[d - 1], y.strides[d]);
      std::swap(y.shape[d - 1], y.shape[d]);
    }
  return y;
}

// Fills y with draws; args says from which distribution.
void fill(const Tensor& target, RandomFill args, Generator& generator) {
  const Tensor ordered = in_memory_order(target);
  const bool direct = ordered.is_contiguous();
  const Tensor y = direct ? ordered : empty(ordered.shape, ordered.dtype, ordered.device());
  args.dtype = y.dtype;
  args.y = y.bytes();
  args.size = y.numel();
  args.state = &generator.state;
  args.one_by_one = !target.is_contiguous();
  if (args.size > 0) args.key = next_key(generator, y.device());
  if (args.size > 0)
    run(random_kernel, y.device(), args, 0);  // with the GIL: it guards the generator
  if (!direct) copy_into(ordered, y);
}

// The largest number of a half dtype below `bound`.
template <class T>
float half_below(double bound) {
  T number(static_cast<float>(bound));
  if (float(number) < bound) return float(number);
  if (float(number) == 0) number.bits = 0x8001;
  else number.bits += number.bits & 0x8000 ? 1 : -1;  // away from zero or towards it
  return float(number);
}

// Halves are drawn in float32; what would be rounded up to the excluded bound stays below it.
void uniform_halves(const Tensor& y, double from, double to, Generator& generator) {
  const Tensor wide = empty(y.shape, DType::float32, y.device());
  fill(wide, RandomFill{.op = RandomOp::uniform, .a = from, .b = to}, generator);
  const float last = y.dtype == DType::float16 ? half_below<Half>(to) : half_below<BFloat16>(to);
  if (last >= from) {
    const Tensor limit = scalar_tensor({.category = DTypeCategory::floating, .floating = last},
                                       wide.dtype, y.device());
    run(binary_kernel, y.device(),
        Binary{.op = BinaryOp::minimum,
               .dtype = wide.dtype,
               .alpha = 0,
               .whole_alpha = 0,
               .loop = make_loop<3>(wide.shape, {&wide, &wide, &limit})},
        wide.numel());
  }
  copy_into(y, wide);
}

void uniform(const Tensor& y, double from, double to, Generator& generator) {
  TILEGRAD_CHECK(is_floating(y.dtype), not_implemented, "uniform_: not implemented for dtype ",
                 info(y.dtype).name);
  TILEGRAD_CHECK(from <= to, runtime,
                 "uniform_ expects to return a [from, to) range, but found from=", from,
                 " > to=", to);
  const double largest = y.dtype == DType::float16   ? 65504.0
                         : y.dtype == DType::float64 ? std::numeric_limits<double>::max()
                                                     : std::numeric_limits<float>::max();
  TILEGRAD_CHECK(to - from <= largest, runtime, "uniform_ expects to-from <= the largest ",
                 info(y.dtype).name, ", but found to=", to, " and from=", from);
  begin_write(y, "uniform_");
  if (is_half(y.dtype)) return uniform_halves(y, from, to, generator);
  fill(y, RandomFill{.op = RandomOp::uniform, .a = from, .b = to}, generator);
}

void normal(const Tensor& y, double mean, double deviation, Generator& generator) {
  TILEGRAD_CHECK(is_floating(y.dtype), not_implemented, "normal_: not implemented for dtype ",
                 info(y.dtype).name);
  TILEGRAD_CHECK(deviation >= 0, runtime, "normal expects std >= 0.0, but found std ", deviation);
  begin_write(y, "normal_");
  fill(y, RandomFill{.op = RandomOp::normal, .a = mean, .b = deviation}, generator);
}

void exponential(const Tensor& y, double rate, Generator& generator) {
  TILEGRAD_CHECK(is_floating(y.dtype), not_implemented, "exponential_: not implemented for dtype ",
                 info(y.dtype).name);
  TILEGRAD_CHECK(rate > 0, runtime, "exponential_ expects lambda > 0.0, but found lambda=", rate);
  begin_write(y, "exponential_");
  fill(y, RandomFill{.op = RandomOp::exponential, .a = rate}, generator);
}

void bernoulli(const Tensor& y, double p, Generator& generator) {
  TILEGRAD_CHECK(p >= 0 && p <= 1, runtime, "bernoulli_ expects p to be in [0, 1], but got p=", p);
  begin_write(y, "bernoulli_");
  fill(y, RandomFill{.op = RandomOp::bernoulli, .a = p}, generator);
}

// The largest magnitude up to which a dtype holds every integer, and its smallest number.
std::pair<std::int64_t, std::int64_t> whole_limits(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return {0, 1};
    case DType::uint8:
      return {0, 255};
    case DType::int8:
      return {-128, 127};
    case DType::int16:
      return {-32768, 32767};
    case DType::int32:
      return {INT32_MIN, INT32_MAX};
    case DType::float32:
      return {-(1 << 24), 1 << 24};
    case DType::float64:
      return {-(std::int64_t{1} << 53), std::int64_t{1} << 53};
    default:
      return {INT64_MIN, INT64_MAX};
  }
}

void integers(const Tensor& y, std::int64_t from, std::int64_t to, Generator& generator) {
  TILEGRAD_CHECK(from < to, runtime,
                 "random_ expects 'from' to be less than 'to', but got from=", from, " >= to=", to);
  const auto [low, high] = whole_limits(y.dtype);
  TILEGRAD_CHECK(from >= low && from <= high, runtime, "random_: from is out of bounds for ",
                 info(y.dtype).name, ": got ", from);
  TILEGRAD_CHECK(to - 1 >= low && to - 1 <= high, runtime, "random_: to - 1 is out of bounds for ",
                 info(y.dtype).name, ": got ", to - 1);
  begin_write(y, "random_");
  fill(y,
       RandomFill{.op = RandomOp::integer,
                  .first = from,
                  .range = static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from)},
       generator);
}

void full_range(const Tensor& y, Generator& generator) {
  begin_write(y, "random_");
  fill(y, RandomFill{.op = RandomOp::full_range}, generator);
}

Tensor permutation(std::int64_t n, Generator& generator, Device device) {
  TILEGRAD_CHECK(n >= 0, runtime, "randperm: Trying to create tensor with negative dimension ", n);
  require_device(device, "randperm");
  Tensor y = empty({n}, DType::int64, device, "randperm");
  fill(y, RandomFill{.op = RandomOp::permutation}, generator);
  return y;
}

// Of numbers on a card the host must wait for a copy. While a graph is captured it cannot.
bool host_can_wait(Device device) { return device.is_cpu() || !cuda::is_capturing(); }

void check_probabilities(const Tensor& wide) {
  const Tensor host = on_host(wide);
  for (std::int64_t i = 0; i < host.numel(); ++i) {
    const double value = host.data<double>()[i];
    TILEGRAD_CHECK(value >= 0 && value <= 1, runtime,
                   "bernoulli: argument 'input': Expected p_in >= 0 && p_in <= 1, got ", value);
  }
}

Tensor bernoulli_of(const Tensor& probabilities, Generator& generator) {
  TILEGRAD_CHECK(is_floating(probabilities.dtype), not_implemented,
                 "bernoulli: expected a floating dtype, got ", info(probabilities.dtype).name);
  const Tensor p = contiguous(probabilities);
  if (host_can_wait(p.device())) check_probabilities(to_dtype(p, DType::float64));
  Tensor y = empty(p.shape, p.dtype, p.device());
  run(random_choice_kernel, y.device(),
      RandomChoice{.dtype = p.dtype,
                   .y = y.bytes(),
                   .p = p.bytes(),
                   .size = p.numel(),
                   .state = &generator.state,
                   .key = next_key(generator, y.device())},
      0);
  return y;
}

// A row must be non-negative and finite, with a positive sum and, without replacement, as many
// categories that are possible as there are samples.
void check_weights(const double* weights, std::int64_t categories, std::int64_t samples,
                   bool replacement) {
  double sum = 0;
  std::int64_t possible = 0;
  for (std::int64_t c = 0; c < categories; ++c) {
    TILEGRAD_CHECK(std::isfinite(weights[c]) && weights[c] >= 0, runtime,
                   "multinomial: probability tensor contains either `inf`, `nan` or element < 0");
    sum += weights[c];
    possible += weights[c] > 0;
  }
  TILEGRAD_CHECK(sum > 0, runtime,
                 "multinomial: invalid multinomial distribution (sum of probabilities <= 0)");
  TILEGRAD_CHECK(replacement || samples <= possible, runtime,
                 "multinomial: invalid multinomial distribution (with replacement=False, not "
                 "enough non-negative category to sample)");
}

Tensor multinomial(const Tensor& input, std::int64_t samples, bool replacement,
                   Generator& generator) {
  TILEGRAD_CHECK(
      is_floating(input.dtype), runtime,
      "multinomial only supports floating-point dtypes for input, got: ", info(input.dtype).name);
  TILEGRAD_CHECK(input.ndim() == 1 || input.ndim() == 2, runtime,
                 "multinomial: prob_dist must be 1 or 2 dim, got shape ", input.shape.str());
  TILEGRAD_CHECK(samples > 0, runtime, "multinomial: cannot sample n_sample <= 0 samples, got ",
                 samples);
  const std::int64_t categories = input.shape[input.ndim() - 1];
  TILEGRAD_CHECK(replacement || samples <= categories, runtime,
                 "multinomial: cannot sample n_sample > prob_dist.size(-1) samples without "
                 "replacement, got ",
                 samples, " > ", categories);
  const std::int64_t rows = input.ndim() == 2 ? input.shape[0] : 1;
  const Tensor weights = contiguous(to_dtype(input, DType::float64));
  if (host_can_wait(input.device())) {
    const Tensor checked = on_host(weights);
    for (std::int64_t row = 0; row < rows; ++row)
      check_weights(checked.data<double>() + row * categories, categories, samples, replacement);
  }
  Tensor y = empty(input.ndim() == 2 ? Dims{rows, samples} : Dims{samples}, DType::int64,
                   input.device(), "multinomial");
  std::vector<double> sums(static_cast<std::size_t>(categories));
  run(multinomial_kernel, input.device(),
      Multinomial{.weights = weights.data<double>(),
                  .y = y.data<std::int64_t>(),
                  .sums = sums.data(),
                  .rows = rows,
                  .categories = categories,
                  .samples = samples,
                  .replacement = replacement,
                  .state = &generator.state,
                  .key = next_key(generator, input.device())},
      0);
  return y;
}

// What operations hold whose backward draws the same numbers again; see held_key.
py::object random_key(Generator& generator, Device device) {
  if (std::optional<Tensor> place = captured_key(generator, device)) return py::cast(*place);
  return py::int_(static_cast<std::int64_t>(draw_key(generator)));
}

}  // namespace

void bind_random(py::module_& module) {
  py::class_<Generator>(module, "GeneratorBase")
      .def(py::init([] {
        Generator generator;
        set_seed(generator.state, 67280421310721u);  // PyTorch's choice for new generators
        return generator;
      }))
      .def("_set_seed", [](Generator& g, std::uint64_t seed) { set_seed(g.state, seed); })
      .def("_fresh_seed", [](Generator& g) { set_seed(g.state, fresh_seed()); })
      .def(
          "initial_seed", [](const Generator& g) { return g.state.seed; },
          "The seed that the generator started from.")
      .def("get_state", &get_state, "The complete state, as a uint8 tensor.");
  module.def("load_random_state", &load_state, py::arg("generator"), py::arg("saved"));
  module.def("uniform_", &uniform, py::arg("input"), py::arg("from"), py::arg("to"),
             py::arg("generator"));
  module.def("normal_", &normal, py::arg("input"), py::arg("mean"), py::arg("deviation"),
             py::arg("generator"));
  module.def("exponential_", &exponential, py::arg("input"), py::arg("rate"), py::arg("generator"));
  module.def("bernoulli_", &bernoulli, py::arg("input"), py::arg("p"), py::arg("generator"));
  module.def("random_integers_", &integers, py::arg("input"), py::arg("from"), py::arg("to"),
             py::arg("generator"));
  module.def("random_full_range_", &full_range, py::arg("input"), py::arg("generator"));
  module.def("randperm", &permutation, py::arg("n"), py::arg("generator"), py::arg("device"));
  module.def("random_key", &random_key, py::arg("generator"), py::arg("device"));
  module.def("bernoulli", &bernoulli_of, py::arg("probabilities"), py::arg("generator"));
  module.def("multinomial", &multinomial, py::arg("input"), py::arg("samples"),
             py::arg("replacement"), py::arg("generator"));
  takes_halves({"uniform_"});
}

}  // namespace tilegrad
