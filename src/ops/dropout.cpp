// dropout: the pass that applies the mask of a key.
#include "ops/dropout.h"

#include <algorithm>
#include <cmath>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "rng.h"

namespace tilegrad {
namespace {

// The key selects one mask out of all.
void dropout_into(const Tensor& y, const Tensor& x, double p, const Operand& key) {
  const double keep = 1 - p, threshold = std::min(std::round(keep * 0x1p32), 0x1p32 - 1);
  const Dropout args{.dtype = x.dtype,
                     .y = y.bytes(),
                     .x = x.bytes(),
                     .size = x.numel(),
                     .threshold = static_cast<std::uint32_t>(threshold),
                     .scale = keep > 0 ? 1 / keep : 0,
                     .key = held_key(key, x.device(), "dropout")};
  run(dropout_kernel, x.device(), args, 4 * x.numel());
}

void check_dropout(const Tensor& x, double p) {
  TILEGRAD_CHECK(p >= 0 && p <= 1, value, "dropout probability has to be between 0 and 1, but got ",
                 p);
  TILEGRAD_CHECK(is_floating(x.dtype), runtime,
                 "dropout: argument 'input': expected a floating dtype, got ", info(x.dtype).name);
}

Tensor dropout(const Tensor& x, double p, const Operand& key) {
  check_dropout(x, p);
  const Tensor source = contiguous(x);
  Tensor y = empty_like(source);
  dropout_into(y, source, p, key);
  return y;
}

void dropout_in_place(const Tensor& x, double p, const Operand& key) {
  check_dropout(x, p);
  begin_write(x, "dropout");
  if (x.is_contiguous()) dropout_into(x, x, p, key);
  else copy_into(x, dropout(x, p, key));
}

}  // namespace

void bind_dropout(py::module_& module) {
  module.def("dropout", &dropout, py::arg("input"), py::arg("p"), py::arg("key"));
  module.def("dropout_", &dropout_in_place, py::arg("input"), py::arg("p"), py::arg("key"));
  takes_alike_halves_on_cards(1, {"dropout", "dropout_"});
}

}  // namespace tilegrad
