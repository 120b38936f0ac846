// matmul and linear: shape rules, batch broadcasting, dtypes.
#include "ops/matmul.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

bool tf32_allowed = false;  // tilegrad.backends.cuda.matmul.allow_tf32; guarded by the GIL

void check_operands(const char* op, const Tensor& x, const Tensor& other) {
  TILEGRAD_CHECK(x.dtype == other.dtype, runtime, op,
                 ": expected both tensors to have one dtype, got ", info(x.dtype).name, " and ",
                 info(other.dtype).name);
  TILEGRAD_CHECK(x.device() == other.device(), runtime, op,
                 ": expected all tensors on one device, got ", x.device().str(), " and ",
                 other.device().str());
}

// The kernel knows float32, float64, bfloat16, int64 and, on CUDA, float16, which is computed in
// float32 elsewhere; the other integers are computed in int64.
DType kernel_dtype(DType dtype, const Device& device, const char* op) {
  TILEGRAD_CHECK(dtype != DType::boolean, runtime, op, ": not implemented for dtype bool");
  if (dtype == DType::float16 && device.is_cpu()) return DType::float32;
  return is_floating(dtype) ? dtype : DType::int64;
}

// What the kernel does besides the product.
struct MatmulEpilogue {
  const Tensor* bias = nullptr;      // contiguous
  const Tensor* residual = nullptr;  // broadcasts to the result
  MatmulActivation activation = MatmulActivation::none;
  Tensor* x_sums = nullptr;
};

// x (batch..., rows, inner) @ other (batch..., inner, columns); both with at least two dimensions.
Tensor multiply_matrices(const char* op, const Tensor& x, const Tensor& other,
                         const MatmulEpilogue& epilogue = {}) {
  const int xd = x.ndim(), od = other.ndim();
  const std::int64_t rows = x.shape[xd - 2], inner = x.shape[xd - 1];
  const std::int64_t columns = other.shape[od - 1];
  TILEGRAD_CHECK(other.shape[od - 2] == inner, runtime, op,
                 ": mat1 and mat2 shapes cannot be multiplied (", x.shape.str(), " and ",
                 other.shape.str(),
                 "): the last size of the first must equal the last but one of the "
                 "second");
  Dims x_batch = x.shape, other_batch = other.shape;
  x_batch.n -= 2;
  other_batch.n -= 2;
  Dims shape = broadcast_shapes(x_batch, other_batch, op);
  Matmul args{.dtype = x.dtype,
              .rows = rows,
              .columns = columns,
              .inner = inner,
              .x = x.bytes(),
              .x_row_stride = x.strides[xd - 2],
              .x_column_stride = x.strides[xd - 1],
              .other = other.bytes(),
              .other_row_stride = other.strides[od - 2],
              .other_column_stride = other.strides[od - 1],
              .bias = epilogue.bias ? epilogue.bias->bytes() : nullptr,
              .activation = epilogue.activation,
              .x_sums = epilogue.x_sums ? epilogue.x_sums->bytes() : nullptr,
              .allow_tf32 = tf32_allowed,
              .batch_ndim = shape.n};
  for (int i = 0; i < shape.n; ++i) {
    args.batch_shape[i] = shape[shape.n - 1 - i];
    const auto stride = [&](const Tensor& t, const Dims& batch) {
      return i < batch.n && batch[batch.n - 1 - i] != 1 ? t.strides[batch.n - 1 - i] : 0;
    };
    args.x_batch_strides[i] = stride(x, x_batch);
    args.other_batch_strides[i] = stride(other, other_batch);
  }
  shape.push(rows);
  shape.push(columns);
  if (epilogue.residual) {
    const Tensor residual = expand(*epilogue.residual, shape, op);
    args.residual = residual.bytes();
    args.residual_row_stride = residual.strides[shape.n - 2];
    args.residual_column_stride = residual.strides[shape.n - 1];
    for (int i = 0; i < args.batch_ndim; ++i)
      args.residual_batch_strides[i] = residual.strides[args.batch_ndim - 1 - i];
  }
  Tensor y = empty(shape, x.dtype, x.device(), op);
  args.y = y.bytes();
  const std::int64_t count = y.numel();
  if (count > 0)
    run(matmul_kernel, x.device(), args, count * std::max<std::int64_t>(inner, 1) / 16);
  return y;
}

Tensor without_dim(Tensor x, int dim) {
  for (int d = dim; d + 1 < x.ndim(); ++d) {
    x.shape[d] = x.shape[d + 1];
    x.strides[d] = x.strides[d + 1];
  }
  --x.shape.n;
  --x.strides.n;
  return x;
}

Tensor with_dim(const Tensor& vector, bool as_row) {
  Dims shape = as_row ? Dims{1, vector.shape[0]} : Dims{vector.shape[0], 1};
  Dims strides = as_row ? Dims{0, vector.strides[0]} : Dims{vector.strides[0], 0};
  return as_strided(vector, shape, strides, vector.offset);
}

// A batch times one matrix is one product of all rows.
Tensor multiply_folded(const Tensor& x, const Tensor& other) {
  if (x.ndim() == 2 || other.ndim() != 2 || !x.is_contiguous() || x.numel() == 0)
    return multiply_matrices("matmul", x, other);
  const std::int64_t inner = x.shape[x.ndim() - 1];
  const Tensor y = multiply_matrices("matmul", reshape(x, {x.numel() / inner, inner}), other);
  Dims shape = x.shape;
  shape[shape.n - 1] = other.shape[1];
  return reshape(y, shape);
}

Tensor matmul(const Tensor& x, const Tensor& other) {
  check_operands("matmul", x, other);
  TILEGRAD_CHECK(x.ndim() > 0 && other.ndim() > 0, runtime,
                 "matmul: both arguments need at least 1 dimension, got ", x.ndim(), " and ",
                 other.ndim());
  const DType dtype = kernel_dtype(x.dtype, x.device(), "matmul");
  const bool row = x.ndim() == 1, column = other.ndim() == 1;
  const Tensor left = to_dtype(row ? with_dim(x, true) : x, dtype);
  const Tensor right = to_dtype(column ? with_dim(other, false) : other, dtype);
  Tensor y = multiply_folded(left, right);
  if (column) y = without_dim(y, y.ndim() - 1);
  if (row) y = without_dim(y, y.ndim() - (column ? 1 : 2));
  return to_dtype(y, x.dtype);
}

MatmulActivation matmul_activation(const std::string& name) {
  if (name == "relu") return MatmulActivation::relu;
  if (name == "gelu") return MatmulActivation::gelu;
  TILEGRAD_CHECK(name == "none", value,
                 "linear: argument 'activation': expected 'none', 'relu' or ", "'gelu', got '",
                 name, "'");
  return MatmulActivation::none;
}

// input + x (..., rows, inner) @ other (..., inner, columns), for one floating dtype
Tensor add_product(const Tensor& input, const Tensor& x, const Tensor& other) {
  check_operands("addmm", x, other);
  check_operands("addmm", x, input);
  TILEGRAD_CHECK(is_floating(x.dtype) && x.ndim() >= 2 && other.ndim() >= 2, runtime,
                 "addmm: expected floating matrices, got shapes ", x.shape.str(), " and ",
                 other.shape.str(), " of dtype ", info(x.dtype).name);
  return multiply_matrices("addmm", x, other, {.residual = &input});
}

// activation(x (..., in) @ weight (out, in)^T + bias (out) + residual (..., out)), for any dtype
// that the kernel knows on that device
Tensor linear_of_kernel_dtype(const Tensor& x, const Tensor& weight,
                              const std::optional<Tensor>& bias, const std::string& activation,
                              const std::optional<Tensor>& residual) {
  check_operands("linear", x, weight);
  TILEGRAD_CHECK(is_floating(x.dtype), runtime, "linear: expected a floating dtype, got ",
                 info(x.dtype).name);
  TILEGRAD_CHECK(
      weight.ndim() == 2, runtime,
      "linear: argument 'weight': expected 2 dimensions (out_features, in_features), got "
      "shape ",
      weight.shape.str());
  TILEGRAD_CHECK(
      x.ndim() > 0 && x.shape[x.ndim() - 1] == weight.shape[1], runtime,
      "linear: argument 'input': expected the last size to be in_features = ", weight.shape[1],
      ", got shape ", x.shape.str(), " (mat1 and mat2 shapes cannot be multiplied)");
  Tensor contiguous_bias;
  if (bias) {
    check_operands("linear", x, *bias);
    TILEGRAD_CHECK(bias->ndim() == 1 && bias->shape[0] == weight.shape[0], runtime,
                   "linear: argument 'bias': expected shape (", weight.shape[0], ",), got ",
                   bias->shape.str());
    contiguous_bias = contiguous(is_half(x.dtype) ? to_dtype(*bias, DType::float32) : *bias);
  }
  const std::int64_t in = weight.shape[1];
  std::int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim(); ++d) rows *= x.shape[d];
  const Tensor flat = x.ndim() == 2 ? x : reshape(x, {rows, in});
  Dims shape = x.shape;
  shape[shape.n - 1] = weight.shape[0];
  Tensor flat_residual;
  if (residual) {
    check_operands("linear", x, *residual);
    flat_residual = reshape(expand(*residual, shape, "linear"), {rows, weight.shape[0]});
  }
  Tensor y = multiply_matrices("linear", flat, transpose(weight, 0, 1),
                               {.bias = bias ? &contiguous_bias : nullptr,
                                .residual = residual ? &flat_residual : nullptr,
                                .activation = matmul_activation(activation)});
  if (x.ndim() == 2) return y;
  return reshape(y, shape);
}

Tensor linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
              const std::string& activation, const std::optional<Tensor>& residual) {
  const auto is_float16 = [](const Tensor& each) { return each.dtype == DType::float16; };
  if (!x.device().is_cpu() || !is_float16(x) || !is_float16(weight) ||
      (bias && !is_float16(*bias)) || (residual && !is_float16(*residual)))
    return linear_of_kernel_dtype(x, weight, bias, activation, residual);
  const auto widen = [](const std::optional<Tensor>& half) {
    return half ? std::optional(to_dtype(*half, DType::float32)) : std::nullopt;
  };
  return to_dtype(
      linear_of_kernel_dtype(to_dtype(x, DType::float32), to_dtype(weight, DType::float32),
                             widen(bias), activation, widen(residual)),
      DType::float16);
}

// The gradients of weight and bias, grad^T @ x and the column sums of grad, from grad (n, out) and
// x (n, in). The sums are taken while the product packs grad.
py::tuple linear_grad_weight(const Tensor& grad, const Tensor& x) {
  check_operands("linear_grad_weight", grad, x);
  TILEGRAD_CHECK(
      is_floating(x.dtype) && grad.ndim() == 2 && x.ndim() == 2 && grad.shape[0] == x.shape[0],
      runtime,
      "linear_grad_weight: expected floating matrices with one number of rows, not empty, ",
      "got shapes ", grad.shape.str(), " and ", x.shape.str());
  Tensor sums = empty({grad.shape[1]}, x.dtype, x.device(), "linear");
  const Tensor weight = multiply_matrices("linear", transpose(grad, 0, 1), x, {.x_sums = &sums});
  return py::make_tuple(weight, sums);
}

// linear with a kernel (in, out).
Tensor dense(const Tensor& x, const Tensor& kernel, const std::optional<Tensor>& bias,
             const std::string& activation) {
  TILEGRAD_CHECK(kernel.ndim() == 2, runtime,
                 "linear: argument 'weight': expected 2 dimensions, got shape ",
                 kernel.shape.str());
  return linear(x, transpose(kernel, 0, 1), bias, activation, std::nullopt);
}

// Up to so many outputs, the gradient of the transposed kernel and its copy cost less.
constexpr std::int64_t kFewOutputs = 16;

// The gradients of x and kernel of `dense` that are wanted, else None: grad @ kernel^T and
// x^T @ grad, from grad (n, out) and x (n, in) in float32 or float64. That of bias, the column sums
// of grad, where it comes for nothing, else None.
py::tuple dense_gradients(const Tensor& grad, const Tensor& x, const Tensor& kernel, bool wants_x,
                          bool wants_kernel) {
  check_operands("dense_gradients", grad, x);
  check_operands("dense_gradients", grad, kernel);
  TILEGRAD_CHECK(grad.ndim() == 2 && x.ndim() == 2 && kernel.ndim() == 2, runtime,
                 "dense_gradients: expected matrices, got shapes ", grad.shape.str(), ", ",
                 x.shape.str(), " and ", kernel.shape.str());
  std::optional<Tensor> of_x, of_kernel, of_bias;
  if (wants_x) of_x = multiply_matrices("linear", grad, transpose(kernel, 0, 1));
  if (wants_kernel && grad.shape[1] <= kFewOutputs && grad.numel() > 0 && x.numel() > 0) {
    of_bias = empty({grad.shape[1]}, grad.dtype, grad.device(), "linear");
    of_kernel = contiguous(transpose(
        multiply_matrices("linear", transpose(grad, 0, 1), x, {.x_sums = &*of_bias}), 0, 1));
  } else if (wants_kernel) {
    of_kernel = multiply_matrices("linear", transpose(x, 0, 1), grad);
  }
  return py::make_tuple(of_x, of_kernel, of_bias);
}

}  // namespace

void bind_matmul(py::module_& module) {
  module.def("get_allow_tf32", [] { return tf32_allowed; });
  module.def("set_allow_tf32", [](bool allowed) { tf32_allowed = allowed; }, py::arg("allowed"));
  module.def("matmul", &matmul, py::arg("input"), py::arg("other"));
  module.def("linear", &linear, py::arg("input"), py::arg("weight"), py::arg("bias"),
             py::arg("activation") = "none", py::arg("residual") = std::nullopt);
  module.def("addmm", &add_product, py::arg("input"), py::arg("mat1"), py::arg("mat2"));
  module.def("dense", &dense, py::arg("input"), py::arg("kernel"), py::arg("bias"),
             py::arg("activation") = "none");
  module.def("dense_gradients", &dense_gradients, py::arg("grad"), py::arg("input"),
             py::arg("kernel"), py::arg("wants_input"), py::arg("wants_kernel"));
  module.def("linear_grad_weight", &linear_grad_weight, py::arg("grad"), py::arg("input"));
  takes_halves({"matmul", "linear", "dense"});
}

}  // namespace tilegrad
