// complex: views of the parts, conjugates, absolute values.
#include "ops/complex.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "ops/unary.h"
#include "order.h"
#include "parts.h"
#include "scalar.h"

namespace tilegrad {
namespace {

void check_complex(const Tensor& x, const char* op) {
  TILEGRAD_CHECK(is_complex(x.dtype), runtime, op,
                 " is only supported for complex tensors, got dtype ", info(x.dtype).name);
}

Tensor conjugate(const Tensor& x) {
  check_complex(x, "conj");
  Tensor y = empty_like(x);
  take_order(y, {&x});
  copy_into(y, x);
  const Tensor imaginary = part_of_complex(y, 1);
  const Unary args{.op = UnaryOp::neg,
                   .dtype = imaginary.dtype,
                   .loop = make_loop<2>(y.shape, {&imaginary, &imaginary})};
  run(unary_kernel, y.device(), args, y.numel());
  return y;
}

Tensor absolute_value(const Tensor& x) {
  check_complex(x, "abs");
  Tensor y = empty(x.shape, part_dtype(x.dtype), x.device(), "abs");
  take_order(y, {&x});
  const ComplexAbs args{.part = y.dtype, .loop = make_loop<2>(y.shape, {&y, &x})};
  run(complex_abs_kernel, y.device(), args, y.numel());
  return y;
}

}  // namespace

void bind_complex(py::module_& module) {
  module.def(
      "view_as_real",
      [](PyTensor* x) {
        check_complex(x->tensor, "view_as_real");
        return wrap_view(x, as_real(x->tensor));
      },
      py::arg("input"));
  module.def(
      "view_as_complex",
      [](PyTensor* x) { return wrap_view(x, as_complex(x->tensor, "view_as_complex")); },
      py::arg("input"));
  module.def("conj", &conjugate, py::arg("input"));
  module.def("complex_abs", &absolute_value, py::arg("input"));
  module.def(
      "result_type",
      [](const Operand& x, const Operand& other) { return ResultType().add(x).add(other).get(); },
      py::arg("input"), py::arg("other"), "The promoted dtype of two tensors or numbers.");
  takes_every_dtype({"result_type"});
  takes_every_dtype({"view_as_real", "view_as_complex", "conj", "complex_abs"});
}

}  // namespace tilegrad
