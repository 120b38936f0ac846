// Two-operand arithmetic: promotion, broadcasting, in-place rules.
#include "ops/binary.h"

#include <algorithm>

#include "../cuda/runtime.h"
#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "ops/complex.h"
#include "order.h"
#include "parts.h"

namespace tilegrad {
namespace {

enum class BinaryAccepts { all, number, floating, bits };

#define TILEGRAD_ROW(name, dtypes) {#name, BinaryAccepts::dtypes},
constexpr struct {
  const char* name;
  BinaryAccepts accepts;
} kBinaryOps[] = {TILEGRAD_FOR_EACH_BINARY(TILEGRAD_ROW)};
#undef TILEGRAD_ROW

const char* name_of(BinaryOp op) { return kBinaryOps[static_cast<int>(op)].name; }

bool is_boolean(const Operand& x) {
  return x.is_tensor() ? x.tensor->dtype == DType::boolean
                       : x.scalar.category == DTypeCategory::boolean;
}

// Bool operands of a subtraction are refused, as PyTorch does: a mask is inverted with ~ or ^.
void reject_bool(const Operand& x, const Operand& other) {
  TILEGRAD_CHECK(!is_boolean(x) && !is_boolean(other), runtime,
                 "sub: not defined for bool operands; use ^, ~ or a logical operation, or convert");
}

// alpha has the category of the result or a lower one.
void check_alpha(BinaryOp op, const Scalar& alpha, DType dtype) {
  if (op != BinaryOp::add_scaled) return;
  TILEGRAD_CHECK(alpha.category != DTypeCategory::floating || is_floating(dtype), runtime,
                 "add: argument 'alpha': expected a whole number for a result of dtype ",
                 info(dtype).name, ", got ", alpha.floating);
  TILEGRAD_CHECK(alpha.category != DTypeCategory::boolean || dtype == DType::boolean, runtime,
                 "add: argument 'alpha': a bool is only supported for a bool result, got dtype ",
                 info(dtype).name);
}

// The dtype in which the operation is computed.
DType compute_dtype(BinaryOp op, const Operand& x, const Operand& other) {
  if (op == BinaryOp::sub) reject_bool(x, other);
  const DType dtype = ResultType().add(x).add(other).get();
  const bool widens = kBinaryOps[static_cast<int>(op)].accepts == BinaryAccepts::floating;
  return widens && !is_differentiable(dtype) ? default_dtype() : dtype;
}

// Which operands may be numbers, where at least one is: PyTorch's rules.
void check_operands(BinaryOp op, const Operand& x, const Operand& other) {
  const bool two = op == BinaryOp::add || op == BinaryOp::add_scaled || op == BinaryOp::sub ||
                   op == BinaryOp::mul || op == BinaryOp::div || op == BinaryOp::floor_divide ||
                   op == BinaryOp::trunc_divide;
  TILEGRAD_CHECK(two || x.is_tensor() || other.is_tensor(), type, name_of(op),
                 "(): expected at least one Tensor, got two numbers");
  TILEGRAD_CHECK(op != BinaryOp::fmod || x.is_tensor(), type, name_of(op),
                 "(): argument 'input': expected a Tensor, got a number");
}

void check_dtype(BinaryOp op, DType dtype) {
  const BinaryAccepts accepts = kBinaryOps[static_cast<int>(op)].accepts;
  TILEGRAD_CHECK(accepts != BinaryAccepts::number || dtype != DType::boolean, not_implemented,
                 name_of(op),
                 ": not defined for two bool operands; use a logical operation or convert one");
  TILEGRAD_CHECK(accepts != BinaryAccepts::bits || !is_floating(dtype), not_implemented,
                 name_of(op), ": expected bool or integer operands, got ", info(dtype).name);
}

Device device_of(const Operand& x, const Operand& other) {
  if (x.is_tensor() && (!other.is_tensor() || x.tensor->ndim() > 0 || !x.tensor->device().is_cpu()))
    return x.tensor->device();
  return other.is_tensor() ? other.tensor->device() : Device{};
}

// Of divisors on a card the host must wait for a copy. While a graph is captured it cannot: then
// the kernel looks at them in each replay. A Python number is looked at here, whatever the device.
void reject_zero_divisor(BinaryOp op, const Operand& other, DType dtype) {
  const bool divides = op == BinaryOp::floor_divide || op == BinaryOp::trunc_divide ||
                       op == BinaryOp::remainder || op == BinaryOp::fmod;
  if (!divides || is_floating(dtype) || is_complex(dtype)) return;
  const Tensor given =
      other.is_tensor() ? *other.tensor : scalar_tensor(other.scalar, dtype, Device{});
  if (!given.device().is_cpu() && cuda::is_capturing()) return;
  const Tensor wide = on_host(to_dtype(to_dtype(given, dtype), DType::int64));
  const std::int64_t* divisor = wide.data<std::int64_t>();
  for (std::int64_t i = 0, count = wide.numel(); i < count; ++i)
    TILEGRAD_CHECK(divisor[i] != 0, runtime, name_of(op), ": integer division by zero");
}

// For a large operand whose neighbours lie along another dimension than the result's: that
// dimension, else -1. To read it element by element costs more than a copy in the result's order,
// which goes by tiles.
int other_order(const Tensor& x, const Tensor& y) {
  constexpr std::int64_t kTile = 16;
  if (!y.device().is_cpu() || !(x.shape == y.shape)) return -1;
  int inner_of_x = -1, inner_of_y = -1;
  for (int d = 0; d < y.ndim(); ++d) {
    if (y.shape[d] == 1) continue;
    if (x.strides[d] == 1) inner_of_x = d;
    if (y.strides[d] == 1) inner_of_y = d;
  }
  const bool differs = inner_of_x >= 0 && inner_of_y >= 0 && inner_of_x != inner_of_y &&
                       y.shape[inner_of_x] >= kTile && y.shape[inner_of_y] >= kTile;
  return differs ? inner_of_x : -1;
}

// A copy of x, which has the shape of y, in the order of y.
Tensor copy_in_order_of(const Tensor& y, const Tensor& x) {
  Tensor copy = empty_like(x);
  take_order(copy, {&y});
  copy_into(copy, x);
  return copy;
}

// `swapped`: y = other op x, where other is the number beside a half.
void compute(BinaryOp op, const Tensor& y, const Tensor& x, const Tensor& other,
             const Scalar& alpha, bool swapped = false);

// add, sub, mul and div, the only ones that the gate lets through with complex numbers.
void compute_complex(BinaryOp op, const Tensor& y, const Tensor& x, const Tensor& other) {
  if (op == BinaryOp::add || op == BinaryOp::sub)
    return compute(op, as_real(y), as_real(x), as_real(other), {});
  const ComplexProduct args{.part = part_dtype(y.dtype),
                            .divides = op == BinaryOp::div,
                            .loop = make_loop<3>(y.shape, {&y, &x, &other})};
  run(complex_product_kernel, y.device(), args, y.numel());
}

Tensor slice_of(const Tensor& x, int dim, std::int64_t start, std::int64_t length) {
  Tensor slice = x;
  slice.offset += start * x.strides[dim];
  slice.shape[dim] = length;
  return slice;
}

// With copies of what lies in another order than y, slice by slice along a dimension, so that the
// copies stay in the cache.
void compute_in_slices(BinaryOp op, const Tensor& y, const Tensor& x, const Tensor& other,
                       const Scalar& alpha, int dim) {
  constexpr std::int64_t kSlice = 1 << 17, kTile = 64;  // elements; rows: whole cache lines
  const std::int64_t size = y.shape[dim], row = y.numel() / size;
  const std::int64_t step = std::max(kTile, kSlice / row / kTile * kTile);
  for (std::int64_t start = 0; start < size; start += step) {
    const auto part = [&](const Tensor& whole) {
      const int own = dim - (y.ndim() - whole.ndim());
      if (own < 0 || whole.shape[own] != size) return whole;  // broadcast
      return slice_of(whole, own, start, std::min(step, size - start));
    };
    const Tensor result = part(y);
    const auto ordered = [&](const Tensor& whole) {
      const Tensor slice = part(whole);
      return other_order(whole, y) >= 0 ? copy_in_order_of(result, slice) : slice;
    };
    compute(op, result, ordered(x), ordered(other), alpha);
  }
}

void compute(BinaryOp op, const Tensor& y, const Tensor& x, const Tensor& other,
             const Scalar& alpha, bool swapped) {
  if (is_complex(y.dtype)) return compute_complex(op, y, x, other);
  constexpr std::int64_t kLarge = 4096;
  if (y.numel() >= kLarge) {
    for (const Tensor* operand : {&x, &other})
      if (const int dim = other_order(*operand, y); dim >= 0)
        return compute_in_slices(op, y, x, other, alpha, dim);
  }
  Binary args{.op = op,
              .dtype = x.dtype,
              .alpha = alpha.as_double(),
              .whole_alpha = alpha.to<std::int64_t>(),
              .loop = make_loop<3>(y.shape, {&y, &x, &other}),
              .wide_other = other.dtype != x.dtype,
              .swapped = swapped};
  run(binary_kernel, y.device(), args, y.numel());
}

// A half on a card and a number, which is not rounded to a half.
Tensor half_and_number(BinaryOp op, const Operand& x, const Operand& other, const Scalar& alpha) {
  const bool swapped = !x.is_tensor();
  const Tensor& a = swapped ? *other.tensor : *x.tensor;
  const Tensor number =
      scalar_tensor(swapped ? x.scalar : other.scalar, DType::float32, a.device());
  Tensor y = empty(a.shape, a.dtype, a.device());
  take_order(y, {&a});
  compute(op, y, a, number, alpha, swapped);
  return y;
}

Tensor binary(BinaryOp op, const Operand& x, const Operand& other, const Scalar& alpha) {
  const DType dtype = compute_dtype(op, x, other);
  check_dtype(op, dtype);
  check_alpha(op, alpha, dtype);
  reject_zero_divisor(op, other, dtype);
  const Device device = device_of(x, other);
  // Nothing to convert: the common case, kept free of copies of the operands.
  if (x.is_tensor() && other.is_tensor() && x.tensor->dtype == dtype &&
      other.tensor->dtype == dtype && x.tensor->device() == other.tensor->device()) {
    const Tensor &a = *x.tensor, &b = *other.tensor;
    Tensor y = a.shape == b.shape
                   ? empty(a.shape, dtype, device)
                   : empty(broadcast_shapes(a.shape, b.shape, name_of(op)), dtype, device);
    take_order(y, {&a, &b});
    compute(op, y, a, b, alpha);
    return y;
  }
  check_operands(op, x, other);
  if (is_half(dtype) && x.is_tensor() != other.is_tensor() && !device.is_cpu())
    return half_and_number(op, x, other, alpha);
  const Tensor a = as_tensor(x, dtype, device, name_of(op)),
               b = as_tensor(other, dtype, device, name_of(op));
  Tensor y = empty(broadcast_shapes(a.shape, b.shape, name_of(op)), dtype, device);
  take_order(y, {x.is_tensor() ? x.tensor : &a, other.is_tensor() ? other.tensor : &b});
  compute(op, y, a, b, alpha);
  return y;
}

void binary_in_place(BinaryOp op, const Tensor& x, const Operand& other, const Scalar& alpha) {
  const DType dtype = compute_dtype(op, Operand{&x, {}}, other);
  TILEGRAD_CHECK(can_cast(dtype, x.dtype), runtime, name_of(op), "_: result type ",
                 info(dtype).name, " can't be cast to the desired output type ",
                 info(x.dtype).name);
  check_dtype(op, dtype);
  check_alpha(op, alpha, dtype);
  reject_zero_divisor(op, other, dtype);
  const bool wide = is_half(dtype) && !other.is_tensor() && !x.device().is_cpu();
  Tensor b = as_tensor(other, wide ? DType::float32 : dtype, x.device(), name_of(op));
  TILEGRAD_CHECK(broadcast_shapes(x.shape, b.shape, name_of(op)) == x.shape, runtime, name_of(op),
                 "_: output with shape ", x.shape.str(), " doesn't match the broadcast shape ",
                 broadcast_shapes(x.shape, b.shape, name_of(op)).str());
  begin_write(x, name_of(op));
  const bool aliased = may_overlap(x, b) &&
                       !(b.bytes() == x.bytes() && b.shape == x.shape && b.strides == x.strides);
  if (aliased) {
    Tensor copy = empty_like(b);
    copy_into(copy, b);
    b = copy;
  }
  if (dtype == x.dtype) return compute(op, x, x, b, alpha);
  const Tensor a = to_dtype(x, dtype);  // already a fresh copy: computed there, then written back
  compute(op, a, a, b, alpha);
  copy_into(x, a);
}

}  // namespace

void bind_binary(py::module_& module) {
#define TILEGRAD_BIND(name, dtypes)                                     \
  module.def(                                                           \
      #name,                                                            \
      [](const Operand& x, const Operand& other, const Scalar& alpha) { \
        return binary(BinaryOp::name, x, other, alpha);                 \
      },                                                                \
      py::arg("input"), py::arg("other"), py::arg("alpha") = 1);        \
  module.def(                                                           \
      #name "_",                                                        \
      [](const Tensor& x, const Operand& other, const Scalar& alpha) {  \
        binary_in_place(BinaryOp::name, x, other, alpha);               \
      },                                                                \
      py::arg("input"), py::arg("other"), py::arg("alpha") = 1);
  TILEGRAD_FOR_EACH_BINARY(TILEGRAD_BIND)
#undef TILEGRAD_BIND
  takes_complex({"add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_"});
#define TILEGRAD_TAKES(name, dtypes)                  \
  takes_alike_halves_on_cards(2, {#name, #name "_"}); \
  takes_halves_beside_numbers_on_cards({#name, #name "_"});
  TILEGRAD_FOR_EACH_BINARY(TILEGRAD_TAKES)
#undef TILEGRAD_TAKES
}

}  // namespace tilegrad
