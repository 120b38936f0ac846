// dropout: the mask that elements are multiplied with.
#include "ops/dropout.h"

#include "bind.h"
#include "dispatch.h"
#include "rng.h"

namespace tilegrad {
namespace {

Tensor dropout_mask(const Dims& shape, DType dtype, Device device, double p, Generator& generator) {
  TILEGRAD_CHECK(p >= 0 && p <= 1, value, "dropout probability has to be between 0 and 1, but got ",
                 p);
  TILEGRAD_CHECK(is_floating(dtype), runtime,
                 "dropout: argument 'input': expected a floating dtype, got ", info(dtype).name);
  Tensor mask = empty(shape, dtype, Device{}, "dropout");
  const double keep = 1 - p;
  run(dropout_mask_kernel, Device{},
      DropoutMask{.dtype = dtype,
                  .mask = mask.bytes(),
                  .size = mask.numel(),
                  .keep = keep,
                  .scale = keep > 0 ? 1 / keep : 0,
                  .state = &generator.state},
      0);  // with the GIL: it guards the generator
  if (device.is_cpu()) return mask;
  Tensor there = empty(shape, dtype, device, "dropout");
  copy_into(there, mask);
  return there;
}

}  // namespace

void bind_dropout(py::module_& module) { module.def("dropout_mask", &dropout_mask); }

}  // namespace tilegrad
