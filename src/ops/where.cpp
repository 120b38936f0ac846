// where and masked_fill_: promotion, broadcasting, checks of the condition.
#include "ops/where.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "order.h"
#include "parts.h"

namespace tilegrad {
namespace {

void compute(const Tensor& y, const Tensor& condition, const Tensor& x, const Tensor& other) {
  if (y.dtype == DType::complex128)  // the kernel's elements have at most 8 bytes
    return compute(as_real(y), shown_twice(condition), as_real(x), as_real(other));
  const Where args{.element_size = static_cast<std::int64_t>(size_of(y.dtype)),
                   .loop = make_loop<4>(y.shape, {&y, &condition, &x, &other})};
  run(where_kernel, y.device(), args, y.numel());
}

Tensor where(const Tensor& condition, const Operand& x, const Operand& other) {
  TILEGRAD_CHECK(condition.dtype == DType::boolean || condition.dtype == DType::uint8, runtime,
                 "where expected condition to be a boolean tensor, but got a tensor with dtype ",
                 info(condition.dtype).name);
  const DType dtype = ResultType().add(x).add(other).get();
  const Device device = condition.device();
  const Tensor mask = to_dtype(condition, DType::boolean);
  const Tensor a = as_tensor(x, dtype, device, "where"),
               b = as_tensor(other, dtype, device, "where");
  const Dims shape =
      broadcast_shapes(mask.shape, broadcast_shapes(a.shape, b.shape, "where"), "where");
  Tensor y = empty(shape, dtype, device, "where");
  take_order(y, {&condition, x.is_tensor() ? x.tensor : &a, other.is_tensor() ? other.tensor : &b});
  compute(y, mask, a, b);
  return y;
}

void masked_fill_in_place(const Tensor& y, const Tensor& mask, const Operand& value) {
  TILEGRAD_CHECK(mask.dtype == DType::boolean, runtime,
                 "masked_fill_ only supports boolean masks, but got mask with dtype ",
                 info(mask.dtype).name);
  TILEGRAD_CHECK(mask.device() == y.device(), runtime,
                 "masked_fill_: expected self and mask to be on the same device, but got mask on ",
                 mask.device().str(), " and self on ", y.device().str());
  const Tensor expanded = expand(mask, y.shape, "masked_fill_");
  const Tensor x = as_tensor(value, y.dtype, y.device(), "masked_fill_");
  begin_write(y, "masked_fill_");
  if (!may_overlap(y, mask)) return compute(y, expanded, x, y);
  const Tensor copy = empty_like(expanded);
  copy_into(copy, expanded);
  compute(y, copy, x, y);
}

}  // namespace

void bind_where(py::module_& module) {
  module.def("where", &where, py::arg("condition"), py::arg("input"), py::arg("other"));
  module.def("masked_fill_", &masked_fill_in_place, py::arg("input"), py::arg("mask"),
             py::arg("value"));
  takes_every_dtype({"where", "masked_fill_"});
}

}  // namespace tilegrad
