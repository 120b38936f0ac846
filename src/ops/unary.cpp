// One-operand elementwise operations: dtype rules, in-place rules.
#include "ops/unary.h"

#include "bind.h"
#include "dispatch.h"
#include "loop.h"
#include "order.h"

namespace tilegrad {
namespace {

enum class UnaryAccepts { floating, rounding, fraction, number, bits };

#define TILEGRAD_ROW(name, dtypes) {#name, UnaryAccepts::dtypes},
constexpr struct {
  const char* name;
  UnaryAccepts accepts;
} kUnaryOps[] = {TILEGRAD_FOR_EACH_UNARY(TILEGRAD_ROW)};
#undef TILEGRAD_ROW

const char* name_of(UnaryOp op) { return kUnaryOps[static_cast<int>(op)].name; }

// The dtype of the result, in which the operation is computed.
DType result_dtype(UnaryOp op, DType dtype) {
  const bool boolean = dtype == DType::boolean;
  switch (kUnaryOps[static_cast<int>(op)].accepts) {
    case UnaryAccepts::floating:
      return is_floating(dtype) ? dtype : default_dtype();
    case UnaryAccepts::rounding:
      TILEGRAD_CHECK(!boolean, not_implemented, name_of(op), ": not implemented for dtype bool");
      return dtype;
    case UnaryAccepts::fraction:
      TILEGRAD_CHECK(is_floating(dtype), not_implemented, name_of(op),
                     ": not implemented for dtype ", info(dtype).name);
      return dtype;
    case UnaryAccepts::bits:
      TILEGRAD_CHECK(!is_floating(dtype), not_implemented, name_of(op),
                     ": not implemented for dtype ", info(dtype).name,
                     "; expected bool or an integer dtype");
      return dtype;
    case UnaryAccepts::number:
      TILEGRAD_CHECK(
          !boolean || op != UnaryOp::neg, runtime,
          "neg: Negation, the `-` operator, on a bool tensor is not supported. If you "
          "are trying to invert a mask, use the `~` or `logical_not()` operator instead.");
      TILEGRAD_CHECK(!boolean || op != UnaryOp::abs, not_implemented,
                     "abs: not implemented for dtype bool");
      return boolean && op == UnaryOp::square ? DType::int64 : dtype;
  }
  return dtype;
}

// Of bools the sign is the value, and integers are already rounded.
bool is_identity(UnaryOp op, DType dtype) {
  return (op == UnaryOp::sign && dtype == DType::boolean) ||
         (kUnaryOps[static_cast<int>(op)].accepts == UnaryAccepts::rounding && !is_floating(dtype));
}

void compute(UnaryOp op, const Tensor& y, const Tensor& x) {
  if (is_identity(op, x.dtype)) return copy_into(y, x);
  const Unary args{.op = op, .dtype = y.dtype, .loop = make_loop<2>(y.shape, {&y, &x})};
  run(unary_kernel, y.device(), args, y.numel());
}

Tensor unary(UnaryOp op, const Tensor& x) {
  const DType dtype = result_dtype(op, x.dtype);
  Tensor y = empty(x.shape, dtype, x.device(), name_of(op));
  take_order(y, {&x});
  if (x.dtype == dtype) compute(op, y, x);
  else compute(op, y, to_dtype(x, dtype));
  return y;
}

void unary_in_place(UnaryOp op, const Tensor& x) {
  const DType dtype = result_dtype(op, x.dtype);
  TILEGRAD_CHECK(can_cast(dtype, x.dtype), runtime, name_of(op), "_: result type ",
                 info(dtype).name, " can't be cast to the desired output type ",
                 info(x.dtype).name);
  begin_write(x, name_of(op));
  compute(op, x, x);
}

}  // namespace

void bind_unary(py::module_& module) {
#define TILEGRAD_BIND(name, dtypes)                                                             \
  module.def(#name, [](const Tensor& x) { return unary(UnaryOp::name, x); }, py::arg("input")); \
  module.def(                                                                                   \
      #name "_", [](const Tensor& x) { unary_in_place(UnaryOp::name, x); }, py::arg("input"));
  TILEGRAD_FOR_EACH_UNARY(TILEGRAD_BIND)
#undef TILEGRAD_BIND
}

}  // namespace tilegrad
