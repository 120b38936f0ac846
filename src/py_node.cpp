// Recording: needs_grad, record, and the node type with its version-checked saved tensors.
//
// The engine that walks these nodes is Python (tilegrad/autograd/engine.py). Only what every
// recorded op pays for is here.
#include "py_node.h"

#include <structmember.h>

#include "../cuda/runtime.h"
#include "bind.h"

namespace tilegrad {

PyTypeObject* node_type = nullptr;

namespace {

std::uint64_t next_sequence = 1;     // GIL held
PyObject* view_refresher = nullptr;  // Python: tilegrad.autograd.views.regenerate(view)
PyObject* complex_rule = nullptr;    // Python: tilegrad.autograd.conjugation.conjugated(backward)

PyNode* as_node(PyObject* object) { return reinterpret_cast<PyNode*>(object); }

void release_saved(PyNode* node) {
  Py_CLEAR(node->saved);
  PyMem_Free(node->saved_info);
  node->saved_info = nullptr;
}

int node_traverse(PyObject* self, visitproc visit, void* arg) {
  PyNode* node = as_node(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(node->backward);
  Py_VISIT(node->saved);
  Py_VISIT(node->context);
  for (std::uint32_t i = 0; i < node->edge_count; ++i) Py_VISIT(node->edges[i].target);
  return 0;
}

int node_clear(PyObject* self) {
  PyNode* node = as_node(self);
  Py_CLEAR(node->backward);
  Py_CLEAR(node->context);
  release_saved(node);
  const std::uint32_t count = node->edge_count;
  node->edge_count = 0;
  for (std::uint32_t i = 0; i < count; ++i) Py_CLEAR(node->edges[i].target);
  return 0;
}

void node_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  Py_TRASHCAN_BEGIN(self, node_dealloc) node_clear(self);
  PyMem_Free(as_node(self)->edges);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

// Fills one edge from an input of the op; non-tensors and tensors without gradient leave it empty.
bool set_edge(Edge& edge, PyObject* input) {
  if (!is_tensor(input)) return true;
  PyTensor* x = as_py(input);
  if (!refresh_view(x)) return false;
  if (!x->requires_grad) return true;
  edge.target = Py_NewRef(x->grad_fn ? x->grad_fn : input);
  edge.output_nr = x->output_nr;
  edge.dtype = x->tensor.dtype;
  edge.device = x->tensor.device();
  edge.shape = x->tensor.shape;
  return true;
}

// Keeps the saved values with their versions. An output is saved as an alias without history: the
// node would otherwise own a tensor that owns the node.
bool set_saved(PyNode* node, PyObject* saved, PyObject* const* outputs, Py_ssize_t output_count) {
  const Py_ssize_t count = PyTuple_GET_SIZE(saved);
  node->saved_count = static_cast<std::uint32_t>(count);
  node->saved = PyTuple_New(count);
  node->saved_info =
      static_cast<SavedInfo*>(PyMem_Calloc(static_cast<std::size_t>(count), sizeof(SavedInfo)));
  if (node->saved == nullptr || node->saved_info == nullptr) return false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(saved, i);
    if (!is_tensor(item)) {
      PyTuple_SET_ITEM(node->saved, i, Py_NewRef(item));
      continue;
    }
    if (as_py(item)->is_inference) {
      PyErr_SetString(PyExc_RuntimeError,
                      "Inference tensors cannot be saved for backward. To work around you can make "
                      "a clone to get a normal tensor and use it in autograd.");
      return false;
    }
    SavedInfo& info = node->saved_info[i];
    info.version = as_py(item)->tensor.storage->version;
    for (Py_ssize_t k = 0; k < output_count; ++k) info.is_output |= outputs[k] == item;
    if (info.is_output) {
      node->saves_output = true;
      PyObject* alias = wrap(Tensor(as_py(item)->tensor));
      if (alias == nullptr) return false;
      as_py(alias)->output_nr = as_py(item)->output_nr;
      PyTuple_SET_ITEM(node->saved, i, alias);
    } else {
      PyTuple_SET_ITEM(node->saved, i, Py_NewRef(item));
    }
  }
  return true;
}

// The gradient of an op with a complex result goes by way of its conjugate.
bool set_complex_backward(PyNode* node) {
  PyObject* rule = PyObject_CallOneArg(complex_rule, node->backward);
  if (rule != nullptr) Py_SETREF(node->backward, rule);
  return rule != nullptr;
}

void set_stream(PyNode* node, Device device) {
  if (device.is_cpu()) return;
  node->card = device.index;
  node->stream = cuda::current_stream(device.index);
}

// record(output or tuple of outputs, backward, inputs, saved=()) -> node
PyObject* record(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count < 3 || count > 4 || !PyTuple_Check(args[2]) ||
      (count == 4 && !PyTuple_Check(args[3]))) {
    PyErr_SetString(PyExc_TypeError, "record: expected (output, backward, inputs[, saved])");
    return nullptr;
  }
  PyObject* self = node_type->tp_alloc(node_type, 0);
  if (self == nullptr) return nullptr;
  PyNode* node = as_node(self);
  const auto fail = [self]() -> PyObject* {
    Py_DECREF(self);
    return nullptr;
  };
  node->backward = Py_NewRef(args[1]);
  node->card = -1;

  const auto inputs = static_cast<std::size_t>(PyTuple_GET_SIZE(args[2]));
  node->edges = static_cast<Edge*>(PyMem_Malloc(sizeof(Edge) * (inputs ? inputs : 1)));
  if (node->edges == nullptr) return fail();
  for (std::size_t i = 0; i < inputs; ++i) node->edges[i].target = nullptr;
  node->edge_count = static_cast<std::uint32_t>(inputs);
  for (std::size_t i = 0; i < inputs; ++i)
    if (!set_edge(node->edges[i], PyTuple_GET_ITEM(args[2], static_cast<Py_ssize_t>(i))))
      return fail();
  node->sequence = next_sequence++;  // after the edges: a refreshed view gets a node, an older one

  PyObject* const* outputs = args;
  Py_ssize_t output_count = 1;
  if (PyTuple_Check(args[0])) {
    outputs = &PyTuple_GET_ITEM(args[0], 0);
    output_count = PyTuple_GET_SIZE(args[0]);
  }
  node->output_count = static_cast<std::uint32_t>(output_count);
  for (Py_ssize_t k = 0; k < output_count; ++k)
    if (is_tensor(outputs[k])) as_py(outputs[k])->output_nr = static_cast<std::uint32_t>(k);
  if (count == 4 && PyTuple_GET_SIZE(args[3]) > 0 &&
      !set_saved(node, args[3], outputs, output_count))
    return fail();
  bool has_complex = false;
  for (Py_ssize_t k = 0; k < output_count; ++k) {
    // None or an integer tensor stands for an output without gradient.
    if (!is_tensor(outputs[k]) || !is_differentiable(as_py(outputs[k])->tensor.dtype)) continue;
    PyTensor* y = as_py(outputs[k]);
    has_complex |= is_complex(y->tensor.dtype);
    set_stream(node, y->tensor.device());
    Py_XSETREF(y->grad_fn, Py_NewRef(self));
    y->requires_grad = true;
    y->view_version = y->tensor.storage->version;
    y->is_untracked_view = false;  // a custom function's: made without recording, now recorded
  }
  if (has_complex && !set_complex_backward(node)) return fail();
  return self;
}

PyObject* needs_grad(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (grad_enabled) {
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!is_tensor(args[i])) continue;
      if (!refresh_view(as_py(args[i]))) return nullptr;
      if (as_py(args[i])->requires_grad) Py_RETURN_TRUE;
    }
  }
  Py_RETURN_FALSE;
}

// Refuses writes that recorded operations would miss. False with a Python error set.
bool check_write(const PyTensor* x) {
  if (x->is_inference && !inference_mode) {
    PyErr_SetString(PyExc_RuntimeError,
                    "Inplace update to inference tensor outside InferenceMode is not allowed. You "
                    "can make a clone to get a normal tensor before doing inplace update.");
    return false;
  }
  if (grad_enabled && x->is_untracked_view && as_py(x->base)->requires_grad) {
    PyErr_SetString(PyExc_RuntimeError,
                    "A view was created in no_grad mode and is being modified inplace with grad "
                    "mode enabled. Move both inside the no_grad block if the write should not be "
                    "recorded, or both outside if it should.");
    return false;
  }
  return true;
}

// needs_grad_in_place(written, *others): needs_grad for an op that writes to its first argument.
PyObject* needs_grad_in_place(PyObject* module, PyObject* const* args, Py_ssize_t count) {
  if (count > 0 && is_tensor(args[0]) && !check_write(as_py(args[0]))) return nullptr;
  return needs_grad(module, args, count);
}

// While a node is differentiated for autograd.grad, which of its inputs lead to what was asked for.
thread_local PyObject* limited_node = nullptr;  // borrowed
thread_local std::uint64_t limited_needs = 0;   // bit i: input i

// limit_needs(node, bits): until the next call, node.needs(i) is bit i. limit_needs(None, 0): ends.
PyObject* limit_needs(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 2 || !PyLong_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "limit_needs: expected (node, bits)");
    return nullptr;
  }
  limited_node = args[0];
  limited_needs = PyLong_AsUnsignedLongLongMask(args[1]);
  Py_RETURN_NONE;
}

// needs(i): does input i want a gradient?
PyObject* node_needs(PyObject* self, PyObject* index) {
  const Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i < 0 || i >= static_cast<Py_ssize_t>(as_node(self)->edge_count)) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "Node.needs: no such input");
    return nullptr;
  }
  if (self == limited_node && i < 64 && !(limited_needs >> i & 1)) Py_RETURN_FALSE;
  return PyBool_FromLong(as_node(self)->edges[i].target != nullptr);
}

// edge(i) -> (target, output_nr), or None
PyObject* node_edge(PyObject* self, PyObject* index) {
  const Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i < 0 || i >= static_cast<Py_ssize_t>(as_node(self)->edge_count)) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "Node.edge: no such input");
    return nullptr;
  }
  const Edge& edge = as_node(self)->edges[i];
  if (edge.target == nullptr) Py_RETURN_NONE;
  return Py_BuildValue("(OI)", edge.target, edge.output_nr);
}

// expected(i) -> (shape, dtype, device) of input i, and so of its gradient; None if it wants none
PyObject* node_expected(PyObject* self, PyObject* index) {
  const Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i < 0 || i >= static_cast<Py_ssize_t>(as_node(self)->edge_count)) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "Node.expected: no such input");
    return nullptr;
  }
  const Edge& edge = as_node(self)->edges[i];
  if (edge.target == nullptr) Py_RETURN_NONE;
  return Py_BuildValue("(NNN)", size_object(edge.shape), dtype_object(edge.dtype),
                       py::cast(edge.device).release().ptr());
}

PyObject* stale_error(PyNode* node, Py_ssize_t i) {
  const Tensor& x = as_py(PyTuple_GET_ITEM(node->saved, i))->tensor;
  PyObject* name = PyObject_GetAttrString(node->backward, "__name__");
  PyErr_Format(
      PyExc_RuntimeError,
      "one of the variables needed for gradient computation has been modified by an inplace "
      "operation: the tensor of shape %s saved by %S (value %zd) is at version %u; expected "
      "version %u instead. Clone it before writing to it, or use the out-of-place "
      "operation.",
      x.shape.str().c_str(), name ? name : Py_None, i, x.storage->version,
      node->saved_info[i].version);
  Py_XDECREF(name);
  return nullptr;
}

// The saved values, after checking that nothing wrote to them. While gradients are recorded a saved
// output is handed out with its place in the graph restored, so that backward itself is
// differentiable.
PyObject* get_saved(PyObject* self, void*) {
  PyNode* node = as_node(self);
  if (node->saved == nullptr) {
    if (node->saved_count == 0) return PyTuple_New(0);
    PyErr_SetString(PyExc_RuntimeError,
                    "Trying to backward through the graph a second time (or directly access saved "
                    "tensors after they have already been freed). Specify retain_graph=True if you "
                    "need to backward through the graph a second time.");
    return nullptr;
  }
  for (std::uint32_t i = 0; i < node->saved_count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(node->saved, i);
    if (is_tensor(item) && as_py(item)->tensor.storage->version != node->saved_info[i].version)
      return stale_error(node, i);
  }
  if (!node->saves_output || !grad_enabled) return Py_NewRef(node->saved);
  PyObject* values = PyTuple_New(node->saved_count);
  for (std::uint32_t i = 0; values != nullptr && i < node->saved_count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(node->saved, i);
    if (!node->saved_info[i].is_output) {
      PyTuple_SET_ITEM(values, i, Py_NewRef(item));
      continue;
    }
    PyObject* output = wrap(Tensor(as_py(item)->tensor));
    if (output == nullptr) {
      Py_CLEAR(values);
      break;
    }
    if (is_differentiable(as_py(item)->tensor.dtype)) {
      as_py(output)->grad_fn = Py_NewRef(self);
      as_py(output)->requires_grad = true;
    }
    as_py(output)->output_nr = as_py(item)->output_nr;
    PyTuple_SET_ITEM(values, i, output);
  }
  return values;
}

// replace_saved(old, new): an in-place op keeps a copy of the value it is about to overwrite.
PyObject* node_replace_saved(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  PyNode* node = as_node(self);
  if (count != 2 || !is_tensor(args[0]) || !PyCallable_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "Node.replace_saved: expected (tensor, function)");
    return nullptr;
  }
  for (std::uint32_t i = 0; node->saved != nullptr && i < node->saved_count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(node->saved, i);
    if (!is_tensor(item) || node->saved_info[i].is_output ||
        as_py(item)->tensor.storage.get() != as_py(args[0])->tensor.storage.get())
      continue;
    PyObject* copy = PyObject_CallOneArg(args[1], item);
    if (copy == nullptr) return nullptr;
    node->saved_info[i].version = as_py(copy)->tensor.storage->version;
    PyTuple_SET_ITEM(node->saved, i, copy);
    Py_DECREF(item);
  }
  Py_RETURN_NONE;
}

PyObject* node_release(PyObject* self, PyObject*) {
  release_saved(as_node(self));
  Py_RETURN_NONE;
}

PyObject* get_edge_count(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(as_node(self)->edge_count);
}
PyObject* get_released(PyObject* self, void*) {
  return PyBool_FromLong(as_node(self)->saved == nullptr && as_node(self)->saved_count > 0);
}

PyMethodDef node_methods[] = {
    {"needs", node_needs, METH_O, nullptr},
    {"edge", node_edge, METH_O, nullptr},
    {"expected", node_expected, METH_O, nullptr},
    {"replace_saved", as_method(node_replace_saved), METH_FASTCALL, nullptr},
    {"release", node_release, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyMemberDef node_members[] = {
    {"backward", T_OBJECT, offsetof(PyNode, backward), READONLY, nullptr},
    {"context", T_OBJECT, offsetof(PyNode, context), 0, nullptr},
    {"sequence", T_ULONGLONG, offsetof(PyNode, sequence), READONLY, nullptr},
    {"output_count", T_UINT, offsetof(PyNode, output_count), READONLY, nullptr},
    {"card", T_INT, offsetof(PyNode, card), READONLY, nullptr},
    {"stream", T_ULONGLONG, offsetof(PyNode, stream), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef node_attributes[] = {{"saved", get_saved, nullptr, nullptr, nullptr},
                                 {"edge_count", get_edge_count, nullptr, nullptr, nullptr},
                                 {"released", get_released, nullptr, nullptr, nullptr},
                                 {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot node_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
                            {Py_tp_traverse, reinterpret_cast<void*>(node_traverse)},
                            {Py_tp_clear, reinterpret_cast<void*>(node_clear)},
                            {Py_tp_methods, node_methods},
                            {Py_tp_members, node_members},
                            {Py_tp_getset, node_attributes},
                            {0, nullptr}};

PyType_Spec node_spec = {"tilegrad._C.Node", sizeof(PyNode), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
                             Py_TPFLAGS_DISALLOW_INSTANTIATION,
                         node_slots};

PyMethodDef functions[] = {
    {"needs_grad", as_method(needs_grad), METH_FASTCALL,
     "needs_grad(*inputs): True if gradients are enabled and one of the tensors requires one."},
    {"needs_grad_in_place", as_method(needs_grad_in_place), METH_FASTCALL,
     "needs_grad(written, *others), which also refuses writes that the graph would miss."},
    {"limit_needs", as_method(limit_needs), METH_FASTCALL,
     "limit_needs(node, bits): until the next call, node.needs(i) is bit i."},
    {"record", as_method(record), METH_FASTCALL,
     "record(output, backward, inputs, saved=()): makes output the result of a differentiable op."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool refresh_view(PyTensor* x) {
  if (x->base == nullptr || x->view_version == x->tensor.storage->version) return true;
  if (x->is_untracked_view) return true;
  const std::uint32_t seen = std::exchange(x->view_version, x->tensor.storage->version);
  if (!as_py(x->base)->requires_grad) return true;
  PyObject* done = PyObject_CallOneArg(view_refresher, reinterpret_cast<PyObject*>(x));
  Py_XDECREF(done);
  if (done == nullptr) x->view_version = seen;
  return done != nullptr;
}

void bind_node(py::module_& module) {
  node_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&node_spec));
  if (node_type == nullptr || PyModule_AddFunctions(module.ptr(), functions) != 0)
    throw py::error_already_set();
  module.add_object("Node", reinterpret_cast<PyObject*>(node_type));
  module.def("_register_node", [](py::type node, py::function refresher, py::function rule) {
    node_type = reinterpret_cast<PyTypeObject*>(node.release().ptr());
    view_refresher = refresher.release().ptr();
    complex_rule = rule.release().ptr();
  });
}

}  // namespace tilegrad
