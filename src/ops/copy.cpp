// copy: clone, contiguous, dtype conversion and copy_.
#include "ops/copy.h"

#include "bind.h"
#include "device.h"
#include "dispatch.h"
#include "halves.h"
#include "loop.h"

namespace tilegrad {
namespace {

void copy_on_one_device(const Tensor& y, const Tensor& x) {
  Copy args{.to = y.dtype, .from = x.dtype, .loop = make_loop<2>(y.shape, {&y, &x})};
  run(copy_kernel, y.device(), args, y.numel());
}

Tensor clone(const Tensor& x) {
  Tensor y = empty_like(x);
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
