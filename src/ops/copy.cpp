// copy: clone, contiguous, dtype conversion and copy_.
#include "ops/copy.h"

#include "bind.h"
#include "device.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "ops/binary.h"
#include "parts.h"

namespace tilegrad {
namespace {

void copy_on_one_device(const Tensor& y, const Tensor& x);

// Between complex numbers and others: the imaginary parts are 0, or lost. True is what is not 0.
void copy_complex(const Tensor& y, const Tensor& x) {
  if (is_complex(y.dtype) && is_complex(x.dtype)) return copy_on_one_device(as_real(y), as_real(x));
  if (is_complex(y.dtype)) {
    copy_on_one_device(part_of_complex(y, 0), x);
    const Tensor zero = scalar_tensor({}, part_dtype(y.dtype), y.device());
    return copy_on_one_device(part_of_complex(y, 1), zero);
  }
  copy_on_one_device(y, part_of_complex(x, 0));
  if (y.dtype != DType::boolean) return;
  const Tensor other = to_dtype(part_of_complex(x, 1), DType::boolean);
  Binary either{.op = BinaryOp::bitwise_or,
                .dtype = y.dtype,
                .alpha = 0,
                .whole_alpha = 0,
                .loop = make_loop<3>(y.shape, {&y, &y, &other})};
  run(binary_kernel, y.device(), either, y.numel());
}

void copy_on_one_device(const Tensor& y, const Tensor& x) {
  // The kernel moves elements of up to 8 bytes; it converts none that are complex.
  const bool moves = y.dtype == x.dtype && y.dtype != DType::complex128;
  if (!moves && (is_complex(y.dtype) || is_complex(x.dtype))) return copy_complex(y, x);
  Copy args{.to = y.dtype, .from = x.dtype, .loop = make_loop<2>(y.shape, {&y, &x})};
  run(copy_kernel, y.device(), args, y.numel());
}

Tensor clone(const Tensor& x) {
  Tensor y = empty_like(x);
  copy_into(y, x);
  return y;
}

}  // namespace

void copy_into(const Tensor& destination, const Tensor& source) {
  if (destination.numel() == 0) return;
  Tensor x = source;
  if (destination.device() == x.device()) {
    const bool same_place = may_overlap(destination, x);
    if (same_place && destination.bytes() == x.bytes() && destination.dtype == x.dtype &&
        destination.shape == x.shape && destination.strides == x.strides)
      return;
    return copy_on_one_device(destination, same_place ? clone(x) : x);
  }
  // Across devices whole contiguous blocks travel; conversion and strides are handled at the ends.
  x = contiguous(to_dtype(x, destination.dtype));
  if (!(x.shape == destination.shape)) x = contiguous(expand(x, destination.shape, "copy_"));
  const bool direct = destination.is_contiguous();
  Tensor y = direct ? destination : empty_like(destination);
  device_copy(y.bytes(), y.device(), x.bytes(), x.device(),
              static_cast<std::size_t>(x.numel()) * size_of(x.dtype));
  if (!direct) copy_on_one_device(destination, y);
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor to_dtype(const Tensor& x, DType dtype) {
  if (x.dtype == dtype) return x;
  Tensor y = empty(x.shape, dtype, x.device(), "to");
  copy_into(y, x);
  return y;
}

Tensor to_device(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  require_device(device, "to");
  Tensor y = empty(x.shape, x.dtype, device);
  copy_into(y, x);
  return y;
}

void bind_copy(py::module_& module) {
  module.def("clone", &clone, py::arg("input"));
  module.def("contiguous", &contiguous, py::arg("input"));
  module.def("to_dtype", &to_dtype, py::arg("input"), py::arg("dtype"));
  module.def("to_device", &to_device, py::arg("input"), py::arg("device"));
  module.def(
      "copy_",
      [](const Tensor& y, const Tensor& x) {
        begin_write(y, "copy_");
        copy_into(y, expand(x, y.shape, "copy_"));
      },
      py::arg("input"), py::arg("src"));
  takes_every_dtype({"clone", "contiguous", "to_dtype", "to_device", "copy_"});
}

}  // namespace tilegrad
