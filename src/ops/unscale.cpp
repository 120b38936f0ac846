// unscale: checks a list of gradients and the scaler's own numbers, all on one device.
#include "ops/unscale.h"

#include <cmath>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

const char* const kUnscale = "_amp_foreach_non_finite_check_and_unscale_";
const char* const kUpdateScale = "_amp_update_scale_";

void check_scaler_number(const char* op, const char* name, const Tensor& x, DType dtype) {
  TILEGRAD_CHECK(x.numel() == 1 && x.dtype == dtype, runtime, op, ": argument '", name,
                 "': expected one element of dtype ", info(dtype).name, ", got shape ",
                 x.shape.str(), " of ", info(x.dtype).name);
}

void check_one_device(const char* op, const Tensor& x, const Tensor& other) {
  TILEGRAD_CHECK(x.device() == other.device(), runtime, op,
                 ": expected all tensors on one device, got ", x.device().str(), " and ",
                 other.device().str());
}

void unscale_all(const py::list& grads, const Tensor& found_inf, const Tensor& inverse_scale) {
  check_scaler_number(kUnscale, "found_inf", found_inf, DType::float32);
  check_scaler_number(kUnscale, "inv_scale", inverse_scale, DType::float32);
  check_one_device(kUnscale, found_inf, inverse_scale);
  std::vector<UnscaleEntry> entries;
  std::vector<std::pair<const Tensor*, Tensor>> copies;
  std::int64_t work = 0;
  for (py::handle item : grads) {
    TILEGRAD_CHECK(is_tensor(item.ptr()), type, kUnscale, ": expected a list of tensors, got ",
                   Py_TYPE(item.ptr())->tp_name);
    const Tensor& x = as_py(item.ptr())->tensor;
    TILEGRAD_CHECK(is_floating(x.dtype), runtime, kUnscale, ": expected floating gradients, got ",
                   info(x.dtype).name);
    check_one_device(kUnscale, found_inf, x);
  }
  copies.reserve(grads.size());
  for (py::handle item : grads) {
    const Tensor& x = as_py(item.ptr())->tensor;
    begin_write(x, kUnscale);
    const DType dtype = is_half(x.dtype) ? DType::float32 : x.dtype;
    void* data = x.bytes();
    if (dtype != x.dtype || !x.is_contiguous()) {
      copies.emplace_back(&x, contiguous(to_dtype(x, dtype)));
      data = copies.back().second.bytes();
    }
    entries.push_back({dtype, x.numel(), data});
    work += x.numel();
  }
  begin_write(found_inf, kUnscale);
  run(unscale_kernel, found_inf.device(),
      Unscale{.entries = entries.data(),
              .count = static_cast<std::int64_t>(entries.size()),
              .inverse_scale = inverse_scale.data<float>(),
              .found_inf = found_inf.data<float>()},
      work);
  for (const auto& [target, copy] : copies) copy_into(*target, copy);
}

void update_scaler(const Tensor& scale, const Tensor& tracker, const Tensor& found_inf,
                   double growth, double backoff, std::int64_t interval) {
  check_scaler_number(kUpdateScale, "self", scale, DType::float32);
  check_scaler_number(kUpdateScale, "growth_tracker", tracker, DType::int32);
  check_scaler_number(kUpdateScale, "found_inf", found_inf, DType::float32);
  check_one_device(kUpdateScale, scale, tracker);
  check_one_device(kUpdateScale, scale, found_inf);
  TILEGRAD_CHECK(interval > 0 && interval <= INT32_MAX, value, kUpdateScale,
                 ": argument 'growth_interval': expected a positive number of 32 bits, got ",
                 interval);
  begin_write(scale, kUpdateScale);
  begin_write(tracker, kUpdateScale);
  run(update_scale_kernel, scale.device(),
      UpdateScale{.scale = scale.data<float>(),
                  .tracker = tracker.data<std::int32_t>(),
                  .found_inf = found_inf.data<float>(),
                  .growth = growth,
                  .backoff = backoff,
                  .interval = static_cast<std::int32_t>(interval)},
      1);
}

}  // namespace

void bind_unscale(py::module_& module) {
  module.def("unscale_", &unscale_all, py::arg("grads"), py::arg("found_inf"),
             py::arg("inv_scale"));
  module.def("update_scale_", &update_scaler, py::arg("scale"), py::arg("growth_tracker"),
             py::arg("found_inf"), py::arg("growth"), py::arg("backoff"), py::arg("interval"));
  takes_halves({"unscale_", "update_scale_"});
}

}  // namespace tilegrad
