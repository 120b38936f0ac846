// The graph of recorded operations: _C.Node, one per recorded op, walked by tilegrad.autograd.
#pragma once

#include "py_tensor.h"

namespace tilegrad {

// Where the gradient of one input goes. `target` is a Node, or a leaf tensor that accumulates, or
// null for inputs that need no gradient.
struct Edge {
  PyObject* target;
  std::uint32_t output_nr;  // which output of the target node
  DType dtype;              // of the input; gradients are cast to it
  Dims shape;               // of the input; gradients of broadcast inputs are summed to it
};

struct PyNode {
  PyObject_HEAD
  PyObject* backward;   // Python: backward(node, *output_gradients) -> gradient(s) of the inputs
  PyObject* saved;      // tuple of what backward needs; null once released
  PyObject* context;    // anything else the engine keeps here (hooks); null at first
  Edge* edges;
  std::uint32_t* versions;  // of the saved tensors when they were saved
  std::uint64_t sequence;   // creation order: a node's consumers always have larger numbers
  std::uint32_t edge_count, saved_count;
  std::uint32_t saved_outputs;  // bit i: saved[i] is an output of this node
  std::uint32_t output_count;
};

extern PyTypeObject* node_type;

// A view whose storage was written to since its grad_fn was set gets a new grad_fn: as_strided of
// its base, whose history contains the write. False with a Python error set on failure.
bool refresh_view(PyTensor* x);

void bind_node(py::module_& module);

}  // namespace tilegrad
