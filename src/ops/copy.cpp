// copy: clone, contiguous, dtype conversion and copy_.
#include "ops/copy.h"

#include <algorithm>

#include "bind.h"
#include "device.h"
#include "dispatch.h"
#include "gate.h"
#include "loop.h"
#include "ops/binary.h"
#include "order.h"
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

Tensor row_major_copy(const Tensor& x) {
  Tensor y = empty_like(x);
  copy_into(y, x);
  return y;
}

Tensor clone(const Tensor& x) {
  Tensor y = empty_like(x);
  take_order(y, {&x});
  copy_into(y, x);
  return y;
}

// Where x goes if it moves whole: dense memory keeps its order.
Dims strides_of_copy(const Tensor& x) {
  int order[kMaxDims];
  for (int d = 0; d < x.ndim(); ++d) order[d] = d;
  std::stable_sort(order, order + x.ndim(),
                   [&](int a, int b) { return x.strides[a] > x.strides[b]; });
  Dims strides = x.strides;
  std::int64_t step = 1;
  for (int i = x.ndim() - 1; i >= 0; --i) {
    const int d = order[i];
    if (x.shape[d] == 1) strides[d] = step;
    if (strides[d] != step) return contiguous_strides(x.shape);  // gaps, or repeated elements
    step *= std::max<std::int64_t>(x.shape[d], 1);
  }
  return strides;
}

// True for two tensors whose elements lie in the same order in memory without gaps.
bool same_dense_order(const Tensor& y, const Tensor& x) {
  return y.shape == x.shape && y.strides == x.strides && strides_of_copy(x) == x.strides;
}

// Across devices whole blocks travel; conversion and strides are handled at the ends.
void copy_between_devices(const Tensor& y, const Tensor& source, bool non_blocking) {
  const auto move = [&](const Tensor& to, const Tensor& from) {
    device_copy(to.bytes(), to.device(), from.bytes(), from.device(),
                static_cast<std::size_t>(from.numel()) * size_of(from.dtype), non_blocking);
  };
  // Converted where it costs least to move, or where the card does it.
  Tensor x = source;
  const bool convert_there = !y.device().is_cpu();
  if (x.dtype != y.dtype && !convert_there) x = to_dtype(x, y.dtype);
  if (x.dtype == y.dtype && same_dense_order(y, x)) return move(y, x);
  x = contiguous(x.shape == y.shape ? x : expand(x, y.shape, "copy_"));
  if (x.dtype == y.dtype && y.is_contiguous()) return move(y, x);
  const Tensor there = empty(y.shape, x.dtype, y.device());
  // `x` may be a temporary, which must not die before it is read.
  non_blocking = non_blocking && x.storage.get() == source.storage.get();
  move(there, x);
  copy_on_one_device(y, there);
}

}  // namespace

void copy_into(const Tensor& destination, const Tensor& source, bool non_blocking) {
  if (destination.numel() == 0) return;
  Tensor x = source;
  if (destination.device() == x.device()) {
    const bool same_place = may_overlap(destination, x);
    if (same_place && destination.bytes() == x.bytes() && destination.dtype == x.dtype &&
        destination.shape == x.shape && destination.strides == x.strides)
      return;
    return copy_on_one_device(destination, same_place ? clone(x) : x);
  }
  copy_between_devices(destination, x, non_blocking);
}

Tensor on_host(const Tensor& x) { return contiguous(to_device(x, Device{}, false)); }

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : row_major_copy(x); }

Tensor to_dtype(const Tensor& x, DType dtype) {
  if (x.dtype == dtype) return x;
  Tensor y = empty(x.shape, dtype, x.device(), "to");
  take_order(y, {&x});
  copy_into(y, x);
  return y;
}

Tensor to_device(const Tensor& x, Device device, bool non_blocking) {
  if (x.device() == device) return x;
  require_device(device, "to");
  // A copy to the host that need not wait needs memory that the card can write.
  Tensor y = device.is_cpu() && non_blocking ? pinned(x.shape, x.dtype)
                                             : empty(x.shape, x.dtype, device, "to");
  y.strides = strides_of_copy(x);
  copy_into(y, x, non_blocking);
  return y;
}

void bind_copy(py::module_& module) {
  module.def("clone", &clone, py::arg("input"));
  module.def("contiguous", &contiguous, py::arg("input"));
  module.def(
      "copy_in_order",
      [](const Tensor& x, const Tensor& like) {
        Tensor y = empty_like(x);
        take_order(y, {&like});
        copy_into(y, x);
        return y;
      },
      py::arg("input"), py::arg("like"));
  module.def("to_dtype", &to_dtype, py::arg("input"), py::arg("dtype"));
  module.def("to_device", &to_device, py::arg("input"), py::arg("device"),
             py::arg("non_blocking") = false);
  module.def(
      "copy_",
      [](const Tensor& y, const Tensor& x, bool non_blocking) {
        begin_write(y, "copy_");
        copy_into(y, expand(x, y.shape, "copy_"), non_blocking);
      },
      py::arg("input"), py::arg("src"), py::arg("non_blocking") = false);
  takes_every_dtype({"clone", "contiguous", "copy_in_order", "to_dtype", "to_device", "copy_"});
}

}  // namespace tilegrad
