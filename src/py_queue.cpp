// The queue of a backward pass: nodes that have received gradients, the youngest first.
//
// tilegrad/autograd/engine.py runs the pass and says why youngest first is right. Here is what each
// edge of the graph costs: finding the slot of its target, checking shape and dtype, summing.
#include "py_queue.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "bind.h"

namespace tilegrad {
namespace {

PyTypeObject* queue_type = nullptr;

struct Pending {
  PyNode* node;         // owned
  PyObject* gradients;  // owned list: the gradient of each output of the node so far, or None
};

bool older(const Pending& a, const Pending& b) { return a.node->sequence < b.node->sequence; }

struct PyQueue {
  PyObject_HEAD PyObject*
      fit;        // Python: fit(node, i, gradient) -> gradient of input i's shape, dtype, device
  PyObject* add;  // Python: the sum of two gradients, recorded if recording is on
  PyObject* add_in_place;
  PyObject* leaves;  // dict: leaf tensor -> its gradient so far
  std::vector<Pending> heap;
  std::unordered_map<PyObject*, PyObject*> gradients_of;  // node -> its list in the heap, borrowed
};

PyQueue* as_queue(PyObject* object) { return reinterpret_cast<PyQueue*>(object); }

// GradientQueue(fit, add, add_in_place)
PyObject* queue_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *fit, *add, *add_in_place;
  if (!PyArg_ParseTuple(args, "OOO:GradientQueue", &fit, &add, &add_in_place)) return nullptr;
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  PyQueue* queue = as_queue(self);
  new (&queue->heap) std::vector<Pending>();
  new (&queue->gradients_of) std::unordered_map<PyObject*, PyObject*>();
  queue->fit = Py_NewRef(fit);
  queue->add = Py_NewRef(add);
  queue->add_in_place = Py_NewRef(add_in_place);
  queue->leaves = PyDict_New();
  if (queue->leaves == nullptr) {
    Py_DECREF(self);
    return nullptr;
  }
  return self;
}

// Nothing that the queue owns can own the queue, so it takes no part in garbage collection.
void queue_dealloc(PyObject* self) {
  PyQueue* queue = as_queue(self);
  for (const Pending& pending : queue->heap) {
    Py_DECREF(pending.node);
    Py_DECREF(pending.gradients);
  }
  queue->heap.~vector();
  queue->gradients_of.~unordered_map();
  Py_XDECREF(queue->fit);
  Py_XDECREF(queue->add);
  Py_XDECREF(queue->add_in_place);
  Py_XDECREF(queue->leaves);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

// known + grad, a new reference. A buffer that only this queue can reach is added to in place.
PyObject* joined_gradient(PyQueue* queue, PyObject* known, PyObject* grad) {
  PyObject* operands[] = {known, grad};
  const bool ours = !grad_enabled && Py_REFCNT(known) == 1 && is_exclusive(as_py(known)->tensor);
  if (!ours) return PyObject_Vectorcall(queue->add, operands, 2, nullptr);
  Py_INCREF(known);
  PyObject* done = PyObject_Vectorcall(queue->add_in_place, operands, 2, nullptr);
  if (done == nullptr) Py_CLEAR(known);
  Py_XDECREF(done);
  return known;
}

bool deliver_to_leaf(PyQueue* queue, PyObject* leaf, PyObject* grad) {
  PyObject* known = PyDict_GetItemWithError(queue->leaves, leaf);
  if (known == nullptr) return !PyErr_Occurred() && PyDict_SetItem(queue->leaves, leaf, grad) == 0;
  PyObject* total = joined_gradient(queue, known, grad);
  const bool done = total != nullptr && PyDict_SetItem(queue->leaves, leaf, total) == 0;
  Py_XDECREF(total);
  return done;
}

// The list of the node's output gradients; on first sight the node is queued.
PyObject* gradients_of(PyQueue* queue, PyNode* node) try {
  PyObject*& list = queue->gradients_of[reinterpret_cast<PyObject*>(node)];
  if (list != nullptr) return list;
  list = PyList_New(node->output_count);
  if (list == nullptr) return nullptr;
  for (std::uint32_t k = 0; k < node->output_count; ++k)
    PyList_SET_ITEM(list, k, Py_NewRef(Py_None));
  Py_INCREF(node);
  queue->heap.push_back({node, list});
  std::push_heap(queue->heap.begin(), queue->heap.end(), older);
  return list;
} catch (const std::bad_alloc&) {
  return PyErr_NoMemory();
}

bool deliver(PyQueue* queue, PyObject* target, std::uint32_t output_nr, PyObject* grad) {
  if (!PyObject_TypeCheck(target, node_type)) return deliver_to_leaf(queue, target, grad);
  PyObject* list = gradients_of(queue, reinterpret_cast<PyNode*>(target));
  if (list == nullptr) return false;
  PyObject* known = PyList_GET_ITEM(list, output_nr);
  PyObject* total = known == Py_None ? Py_NewRef(grad) : joined_gradient(queue, known, grad);
  return total != nullptr && PyList_SetItem(list, output_nr, total) == 0;
}

// add(target, output_nr, gradient): where the pass starts.
PyObject* queue_add(PyObject* self, PyObject* args) {
  PyObject *target, *grad;
  unsigned int output_nr;
  if (!PyArg_ParseTuple(args, "OIO:add", &target, &output_nr, &grad)) return nullptr;
  const bool is_node = PyObject_TypeCheck(target, node_type);
  if (!is_tensor(grad) || !(is_node || is_tensor(target)) ||
      (is_node && output_nr >= reinterpret_cast<PyNode*>(target)->output_count)) {
    PyErr_SetString(PyExc_TypeError,
                    "GradientQueue.add: expected (node or leaf, output number, gradient)");
    return nullptr;
  }
  if (!deliver(as_queue(self), target, output_nr, grad)) return nullptr;
  Py_RETURN_NONE;
}

// pop() -> (node, gradients of its outputs), or None at the end
PyObject* queue_pop(PyObject* self, PyObject*) {
  PyQueue* queue = as_queue(self);
  if (queue->heap.empty()) Py_RETURN_NONE;
  PyObject* result = PyTuple_New(2);
  if (result == nullptr) return nullptr;
  std::pop_heap(queue->heap.begin(), queue->heap.end(), older);
  const Pending pending = queue->heap.back();
  queue->heap.pop_back();
  PyObject* node = reinterpret_cast<PyObject*>(pending.node);
  queue->gradients_of.erase(node);
  PyTuple_SET_ITEM(result, 0, node);
  PyTuple_SET_ITEM(result, 1, pending.gradients);
  return result;
}

// Sends the gradient of input i along its edge.
bool route_one(PyQueue* queue, PyNode* node, Py_ssize_t i, PyObject* grad) {
  if (grad == Py_None) return true;
  if (!is_tensor(grad) || i >= static_cast<Py_ssize_t>(node->edge_count)) {
    PyErr_Format(PyExc_RuntimeError,
                 "%R returned an invalid gradient at index %zd: expected a Tensor or None for each "
                 "of its %u inputs, got %s",
                 node, i, node->edge_count, Py_TYPE(grad)->tp_name);
    return false;
  }
  const Edge& edge = node->edges[i];
  if (edge.target == nullptr) return true;
  const Tensor& x = as_py(grad)->tensor;
  if (x.shape == edge.shape && x.dtype == edge.dtype && x.device() == edge.device)
    return deliver(queue, edge.target, edge.output_nr, grad);
  PyObject* index = PyLong_FromSsize_t(i);
  PyObject* operands[] = {reinterpret_cast<PyObject*>(node), index, grad};
  PyObject* fitted = PyObject_Vectorcall(queue->fit, operands, 3, nullptr);
  Py_DECREF(index);
  const bool done = fitted != nullptr && deliver(queue, edge.target, edge.output_nr, fitted);
  Py_XDECREF(fitted);
  return done;
}

// route(node, gradients of its inputs: a tuple, or one alone)
PyObject* queue_route(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  if (count != 2 || !PyObject_TypeCheck(args[0], node_type)) {
    PyErr_SetString(PyExc_TypeError, "GradientQueue.route: expected (node, gradients)");
    return nullptr;
  }
  PyNode* node = reinterpret_cast<PyNode*>(args[0]);
  if (!PyTuple_Check(args[1])) {
    if (!route_one(as_queue(self), node, 0, args[1])) return nullptr;
    Py_RETURN_NONE;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[1]); ++i)
    if (!route_one(as_queue(self), node, i, PyTuple_GET_ITEM(args[1], i))) return nullptr;
  Py_RETURN_NONE;
}

PyObject* get_leaves(PyObject* self, void*) { return Py_NewRef(as_queue(self)->leaves); }

PyMethodDef queue_methods[] = {{"add", queue_add, METH_VARARGS, nullptr},
                               {"pop", queue_pop, METH_NOARGS, nullptr},
                               {"route", as_method(queue_route), METH_FASTCALL, nullptr},
                               {nullptr, nullptr, 0, nullptr}};

PyGetSetDef queue_attributes[] = {{"leaves", get_leaves, nullptr, nullptr, nullptr},
                                  {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot queue_slots[] = {{Py_tp_new, reinterpret_cast<void*>(queue_new)},
                             {Py_tp_dealloc, reinterpret_cast<void*>(queue_dealloc)},
                             {Py_tp_methods, queue_methods},
                             {Py_tp_getset, queue_attributes},
                             {0, nullptr}};

PyType_Spec queue_spec = {"tilegrad._C.GradientQueue", sizeof(PyQueue), 0, Py_TPFLAGS_DEFAULT,
                          queue_slots};

}  // namespace

void bind_queue(py::module_& module) {
  queue_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&queue_spec));
  if (queue_type == nullptr) throw py::error_already_set();
  module.add_object("GradientQueue", reinterpret_cast<PyObject*>(queue_type));
}

}  // namespace tilegrad
