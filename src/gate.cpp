// The guard at the entry of the module's functions.
//
// pybind11 gives every function of the module one entry point, the address that Python calls. It is
// replaced by one that looks through the arguments first: a few compares for each.
#include "gate.h"

#include <map>
#include <set>
#include <string>

#include "default_dtype.h"

static_assert(PYBIND11_VERSION_HEX >= 0x030100F0, "functions must be METH_FASTCALL");

namespace tilegrad {
namespace {

Entry pybind_entry = nullptr;
std::set<std::string> half_names, complex_names;  // of functions that take them as they are
std::set<std::string> half_names_on_cards;        // on CUDA devices only
std::map<std::string, int> alike_names_on_cards;  // there, so many tensors of one half dtype
std::set<std::string> half_and_number_names;      // there, one half and else numbers
std::map<std::string, HalfRule> rules;
std::map<PyObject*, std::string> guarded_names;  // by the function's first argument, `self`
PyObject* complex_rules = nullptr;               // Python: a dict of functions by name

// Sets of dtypes that a function does not take as they are.
using DTypes = unsigned;
constexpr DTypes dtype_set(DType dtype) { return 1u << static_cast<int>(dtype); }
constexpr DTypes kHalves = dtype_set(DType::float16) | dtype_set(DType::bfloat16);
constexpr DTypes kComplex = dtype_set(DType::complex64) | dtype_set(DType::complex128);

// Integers too may become halves, where those are the default dtype.
bool is_in(DType dtype, DTypes set) {
  if (dtype_set(dtype) & set) return true;
  return (set & kHalves) && !is_differentiable(dtype) && is_half(declared_default_dtype());
}

// True for a tensor of such a dtype, the dtype itself, such a number, and lists that contain one.
bool concerns(PyObject* object, DTypes set) {
  PyTypeObject* type = Py_TYPE(object);
  if (type == &PyLong_Type || type == &PyFloat_Type || type == &PyBool_Type ||
      type == &PyUnicode_Type)
    return false;
  if (type == &PyTuple_Type || type == &PyList_Type) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i)
      if (concerns(PySequence_Fast_GET_ITEM(object, i), set)) return true;
    return false;
  }
  if (is_tensor(object)) return is_in(as_py(object)->tensor.dtype, set);
  if (DType dtype; is_dtype(object)) return load_dtype(object, dtype) && is_in(dtype, set);
  return (set & kComplex) && is_complex_number(object);
}

// By the rule that Python has for the function.
PyObject* call_by_rule(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  const std::string& name = guarded_names[self];
  PyObject* rule =
      complex_rules == nullptr ? nullptr : PyDict_GetItemString(complex_rules, name.c_str());
  if (rule != nullptr)
    return PyObject_Vectorcall(rule, args, static_cast<std::size_t>(count), names);
  PyErr_Format(PyExc_NotImplementedError, "%s: not implemented for complex numbers", name.c_str());
  return nullptr;
}

// What autocast computes in float32 on CUDA devices besides losses, PyTorch's list.
const std::set<std::string> kFullPrecision = {"acos",
                                              "asin",
                                              "cosh",
                                              "cross_entropy",
                                              "cross_entropy_soft",
                                              "cross_entropy_shares",
                                              "cumprod",
                                              "cumsum",
                                              "erfinv",
                                              "exp",
                                              "expm1",
                                              "group_norm",
                                              "layer_norm",
                                              "log",
                                              "log10",
                                              "log1p",
                                              "log2",
                                              "norm",
                                              "pow",
                                              "prod",
                                              "log_softmax",
                                              "rms_norm",
                                              "reciprocal",
                                              "rsqrt",
                                              "sinh",
                                              "softmax",
                                              "softplus",
                                              "sum",
                                              "tan"};
thread_local bool keeps_full_precision = false;

bool are_halves_on_cards(PyObject* const* args, Py_ssize_t total) {
  bool found = false;
  for (Py_ssize_t i = 0; i < total; ++i) {
    if (!is_tensor(args[i]) || !is_half(as_py(args[i])->tensor.dtype)) continue;
    if (as_py(args[i])->tensor.device().is_cpu()) return false;
    found = true;
  }
  return found;
}

bool are_alike_halves_on_cards(PyObject* const* args, Py_ssize_t total, int least) {
  const Tensor* first = nullptr;
  for (Py_ssize_t i = 0; i < total; ++i) {
    if (!is_tensor(args[i])) continue;
    const Tensor& x = as_py(args[i])->tensor;
    if (x.device().is_cpu()) return false;
    if (!is_floating(x.dtype)) continue;
    if (first == nullptr) first = &x;
    if (!is_half(x.dtype) || x.dtype != first->dtype) return false;
    --least;
  }
  return first != nullptr && least <= 0;
}

bool is_one_half_on_a_card(PyObject* const* args, Py_ssize_t total) {
  const Tensor* only = nullptr;
  for (Py_ssize_t i = 0; i < total; ++i) {
    if (!is_tensor(args[i])) continue;
    if (only != nullptr) return false;
    only = &as_py(args[i])->tensor;
  }
  return only != nullptr && is_half(only->dtype) && !only->device().is_cpu();
}

// Whether the function has kernels for these very arguments.
bool takes_as_they_are(const std::string& name, PyObject* const* args, Py_ssize_t total) {
  if (half_names_on_cards.count(name)) return are_halves_on_cards(args, total);
  if (half_and_number_names.count(name) && is_one_half_on_a_card(args, total)) return true;
  const auto alike = alike_names_on_cards.find(name);
  return alike != alike_names_on_cards.end() &&
         are_alike_halves_on_cards(args, total, alike->second);
}

// A call with halves: by its rule, or as autocast wants it.
PyObject* call_with_halves(PyObject* self, PyObject* const* args, Py_ssize_t total,
                           Py_ssize_t count, PyObject* names, HalfRule rule) {
  const std::string& name = guarded_names[self];
  if (keeps_full_precision && total > 0 && kFullPrecision.count(name))
    for (Py_ssize_t i = 0; i < total; ++i)
      if (is_tensor(args[i]) && !as_py(args[i])->tensor.device().is_cpu()) rule = HalfRule::keep;
  if (rule != HalfRule::keep && takes_as_they_are(name, args, total))
    return pybind_entry(self, args, count, names);
  return call_in_float32(pybind_entry, self, args, total, count, names, rule);
}

// What every call pays: the usual arguments are told apart here. (Bindings are compiled with -O1.)
template <HalfRule kRule, DTypes kGuarded>
[[gnu::optimize("O2")]] PyObject* enter(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                        PyObject* names) {
  const Py_ssize_t total = count + (names == nullptr ? 0 : PyTuple_GET_SIZE(names));
  bool found = false, found_complex = false;
  for (Py_ssize_t i = 0; i < total; ++i) {
    PyObject* object = args[i];
    if (object == Py_None || object == Py_False) continue;
    const bool concerned = Py_TYPE(object) == tensor_type
                               ? is_in(as_py(object)->tensor.dtype, kGuarded)
                               : concerns(object, kGuarded);
    if (concerned) [[unlikely]] {
      found = true;
      found_complex |= (kGuarded & kComplex) && concerns(object, kComplex);
    }
  }
  if (!found) [[likely]]
    return pybind_entry(self, args, count, names);
  if (found_complex) return call_by_rule(self, args, count, names);
  return call_with_halves(self, args, total, count, names, kRule);
}

template <DTypes kGuarded>
PyCFunction guarded_entry(HalfRule rule) {
  switch (rule) {
    case HalfRule::compare:
      return as_method(enter<HalfRule::compare, kGuarded>);
    case HalfRule::follow_input:
      return as_method(enter<HalfRule::follow_input, kGuarded>);
    case HalfRule::first_result:
      return as_method(enter<HalfRule::first_result, kGuarded>);
    case HalfRule::promote:
    case HalfRule::keep:
      break;
  }
  return as_method(enter<HalfRule::promote, kGuarded>);
}

PyMethodDef* definition_of(PyObject* function) {
  return reinterpret_cast<PyCFunctionObject*>(function)->m_ml;
}

}  // namespace

void takes_every_dtype(py::module_& module) {
  for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(module.attr("__dict__")))
    if (PyCFunction_Check(value.ptr())) takes_every_dtype({py::cast<std::string>(name).c_str()});
}

void takes_every_dtype(std::initializer_list<const char*> names) {
  takes_halves(names);
  takes_complex(names);
}

void takes_halves(std::initializer_list<const char*> names) {
  half_names.insert(names.begin(), names.end());
}

void takes_halves_on_cards(std::initializer_list<const char*> names) {
  half_names_on_cards.insert(names.begin(), names.end());
}

void takes_alike_halves_on_cards(int least, std::initializer_list<const char*> names) {
  for (const char* name : names) alike_names_on_cards[name] = least;
}

void takes_halves_beside_numbers_on_cards(std::initializer_list<const char*> names) {
  half_and_number_names.insert(names.begin(), names.end());
}

void takes_complex(std::initializer_list<const char*> names) {
  complex_names.insert(names.begin(), names.end());
}

void half_rule(HalfRule rule, std::initializer_list<const char*> names) {
  for (const char* name : names) rules[name] = rule;
}

void guard(py::module_& module) {
  pybind_entry = reinterpret_cast<Entry>(
      reinterpret_cast<void (*)()>(definition_of(module.attr("initialize").ptr())->ml_meth));
  module.def("_register_complex_rules",
             [](const py::dict& given) { complex_rules = given.inc_ref().ptr(); });
  module.def("keep_full_precision", [](bool keep) { keeps_full_precision = keep; });
  takes_every_dtype({"_register_complex_rules", "keep_full_precision"});
  for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(module.attr("__dict__"))) {
    const auto name = py::cast<std::string>(key);
    if (!PyCFunction_Check(value.ptr())) continue;
    PyMethodDef* definition = definition_of(value.ptr());
    if (definition->ml_flags != (METH_FASTCALL | METH_KEYWORDS)) continue;
    const bool halves = half_names.count(name) == 0, complex = complex_names.count(name) == 0;
    guarded_names[PyCFunction_GET_SELF(value.ptr())] = name;
    if (halves && complex) definition->ml_meth = guarded_entry<kHalves | kComplex>(rules[name]);
    else if (halves) definition->ml_meth = guarded_entry<kHalves>(rules[name]);
    else if (complex) definition->ml_meth = guarded_entry<kComplex>(HalfRule::promote);
  }
}

}  // namespace tilegrad
