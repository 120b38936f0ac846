// Resampling along one dimension: argument rules, memory order.
#include "ops/resample.h"

#include "bind.h"
#include "channels_last.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

// The table is read by address: what it says is checked where the host can read it.
void check_resample_table(const Resample& args, std::int64_t count) {
  bool fits = args.begin[0] == 0 && args.begin[args.size] == count;
  for (std::int64_t j = 0; j < args.size; ++j) fits = fits && args.begin[j] <= args.begin[j + 1];
  for (std::int64_t k = 0; k < count; ++k)
    fits = fits && args.index[k] >= 0 && args.index[k] < args.length;
  TILEGRAD_CHECK(fits, index, "resample: expected a table of places from 0 to ", args.length - 1,
                 " for ", args.size, " elements");
}

void check_resample_tensors(const Tensor& x, const Tensor& begin, const Tensor& index,
                            const Tensor& weight) {
  TILEGRAD_CHECK(x.dtype == DType::float32 || x.dtype == DType::float64, not_implemented,
                 "resample: not implemented for dtype ", info(x.dtype).name,
                 "; expected float32 or float64");
  TILEGRAD_CHECK(
      begin.ndim() == 1 && begin.shape[0] > 0 && index.ndim() == 1 && weight.shape == index.shape,
      runtime, "resample: expected begin of one dimension, index and weight of one size", ", got ",
      begin.shape.str(), ", ", index.shape.str(), " and ", weight.shape.str());
  TILEGRAD_CHECK(
      begin.dtype == DType::int64 && index.dtype == DType::int64 && weight.dtype == x.dtype,
      runtime, "resample: expected begin and index of int64 and weight of ", info(x.dtype).name,
      ", got ", info(begin.dtype).name, ", ", info(index.dtype).name, " and ",
      info(weight.dtype).name);
  for (const Tensor* part : {&begin, &index, &weight})
    TILEGRAD_CHECK(part->device() == x.device(), runtime,
                   "resample: expected all tensors on one device, got ", x.device().str(), " and ",
                   part->device().str());
}

Tensor resample(const Tensor& x, std::int64_t dim, const Tensor& begin, const Tensor& index,
                const Tensor& weight) {
  check_resample_tensors(x, begin, index, weight);
  const int at = normalize_dim(dim, x.ndim(), "resample");
  const bool channels_last = is_channels_last(x) && at >= 2;
  const Tensor dense = channels_last ? x : contiguous(x), dense_begin = contiguous(begin),
               dense_index = contiguous(index), dense_weight = contiguous(weight);
  Dims shape = x.shape;
  shape[at] = begin.shape[0] - 1;
  Tensor y = empty(shape, x.dtype, x.device(), "resample");
  if (channels_last) y.strides = channels_last_strides(shape);
  Resample args{.dtype = x.dtype,
                .y = y.bytes(),
                .x = dense.bytes(),
                .outer = 1,
                .length = x.shape[at],
                .size = shape[at],
                .inner = 1,
                .begin = reinterpret_cast<const std::int64_t*>(dense_begin.bytes()),
                .index = reinterpret_cast<const std::int64_t*>(dense_index.bytes()),
                .weight = dense_weight.bytes()};
  const auto lies_within = [&](int d) { return d > at || (channels_last && d == 1); };
  for (int d = 0; d < x.ndim(); ++d)
    if (d != at) (lies_within(d) ? args.inner : args.outer) *= x.shape[d];
  if (y.numel() == 0) return y;
  if (x.device().is_cpu()) check_resample_table(args, index.numel());
  run(resample_kernel, x.device(), args, 4 * y.numel());
  return y;
}

}  // namespace

void bind_resample(py::module_& module) {
  module.def("resample", &resample, py::arg("input"), py::arg("dim"), py::arg("begin"),
             py::arg("index"), py::arg("weight"));
}

}  // namespace tilegrad
