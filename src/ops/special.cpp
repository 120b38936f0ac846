// Special functions: dtype rules.
#include "ops/special.h"

#include "bind.h"
#include "dispatch.h"
#include "order.h"
#include "scalar.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kSpecialWork = 64;  // elementary steps per element, roughly

Tensor special_of(SpecialOp op, const char* name, const Tensor& x) {
  Tensor input = is_floating(x.dtype) ? x : to_dtype(x, default_dtype());
  if (!is_dense(input)) input = contiguous(input);
  Tensor y = empty(x.shape, input.dtype, x.device(), name);
  y.strides = input.strides;
  const Special args{.op = op,
                     .dtype = input.dtype,
                     .y = y.bytes(),
                     .x = input.bytes(),
                     .other = nullptr,
                     .size = y.numel()};
  if (args.size > 0) run(special_kernel, x.device(), args, kSpecialWork * args.size);
  return y;
}

Tensor zeta(const Tensor& x, const Tensor& q) {
  TILEGRAD_CHECK(is_floating(x.dtype) && x.dtype == q.dtype && x.shape == q.shape, runtime,
                 "zeta: expected two floating tensors of one dtype and shape, got ", x.shape.str(),
                 " and ", q.shape.str());
  TILEGRAD_CHECK(x.device() == q.device(), runtime,
                 "zeta: expected all tensors on one device, got ", x.device().str(), " and ",
                 q.device().str());
  const Tensor input = contiguous(x), other = contiguous(q);
  Tensor y = empty(x.shape, x.dtype, x.device(), "zeta");
  const Special args{.op = SpecialOp::zeta,
                     .dtype = x.dtype,
                     .y = y.bytes(),
                     .x = input.bytes(),
                     .other = other.bytes(),
                     .size = y.numel()};
  if (args.size > 0) run(special_kernel, x.device(), args, kSpecialWork * args.size);
  return y;
}

}  // namespace

void bind_special(py::module_& module) {
#define TILEGRAD_BIND(name)                                                         \
  module.def(                                                                       \
      #name, [](const Tensor& x) { return special_of(SpecialOp::name, #name, x); }, \
      py::arg("input"));
  TILEGRAD_FOR_EACH_SPECIAL(TILEGRAD_BIND)
#undef TILEGRAD_BIND
  module.def("zeta", &zeta, py::arg("input"), py::arg("other"));
}

}  // namespace tilegrad
