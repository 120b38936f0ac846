// fill: empty, full, arange and fill_.
#include "ops/fill.h"

#include <cmath>
#include <limits>

#include "bind.h"
#include "device.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "order.h"
#include "parts.h"

namespace tilegrad {
namespace {

// Refuses numbers outside the dtype's range. Unsigned types also take the negatives of their range,
// which wrap; infinities and NaN fit floating types only.
void check_fits(const Scalar& value, DType dtype, const char* op) {
  if (dtype == DType::boolean) return;
  if (is_complex(dtype)) dtype = part_dtype(dtype);
  const double number = value.as_double();
  bool fits = true;
  if (is_floating(dtype) && dtype != DType::float64) {
    const double largest = dtype == DType::float16    ? 65504
                           : dtype == DType::bfloat16 ? 0x1.fep127
                                                      : std::numeric_limits<float>::max();
    fits = !std::isfinite(number) || std::abs(number) <= largest;
  } else if (!is_floating(dtype)) {
    const double reach = std::ldexp(1.0, static_cast<int>(8 * size_of(dtype)));  // of all values
    const bool is_unsigned = dtype == DType::uint8;
    const bool exact = dtype == DType::int64 && value.category != DTypeCategory::floating;
    fits = exact || (number >= (is_unsigned ? 1 - reach : -reach / 2) &&
                     (number <= (is_unsigned ? reach - 1 : reach / 2 - 1)));
  }
  TILEGRAD_CHECK(fits, runtime, op, ": value ", number, " cannot be converted to type ",
                 info(dtype).name, " without overflow");
}

void fill(const Tensor& y, const Scalar& value, const char* op) {
  check_fits(value, y.dtype, op);
  if (y.numel() == 0) return;
  if (y.dtype == DType::complex128) {  // the kernel's elements have at most 8 bytes
    const Scalar imaginary{.category = DTypeCategory::floating, .floating = value.imaginary};
    const Scalar real{.category = DTypeCategory::floating, .floating = value.as_double()};
    fill(part_of_complex(y, 0), real, op);
    return fill(part_of_complex(y, 1), imaginary, op);
  }
  Fill args{.element_size = static_cast<std::int64_t>(size_of(y.dtype)),
            .value = {},
            .loop = make_loop<1>(y.shape, {&y})};
  value.store(y.dtype, args.value);
  run(fill_kernel, y.device(), args, y.numel());
}

// `op` is the public function that asks, for its complaints: zeros, rand, ...
Tensor empty_on(const Dims& shape, DType dtype, Device device, const char* op) {
  require_device(device, op);
  return empty(shape, dtype, device, op);
}

// In the order of x.
Tensor empty_in_order(const Tensor& x, DType dtype, Device device, const char* op) {
  Tensor y = empty_on(x.shape, dtype, device, op);
  take_order(y, {&x});
  return y;
}

Tensor full(const Dims& shape, const Scalar& value, DType dtype, Device device, const char* op) {
  require_device(device, op);
  Tensor y = empty(shape, dtype, device, op);
  fill(y, value, op);
  return y;
}

Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, DType dtype,
              Device device) {
  const double first = start.as_double(), last = end.as_double(), stride = step.as_double();
  TILEGRAD_CHECK(std::isfinite(first) && std::isfinite(last) && std::isfinite(stride), runtime,
                 "arange: expected finite bounds, got start ", first, ", end ", last, ", step ",
                 stride);
  TILEGRAD_CHECK(stride != 0, runtime, "arange: expected a nonzero step, got 0");
  TILEGRAD_CHECK(stride > 0 ? first <= last : first >= last, runtime, "arange: the bounds start ",
                 first, " and end ", last, " contradict the sign of step ", stride);
  const double count = std::ceil((last - first) / stride);
  TILEGRAD_CHECK(count < 9.2e18, runtime, "arange: the number of elements overflows 64 bits");
  require_device(device, "arange");
  Tensor y = empty({static_cast<std::int64_t>(count)}, dtype, device, "arange");
  Arange args{.dtype = dtype,
              .y = y.bytes(),
              .size = y.numel(),
              .whole_start = start.to<std::int64_t>(),
              .whole_step = step.to<std::int64_t>(),
              .start = first,
              .step = stride};
  run(arange_kernel, device, args, y.numel());
  return y;
}

}  // namespace

void bind_fill(py::module_& module) {
  module.def("empty", &empty_on, py::arg("shape"), py::arg("dtype"), py::arg("device"),
             py::arg("op") = "empty");
  module.def("full", &full, py::arg("shape"), py::arg("value"), py::arg("dtype"), py::arg("device"),
             py::arg("op") = "full");
  module.def("empty_like", &empty_in_order, py::arg("input"), py::arg("dtype"), py::arg("device"),
             py::arg("op") = "empty_like");
  module.def(
      "full_like",
      [](const Tensor& x, const Scalar& value, DType dtype, Device device) {
        Tensor y = empty_in_order(x, dtype, device, "full_like");
        fill(y, value, "full_like");
        return y;
      },
      py::arg("input"), py::arg("value"), py::arg("dtype"), py::arg("device"));
  module.def("arange", &arange, py::arg("start"), py::arg("end"), py::arg("step"), py::arg("dtype"),
             py::arg("device"));
  module.def(
      "fill_",
      [](const Tensor& y, const Scalar& value) {
        begin_write(y, "fill_");
        fill(y, value, "fill_");
      },
      py::arg("input"), py::arg("value"));
  takes_every_dtype({"empty", "full", "empty_like", "full_like", "fill_"});
}

}  // namespace tilegrad
