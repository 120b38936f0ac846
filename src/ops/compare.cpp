// compare: promotion and broadcasting of comparisons and logical operations; equal.
#include "ops/compare.h"

#include <cstring>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "order.h"

namespace tilegrad {
namespace {

// `swapped`: what the caller wrote first is `other`; where operands differ in order, the first
// counts.
Tensor compare(CompareOp op, const char* name, const Operand& x, const Operand& other, DType dtype,
               bool swapped = false) {
  const bool from_other = other.is_tensor() && (!x.is_tensor() || x.tensor->ndim() == 0);
  const Device device = from_other ? other.tensor->device() : x.tensor->device();
  const Tensor a = as_tensor(x, dtype, device, name), b = as_tensor(other, dtype, device, name);
  Tensor y = empty(broadcast_shapes(a.shape, b.shape, name), DType::boolean, device);
  const Tensor &in_x = x.is_tensor() ? *x.tensor : a,
               &in_other = other.is_tensor() ? *other.tensor : b;
  take_order(y, {swapped ? &in_other : &in_x, swapped ? &in_x : &in_other});
  const Compare args{.op = op, .dtype = dtype, .loop = make_loop<3>(y.shape, {&y, &a, &b})};
  run(compare_kernel, device, args, y.numel());
  return y;
}

DType compare_dtype(const Tensor& x, const Operand& other) {
  return ResultType().add(x).add(other).get();
}

// True if shapes and all elements agree; NaN differs from itself.
bool equal(const Tensor& x, const Tensor& other) {
  TILEGRAD_CHECK(x.device() == other.device(), runtime,
                 "equal: expected both tensors on one device, got ", x.device().str(), " and ",
                 other.device().str());
  if (!(x.shape == other.shape)) return false;
  const Tensor differs = compare(CompareOp::ne, "equal", Operand{&x, {}}, Operand{&other, {}},
                                 ResultType().add(x).add(other).get());
  const Tensor answer = on_host(differs);
  const auto count = static_cast<std::size_t>(answer.numel());
  return count == 0 || std::memchr(answer.bytes(), 1, count) == nullptr;
}

}  // namespace

void bind_compare(py::module_& module) {
#define TILEGRAD_BIND(name, op, first, second, swapped)                                   \
  module.def(                                                                             \
      #name,                                                                              \
      [](const Tensor& tensor, const Operand& other) {                                    \
        const Operand x{&tensor, {}};                                                     \
        return compare(CompareOp::op, #name, first, second, compare_dtype(tensor, other), \
                       swapped);                                                          \
      },                                                                                  \
      py::arg("input"), py::arg("other"));
  TILEGRAD_BIND(eq, eq, x, other, false)
  TILEGRAD_BIND(ne, ne, x, other, false)
  TILEGRAD_BIND(lt, lt, x, other, false)
  TILEGRAD_BIND(le, le, x, other, false)
  TILEGRAD_BIND(gt, lt, other, x, true)
  TILEGRAD_BIND(ge, le, other, x, true)
#undef TILEGRAD_BIND
  // Every number but zero counts as true, NaN too; of truth values, "not equal" is the exclusive
  // or.
#define TILEGRAD_BIND(name, op)                                                    \
  module.def(                                                                      \
      #name,                                                                       \
      [](const Tensor& x, const Tensor& other) {                                   \
        return compare(CompareOp::op, #name, Operand{&x, {}}, Operand{&other, {}}, \
                       DType::boolean);                                            \
      },                                                                           \
      py::arg("input"), py::arg("other"));
  TILEGRAD_BIND(logical_and, logical_and)
  TILEGRAD_BIND(logical_or, logical_or)
  TILEGRAD_BIND(logical_xor, ne)
#undef TILEGRAD_BIND
  module.def("equal", &equal, py::arg("input"), py::arg("other"));
  half_rule(HalfRule::compare, {"eq", "ne", "lt", "le", "gt", "ge"});
}

}  // namespace tilegrad
