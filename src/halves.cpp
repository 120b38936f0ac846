// Function calls with float16 and bfloat16 arguments, computed in float32.
#include "halves.h"

#include <vector>

#include "default_dtype.h"
#include "half.h"

namespace tilegrad {
namespace {

py::object owned(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
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
    return rule_ == HalfRule::keep ? result : rounded(result);
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

}  // namespace

PyObject* call_in_float32(Entry entry, PyObject* self, PyObject* const* args, Py_ssize_t total,
                          Py_ssize_t count, PyObject* names, HalfRule rule) {
  try {
    Float32Call call(rule);
    std::vector<py::object> arguments;
    for (Py_ssize_t i = 0; i < total; ++i) arguments.push_back(call.argument(args[i]));
    call.round_numbers(arguments);
    std::vector<PyObject*> borrowed;
    for (const py::object& argument : arguments) borrowed.push_back(argument.ptr());
    const py::object result = owned(entry(self, borrowed.data(), count, names));
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

}  // namespace tilegrad
