// softmax and log_softmax: dimension and dtype rules.
#include "ops/softmax.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"

namespace tilegrad {
namespace {

// Fills in (outer, length, inner) around dimension `dim`; a 0-dimensional tensor is one element.
template <class Args>
void set_sizes(Args& args, const Tensor& x, int dim) {
  args.outer = args.length = args.inner = 1;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d < dim) args.outer *= x.shape[d];
    else if (d == dim) args.length = x.shape[d];
    else args.inner *= x.shape[d];
  }
}

Tensor softmax(const char* op, bool log, const Tensor& x, std::int64_t dim) {
  TILEGRAD_CHECK(is_floating(x.dtype), not_implemented, op, ": not implemented for dtype ",
                 info(x.dtype).name, "; expected a floating one");
  const int at = normalize_dim(dim, x.ndim(), op);
  const Tensor input = contiguous(x);
  Tensor y = empty_like(input);
  Softmax args{};
  args.log = log;
  args.dtype = x.dtype;
  args.y = y.bytes();
  args.x = input.bytes();
  set_sizes(args, x, at);
  if (y.numel() > 0) run(softmax_kernel, x.device(), args, 4 * y.numel());
  return y;
}

Tensor softmax_backward(const char* op, bool log, const Tensor& grad, const Tensor& y,
                        std::int64_t dim) {
  TILEGRAD_CHECK(grad.dtype == y.dtype && is_floating(y.dtype), runtime, op,
                 ": expected grad and output of one floating dtype, got ", info(grad.dtype).name,
                 " and ", info(y.dtype).name);
  TILEGRAD_CHECK(grad.shape == y.shape && grad.device() == y.device(), runtime, op,
                 ": expected grad like the output ", y.shape.str(), ", got ", grad.shape.str());
  const int at = normalize_dim(dim, y.ndim(), op);
  const Tensor dense_grad = contiguous(grad), dense_y = contiguous(y);
  Tensor grad_x = empty_like(dense_y);
  SoftmaxBackward args{};
  args.log = log;
  args.dtype = y.dtype;
  args.grad_x = grad_x.bytes();
  args.grad = dense_grad.bytes();
  args.y = dense_y.bytes();
  set_sizes(args, y, at);
  if (y.numel() > 0) run(softmax_backward_kernel, y.device(), args, 4 * y.numel());
  return grad_x;
}

}  // namespace

void bind_softmax(py::module_& module) {
#define TILEGRAD_BIND(name, log)                                                            \
  module.def(                                                                               \
      #name, [](const Tensor& x, std::int64_t dim) { return softmax(#name, log, x, dim); }, \
      py::arg("input"), py::arg("dim"));                                                    \
  module.def(                                                                               \
      #name "_backward",                                                                    \
      [](const Tensor& grad, const Tensor& y, std::int64_t dim) {                           \
        return softmax_backward(#name "_backward", log, grad, y, dim);                      \
      },                                                                                    \
      py::arg("grad"), py::arg("output"), py::arg("dim"));                                  \
  takes_alike_halves_on_cards(1, {#name, #name "_backward"});
  TILEGRAD_BIND(softmax, false)
  TILEGRAD_BIND(log_softmax, true)
#undef TILEGRAD_BIND
}

}  // namespace tilegrad
