// Function calls with float16 and bfloat16 arguments, computed in float32.
//
// pybind11 gives every function of the module one entry point, the address that Python calls. It is
// replaced by one that looks through the arguments for halves first: a few compares for each.
#include "halves.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "default_dtype.h"
#include "half.h"

static_assert(PYBIND11_VERSION_HEX >= 0x030100F0, "functions must be METH_FASTCALL");

namespace tilegrad {
namespace {

using Function = PyObject* (*)(PyObject* self, PyObject* const* args, Py_ssize_t count,
                               PyObject* names);

Function pybind_entry = nullptr;
std::set<std::string> any_dtype_names;
std::map<std::string, HalfRule> rules;

py::object owned(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

bool is_half_dtype(PyObject* object) {
  DType dtype;
  return is_dtype(object) && load_dtype(object, dtype) && is_half(dtype);
}

// Halves, and whatever an operation may turn into the default dtype if that is a half.
bool needs_float32(DType dtype) {
  return is_half(dtype) || (!is_floating(dtype) && is_half(declared_default_dtype()));
}

// True for a half tensor, a half dtype, and lists that contain one.
bool concerns_halves(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  if (type == &PyLong_Type || type == &PyFloat_Type || type == &PyBool_Type ||
      type == &PyUnicode_Type)
    return false;
  if (type == &PyTuple_Type || type == &PyList_Type) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i)
      if (concerns_halves(PySequence_Fast_GET_ITEM(object, i))) return true;
    return false;
  }
  return is_tensor(object) ? needs_float32(as_py(object)->tensor.dtype) : is_half_dtype(object);
}

// One call in float32.
class Float32Call {
 public:
  explicit Float32Call(HalfRule rule) : rule_(rule) {}

  // What the function gets in place of `object`.
  py::object argument(PyObject* object) {
    if (PyTuple_CheckExact(object) || PyList_CheckExact(object)) {
      py::list items;
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i)
        items.append(argument(PySequence_Fast_GET_ITEM(object, i)));
      return PyTuple_CheckExact(object) ? py::object(py::tuple(items)) : py::object(items);
    }
    if (is_tensor(object)) return tensor(object);
    if (DType dtype; is_dtype(object) && load_dtype(object, dtype) && is_floating(dtype)) {
      asked_ = dtype;
      if (is_half(dtype)) return owned(dtype_object(DType::float32));
    }
    return py::reinterpret_borrow<py::object>(object);
  }

  // A number compares with a half as a half: known once all arguments have been seen.
  void round_numbers(std::vector<py::object>& arguments) const {
    const DType dtype = result_dtype();
    if (rule_ != HalfRule::compare || !is_half(dtype)) return;
    for (py::object& argument : arguments)
      if (PyFloat_Check(argument.ptr())) {
        const auto number = static_cast<float>(PyFloat_AS_DOUBLE(argument.ptr()));
        argument =
            py::float_(dtype == DType::float16 ? float(Half(number)) : float(BFloat16(number)));
      }
  }

  // Rounds written arguments back, then the results.
  py::object finish(const py::object& result) {
    for (const Converted& each : converted_) {
      const Tensor &original = as_py(each.original.ptr())->tensor,
                   &copy = as_py(each.copy.ptr())->tensor;
      if (copy.storage->version == 0) continue;
      begin_write(original, "in-place operation");
      copy_into(original, copy);
    }
    return rounded(result);
  }

 private:
  struct Converted {
    py::object original, copy;
  };

  py::object tensor(PyObject* object) {
    const Tensor& x = as_py(object)->tensor;
    if (is_floating(x.dtype) && (follows_promotion() || !any_floating_)) {
      type_.add(x);
      any_floating_ = true;
    }
    auto original = py::reinterpret_borrow<py::object>(object);
    if (!is_half(x.dtype)) return original;
    converted_.push_back({original, owned(wrap(to_dtype(x, DType::float32)))});
    return converted_.back().copy;
  }

  bool follows_promotion() const {
    return rule_ == HalfRule::promote || rule_ == HalfRule::compare;
  }

  DType result_dtype() const {
    return asked_ ? *asked_ : any_floating_ ? type_.get() : declared_default_dtype();
  }

  py::object rounded(const py::object& result) const {
    if (PyTuple_CheckExact(result.ptr())) {
      py::tuple items(py::len(result));
      for (std::size_t i = 0; i < items.size(); ++i) {
        const py::object item = result[py::int_(i)];
        items[i] = i > 0 && rule_ == HalfRule::first_result ? item : rounded(item);
      }
      return items;
    }
    if (!is_tensor(result.ptr())) return result;
    const PyTensor* y = as_py(result.ptr());
    // A view of a converted argument would be cut off from the tensor that the caller knows.
    TILEGRAD_CHECK(y->base == nullptr, not_implemented,
                   "this view is not supported for dtype float16 or bfloat16");
    const DType dtype = result_dtype();
    if (!is_half(dtype) || y->tensor.dtype != DType::float32) return result;
    return owned(wrap(to_dtype(y->tensor, dtype)));
  }

  HalfRule rule_;
  std::vector<Converted> converted_;
  ResultType type_;  // of the floating arguments
  bool any_floating_ = false;
  std::optional<DType> asked_;  // by a dtype argument
};

PyObject* call_in_float32(PyObject* self, PyObject* const* args, Py_ssize_t total,
                          Py_ssize_t positional, PyObject* names, HalfRule rule) {
  try {
    Float32Call call(rule);
    std::vector<py::object> arguments;
    for (Py_ssize_t i = 0; i < total; ++i) arguments.push_back(call.argument(args[i]));
    call.round_numbers(arguments);
    std::vector<PyObject*> borrowed;
    for (const py::object& argument : arguments) borrowed.push_back(argument.ptr());
    const py::object result = owned(pybind_entry(self, borrowed.data(), positional, names));
    return call.finish(result).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const Error& error) {
    set_python_error(error);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

// What every call pays: the usual arguments are told apart here. (Bindings are compiled with -O1.)
template <HalfRule kRule>
[[gnu::optimize("O2")]] PyObject* enter(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                        PyObject* names) {
  const Py_ssize_t total = count + (names == nullptr ? 0 : PyTuple_GET_SIZE(names));
  for (Py_ssize_t i = 0; i < total; ++i) {
    PyObject* object = args[i];
    if (object == Py_None || object == Py_False) continue;
    const bool found = Py_TYPE(object) == tensor_type ? needs_float32(as_py(object)->tensor.dtype)
                                                      : concerns_halves(object);
    if (found) [[unlikely]]
      return call_in_float32(self, args, total, count, names, kRule);
  }
  return pybind_entry(self, args, count, names);
}

PyCFunction entry_of(HalfRule rule) {
  switch (rule) {
    case HalfRule::compare:
      return as_method(enter<HalfRule::compare>);
    case HalfRule::follow_input:
      return as_method(enter<HalfRule::follow_input>);
    case HalfRule::first_result:
      return as_method(enter<HalfRule::first_result>);
    case HalfRule::promote:
      break;
  }
  return as_method(enter<HalfRule::promote>);
}

PyMethodDef* definition_of(PyObject* function) {
  return reinterpret_cast<PyCFunctionObject*>(function)->m_ml;
}

}  // namespace

void takes_every_dtype(py::module_& module) {
  for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(module.attr("__dict__")))
    if (PyCFunction_Check(value.ptr())) any_dtype_names.insert(py::cast<std::string>(name));
}

void takes_every_dtype(std::initializer_list<const char*> names) {
  any_dtype_names.insert(names.begin(), names.end());
}

void half_rule(HalfRule rule, std::initializer_list<const char*> names) {
  for (const char* name : names) rules[name] = rule;
}

void accept_halves(py::module_& module) {
  pybind_entry = reinterpret_cast<Function>(
      reinterpret_cast<void (*)()>(definition_of(module.attr("initialize").ptr())->ml_meth));
  for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(module.attr("__dict__"))) {
    const auto name = py::cast<std::string>(key);
    if (!PyCFunction_Check(value.ptr()) || any_dtype_names.count(name)) continue;
    PyMethodDef* definition = definition_of(value.ptr());
    if (definition->ml_flags == (METH_FASTCALL | METH_KEYWORDS))
      definition->ml_meth = entry_of(rules[name]);
  }
}

}  // namespace tilegrad
