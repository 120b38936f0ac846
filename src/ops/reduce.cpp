// Reductions: which dimensions, which dtypes, what an empty reduction means.
#include "ops/reduce.h"

#include <algorithm>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

using OptionalDims = std::optional<Dims>;

// reduced[d] for every dimension of x. No dims at all, or an empty list, reduces everything.
struct DimSet {
  bool reduced[kMaxDims] = {};
};

DimSet reduced_dims(const Tensor& x, const OptionalDims& dims, const char* op) {
  DimSet set;
  if (!dims || dims->n == 0) {
    std::fill_n(set.reduced, x.ndim(), true);
    return set;
  }
  for (std::int64_t dim : *dims) {
    const int d = normalize_dim(dim, x.ndim(), op);
    TILEGRAD_CHECK(!set.reduced[d], runtime, op, ": dim ", d,
                   " appears multiple times in the list of dims");
    set.reduced[d] = true;
  }
  return set;
}

Dims result_shape(const Tensor& x, const DimSet& set, bool keepdim) {
  Dims shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (!set.reduced[d]) shape.push(x.shape[d]);
    else if (keepdim) shape.push(1);
  }
  return shape;
}

// Appends a dimension, merged into the one before where the strides allow it.
void append(int& ndim, std::int64_t* shape, std::int64_t* strides, std::int64_t size,
            std::int64_t stride) {
  if (size == 1) return;
  if (ndim > 0 && stride == strides[ndim - 1] * shape[ndim - 1]) {
    shape[ndim - 1] *= size;
    return;
  }
  shape[ndim] = size;
  strides[ndim] = stride;
  ++ndim;
}

ReduceShape kernel_shape(const Tensor& x, const DimSet& set) {
  ReduceShape shape;
  int order[kMaxDims], count = 0;
  for (int d = x.ndim() - 1; d >= 0; --d) {
    if (set.reduced[d]) order[count++] = d;
    else append(shape.kept_ndim, shape.kept_shape, shape.kept_strides, x.shape[d], x.strides[d]);
  }
  // Smallest stride innermost; repeated elements (stride 0) outermost.
  std::stable_sort(order, order + count, [&](int a, int b) {
    return static_cast<std::uint64_t>(x.strides[a] - 1) <
           static_cast<std::uint64_t>(x.strides[b] - 1);
  });
  for (int i = 0; i < count; ++i)
    append(shape.reduced_ndim, shape.reduced_shape, shape.reduced_strides, x.shape[order[i]],
           x.strides[order[i]]);
  return shape;
}

// Runs the kernel on x, which has a dtype that the operation accepts. `wide`: a sum of halves,
// which are on a card then, stays float32.
Tensor reduce(ReduceOp op, const char* name, const Tensor& x, const DimSet& set, bool keepdim,
              double divisor = 1, const Tensor* center = nullptr, bool wide = false) {
  const bool counts = op == ReduceOp::sum && !is_floating(x.dtype);
  const DType dtype = counts ? DType::int64 : wide && is_half(x.dtype) ? DType::float32 : x.dtype;
  Tensor y = empty(result_shape(x, set, keepdim), dtype, x.device(), name);
  Reduce args{.op = op,
              .dtype = x.dtype,
              .y = y.bytes(),
              .x = x.bytes(),
              .center = center ? center->bytes() : nullptr,
              .divisor = divisor,
              .shape = kernel_shape(x, set),
              .wide = dtype != x.dtype && is_half(x.dtype)};
  if (y.numel() > 0) run(reduce_kernel, x.device(), args, x.numel() + y.numel());
  return y;
}

double count_reduced(const Tensor& x, const DimSet& set) {
  std::int64_t count = 1;
  for (int d = 0; d < x.ndim(); ++d)
    if (set.reduced[d]) count *= x.shape[d];
  return static_cast<double>(count);
}

// The kernels know int64, not the narrower integers; bool only where that saves a conversion.
Tensor widened(const Tensor& x, bool keep_bool) {
  if (is_floating(x.dtype) || (keep_bool && x.dtype == DType::boolean)) return x;
  return to_dtype(x, DType::int64);
}

// Whether a fold of halves is to be made in float32 before it takes the dtype that was asked for.
bool is_folded_wide(const Tensor& x, std::optional<DType> dtype) {
  return dtype && *dtype != x.dtype && is_half(x.dtype) &&
         (is_half(*dtype) || *dtype == DType::float32);
}

Tensor sum(const Tensor& x, const OptionalDims& dims, bool keepdim, std::optional<DType> dtype) {
  const DimSet set = reduced_dims(x, dims, "sum");
  const bool wide = is_folded_wide(x, dtype);
  const Tensor input = widened(dtype && !wide ? to_dtype(x, *dtype) : x, true);
  Tensor y = reduce(ReduceOp::sum, "sum", input, set, keepdim, 1, nullptr, wide);
  return dtype ? to_dtype(y, *dtype) : y;
}

Tensor prod(const Tensor& x, const OptionalDims& dims, bool keepdim, std::optional<DType> dtype) {
  const DimSet set = reduced_dims(x, dims, "prod");
  const DType asked = is_folded_wide(x, dtype) ? DType::float32 : dtype.value_or(x.dtype);
  const Tensor input = widened(to_dtype(x, asked), false);
  Tensor y = reduce(ReduceOp::prod, "prod", input, set, keepdim);
  return dtype ? to_dtype(y, *dtype) : y;
}

Tensor mean(const Tensor& x, const OptionalDims& dims, bool keepdim, std::optional<DType> dtype) {
  TILEGRAD_CHECK(is_floating(dtype.value_or(x.dtype)), runtime,
                 "mean(): could not infer output dtype. ", dtype ? "Optional" : "Input",
                 " dtype must be floating point, got ", info(dtype.value_or(x.dtype)).name);
  const DimSet set = reduced_dims(x, dims, "mean");
  const bool wide = is_folded_wide(x, dtype);
  const Tensor y = reduce(ReduceOp::sum, "mean", dtype && !wide ? to_dtype(x, *dtype) : x, set,
                          keepdim, count_reduced(x, set), nullptr, wide);
  return dtype ? to_dtype(y, *dtype) : y;
}

Tensor extremum(ReduceOp op, const char* name, const Tensor& x, const OptionalDims& dims,
                bool keepdim) {
  const DimSet set = reduced_dims(x, dims, name);
  const bool all = !dims || dims->n == 0;
  TILEGRAD_CHECK(!all || x.numel() > 0, runtime, name,
                 "(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                 "reduction dim with the 'dim' argument.");
  for (int d = 0; d < x.ndim(); ++d)
    TILEGRAD_CHECK(!set.reduced[d] || x.shape[d] > 0, index, name, "(): Expected reduction dim ", d,
                   " to have non-zero size.");
  return to_dtype(reduce(op, name, widened(x, true), set, keepdim), x.dtype);
}

// any is the largest truth value, all the smallest. uint8 stays uint8, as in PyTorch.
Tensor truth(ReduceOp op, const char* name, const Tensor& x, const OptionalDims& dims,
             bool keepdim) {
  const DimSet set = reduced_dims(x, dims, name);
  Tensor y = reduce(op, name, to_dtype(x, DType::boolean), set, keepdim);
  return x.dtype == DType::uint8 ? to_dtype(y, DType::uint8) : y;
}

Tensor floating_sum(ReduceOp op, const char* name, const Tensor& x, const OptionalDims& dims,
                    bool keepdim, std::optional<DType> dtype = {}) {
  const bool wide = is_folded_wide(x, dtype);
  const Tensor input = dtype && !wide ? to_dtype(x, *dtype) : x;
  TILEGRAD_CHECK(is_floating(input.dtype), runtime, name,
                 ": expected a floating point tensor as input, got ", info(input.dtype).name);
  const Tensor y = reduce(op, name, input, reduced_dims(x, dims, name), keepdim, 1, nullptr, wide);
  return dtype ? to_dtype(y, *dtype) : y;
}

// (variance, mean): the mean first, then the squared deviations from it.
py::tuple var_mean(const char* name, const Tensor& x, const OptionalDims& dims, double correction,
                   bool keepdim) {
  TILEGRAD_CHECK(is_floating(x.dtype), runtime, name,
                 ": std and var only support floating point dtypes, got ", info(x.dtype).name);
  const DimSet set = reduced_dims(x, dims, name);
  const double count = count_reduced(x, set);
  const Tensor mean = reduce(ReduceOp::sum, name, x, set, keepdim, count, nullptr, true);
  const Tensor var = reduce(ReduceOp::sum_squared_deviations, name, x, set, keepdim,
                            std::max(0.0, count - correction), &mean);
  return py::make_tuple(var, to_dtype(mean, x.dtype));
}

}  // namespace

void bind_reduce(py::module_& module) {
  module.def("sum", &sum, py::arg("input"), py::arg("dims"), py::arg("keepdim"), py::arg("dtype"));
  module.def("prod", &prod, py::arg("input"), py::arg("dims"), py::arg("keepdim"),
             py::arg("dtype"));
  module.def("mean", &mean, py::arg("input"), py::arg("dims"), py::arg("keepdim"),
             py::arg("dtype"));
  module.def("var_mean", &var_mean, py::arg("name"), py::arg("input"), py::arg("dims"),
             py::arg("correction"), py::arg("keepdim"));
#define TILEGRAD_BIND(name, function, op)                           \
  module.def(                                                       \
      #name,                                                        \
      [](const Tensor& x, const OptionalDims& dims, bool keepdim) { \
        return function(ReduceOp::op, #name, x, dims, keepdim);     \
      },                                                            \
      py::arg("input"), py::arg("dims"), py::arg("keepdim"));
  TILEGRAD_BIND(amax, extremum, amax)
  TILEGRAD_BIND(amin, extremum, amin)
  TILEGRAD_BIND(max, extremum, amax)
  TILEGRAD_BIND(min, extremum, amin)
  TILEGRAD_BIND(any, truth, amax)
  TILEGRAD_BIND(all, truth, amin)
  TILEGRAD_BIND(sum_abs, floating_sum, sum_abs)
#undef TILEGRAD_BIND
  module.def(
      "sum_squares",
      [](const Tensor& x, const OptionalDims& dims, bool keepdim, std::optional<DType> dtype) {
        return floating_sum(ReduceOp::sum_squares, "sum_squares", x, dims, keepdim, dtype);
      },
      py::arg("input"), py::arg("dims"), py::arg("keepdim"), py::arg("dtype"));
  takes_alike_halves_on_cards(1, {"sum", "prod", "mean", "var_mean", "amax", "amin", "max", "min",
                                  "any", "all", "sum_abs", "sum_squares"});
}

}  // namespace tilegrad
