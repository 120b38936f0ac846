// Padding with a constant, and the rules for the other modes. Data moves through the copy kernel.
#include <algorithm>

#include "bind.h"
#include "tensor.h"

namespace tilegrad {
namespace {

Tensor pad_part(const Tensor& x, int dim, std::int64_t start, std::int64_t length) {
  Tensor part = x;
  part.offset += start * x.strides[dim];
  part.shape[dim] = length;
  return part;
}

// The pair of the last dimension comes first.
std::int64_t pad_before(const Dims& pads, int ndim, int dim) {
  const int i = 2 * (ndim - 1 - dim);
  return i < pads.n ? pads[i] : 0;
}
std::int64_t pad_after(const Dims& pads, int ndim, int dim) {
  const int i = 2 * (ndim - 1 - dim) + 1;
  return i < pads.n ? pads[i] : 0;
}

void check_pad_count(const Tensor& x, const Dims& pads) {
  TILEGRAD_CHECK(pads.n % 2 == 0, runtime, "pad: Padding length must be divisible by 2, got ",
                 pads.str());
  TILEGRAD_CHECK(
      pads.n <= 2 * x.ndim(), runtime,
      "pad: Padding length should be less than or equal to two times the input dimension "
      "but got padding length ",
      pads.n, " and input of dimension ", x.ndim());
  for (std::int64_t pad : pads)
    TILEGRAD_CHECK(std::max(pad, -pad) < std::int64_t{1} << 40, runtime, "pad: a padding of ", pad,
                   " elements overflows");
}

// x within a frame of `value`; negative sizes cut elements off.
Tensor pad(const Tensor& x, const Dims& pads, const Scalar& value) {
  check_pad_count(x, pads);
  Dims shape = x.shape;
  Tensor from = x;
  for (int d = 0; d < shape.n; ++d) {
    const std::int64_t before = pad_before(pads, shape.n, d), after = pad_after(pads, shape.n, d);
    shape[d] += before + after;
    const std::int64_t kept =
        x.shape[d] + std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
    TILEGRAD_CHECK(kept >= 0, runtime, "pad: cannot cut ", x.shape[d] - kept,
                   " elements off dimension ", d, " of size ", x.shape[d],
                   ": the size would be negative");
    const std::int64_t start = std::clamp<std::int64_t>(-before, 0, x.shape[d]);
    const std::int64_t end = std::clamp<std::int64_t>(x.shape[d] + after, start, x.shape[d]);
    from = pad_part(from, d, start, end - start);
  }
  checked_numel(shape, x.dtype, "pad");
  Tensor y = empty(shape, x.dtype, x.device(), "pad");
  const Tensor constant = scalar_tensor(value, x.dtype, x.device());
  // A thin frame has short rows: filling everything costs less than finding them.
  const bool thin = y.numel() > from.numel() && y.numel() < 2 * from.numel();
  if (thin) copy_into(y, constant);
  Tensor inside = y;  // of the frames filled so far
  for (int d = 0; d < shape.n; ++d) {
    const std::int64_t before = std::clamp<std::int64_t>(pad_before(pads, shape.n, d), 0, shape[d]);
    const std::int64_t size = std::min(from.shape[d], shape[d] - before);
    const std::int64_t after = shape[d] - before - size;
    if (before > 0 && !thin) copy_into(pad_part(inside, d, 0, before), constant);
    if (after > 0 && !thin) copy_into(pad_part(inside, d, before + size, after), constant);
    inside = pad_part(inside, d, before, size);
  }
  copy_into(inside, from);
  return y;
}

// What the modes that repeat the input's own elements ask for.
void check_pad(const Tensor& x, const Dims& pads, const std::string& mode) {
  check_pad_count(x, pads);
  const int dims = pads.n / 2;
  const bool fits = dims >= 1 && dims <= 3 && (x.ndim() == dims + 1 || x.ndim() == dims + 2);
  TILEGRAD_CHECK(
      fits, not_implemented, "pad: Padding size ", pads.n, " is not supported for ", x.ndim(),
      "D input tensor. Supported for non-constant padding: 2 numbers for 2D or 3D input, "
      "4 for 3D or 4D, 6 for 4D or 5D");
  for (int d = x.ndim() - dims; d < x.ndim(); ++d) {
    const std::int64_t before = pad_before(pads, x.ndim(), d), after = pad_after(pads, x.ndim(), d);
    const std::int64_t size = x.shape[d], largest = std::max(before, after);
    TILEGRAD_CHECK(
        size > 0, runtime,
        "pad: Expected a tensor with non-zero dimensions to pad, but got: ", x.shape.str());
    TILEGRAD_CHECK(mode != "reflect" || largest < size, runtime,
                   "pad: Padding size should be less than the corresponding input dimension, but "
                   "got: padding (",
                   before, ", ", after, ") at dimension ", d, " of input ", x.shape.str());
    const std::int64_t left =
        size + std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
    TILEGRAD_CHECK(mode != "circular" || largest <= left, runtime,
                   "pad: Padding value causes wrapping around more than once.");
    TILEGRAD_CHECK(size + before + after > 0, runtime, "pad: input (size ", size, " in dimension ",
                   d, ") is too small. Calculated output size: ", size + before + after);
  }
}

}  // namespace

void bind_pad(py::module_& module) {
  module.def("pad", &pad, py::arg("input"), py::arg("pad"), py::arg("value"));
  module.def("check_pad", &check_pad, py::arg("input"), py::arg("pad"), py::arg("mode"));
}

}  // namespace tilegrad
