// optimizer: checks the parameters of a group, finds gradients and states, runs one step over all.
#include "ops/optimizer.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

// Names of the state tensors, as Python strings that live as long as the module.
using Names = std::vector<py::object>;

// state[parameter][name], borrowed; null if it is missing or None.
PyObject* find_state(const py::dict& state, PyObject* parameter, const py::object& name) {
  PyObject* entry = PyDict_GetItemWithError(state.ptr(), parameter);
  if (entry == nullptr) {
    if (PyErr_Occurred()) throw py::error_already_set();
    return nullptr;
  }
  TILEGRAD_CHECK(PyDict_Check(entry), type,
                 "optimizer: expected a dict as the state of a "
                 "parameter, got ",
                 Py_TYPE(entry)->tp_name);
  PyObject* value = PyDict_GetItemWithError(entry, name.ptr());
  if (value == nullptr && PyErr_Occurred()) throw py::error_already_set();
  return value == Py_None ? nullptr : value;
}

const Tensor& as_tensor(PyObject* object, const char* op, const char* what) {
  TILEGRAD_CHECK(is_tensor(object), type, op, ": expected every ", what, " to be a tensor, got ",
                 Py_TYPE(object)->tp_name);
  return as_py(object)->tensor;
}

// The entries of one step, with whatever must outlive the kernel.
class Step {
 public:
  explicit Step(const char* op) : op_(op) {}

  // Adds the parameter if it has a gradient. Returns false if it has, but lacks a state.
  bool add(PyObject* parameter, const py::dict& state, const Names& names, const py::object* count,
           const Names& scalars) {
    const Tensor& x = as_tensor(parameter, op_, "parameter");
    PyObject* grad = as_py(parameter)->grad;
    if (grad == nullptr) return true;
    Pending pending;
    for (const py::object& name : names) {
      PyObject* value = find_state(state, parameter, name);
      if (value == nullptr) return false;
      pending.states.push_back(&as_tensor(value, op_, "state"));
    }
    if (count != nullptr) {
      PyObject* steps = find_state(state, parameter, *count);
      if (steps == nullptr) return false;
      pending.steps = &as_tensor(steps, op_, "step");
      check_count(*pending.steps, x.device());
    }
    for (const py::object& name : scalars) {
      PyObject* value = find_state(state, parameter, name);
      if (value == nullptr) return false;
      pending.scalars.push_back(&as_tensor(value, op_, "state"));
      check_scalar(*pending.scalars.back(), PyUnicode_AsUTF8(name.ptr()), x.device());
    }
    pending.parameter = &x;
    pending.grad = &as_py(grad)->tensor;
    check(x, *pending.grad, "gradient");
    for (const Tensor* value : pending.states) check(x, *value, "state");
    pending_.push_back(std::move(pending));
    return true;
  }

  // Counts the writes and describes the entries. Nothing has been written before.
  void prepare() {
    entries_.reserve(pending_.size());
    for (const Pending& pending : pending_) {
      OptimizerEntry entry{};
      entry.dtype = computed_in(*pending.parameter);
      entry.size = pending.parameter->numel();
      entry.parameter = writable(*pending.parameter);
      entry.grad = readable(*pending.grad);
      for (std::size_t s = 0; s < pending.states.size(); ++s)
        entry.state[slots_.empty() ? s : slots_[s]] = writable(*pending.states[s]);
      if (pending.steps != nullptr) count_step(*pending.steps, entry);
      for (std::size_t s = 0; s < pending.scalars.size(); ++s) {
        if (counts_on_card_) entry.own[s] = number_on_card(*pending.scalars[s]);
        else entry.scalar[s] = read_scalar(*pending.scalars[s]);
      }
      entries_.push_back(entry);
      work_ += entry.size;
    }
  }

  // Where in OptimizerEntry::state each named state goes; without it, in order.
  void place(std::vector<int> slots) { slots_ = std::move(slots); }

  OptimizerStep common(double lr, double weight_decay, bool maximize) const {
    return {entries_.data(), static_cast<std::int64_t>(entries_.size()), lr, weight_decay,
            maximize};
  }

  // The same for a rate that may be a tensor. One on a card stays there if the steps count there.
  OptimizerStep common(const Operand& lr, double weight_decay, bool maximize) const {
    if (!lr.is_tensor()) return common(lr.scalar.as_double(), weight_decay, maximize);
    const Tensor& rate = *lr.tensor;
    TILEGRAD_CHECK(rate.numel() == 1 && is_floating(rate.dtype) && !is_half(rate.dtype), runtime,
                   op_, ": expected 'lr' to be a number, or a float32 or float64 tensor with one ",
                   "element, got ", info(rate.dtype).name, " of shape ", rate.shape.str());
    const bool stays = !rate.device().is_cpu() && counts_on_card_;
    const double value = stays ? 0.0 : read_scalar(on_host(rate));
    OptimizerStep step = common(value, weight_decay, maximize);
    if (stays) step.card_lr = {rate.bytes(), rate.dtype};
    return step;
  }

  // The entries, for steps that compute an entry's scalars from others; none where the card does.
  std::span<OptimizerEntry> entries_of_host() {
    return counts_on_card_ ? std::span<OptimizerEntry>{} : std::span(entries_);
  }

  // Stores a new value of a parameter's own number; the kernel still gets what the entry says.
  double write_scalar(std::size_t entry, std::size_t which, double value) {
    const Tensor& target = *pending_[entry].scalars[which];
    begin_write(target, op_);
    if (target.dtype == DType::float32) return *target.data<float>() = static_cast<float>(value);
    return *target.data<double>() = value;
  }

  // Multiplies a parameter's own number, rounding as its dtype does.
  double scale_scalar(std::size_t entry, std::size_t which, double factor) {
    const Tensor& target = *pending_[entry].scalars[which];
    begin_write(target, op_);
    if (target.dtype == DType::float32) return *target.data<float>() *= static_cast<float>(factor);
    return *target.data<double>() *= factor;
  }

  template <class Args>
  void finish(const Kernel<Args>& kernel, const Args& args) {
    if (entries_.empty()) return;
    run(kernel, pending_[0].parameter->device(), args, 4 * work_);
    for (const auto& [target, copy] : copies_) copy_into(*target, copy);
  }

 private:
  struct Pending {
    const Tensor* parameter = nullptr;
    const Tensor* grad = nullptr;
    const Tensor* steps = nullptr;
    std::vector<const Tensor*> states;
    std::vector<const Tensor*> scalars;
  };

  void check(const Tensor& x, const Tensor& other, const char* what) const {
    TILEGRAD_CHECK(is_floating(x.dtype), runtime, op_, ": expected floating-point parameters, got ",
                   info(x.dtype).name);
    TILEGRAD_CHECK(other.dtype == x.dtype && other.shape == x.shape, runtime, op_, ": expected a ",
                   what, " of dtype ", info(x.dtype).name, " and shape ", x.shape.str(), ", got ",
                   info(other.dtype).name, " and ", other.shape.str());
    const Device device = pending_.empty() ? x.device() : pending_[0].parameter->device();
    TILEGRAD_CHECK(x.device() == device && other.device() == device, runtime, op_,
                   ": expected the parameters of a group with their gradients and states on one "
                   "device, got ",
                   device.str(), ", ", x.device().str(), " and ", other.device().str());
  }
  // The counts are on the CPU, or all with their parameters on a card: CUDA counts those itself.
  void check_count(const Tensor& count, Device device) {
    if (pending_.empty()) counts_on_card_ = !count.device().is_cpu();
    const Device wanted = counts_on_card_ ? device : Device{};
    TILEGRAD_CHECK(count.numel() == 1 && is_floating(count.dtype) && !is_half(count.dtype) &&
                       count.device() == wanted,
                   runtime, op_, ": expected every 'step' to be a float32 or float64 tensor with ",
                   "one element, all of them on the CPU or with capturable=True all where their "
                   "parameters are; got ",
                   info(count.dtype).name, " of shape ", count.shape.str(), " on ",
                   count.device().str());
  }
  void check_scalar(const Tensor& number, const char* name, Device device) const {
    const Device wanted = counts_on_card_ ? device : Device{};
    TILEGRAD_CHECK(number.numel() == 1 && is_floating(number.dtype) && !is_half(number.dtype) &&
                       number.device() == wanted,
                   runtime, op_, ": expected '", name, "' to be a float32 or float64 tensor with ",
                   "one element on ", wanted.str(), ", where 'step' is, got ",
                   info(number.dtype).name, " of shape ", number.shape.str(), " on ",
                   number.device().str());
  }

  // Halves are stepped in float32 and rounded once.
  static DType computed_in(const Tensor& x) { return is_half(x.dtype) ? DType::float32 : x.dtype; }

  // Kernels want contiguous arrays: others are copied, and copied back if they were written.
  void* writable(const Tensor& x) {
    begin_write(x, op_);
    if (x.is_contiguous() && !is_half(x.dtype)) return x.bytes();
    copies_.emplace_back(&x, contiguous(to_dtype(x, computed_in(x))));
    return copies_.back().second.bytes();
  }
  const void* readable(const Tensor& x) {
    if (x.is_contiguous() && !is_half(x.dtype)) return x.bytes();
    kept_.push_back(contiguous(to_dtype(x, computed_in(x))));
    return kept_.back().bytes();
  }
  static double read_scalar(const Tensor& number) {
    return number.dtype == DType::float32 ? *number.data<float>() : *number.data<double>();
  }
  CardNumber number_on_card(const Tensor& number) const {
    begin_write(number, op_);
    return {number.bytes(), number.dtype};
  }
  void count_step(const Tensor& steps, OptimizerEntry& entry) {
    if (counts_on_card_) {
      entry.counter = number_on_card(steps);
      return;
    }
    begin_write(steps, op_);
    if (steps.dtype == DType::float32) entry.step = ++*steps.data<float>();
    else entry.step = ++*steps.data<double>();
  }

  const char* op_;
  std::vector<Pending> pending_;
  std::vector<OptimizerEntry> entries_;
  std::vector<std::pair<const Tensor*, Tensor>> copies_;
  std::vector<Tensor> kept_;
  std::vector<int> slots_;
  std::int64_t work_ = 0;
  bool counts_on_card_ = false;
};

// Fills the step with all parameters of the list; false if a state is missing somewhere.
bool collect(Step& step, const py::list& parameters, const py::dict& state, const Names& names,
             const py::object* count, const Names& scalars = {}) {
  for (PyObject* parameter : std::vector<PyObject*>(
           PySequence_Fast_ITEMS(parameters.ptr()),
           PySequence_Fast_ITEMS(parameters.ptr()) + PyList_GET_SIZE(parameters.ptr())))
    if (!step.add(parameter, state, names, count, scalars)) return false;
  step.prepare();
  return true;
}

py::object interned(const char* name) {
  return py::reinterpret_steal<py::object>(PyUnicode_InternFromString(name));
}

// Adagrad, Adadelta and the kin of Adam.
void bind_adaptive(py::module_& module) {
  module.def(
      "adagrad_step",
      [sum = interned("sum"), count = interned("step")](
          const py::list& parameters, const py::dict& state, double lr, double lr_decay, double eps,
          double weight_decay, bool maximize, bool eps_in_root) {
        Step step("adagrad_step");
        if (!collect(step, parameters, state, {sum}, &count)) return false;
        step.finish(adagrad_step_kernel,
                    {step.common(lr, weight_decay, maximize), lr_decay, eps, eps_in_root});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("lr_decay"), py::arg("eps"),
      py::arg("weight_decay"), py::arg("maximize"), py::arg("eps_in_root") = false);
  module.def(
      "adadelta_step",
      [square = interned("square_avg"), moved = interned("acc_delta"), count = interned("step")](
          const py::list& parameters, const py::dict& state, double lr, double rho, double eps,
          double weight_decay, bool maximize) {
        Step step("adadelta_step");
        if (!collect(step, parameters, state, {square, moved}, &count)) return false;
        step.finish(adadelta_step_kernel, {step.common(lr, weight_decay, maximize), rho, eps});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("rho"), py::arg("eps"),
      py::arg("weight_decay"), py::arg("maximize"));
  module.def(
      "adamax_step",
      [mean = interned("exp_avg"), largest = interned("exp_inf"), count = interned("step")](
          const py::list& parameters, const py::dict& state, const Operand& lr, double beta1,
          double beta2, double eps, double weight_decay, bool maximize) {
        Step step("adamax_step");
        if (!collect(step, parameters, state, {mean, largest}, &count)) return false;
        step.finish(adamax_step_kernel,
                    {step.common(lr, weight_decay, maximize), beta1, beta2, eps});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
      py::arg("eps"), py::arg("weight_decay"), py::arg("maximize"));
  module.def(
      "nadam_step",
      [mean = interned("exp_avg"), square = interned("exp_avg_sq"), count = interned("step"),
       product = interned("mu_product")](const py::list& parameters, const py::dict& state,
                                         const Operand& lr, double beta1, double beta2, double eps,
                                         double weight_decay, double momentum_decay, bool maximize,
                                         bool decoupled) {
        Step step("nadam_step");
        if (!collect(step, parameters, state, {mean, square}, &count, {product})) return false;
        const OptimizerStep common = step.common(lr, weight_decay, maximize);
        for (std::size_t k = 0; OptimizerEntry& entry : step.entries_of_host()) {
          // The momentum grows towards beta1; its product corrects for starting at zero.
          const auto momentum = [&](double t) {
            return beta1 * (1 - 0.5 * std::pow(0.96, t * momentum_decay));
          };
          const double now = momentum(entry.step), next = momentum(entry.step + 1);
          const double so_far = step.scale_scalar(k++, 0, now);
          entry.scalar[0] = common.lr * (1 - now) / (1 - so_far);
          entry.scalar[1] = common.lr * next / (1 - so_far * next);
        }
        step.finish(nadam_step_kernel, {common, beta1, beta2, eps, decoupled, momentum_decay});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
      py::arg("eps"), py::arg("weight_decay"), py::arg("momentum_decay"), py::arg("maximize"),
      py::arg("decoupled"));
  module.def(
      "radam_step",
      [mean = interned("exp_avg"), square = interned("exp_avg_sq"), count = interned("step")](
          const py::list& parameters, const py::dict& state, const Operand& lr, double beta1,
          double beta2, double eps, double weight_decay, bool maximize, bool decoupled) {
        Step step("radam_step");
        if (!collect(step, parameters, state, {mean, square}, &count)) return false;
        step.finish(radam_step_kernel,
                    {step.common(lr, weight_decay, maximize), beta1, beta2, eps, decoupled});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
      py::arg("eps"), py::arg("weight_decay"), py::arg("maximize"), py::arg("decoupled"));
  takes_halves({"adagrad_step", "adadelta_step", "adamax_step", "nadam_step", "radam_step"});
}

// Rprop and ASGD.
void bind_others(py::module_& module) {
  module.def(
      "rprop_step",
      [before = interned("prev"), size = interned("step_size"), count = interned("step")](
          const py::list& parameters, const py::dict& state, double shrink, double grow,
          double smallest, double largest, bool maximize) {
        Step step("rprop_step");
        if (!collect(step, parameters, state, {before, size}, &count)) return false;
        step.finish(rprop_step_kernel,
                    {step.common(0, 0, maximize), shrink, grow, smallest, largest});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("shrink"), py::arg("grow"),
      py::arg("smallest"), py::arg("largest"), py::arg("maximize"));
  module.def(
      "asgd_step",
      [average = interned("ax"), count = interned("step"), eta = interned("eta"),
       mu = interned("mu")](const py::list& parameters, const py::dict& state, const Operand& lr,
                            double lambd, double alpha, double t0, double weight_decay,
                            bool maximize) {
        Step step("asgd_step");
        if (!collect(step, parameters, state, {average}, &count, {eta, mu})) return false;
        const OptimizerStep common = step.common(lr, weight_decay, maximize);
        for (std::size_t k = 0; const OptimizerEntry& entry : step.entries_of_host()) {
          const double t = entry.step, rate = common.lr;  // for the next step
          step.write_scalar(k, 0, rate / std::pow(1 + lambd * rate * t, alpha));
          step.write_scalar(k++, 1, 1 / std::max(1.0, t - t0));
        }
        step.finish(asgd_step_kernel, {common, lambd, alpha, t0});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("lambd"), py::arg("alpha"),
      py::arg("t0"), py::arg("weight_decay"), py::arg("maximize"));
  takes_halves({"rprop_step", "asgd_step"});
}

}  // namespace

// Each step returns false, having written nothing, if a parameter with a gradient lacks a state.
void bind_optimizer(py::module_& module) {
  module.def(
      "sgd_step",
      [momentum_buffer = interned("momentum_buffer")](
          const py::list& parameters, const py::dict& state, double lr, double momentum,
          double dampening, double weight_decay, bool nesterov, bool maximize) {
        Step step("sgd_step");
        const Names names = momentum != 0 ? Names{momentum_buffer} : Names{};
        if (!collect(step, parameters, state, names, nullptr)) return false;
        step.finish(sgd_step_kernel,
                    {step.common(lr, weight_decay, maximize), momentum, dampening, nesterov});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("momentum"),
      py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"), py::arg("maximize"));
  module.def(
      "adam_step",
      [mean = interned("exp_avg"), square = interned("exp_avg_sq"),
       largest = interned("max_exp_avg_sq"),
       count = interned("step")](const py::list& parameters, const py::dict& state,
                                 const Operand& lr, double beta1, double beta2, double eps,
                                 double weight_decay, bool amsgrad, bool maximize, bool decoupled) {
        Step step("adam_step");
        const Names names = amsgrad ? Names{mean, square, largest} : Names{mean, square};
        if (!collect(step, parameters, state, names, &count)) return false;
        step.finish(adam_step_kernel, {step.common(lr, weight_decay, maximize), beta1, beta2, eps,
                                       amsgrad, decoupled});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
      py::arg("eps"), py::arg("weight_decay"), py::arg("amsgrad"), py::arg("maximize"),
      py::arg("decoupled"));
  module.def(
      "rmsprop_step",
      [square = interned("square_avg"), mean = interned("grad_avg"),
       buffer = interned("momentum_buffer"), count = interned("step")](
          const py::list& parameters, const py::dict& state, double lr, double alpha, double eps,
          double weight_decay, double momentum, bool centered, bool maximize, bool eps_in_root) {
        Step step("rmsprop_step");
        Names names{square};
        std::vector<int> slots{0};
        if (centered) names.push_back(mean), slots.push_back(1);
        if (momentum > 0) names.push_back(buffer), slots.push_back(2);
        step.place(slots);
        if (!collect(step, parameters, state, names, &count)) return false;
        step.finish(rmsprop_step_kernel, {step.common(lr, weight_decay, maximize), alpha, eps,
                                          momentum, centered, eps_in_root});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("alpha"), py::arg("eps"),
      py::arg("weight_decay"), py::arg("momentum"), py::arg("centered"), py::arg("maximize"),
      py::arg("eps_in_root") = false);
  takes_halves({"sgd_step", "adam_step", "rmsprop_step"});
  bind_adaptive(module);
  bind_others(module);
}

}  // namespace tilegrad
