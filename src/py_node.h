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
  Device device;            // of the input; gradients of numbers on the CPU are moved to it
  Dims shape;               // of the input; gradients of broadcast inputs are summed to it
};

// What is known of one saved value besides the value.
struct SavedInfo {
  std::uint32_t version;  // of its storage when it was saved
  bool is_output;         // of this node; kept as an alias without history
};

struct PyNode {
  PyObject_HEAD PyObject*
      backward;       // Python: backward(node, *output_gradients) -> gradient(s) of the inputs
  PyObject* saved;    // tuple of what backward needs; null once released
  PyObject* context;  // anything else the engine keeps here (hooks); null at first
  Edge* edges;
  SavedInfo* saved_info;
  std::uint64_t sequence;  // creation order: a node's consumers always have larger numbers
  std::uint32_t edge_count, saved_count, output_count;
  bool saves_output;  // one of the saved values is an output of this node
  int card;           // of the outputs; -1 for the CPU
  void* stream;       // of the card, where the outputs were computed
};

extern PyTypeObject* node_type;

// A view whose storage was written to since its grad_fn was set gets a new grad_fn: as_strided of
// its base, whose history contains the write. False with a Python error set on failure.
bool refresh_view(PyTensor* x);

void bind_node(py::module_& module);

}  // namespace tilegrad
