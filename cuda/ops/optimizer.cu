// Optimizer steps: one launch updates all parameters of a group (up to 380 tensors of one dtype;
// more take more launches).
//
// The tensors travel as kernel parameters. A block takes 4096 elements of one tensor, which it
// finds by bisection. Memory sees parameter, gradient and states once each way: for Adam 7 *
// sizeof(T) bytes an element and some 15 operations. Up to 48 registers, 5 blocks of 256 threads on
// a multiprocessor, two elements of each array on their way. What depends on the number of the step
// is computed on the host, or, where the card counts, by one thread for each tensor in a launch
// before.
#include "ops/optimizer.h"

#include <cmath>

#include "launch.cuh"
#include "scratch.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kMostEntries = 380;  // CUDA passes up to 32764 bytes of parameters
constexpr std::int64_t kElements = 4096;

constexpr int kNumbers = 4;

// One tensor; `numbers` are what the step has computed for it on the host.
struct Entry {
  std::int64_t size;
  void* parameter;
  const void* grad;
  void* state[3];
  double numbers[kNumbers];
};
struct Batch {
  int count;
  const double* computed;                  // null, or the numbers that the card has computed
  unsigned first_block[kMostEntries + 1];  // entry k takes blocks [first_block[k], [k + 1])
  Entry entries[kMostEntries];
};
static_assert(sizeof(Batch) < 32000);

// What a rule gets to see of one element.
template <class T>
struct Element {
  const Entry& entry;
  const double* computed;  // null: those of the entry
  std::int64_t i;
  __device__ T& parameter() const { return static_cast<T*>(entry.parameter)[i]; }
  __device__ T grad() const { return static_cast<const T*>(entry.grad)[i]; }
  __device__ bool has(int k) const { return entry.state[k] != nullptr; }
  __device__ T& state(int k) const { return static_cast<T*>(entry.state[k])[i]; }
  __device__ T number(int k) const {
    return static_cast<T>(computed == nullptr ? entry.numbers[k] : computed[k]);
  }
};

template <class T, class Rule>
__global__ void __launch_bounds__(kBlock, 4)  // of 64 registers: with fewer long rules would spill
    step_kernel(const Batch batch, const Rule rule) {
  int low = 0, high = batch.count - 1;  // the last entry that begins at or before this block
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (batch.first_block[middle] <= blockIdx.x) low = middle;
    else high = middle - 1;
  }
  const Entry& entry = batch.entries[low];
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x - batch.first_block[low]) * kElements;
  const std::int64_t end = min(first + kElements, entry.size);
  const double* computed = batch.computed == nullptr ? nullptr : batch.computed + kNumbers * low;
#pragma unroll 2  // more would spill the registers of the longer rules
  for (std::int64_t i = first + threadIdx.x; i < end; i += kBlock)
    rule(Element<T>{entry, computed, i});
}

// --- steps that count on the card ---

struct Counters {
  int count;
  double lr;
  CardNumber card_lr;
  CardNumber counters[kMostEntries];
  CardNumber own[kMostEntries][2];
};
static_assert(sizeof(Counters) < 32000);

__device__ double read(const CardNumber& number) {
  if (number.dtype == DType::float32) return *static_cast<const float*>(number.data);
  return *static_cast<const double*>(number.data);
}

// Returns what is left of the value when it is stored.
__device__ double write(const CardNumber& number, double value) {
  if (number.dtype == DType::float32)
    return *static_cast<float*>(number.data) = static_cast<float>(value);
  return *static_cast<double*>(number.data) = value;
}

template <class Numbers>
__global__ void __launch_bounds__(kBlock)
    count_kernel(const Counters all, const Numbers numbers_of, double* computed) {
  const int i = static_cast<int>(blockIdx.x) * kBlock + static_cast<int>(threadIdx.x);
  if (i >= all.count) return;
  const double step = write(all.counters[i], read(all.counters[i]) + 1);
  const double lr = all.card_lr.data == nullptr ? all.lr : read(all.card_lr);
  double* numbers = computed + kNumbers * i;
  if constexpr (requires { numbers_of.advance(lr, step, all.own[i], numbers); })
    numbers_of.advance(lr, step, all.own[i], numbers);
  numbers_of(lr, step, numbers);
}

// Runs Rule<T>(args) over the entries of dtype T; numbers_of(lr, step, numbers) adds to `numbers`,
// which begin with the entry's scalars, what depends on the step. On the card the scalars come from
// numbers_of.advance(lr, step, own, numbers), which also brings the entry's own numbers forward.
template <class T, class Rule, class Numbers>
void run_dtype(const OptimizerStep& step, const Rule& rule, const Numbers& numbers_of) {
  Batch batch;
  batch.count = 0;
  batch.first_block[0] = 0;
  Counters counters;
  counters.lr = step.lr;
  counters.card_lr = step.card_lr;
  const auto flush = [&] {
    if (batch.count == 0) return;
    const bool counts = counters.counters[0].data != nullptr;
    const auto bytes = static_cast<std::size_t>(batch.count) * kNumbers * sizeof(double);
    const Scratch computed(counts ? bytes : 0);
    auto* const numbers = static_cast<double*>(computed.data);
    batch.computed = numbers;
    counters.count = batch.count;
    if (counts)
      launch(count_kernel<Numbers>, {blocks_for(batch.count), kBlock}, counters, numbers_of,
             numbers);
    launch(step_kernel<T, Rule>, {batch.first_block[batch.count], kBlock}, batch, rule);
    batch.count = 0;
  };
  for (std::int64_t k = 0; k < step.count; ++k) {
    const OptimizerEntry& from = step.entries[k];
    if (from.dtype != DTypeOf<T>::value || from.size == 0) continue;
    Entry& entry = batch.entries[batch.count];
    entry = {from.size,
             from.parameter,
             from.grad,
             {from.state[0], from.state[1], from.state[2]},
             {from.scalar[0], from.scalar[1]}};
    counters.counters[batch.count] = from.counter;
    for (int k = 0; k < 2; ++k) counters.own[batch.count][k] = from.own[k];
    if (from.counter.data == nullptr) numbers_of(step.lr, from.step, entry.numbers);
    batch.first_block[batch.count + 1] =
        batch.first_block[batch.count] + blocks_of(from.size, kElements);
    if (++batch.count == kMostEntries) flush();
  }
  flush();
}

template <template <class> class Rule, class Args, class Numbers>
void run_step(const Args& args, const Numbers& numbers_of) {
  run_dtype<float>(args.common, Rule<float>(args), numbers_of);
  run_dtype<double>(args.common, Rule<double>(args), numbers_of);
}

struct NoNumbers {
  __host__ __device__ void operator()(double, double, double*) const {}
};

// The gradient with the sign and the weight decay that the options ask for.
template <class T>
struct Gradient {
  T sign, weight_decay;
  explicit Gradient(const OptimizerStep& step, bool decayed = true)
      : sign(step.maximize ? T{-1} : T{1}),
        weight_decay(decayed ? static_cast<T>(step.weight_decay) : T{0}) {}
  // Without decay the parameter is left out: an infinite one must not turn the gradient into NaN.
  __device__ T operator()(const Element<T>& e) const {
    return weight_decay == T{0} ? sign * e.grad() : sign * e.grad() + weight_decay * e.parameter();
  }
};

// What a decoupled weight decay leaves of a parameter.
struct KeptShare {
  double decay;
  KeptShare(const OptimizerStep& step, bool decoupled) : decay(decoupled ? step.weight_decay : 0) {}
  __host__ __device__ double operator()(double lr) const { return 1 - lr * decay; }
};

template <class T>
__device__ T larger_or_nan(T now, T before) {
  return now > before || now != now ? now : before;
}

template <class T>
struct Sgd {
  Gradient<T> gradient;
  T lr, momentum, share;
  bool nesterov;
  explicit Sgd(const SgdStep& a)
      : gradient(a.common),
        lr(static_cast<T>(a.common.lr)),
        momentum(static_cast<T>(a.momentum)),
        share(static_cast<T>(1 - a.dampening)),
        nesterov(a.nesterov) {}
  __device__ void operator()(const Element<T>& e) const {
    T direction = gradient(e);
    if (e.has(0)) {
      const T velocity = e.state(0) = momentum * e.state(0) + share * direction;
      direction = nesterov ? direction + momentum * velocity : velocity;
    }
    e.parameter() -= lr * direction;
  }
};

// Mean and mean square of the gradient, which five of the steps keep.
template <class T>
struct Averages {
  T beta2, share1, share2, eps;
  template <class Args>
  explicit Averages(const Args& a)
      : beta2(static_cast<T>(a.beta2)),
        share1(static_cast<T>(1 - a.beta1)),
        share2(static_cast<T>(1 - a.beta2)),
        eps(static_cast<T>(a.eps)) {}
  __device__ T blend_mean(const Element<T>& e, T g) const {
    return e.state(0) += share1 * (g - e.state(0));
  }
  __device__ T blend_square(const Element<T>& e, T g) const {
    return e.state(1) = beta2 * e.state(1) + share2 * g * g;
  }
};

// Numbers: step size, the factor that undoes the bias of the mean square's root, and what the decay
// leaves of the parameter.
template <class T>
struct Adam {
  Gradient<T> gradient;
  Averages<T> averages;
  explicit Adam(const AdamStep& a) : gradient(a.common, !a.decoupled_weight_decay), averages(a) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e), mean = averages.blend_mean(e, g);
    T square = averages.blend_square(e, g);
    if (e.has(2)) square = e.state(2) = larger_or_nan(square, e.state(2));
    const T root = sqrt(square) / e.number(1) + averages.eps;
    e.parameter() = e.number(2) * e.parameter() - e.number(0) * (mean / root);
  }
};

template <class T>
struct Rmsprop {
  Gradient<T> gradient;
  T lr, alpha, share, eps, momentum;
  explicit Rmsprop(const RmspropStep& a)
      : gradient(a.common),
        lr(static_cast<T>(a.common.lr)),
        alpha(static_cast<T>(a.alpha)),
        share(static_cast<T>(1 - a.alpha)),
        eps(static_cast<T>(a.eps)),
        momentum(static_cast<T>(a.momentum)) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e);
    T variance = e.state(0) = alpha * e.state(0) + share * g * g;
    if (e.has(1)) {
      const T mean = e.state(1) += share * (g - e.state(1));
      variance -= mean * mean;
    }
    T direction = g / (sqrt(variance) + eps);
    if (e.has(2)) direction = e.state(2) = momentum * e.state(2) + direction;
    e.parameter() -= lr * direction;
  }
};

// Numbers: the rate.
template <class T>
struct Adagrad {
  Gradient<T> gradient;
  T eps;
  explicit Adagrad(const AdagradStep& a) : gradient(a.common), eps(static_cast<T>(a.eps)) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e), sum = e.state(0) += g * g;
    e.parameter() -= e.number(0) * (g / (sqrt(sum) + eps));
  }
};

template <class T>
struct Adadelta {
  Gradient<T> gradient;
  T lr, rho, share, eps;
  explicit Adadelta(const AdadeltaStep& a)
      : gradient(a.common),
        lr(static_cast<T>(a.common.lr)),
        rho(static_cast<T>(a.rho)),
        share(static_cast<T>(1 - a.rho)),
        eps(static_cast<T>(a.eps)) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e), square = e.state(0) = rho * e.state(0) + share * g * g;
    const T delta = sqrt(e.state(1) + eps) / sqrt(square + eps) * g;
    e.state(1) = rho * e.state(1) + share * delta * delta;
    e.parameter() -= lr * delta;
  }
};

// Numbers: the rate.
template <class T>
struct Adamax {
  Gradient<T> gradient;
  Averages<T> averages;
  explicit Adamax(const AdamaxStep& a) : gradient(a.common), averages(a) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e), mean = averages.blend_mean(e, g);
    const T largest = e.state(1) =
        larger_or_nan(static_cast<T>(fabs(g)) + averages.eps, averages.beta2 * e.state(1));
    e.parameter() -= e.number(0) * (mean / largest);
  }
};

// Numbers: the factors of the gradient and of the mean, the correction of the mean square, and what
// the decay leaves of the parameter.
template <class T>
struct Nadam {
  Gradient<T> gradient;
  Averages<T> averages;
  explicit Nadam(const NadamStep& a) : gradient(a.common, !a.decoupled_weight_decay), averages(a) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e), mean = averages.blend_mean(e, g);
    const T root = sqrt(averages.blend_square(e, g) / e.number(2)) + averages.eps;
    e.parameter() =
        e.number(3) * e.parameter() - e.number(0) * (g / root) - e.number(1) * (mean / root);
  }
};

// Numbers: the rate; whether it is rectified, only then the mean square counts; and what the decay
// leaves of the parameter.
template <class T>
struct Radam {
  Gradient<T> gradient;
  Averages<T> averages;
  explicit Radam(const RadamStep& a) : gradient(a.common, !a.decoupled_weight_decay), averages(a) {}
  __device__ void operator()(const Element<T>& e) const {
    const T g = gradient(e), mean = averages.blend_mean(e, g);
    const T square = averages.blend_square(e, g);
    const T root = e.number(1) != T{0} ? sqrt(square) + averages.eps : T{1};
    e.parameter() = e.number(2) * e.parameter() - e.number(0) * (mean / root);
  }
};

template <class T>
struct Rprop {
  Gradient<T> gradient;
  T shrink, grow, smallest, largest;
  explicit Rprop(const RpropStep& a)
      : gradient(a.common),
        shrink(static_cast<T>(a.shrink)),
        grow(static_cast<T>(a.grow)),
        smallest(static_cast<T>(a.smallest)),
        largest(static_cast<T>(a.largest)) {}
  __device__ void operator()(const Element<T>& e) const {
    T g = gradient(e);
    const T agreement = g * e.state(0);
    const bool turned = agreement < T{0};
    T size = e.state(1) * (agreement > T{0} ? grow : turned ? shrink : T{1});
    size = size < smallest ? smallest : size;
    size = size > largest ? largest : size;
    e.state(1) = size;
    g = e.state(0) = turned ? T{0} : g;
    e.parameter() -= g > T{0} ? size : g < T{0} ? -size : T{0};
  }
};

// Numbers: eta, mu, what the decay leaves of the parameter.
template <class T>
struct Asgd {
  Gradient<T> gradient;
  explicit Asgd(const AsgdStep& a) : gradient(a.common) {}
  __device__ void operator()(const Element<T>& e) const {
    const T x = e.parameter() = e.number(2) * e.parameter() - e.number(0) * gradient(e);
    const T mu = e.number(1), average = e.state(0);
    e.state(0) = mu == T{1} ? x : average + mu * (x - average);
  }
};

// --- what depends on the number of the step, for host and card ---

struct AdamNumbers {
  double beta1, beta2;
  KeptShare kept;
  __host__ __device__ void operator()(double lr, double step, double* numbers) const {
    numbers[0] = lr / (1 - pow(beta1, step));
    numbers[1] = sqrt(1 - pow(beta2, step));
    numbers[2] = kept(lr);
  }
};

struct AdagradNumbers {
  double lr_decay;
  __host__ __device__ void operator()(double lr, double step, double* numbers) const {
    numbers[0] = lr / (1 + (step - 1) * lr_decay);
  }
};

struct AdamaxNumbers {
  double beta1;
  __host__ __device__ void operator()(double lr, double step, double* numbers) const {
    numbers[0] = lr / (1 - pow(beta1, step));
  }
};

struct NadamNumbers {
  double beta1, beta2, momentum_decay;
  KeptShare kept;
  __device__ double momentum(double step) const {
    return beta1 * (1 - 0.5 * pow(0.96, step * momentum_decay));
  }
  __device__ void advance(double lr, double step, const CardNumber* own, double* numbers) const {
    const double now = momentum(step), next = momentum(step + 1);
    const double so_far = write(own[0], read(own[0]) * now);
    numbers[0] = lr * (1 - now) / (1 - so_far);
    numbers[1] = lr * next / (1 - so_far * next);
  }
  __host__ __device__ void operator()(double lr, double step, double* numbers) const {
    numbers[2] = 1 - pow(beta2, step);
    numbers[3] = kept(lr);
  }
};

struct RadamNumbers {
  double beta1, beta2;
  KeptShare kept;
  __host__ __device__ void operator()(double lr, double step, double* numbers) const {
    const double power2 = pow(beta2, step), correction2 = 1 - power2;
    // The length of the average that has been seen, and its limit; see csrc/ops/optimizer.cpp.
    const double limit = 2 / (1 - beta2) - 1;
    const double length = limit - 2 * step * power2 / correction2;
    const bool rectified = length > 5;
    const double rectifier = sqrt((length - 4) * (length - 2) * limit /
                                  ((limit - 4) * (limit - 2) * length) * correction2);
    numbers[0] = lr / (1 - pow(beta1, step)) * (rectified ? rectifier : 1);
    numbers[1] = rectified ? 1 : 0;
    numbers[2] = kept(lr);
  }
};

struct AsgdNumbers {
  double lambd, alpha, t0;
  __device__ void advance(double lr, double step, const CardNumber* own, double* numbers) const {
    numbers[0] = read(own[0]);
    numbers[1] = read(own[1]);
    write(own[0], lr / pow(1 + lambd * lr * step, alpha));
    write(own[1], 1 / fmax(1.0, step - t0));
  }
  __host__ __device__ void operator()(double, double, double* numbers) const {
    numbers[2] = 1 - lambd * numbers[0];
  }
};

}  // namespace

void sgd_step(const SgdStep& args) { run_step<Sgd>(args, NoNumbers{}); }

void adam_step(const AdamStep& args) {
  const KeptShare kept(args.common, args.decoupled_weight_decay);
  run_step<Adam>(args, AdamNumbers{args.beta1, args.beta2, kept});
}

void rmsprop_step(const RmspropStep& args) { run_step<Rmsprop>(args, NoNumbers{}); }

void adagrad_step(const AdagradStep& args) {
  run_step<Adagrad>(args, AdagradNumbers{args.lr_decay});
}

void adadelta_step(const AdadeltaStep& args) { run_step<Adadelta>(args, NoNumbers{}); }

void adamax_step(const AdamaxStep& args) { run_step<Adamax>(args, AdamaxNumbers{args.beta1}); }

void nadam_step(const NadamStep& args) {
  const KeptShare kept(args.common, args.decoupled_weight_decay);
  run_step<Nadam>(args, NadamNumbers{args.beta1, args.beta2, args.momentum_decay, kept});
}

void radam_step(const RadamStep& args) {
  const KeptShare kept(args.common, args.decoupled_weight_decay);
  run_step<Radam>(args, RadamNumbers{args.beta1, args.beta2, kept});
}

void rprop_step(const RpropStep& args) { run_step<Rprop>(args, NoNumbers{}); }

void asgd_step(const AsgdStep& args) {
  run_step<Asgd>(args, AsgdNumbers{args.lambd, args.alpha, args.t0});
}

}  // namespace tilegrad::cuda
