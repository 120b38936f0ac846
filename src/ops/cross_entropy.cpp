// cross_entropy and nll_loss of class indices, whose labels are all checked here, and cross_entropy
// of class probabilities.
#include "ops/cross_entropy.h"

#include "../cuda/runtime.h"
#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

// The checked arguments, with the tensors that hold them.
struct Problem {
  Tensor x, target, weight;
  CrossEntropyRows rows{};
};

Reduction parse_reduction(const char* op, const std::string& name) {
  if (name == "none") return Reduction::none;
  if (name == "mean") return Reduction::mean;
  TILEGRAD_CHECK(name == "sum", value, op, ": ", name,
                 " is not a valid value for reduction: expected 'none', 'mean' or 'sum'");
  return Reduction::sum;
}

// Of labels on a card the host must wait for a copy. While a graph is captured it cannot, and that
// of a backward call need not: the forward call has looked at them.
void check_labels(const char* op, const Tensor& target, std::int64_t classes,
                  std::int64_t ignore_index, bool backward) {
  if (!target.device().is_cpu() && (backward || cuda::is_capturing())) return;
  const Tensor host = on_host(target);
  const std::int64_t* labels = host.data<std::int64_t>();
  for (std::int64_t n = 0, rows = target.numel(); n < rows; ++n)
    TILEGRAD_CHECK((labels[n] >= 0 && labels[n] < classes) || labels[n] == ignore_index, index, op,
                   ": Target ", labels[n], " is out of bounds: expected 0 <= target < ", classes,
                   " classes, or ignore_index = ", ignore_index, ", at position ", n);
}

Problem prepare(const char* op, const Tensor& x, const Tensor& target,
                const std::optional<Tensor>& weight, std::int64_t ignore_index,
                const std::string& reduction, double label_smoothing, bool normalized,
                bool backward = false) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, op, ": not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating one");
  TILEGRAD_CHECK(x.ndim() == 2 || x.ndim() == 3, value, op,
                 ": argument 'input': expected shape (rows, classes) or (images, classes, pixels), "
                 "got ",
                 x.shape.str());
  const std::int64_t inner = x.ndim() == 3 ? x.shape[2] : 1, rows = x.shape[0] * inner;
  TILEGRAD_CHECK(target.dtype == DType::int64 || target.dtype == DType::uint8, runtime, op,
                 ": argument 'target': expected class indices of dtype int64, got ",
                 info(target.dtype).name);
  TILEGRAD_CHECK(target.ndim() == 1 && target.shape[0] == rows, value, op,
                 ": argument 'target': expected shape (", rows, ",) to match input ", x.shape.str(),
                 ", got ", target.shape.str());
  TILEGRAD_CHECK(x.device() == target.device(), runtime, op,
                 ": expected all tensors on one device, got ", x.device().str(), " and ",
                 target.device().str());
  TILEGRAD_CHECK(label_smoothing >= 0 && label_smoothing <= 1, runtime, op,
                 ": label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  Problem p;
  p.x = contiguous(x);
  p.target = contiguous(to_dtype(target, DType::int64));
  const std::int64_t classes = x.shape[1];
  if (weight) {
    TILEGRAD_CHECK(weight->ndim() == 1 && weight->shape[0] == classes, runtime, op,
                   ": weight tensor should be defined either for all ", classes,
                   " classes or no classes but got weight tensor of shape: ", weight->shape.str());
    const DType wide = wide_dtype(x.dtype);
    TILEGRAD_CHECK(wide_dtype(weight->dtype) == wide && weight->device() == x.device(), runtime, op,
                   ": argument 'weight': expected dtype ", info(x.dtype).name, " on ",
                   x.device().str(), ", got ", info(weight->dtype).name, " on ",
                   weight->device().str());
    p.weight = contiguous(to_dtype(*weight, wide));
  }
  check_labels(op, p.target, classes, ignore_index, backward);
  p.rows.dtype = x.dtype;
  p.rows.normalized = normalized;
  p.rows.reduction = parse_reduction(op, reduction);
  p.rows.x = p.x.bytes();
  p.rows.target = p.target.data<std::int64_t>();
  p.rows.weight = weight ? p.weight.bytes() : nullptr;
  p.rows.ignore_index = ignore_index;
  p.rows.label_smoothing = label_smoothing;
  p.rows.rows = rows;
  p.rows.classes = classes;
  p.rows.inner = inner;
  return p;
}

// (loss, log-sum-exp of each row, sum of the weights of the targets, gradient of the input for a
// gradient of 1 of the loss, or None)
py::tuple cross_entropy(const char* op, const Tensor& x, const Tensor& target,
                        const std::optional<Tensor>& weight, std::int64_t ignore_index,
                        const std::string& reduction, double label_smoothing, bool normalized,
                        bool wants_grad) {
  const Problem p =
      prepare(op, x, target, weight, ignore_index, reduction, label_smoothing, normalized);
  const Dims rows{p.rows.rows};
  const DType wide = wide_dtype(x.dtype);
  Tensor losses = empty(rows, wide, x.device(), op), lse = empty(rows, wide, x.device(), op);
  Tensor loss = empty({}, wide, x.device(), op), total = empty({}, wide, x.device(), op);
  CrossEntropy args{.in = p.rows,
                    .losses = losses.bytes(),
                    .lse = lse.bytes(),
                    .loss = loss.bytes(),
                    .total = total.bytes(),
                    .grad_x = nullptr};
  py::object gradient = py::none();
  if (wants_grad && !normalized && p.rows.reduction != Reduction::none && x.numel() > 0 &&
      wide == x.dtype) {
    Tensor grad_x = empty(x.shape, x.dtype, x.device(), op);
    args.grad_x = grad_x.bytes();
    gradient = py::cast(std::move(grad_x));
  }
  run(cross_entropy_kernel, x.device(), args, 4 * x.numel());
  return py::make_tuple(to_dtype(p.rows.reduction == Reduction::none ? losses : loss, x.dtype), lse,
                        total, gradient);
}

// (loss, gradient of the input for a gradient of 1 of the loss, or None) of class probabilities.
py::tuple cross_entropy_soft(const Tensor& x, const Tensor& target,
                             const std::optional<Tensor>& weight, const std::string& reduction,
                             double label_smoothing, bool wants_grad) {
  const char* op = "cross_entropy";
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, op, ": not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating one");
  TILEGRAD_CHECK(x.ndim() == 2 && target.shape == x.shape && target.dtype == x.dtype, runtime, op,
                 ": argument 'target': expected class probabilities of shape ", x.shape.str(),
                 " and dtype ", info(x.dtype).name, ", got ", target.shape.str(), " and ",
                 info(target.dtype).name);
  TILEGRAD_CHECK(x.device() == target.device(), runtime, op,
                 ": expected all tensors on one device, got ", x.device().str(), " and ",
                 target.device().str());
  const Tensor scores = contiguous(x), shares = contiguous(target);
  const DType wide = wide_dtype(x.dtype);
  Tensor weights;
  if (weight) {
    TILEGRAD_CHECK(weight->ndim() == 1 && weight->shape[0] == x.shape[1] &&
                       wide_dtype(weight->dtype) == wide && weight->device() == x.device(),
                   runtime, op, ": argument 'weight': expected shape (", x.shape[1],
                   ",) and dtype ", info(x.dtype).name, ", got ", weight->shape.str(), " and ",
                   info(weight->dtype).name);
    weights = contiguous(to_dtype(*weight, wide));
  }
  Tensor losses = empty({x.shape[0]}, wide, x.device(), op);
  Tensor loss = empty({}, wide, x.device(), op);
  CrossEntropySoft args{.dtype = x.dtype,
                        .reduction = parse_reduction(op, reduction),
                        .x = scores.bytes(),
                        .target = shares.bytes(),
                        .weight = weight ? weights.bytes() : nullptr,
                        .label_smoothing = label_smoothing,
                        .rows = x.shape[0],
                        .classes = x.shape[1],
                        .losses = losses.bytes(),
                        .loss = loss.bytes(),
                        .grad_x = nullptr};
  py::object gradient = py::none();
  if (wants_grad) {
    Tensor grad_x = empty(x.shape, wide, x.device(), op);
    args.grad_x = grad_x.numel() > 0 ? grad_x.bytes() : nullptr;
    gradient = py::cast(std::move(grad_x));
  }
  run(cross_entropy_soft_kernel, x.device(), args, 4 * x.numel());
  return py::make_tuple(to_dtype(args.reduction == Reduction::none ? losses : loss, x.dtype),
                        gradient);
}

// (loss, gradient of the input for a gradient of 1 of the loss, or None) of shares of a whole.
py::tuple cross_entropy_shares(const Tensor& x, const Tensor& target, double epsilon,
                               const std::string& reduction, bool wants_grad) {
  const char* op = "sparse_categorical_crossentropy";
  const Problem p =
      prepare(op, x, target, std::nullopt, 0, reduction, 0, true);  // 0 is a label too
  TILEGRAD_CHECK(x.ndim() == 2 && (x.shape[1] > 0 || x.shape[0] == 0), value, op,
                 ": argument 'input': expected shape (rows, classes), got ", x.shape.str());
  const DType wide = wide_dtype(x.dtype);
  Tensor losses = empty({x.shape[0]}, wide, x.device(), op);
  Tensor loss = empty({}, wide, x.device(), op);
  CrossEntropyShares args{.dtype = x.dtype,
                          .reduction = p.rows.reduction,
                          .x = p.rows.x,
                          .target = p.rows.target,
                          .epsilon = epsilon,
                          .rows = x.shape[0],
                          .classes = x.shape[1],
                          .losses = losses.bytes(),
                          .loss = loss.bytes(),
                          .grad_x = nullptr};
  py::object gradient = py::none();
  if (wants_grad) {
    Tensor grad_x = empty(x.shape, wide, x.device(), op);
    args.grad_x = grad_x.numel() > 0 ? grad_x.bytes() : nullptr;
    gradient = py::cast(std::move(grad_x));
  }
  run(cross_entropy_shares_kernel, x.device(), args, x.numel());
  return py::make_tuple(to_dtype(args.reduction == Reduction::none ? losses : loss, x.dtype),
                        gradient);
}

Tensor cross_entropy_backward(const char* op, const Tensor& grad, const Tensor& lse,
                              const Tensor& total, const Tensor& x, const Tensor& target,
                              const std::optional<Tensor>& weight, std::int64_t ignore_index,
                              const std::string& reduction, double label_smoothing,
                              bool normalized) {
  const Problem p =
      prepare(op, x, target, weight, ignore_index, reduction, label_smoothing, normalized, true);
  const bool each = p.rows.reduction == Reduction::none;
  const DType wide = wide_dtype(x.dtype);
  TILEGRAD_CHECK(wide_dtype(grad.dtype) == wide && grad.numel() == (each ? p.rows.rows : 1),
                 runtime, op, ": argument 'grad': expected the shape and dtype of the loss, got ",
                 grad.shape.str(), " of ", info(grad.dtype).name);
  TILEGRAD_CHECK(lse.dtype == wide && lse.is_contiguous() && lse.numel() == p.rows.rows &&
                     total.dtype == wide && total.numel() == 1,
                 runtime, op, ": expected lse and total as the forward call returned them");
  const Tensor dense_grad = contiguous(to_dtype(grad, wide));
  Tensor grad_x = empty(x.shape, x.dtype, x.device(), op);
  CrossEntropyBackward args{.in = p.rows,
                            .grad_x = grad_x.bytes(),
                            .grad = dense_grad.bytes(),
                            .lse = lse.bytes(),
                            .total = total.bytes()};
  if (grad_x.numel() > 0) run(cross_entropy_backward_kernel, x.device(), args, 4 * x.numel());
  return grad_x;
}

}  // namespace

void bind_cross_entropy(py::module_& module) {
  module.def("cross_entropy", &cross_entropy, py::arg("op"), py::arg("input"), py::arg("target"),
             py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"),
             py::arg("label_smoothing"), py::arg("normalized"), py::arg("wants_grad"));
  module.def("cross_entropy_soft", &cross_entropy_soft, py::arg("input"), py::arg("target"),
             py::arg("weight"), py::arg("reduction"), py::arg("label_smoothing"),
             py::arg("wants_grad"));
  module.def("cross_entropy_shares", &cross_entropy_shares, py::arg("input"), py::arg("target"),
             py::arg("epsilon"), py::arg("reduction"), py::arg("wants_grad"));
  module.def("cross_entropy_backward", &cross_entropy_backward, py::arg("op"), py::arg("grad"),
             py::arg("lse"), py::arg("total"), py::arg("input"), py::arg("target"),
             py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"),
             py::arg("label_smoothing"), py::arg("normalized"));
  half_rule(HalfRule::first_result,
            {"cross_entropy", "cross_entropy_soft", "cross_entropy_shares"});
  takes_halves_on_cards(
      {"cross_entropy", "cross_entropy_soft", "cross_entropy_shares", "cross_entropy_backward"});
}

}  // namespace tilegrad
