// Optimizer steps: one pass over each parameter. Every element is updated by itself, so the result
// does not depend on how the elements are shared among threads.
#include "optimizer.h"

#include <cmath>

#include "../float_mode.h"
#include "../strided.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The arrays of one entry, typed.
template <class T>
struct Arrays {
  T* parameter;
  const T* grad;
  T* state[3];
};

// Moments of a parameter whose gradient has become zero, as that of a unit that never fires, shrink
// in each step. Those below the smallest normal number are zero: with them Adam takes eleven times
// as long on Intel's processors, and it would not end, since 0.9 times the smallest number is
// itself.
using Moments = FlushedToZero;
struct NoMoments {};

// Calls update(entry, arrays, begin, end) for pieces that together cover every entry once.
template <class State = Moments, class Update>
static void for_each_piece(const OptimizerStep& step, const Update& update) {
  for (std::int64_t k = 0; k < step.count; ++k) {
    const OptimizerEntry& entry = step.entries[k];
    visit_floating(entry.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const Arrays<T> arrays{static_cast<T*>(entry.parameter),
                             static_cast<const T*>(entry.grad),
                             {static_cast<T*>(entry.state[0]), static_cast<T*>(entry.state[1]),
                              static_cast<T*>(entry.state[2])}};
      parallel_for(entry.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
        [[maybe_unused]] const State mode;
        update(entry, arrays, begin, end);
      });
    });
  }
}

// The gradient of element i with the sign and the weight decay that the options ask for.
template <class T>
struct Gradient {
  T sign, weight_decay;
  explicit Gradient(const OptimizerStep& step, bool decayed = true)
      : sign(step.maximize ? T{-1} : T{1}),
        weight_decay(decayed ? static_cast<T>(step.weight_decay) : T{0}) {}
  T operator()(T grad, T parameter) const {
    // Without decay the parameter is left out: an infinite one must not turn the gradient into NaN.
    return weight_decay == T{0} ? sign * grad : sign * grad + weight_decay * parameter;
  }
};

void sgd_step(const SgdStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry&, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common);
    const T lr = static_cast<T>(args.common.lr), momentum = static_cast<T>(args.momentum),
            share = static_cast<T>(1 - args.dampening);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* buffer = arrays.state[0];
    if (buffer == nullptr) {
#pragma GCC ivdep
      for (std::int64_t i = begin; i < end; ++i)
        parameter[i] -= lr * gradient(grad[i], parameter[i]);
      return;
    }
    const bool nesterov = args.nesterov;
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      const T velocity = momentum * buffer[i] + share * g;
      buffer[i] = velocity;
      parameter[i] -= lr * (nesterov ? g + momentum * velocity : velocity);
    }
  });
}

void adam_step(const AdamStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry& entry, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common, !args.decoupled_weight_decay);
    // The averages start at zero; these factors undo that bias.
    const double correction1 = 1 - std::pow(args.beta1, entry.step);
    const double correction2 = std::sqrt(1 - std::pow(args.beta2, entry.step));
    const T step_size = static_cast<T>(args.common.lr / correction1);
    const T scale = static_cast<T>(correction2), eps = static_cast<T>(args.eps);
    const T beta2 = static_cast<T>(args.beta2), share1 = static_cast<T>(1 - args.beta1),
            share2 = static_cast<T>(1 - args.beta2);
    const T kept = static_cast<T>(
        args.decoupled_weight_decay ? 1 - args.common.lr * args.common.weight_decay : 1);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* mean = arrays.state[0];
    T* square = arrays.state[1];
    T* largest = arrays.state[2];
    const auto update = [&](std::int64_t i) {
      const T g = gradient(grad[i], parameter[i]);
      mean[i] += share1 * (g - mean[i]);
      square[i] = beta2 * square[i] + share2 * g * g;
    };
    const auto move = [&](std::int64_t i, T second) {
      const T root = std::sqrt(second) / scale + eps;
      parameter[i] = kept * parameter[i] - step_size * (mean[i] / root);
    };
    if (largest == nullptr) {
#pragma GCC ivdep
      for (std::int64_t i = begin; i < end; ++i) {
        update(i);
        move(i, square[i]);
      }
      return;
    }
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      update(i);
      const T before = largest[i], now = square[i];
      largest[i] = now > before || now != now ? now : before;
      move(i, largest[i]);
    }
  });
}

void rmsprop_step(const RmspropStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry&, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common);
    const T lr = static_cast<T>(args.common.lr), alpha = static_cast<T>(args.alpha),
            share = static_cast<T>(1 - args.alpha), momentum = static_cast<T>(args.momentum),
            eps = static_cast<T>(args.eps_in_root ? 0 : args.eps),
            inner_eps = static_cast<T>(args.eps_in_root ? args.eps : 0);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* square = arrays.state[0];
    T* mean = arrays.state[1];
    T* buffer = arrays.state[2];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      square[i] = alpha * square[i] + share * g * g;
      T variance = square[i];
      if (mean != nullptr) {
        mean[i] += share * (g - mean[i]);
        variance -= mean[i] * mean[i];
      }
      T direction = g / (std::sqrt(variance + inner_eps) + eps);
      if (buffer != nullptr) direction = buffer[i] = momentum * buffer[i] + direction;
      parameter[i] -= lr * direction;
    }
  });
}

void adagrad_step(const AdagradStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry& entry, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common);
    const T rate = static_cast<T>(args.common.lr / (1 + (entry.step - 1) * args.lr_decay));
    const T eps = static_cast<T>(args.eps_in_root ? 0 : args.eps);
    const T inner_eps = static_cast<T>(args.eps_in_root ? args.eps : 0);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* sum = arrays.state[0];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      sum[i] += g * g;
      parameter[i] -= rate * (g / (std::sqrt(sum[i] + inner_eps) + eps));
    }
  });
}

void adadelta_step(const AdadeltaStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry&, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common);
    const T lr = static_cast<T>(args.common.lr), rho = static_cast<T>(args.rho),
            share = static_cast<T>(1 - args.rho), eps = static_cast<T>(args.eps);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* square = arrays.state[0];
    T* moved = arrays.state[1];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      square[i] = rho * square[i] + share * g * g;
      const T delta = std::sqrt(moved[i] + eps) / std::sqrt(square[i] + eps) * g;
      moved[i] = rho * moved[i] + share * delta * delta;
      parameter[i] -= lr * delta;
    }
  });
}

void adamax_step(const AdamaxStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry& entry, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common);
    const T rate = static_cast<T>(args.common.lr / (1 - std::pow(args.beta1, entry.step)));
    const T beta2 = static_cast<T>(args.beta2), share = static_cast<T>(1 - args.beta1),
            eps = static_cast<T>(args.eps);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* mean = arrays.state[0];
    T* largest = arrays.state[1];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      mean[i] += share * (g - mean[i]);
      const T before = beta2 * largest[i], now = std::abs(g) + eps;
      largest[i] = now > before || now != now ? now : before;
      parameter[i] -= rate * (mean[i] / largest[i]);
    }
  });
}

void nadam_step(const NadamStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry& entry, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common, !args.decoupled_weight_decay);
    const T correction = static_cast<T>(1 - std::pow(args.beta2, entry.step));
    const T of_grad = static_cast<T>(entry.scalar[0]), of_mean = static_cast<T>(entry.scalar[1]);
    const T beta2 = static_cast<T>(args.beta2), share1 = static_cast<T>(1 - args.beta1),
            share2 = static_cast<T>(1 - args.beta2), eps = static_cast<T>(args.eps);
    const T kept = static_cast<T>(
        args.decoupled_weight_decay ? 1 - args.common.lr * args.common.weight_decay : 1);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* mean = arrays.state[0];
    T* square = arrays.state[1];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      mean[i] += share1 * (g - mean[i]);
      square[i] = beta2 * square[i] + share2 * g * g;
      const T root = std::sqrt(square[i] / correction) + eps;
      parameter[i] = kept * parameter[i] - of_grad * (g / root) - of_mean * (mean[i] / root);
    }
  });
}

void radam_step(const RadamStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry& entry, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common, !args.decoupled_weight_decay);
    const double power2 = std::pow(args.beta2, entry.step);
    const double correction1 = 1 - std::pow(args.beta1, entry.step), correction2 = 1 - power2;
    // The length of the average that has been seen, and its limit.
    const double limit = 2 / (1 - args.beta2) - 1;
    const double length = limit - 2 * entry.step * power2 / correction2;
    // The variance of the mean square is finite for lengths above 4; trust it from 5 on.
    const bool rectified = length > 5;
    const double rectifier = rectified
                                 ? std::sqrt((length - 4) * (length - 2) * limit /
                                             ((limit - 4) * (limit - 2) * length) * correction2)
                                 : 1;
    const T rate = static_cast<T>(args.common.lr / correction1 * rectifier);
    const T beta2 = static_cast<T>(args.beta2), share1 = static_cast<T>(1 - args.beta1),
            share2 = static_cast<T>(1 - args.beta2), eps = static_cast<T>(args.eps);
    const T kept = static_cast<T>(
        args.decoupled_weight_decay ? 1 - args.common.lr * args.common.weight_decay : 1);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* mean = arrays.state[0];
    T* square = arrays.state[1];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      mean[i] += share1 * (g - mean[i]);
      square[i] = beta2 * square[i] + share2 * g * g;
      const T root = rectified ? std::sqrt(square[i]) + eps : T{1};
      parameter[i] = kept * parameter[i] - rate * (mean[i] / root);
    }
  });
}

void rprop_step(const RpropStep& args) {
  for_each_piece<NoMoments>(
      args.common, [&]<class T>(const OptimizerEntry&, const Arrays<T>& arrays, std::int64_t begin,
                                std::int64_t end) {
        const Gradient<T> gradient(args.common);
        const T shrink = static_cast<T>(args.shrink), grow = static_cast<T>(args.grow),
                smallest = static_cast<T>(args.smallest), largest = static_cast<T>(args.largest);
        T* parameter = arrays.parameter;
        const T* grad = arrays.grad;
        T* before = arrays.state[0];
        T* size = arrays.state[1];
#pragma GCC ivdep
        for (std::int64_t i = begin; i < end; ++i) {
          T g = gradient(grad[i], parameter[i]);
          const T agreement = g * before[i];
          const bool turned = agreement < T{0};
          T now = size[i] * (agreement > T{0} ? grow : turned ? shrink : T{1});
          now = now < smallest ? smallest : now;
          now = now > largest ? largest : now;
          size[i] = now;
          g = turned ? T{0} : g;
          before[i] = g;
          parameter[i] -= g > T{0} ? now : g < T{0} ? -now : T{0};
        }
      });
}

void asgd_step(const AsgdStep& args) {
  for_each_piece(args.common, [&]<class T>(const OptimizerEntry& entry, const Arrays<T>& arrays,
                                           std::int64_t begin, std::int64_t end) {
    const Gradient<T> gradient(args.common);
    const T eta = static_cast<T>(entry.scalar[0]), mu = static_cast<T>(entry.scalar[1]);
    const T kept = static_cast<T>(1 - args.lambd * entry.scalar[0]);
    T* parameter = arrays.parameter;
    const T* grad = arrays.grad;
    T* average = arrays.state[0];
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient(grad[i], parameter[i]);
      const T x = kept * parameter[i] - eta * g;
      parameter[i] = x;
      average[i] = mu == T{1} ? x : average[i] + mu * (x - average[i]);
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
