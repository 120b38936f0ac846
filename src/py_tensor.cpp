// _C.TensorBase: creation, destruction and the attributes that must be fast.
#include "py_tensor.h"

#include <structmember.h>

#include "bind.h"
#include "order.h"
#include "py_buffer.h"
#include "py_node.h"

namespace tilegrad {

PyTypeObject* tensor_base_type = nullptr;
PyTypeObject* tensor_type = nullptr;
thread_local bool grad_enabled = true;
thread_local bool inference_mode = false;

namespace {

PyTypeObject* size_type = nullptr;  // tilegrad.Size, a tuple

PyObject* none_if_null(PyObject* object) { return Py_NewRef(object ? object : Py_None); }

int tensor_traverse(PyObject* self, visitproc visit, void* arg) {
  PyTensor* x = as_py(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(x->dict);
  Py_VISIT(x->grad);
  Py_VISIT(x->grad_fn);
  Py_VISIT(x->base);
  Py_VISIT(x->hooks);
  return 0;
}

int tensor_clear(PyObject* self) {
  PyTensor* x = as_py(self);
  Py_CLEAR(x->dict);
  Py_CLEAR(x->grad);
  Py_CLEAR(x->grad_fn);
  Py_CLEAR(x->base);
  Py_CLEAR(x->hooks);
  return 0;
}

// Long graphs are chains tensor -> node -> tensor -> ...; the trashcan keeps their destruction from
// recursing once per link.
void tensor_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  Py_TRASHCAN_BEGIN(self, tensor_dealloc) if (as_py(self)->weakrefs) PyObject_ClearWeakRefs(self);
  tensor_clear(self);
  as_py(self)->tensor.~Tensor();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

// TensorBase(other): shares other's storage. Python subclasses such as nn.Parameter start here.
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject*) {
  if (PyTuple_GET_SIZE(args) < 1 || !is_tensor(PyTuple_GET_ITEM(args, 0))) {
    PyErr_Format(PyExc_TypeError, "%s: expected a tensor as the first argument", type->tp_name);
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  new (&as_py(self)->tensor) Tensor(as_py(PyTuple_GET_ITEM(args, 0))->tensor);
  return self;
}

PyObject* get_shape(PyObject* self, void*) { return size_object(as_py(self)->tensor.shape); }
PyObject* get_dtype(PyObject* self, void*) { return dtype_object(as_py(self)->tensor.dtype); }
PyObject* get_device(PyObject* self, void*) {
  return py::cast(as_py(self)->tensor.device()).release().ptr();
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(as_py(self)->tensor.ndim()); }
PyObject* get_version(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(as_py(self)->tensor.storage->version);
}
PyObject* get_base(PyObject* self, void*) { return none_if_null(as_py(self)->base); }
PyObject* get_grad(PyObject* self, void*) { return none_if_null(as_py(self)->grad); }
PyObject* get_hooks(PyObject* self, void*) { return none_if_null(as_py(self)->hooks); }

int set_reference(PyObject*& slot, PyObject* value) {
  PyObject* fresh = value == nullptr || value == Py_None ? nullptr : Py_NewRef(value);
  Py_XSETREF(slot, fresh);
  return 0;
}
int set_grad(PyObject* self, PyObject* value, void*) {
  return set_reference(as_py(self)->grad, value);
}
int set_hooks(PyObject* self, PyObject* value, void*) {
  return set_reference(as_py(self)->hooks, value);
}

PyObject* get_grad_fn(PyObject* self, void*) {
  if (!refresh_view(as_py(self))) return nullptr;
  return none_if_null(as_py(self)->grad_fn);
}
PyObject* get_requires_grad(PyObject* self, void*) {
  if (!refresh_view(as_py(self))) return nullptr;
  return PyBool_FromLong(as_py(self)->requires_grad);
}
PyObject* get_is_leaf(PyObject* self, void*) {
  if (!refresh_view(as_py(self))) return nullptr;
  return PyBool_FromLong(as_py(self)->grad_fn == nullptr);
}
PyObject* get_output_nr(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(as_py(self)->output_nr);
}

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(PyTensor, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
    {"_requires_grad", T_BOOL, offsetof(PyTensor, requires_grad), 0, nullptr},
    {"_is_inference", T_BOOL, offsetof(PyTensor, is_inference), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef tensor_attributes[] = {
    {"shape", get_shape, nullptr, "The sizes, outermost first: a tilegrad.Size.", nullptr},
    {"dtype", get_dtype, nullptr, "The element type, such as tilegrad.float32.", nullptr},
    {"device", get_device, nullptr, "Where the elements live: a tilegrad.device.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"_version", get_version, nullptr, "How many in-place writes its storage has seen.", nullptr},
    {"_base", get_base, nullptr, "The tensor that this one is a view of, or None.", nullptr},
    {"_grad", get_grad, set_grad, nullptr, nullptr},
    {"_grad_hooks", get_hooks, set_hooks, nullptr, nullptr},
    {"grad_fn", get_grad_fn, nullptr, "The node that produced this tensor; None for leaves.",
     nullptr},
    {"_get_requires_grad", get_requires_grad, nullptr, nullptr, nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Whether no recorded operation produced this tensor.",
     nullptr},
    {"output_nr", get_output_nr, nullptr, "Which output of grad_fn this tensor is.", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot tensor_slots[] = {{Py_tp_new, reinterpret_cast<void*>(tensor_new)},
                              {Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
                              {Py_tp_traverse, reinterpret_cast<void*>(tensor_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(tensor_clear)},
                              {Py_tp_members, members},
                              {Py_tp_getset, tensor_attributes},
                              {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                              {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
                              {0, nullptr}};

PyType_Spec tensor_spec = {"tilegrad._C.TensorBase", sizeof(PyTensor), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                           tensor_slots};

}  // namespace

PyObject* wrap(Tensor&& tensor) {
  PyObject* self = tensor_type->tp_alloc(tensor_type, 0);  // zero-filled
  if (self == nullptr) return nullptr;
  new (&as_py(self)->tensor) Tensor(std::move(tensor));
  as_py(self)->is_inference = inference_mode;
  return self;
}

py::object wrap_view(PyTensor* x, Tensor&& tensor) {
  PyObject* self = wrap(std::move(tensor));
  if (self == nullptr) throw py::error_already_set();
  as_py(self)->base = Py_NewRef(x->base ? x->base : reinterpret_cast<PyObject*>(x));
  as_py(self)->view_version = x->tensor.storage->version;
  as_py(self)->is_untracked_view = !grad_enabled || x->is_untracked_view;
  as_py(self)->is_inference = x->is_inference;
  return py::reinterpret_steal<py::object>(self);
}

PyObject* size_object(const Dims& dims) {
  PyObject* tuple = size_type->tp_alloc(size_type, dims.n);
  if (tuple == nullptr) return nullptr;
  for (int d = 0; d < dims.n; ++d) PyTuple_SET_ITEM(tuple, d, PyLong_FromLongLong(dims[d]));
  return tuple;
}

bool is_exclusive(const Tensor& x) {
  return x.storage->references.load() == 1 && x.storage->capacity > 0 && is_dense(x);
}

// The same memory under a version counter of its own.
static Tensor hidden_alias(const Tensor& x) {
  StorageRef alias(new Storage);
  alias->data = x.storage->data;
  alias->bytes = x.storage->bytes;
  alias->device = x.storage->device;
  alias->writable = x.storage->writable;
  alias->owner = new StorageRef(x.storage);
  alias->release_owner = [](void* owner) { delete static_cast<StorageRef*>(owner); };
  Tensor y = x;
  y.storage = std::move(alias);
  return y;
}

void begin_write(const Tensor& x, const char* op) {
  TILEGRAD_CHECK(x.storage->writable, runtime, op,
                 ": the tensor shares read-only memory and cannot be modified in place");
  TILEGRAD_CHECK(!has_internal_overlap(x), runtime, op,
                 ": several elements of the expanded tensor of shape ", x.shape.str(),
                 " share one memory location; clone() it before writing in place");
  ++x.storage->version;
}

void bind_tensor(py::module_& module) {
  tensor_base_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&tensor_spec));
  if (tensor_base_type == nullptr) throw py::error_already_set();
  tensor_type = tensor_base_type;
  module.add_object("TensorBase", reinterpret_cast<PyObject*>(tensor_base_type));
  module.def(
      "_register_types",
      [](py::type tensor, py::type size) {
        tensor_type = reinterpret_cast<PyTypeObject*>(tensor.release().ptr());
        size_type = reinterpret_cast<PyTypeObject*>(size.release().ptr());
      },
      "Tells the bindings which Python classes to create: tilegrad.Tensor and tilegrad.Size.");
  module.def("can_cast", &can_cast);
  module.def(
      "may_become_grad",
      [](const Tensor& grad, const Tensor& leaf) {
        return is_exclusive(grad) && lies_in_order(grad, leaf);
      },
      "True if nobody else can reach the memory of grad and it lies as the leaf does.");
  module.def(
      "adopt_history",
      [](PyTensor* x, PyTensor* result) {
        Py_XSETREF(x->grad_fn, result->grad_fn ? Py_NewRef(result->grad_fn) : nullptr);
        x->output_nr = result->output_nr;
        x->requires_grad = result->requires_grad;
      },
      "x takes the place of result in the graph.");
  module.def("data", &hidden_alias, "x's memory; writes through the result are not counted.");
  module.def(
      "set_data",
      [](PyTensor* x, const Tensor& value) {
        TILEGRAD_CHECK(is_differentiable(value.dtype) || !x->requires_grad, runtime,
                       "data set to a tensor that requires gradients must be floating point dtype");
        x->tensor = value;
      },
      "x shows value's memory from now on.");
  module.def("is_grad_enabled", [] { return grad_enabled; });
  module.def("set_grad_enabled", [](bool enabled) { grad_enabled = enabled; });
  module.def("is_inference_mode_enabled", [] { return inference_mode; });
  module.def("set_inference_mode", [](bool enabled) { inference_mode = enabled; });
}

}  // namespace tilegrad
