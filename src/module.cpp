// tilegrad._C: the tensor types, then every operation listed in ops.def.
#include "bind.h"
#include "gate.h"
#include "py_queue.h"

namespace tilegrad {

// What has a binding; COMPOSED operations are Python.
#define TILEGRAD_BOUND_CPU(code) code
#define TILEGRAD_BOUND_CPU_AND_CUDA(code) code
#define TILEGRAD_BOUND_VIEWS(code) code
#define TILEGRAD_BOUND_COMPOSED(code)

#define OP(stem, floors) TILEGRAD_BOUND_##floors(void bind_##stem(py::module_& module);)
#include "ops.def"
#undef OP

void bind_numpy(py::module_& module);
void bind_storage(py::module_& module);
void bind_dlpack(py::module_& module);
void bind_config(py::module_& module);
void bind_cuda(py::module_& module);

}  // namespace tilegrad

PYBIND11_MODULE(_C, module) {
  using namespace tilegrad;
  bind_types(module);
  bind_tensor(module);
  bind_node(module);
  bind_queue(module);
  bind_numpy(module);
  bind_storage(module);
  bind_dlpack(module);
  bind_config(module);
  bind_cuda(module);
  takes_every_dtype(module);
#define OP(stem, floors) TILEGRAD_BOUND_##floors(bind_##stem(module);)
#include "ops.def"
#undef OP
  guard(module);
}
