// tilegrad._C: the tensor types, then every operation listed in ops.def.
#include <cstdlib>

#include "bind.h"
#include "host_memory.h"
#include "isa.h"
#include "parallel.h"
#include "py_queue.h"

namespace tilegrad {

#define CPU
#define CPU_AND_CUDA
#define VIEWS
#define OP(stem, floors) void bind_##stem(py::module_& module);
#include "ops.def"
#undef OP

void bind_numpy(py::module_& module);
void bind_config(py::module_& module);

}  // namespace tilegrad

PYBIND11_MODULE(_C, module) {
  using namespace tilegrad;
  const char* isa = std::getenv("TILEGRAD_ISA");
  bind_types(module);
  set_active_isa(choose_isa(isa ? isa : ""));
  set_num_threads(default_num_threads());
  bind_tensor(module);
  bind_node(module);
  bind_queue(module);
  bind_numpy(module);
  bind_config(module);
#define OP(stem, floors) bind_##stem(module);
#include "ops.def"
#undef OP
}
