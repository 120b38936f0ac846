// optimizer: checks the parameters of a group, finds gradients and states, runs one step over all.
#include "ops/optimizer.h"

#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "halves.h"

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
  bool add(PyObject* parameter, const py::dict& state, const Names& names,
           const py::object* count) {
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
      check_step(*pending.steps);
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
      if (pending.steps != nullptr) entry.step = count_step(*pending.steps);
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
  void check_step(const Tensor& steps) const {
    TILEGRAD_CHECK(steps.numel() == 1 && is_floating(steps.dtype) && !is_half(steps.dtype) &&
                       steps.device().is_cpu(),
                   runtime, op_,
                   ": expected 'step' to be a float32 or float64 CPU tensor with one element, got ",
                   info(steps.dtype).name, " of shape ", steps.shape.str());
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
  double count_step(const Tensor& steps) {
    begin_write(steps, op_);
    if (steps.dtype == DType::float32) return ++*steps.data<float>();
    return ++*steps.data<double>();
  }

  const char* op_;
  std::vector<Pending> pending_;
  std::vector<OptimizerEntry> entries_;
  std::vector<std::pair<const Tensor*, Tensor>> copies_;
  std::vector<Tensor> kept_;
  std::vector<int> slots_;
  std::int64_t work_ = 0;
};

// Fills the step with all parameters of the list; false if a state is missing somewhere.
bool collect(Step& step, const py::list& parameters, const py::dict& state, const Names& names,
             const py::object* count) {
  for (PyObject* parameter : std::vector<PyObject*>(
           PySequence_Fast_ITEMS(parameters.ptr()),
           PySequence_Fast_ITEMS(parameters.ptr()) + PyList_GET_SIZE(parameters.ptr())))
    if (!step.add(parameter, state, names, count)) return false;
  step.prepare();
  return true;
}

py::object interned(const char* name) {
  return py::reinterpret_steal<py::object>(PyUnicode_InternFromString(name));
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
       largest = interned("max_exp_avg_sq"), count = interned("step")](
          const py::list& parameters, const py::dict& state, double lr, double beta1, double beta2,
          double eps, double weight_decay, bool amsgrad, bool maximize, bool decoupled) {
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
          double weight_decay, double momentum, bool centered, bool maximize) {
        Step step("rmsprop_step");
        Names names{square};
        std::vector<int> slots{0};
        if (centered) names.push_back(mean), slots.push_back(1);
        if (momentum > 0) names.push_back(buffer), slots.push_back(2);
        step.place(slots);
        if (!collect(step, parameters, state, names, &count)) return false;
        step.finish(rmsprop_step_kernel,
                    {step.common(lr, weight_decay, maximize), alpha, eps, momentum, centered});
        return true;
      },
      py::arg("parameters"), py::arg("state"), py::arg("lr"), py::arg("alpha"), py::arg("eps"),
      py::arg("weight_decay"), py::arg("momentum"), py::arg("centered"), py::arg("maximize"));
  takes_every_dtype({"sgd_step", "adam_step", "rmsprop_step"});
}

}  // namespace tilegrad
