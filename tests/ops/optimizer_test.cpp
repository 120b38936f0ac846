// Optimizer steps: every instruction set and CUDA take the same steps as the first instruction set,
// over several parameters of both dtypes. (tests/ops/test_optimizer.py compares with PyTorch.)
#include "ops/optimizer.h"

#include <deque>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kSizes[] = {1, 7, 300, 5000, 0, 4096};

// Parameters of both dtypes with gradients and three states each, the same for every instance.
class Group {
 public:
  explicit Group(int states) {
    for (std::int64_t size : kSizes) {
      add(size, floats_, DType::float32, states);
      add(size, doubles_, DType::float64, states);
    }
  }
  OptimizerStep step(bool maximize) {
    return {entries_.data(), static_cast<std::int64_t>(entries_.size()), 0.1, 0.01, maximize};
  }
  void expect_close_to(const Group& other) const {
    for (std::size_t k = 0; k < floats_.size(); ++k)
      expect_close(floats_[k], other.floats_[k], floats_[k].size, 1e-5, 1e-6);
    for (std::size_t k = 0; k < doubles_.size(); ++k)
      expect_close(doubles_[k], other.doubles_[k], doubles_[k].size, 1e-12, 1e-13);
  }

 private:
  template <class T>
  void add(std::int64_t size, std::deque<Array<T>>& arrays, DType dtype, int states) {
    const auto next = [&]() -> T* {
      arrays.push_back(Array<T>::random(size, arrays.size() + 1));
      return arrays.back().data();
    };
    OptimizerEntry entry{};
    entry.dtype = dtype;
    entry.size = size;
    entry.parameter = next();
    entry.grad = next();
    for (int s = 0; s < states; ++s) {
      T* state = next();  // mean squares and step sizes are positive, and above squared means
      for (std::int64_t i = 0; i < size; ++i) state[i] = s == 1 ? state[i] / 4 : state[i] + T{1.5};
      if (s == 1)
        for (std::int64_t i = 0; i < size; ++i) state[i] = std::abs(state[i]) + T(0.01);
      entry.state[s] = state;
    }
    entry.step = 5 + static_cast<double>(entries_.size());
    entry.scalar[0] = 0.02;
    entry.scalar[1] = 0.3;
    entries_.push_back(entry);
  }
  std::deque<Array<float>> floats_;
  std::deque<Array<double>> doubles_;
  std::vector<OptimizerEntry> entries_;
};

template <class Args>
void check(const Kernel<Args>& kernel, const Args& options, int states) {
  SCOPED_TRACE(kernel.name);
  for (bool maximize : {false, true}) {
    Group expected(states);
    Args args = options;
    args.common = expected.step(maximize);
    kernel.cpu[0](args);
    for_each_isa([&](Isa isa) {
      Group found(states);
      args.common = found.step(maximize);
      run_on(isa, kernel, args);
      found.expect_close_to(expected);
    });
  }
}

TEST(Optimizer, EveryStepIsTheSameEverywhere) {
  check(sgd_step_kernel, SgdStep{{}, 0.9, 0.1, false}, 0);
  for (bool nesterov : {false, true}) check(sgd_step_kernel, SgdStep{{}, 0.9, 0.1, nesterov}, 1);
  for (bool decoupled : {false, true}) {
    check(adam_step_kernel, AdamStep{{}, 0.9, 0.99, 1e-8, false, decoupled}, 2);
    check(adam_step_kernel, AdamStep{{}, 0.9, 0.99, 1e-8, true, decoupled}, 3);
    check(nadam_step_kernel, NadamStep{{}, 0.9, 0.99, 1e-8, decoupled}, 2);
    check(radam_step_kernel, RadamStep{{}, 0.9, 0.99, 1e-8, decoupled}, 2);
  }
  for (int states : {1, 2, 3})
    check(rmsprop_step_kernel, RmspropStep{{}, 0.9, 1e-8, 0.5, true}, states);
  check(adagrad_step_kernel, AdagradStep{{}, 0.1, 1e-8}, 1);
  check(adadelta_step_kernel, AdadeltaStep{{}, 0.9, 1e-6}, 2);
  check(adamax_step_kernel, AdamaxStep{{}, 0.9, 0.99, 1e-8}, 2);
  check(rprop_step_kernel, RpropStep{{}, 0.5, 1.2, 1e-6, 50}, 2);
  check(asgd_step_kernel, AsgdStep{{}, 1e-4}, 1);
}

// More tensors than one launch takes.
TEST(Optimizer, ManyParameters) {
  constexpr int kCount = 450;
  for_each_isa([&](Isa isa) {
    Array<float> parameters(kCount, 1.0f), grads(kCount);
    std::vector<OptimizerEntry> entries(kCount);
    for (int k = 0; k < kCount; ++k) {
      grads[k] = static_cast<float>(k);
      entries[k] = OptimizerEntry{};
      entries[k].dtype = DType::float32;
      entries[k].size = 1;
      entries[k].parameter = &parameters[k];
      entries[k].grad = &grads[k];
    }
    run_on(isa, sgd_step_kernel, SgdStep{{entries.data(), kCount, 0.5, 0, false}, 0, 0, false});
    for (int k = 0; k < kCount; ++k) ASSERT_EQ(parameters[k], 1.0f - 0.5f * static_cast<float>(k));
  });
}

}  // namespace
}  // namespace tilegrad
