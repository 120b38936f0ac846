// The order of results: which dimension lies inside of which.
#include "order.h"

#include <algorithm>

namespace tilegrad {
namespace {

// The step of x along dimension d of a shape of `ndim` dimensions; 0 where it is broadcast.
std::int64_t step_along(const Tensor& x, const Dims& shape, int d) {
  const int own = d - (shape.n - x.ndim());
  return own < 0 || (x.shape[own] == 1 && shape[d] != 1) ? 0 : x.strides[own];
}

// Whether dimension `a`, so far inside of `b`, belongs outside of it: 1 yes, -1 no, 0 if the
// operands leave it open. The first that steps along both decides; of equal steps the shorter
// dimension goes inside.
int belongs_outside(const Dims& shape, std::initializer_list<const Tensor*> operands, int a,
                    int b) {
  for (const Tensor* x : operands) {
    const std::int64_t along_a = step_along(*x, shape, a), along_b = step_along(*x, shape, b);
    if (along_a == 0 || along_b == 0) continue;
    if (along_a != along_b) return along_a < along_b ? -1 : 1;
    if (shape[a] > shape[b]) return 1;
  }
  return 0;
}

}  // namespace

bool is_dense(const Tensor& x) {
  if (x.is_contiguous()) return true;
  int order[kMaxDims], count = 0;
  for (int d = 0; d < x.ndim(); ++d)
    if (x.shape[d] > 1) order[count++] = d;
  std::sort(order, order + count, [&](int a, int b) { return x.strides[a] < x.strides[b]; });
  std::int64_t step = 1;
  for (int i = 0; i < count; ++i) {
    if (x.strides[order[i]] != step) return false;
    step *= x.shape[order[i]];
  }
  return true;
}

bool share_dense_order(std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  for (const Tensor* x : tensors)
    if (!(x->shape == first.shape && x->strides == first.strides)) return false;
  return is_dense(first);
}

Dims strides_in_order(const Dims& shape, std::initializer_list<const Tensor*> operands) {
  const Tensor& first = **operands.begin();
  if (first.shape == shape && share_dense_order(operands)) return first.strides;
  int order[kMaxDims];  // innermost first
  for (int i = 0; i < shape.n; ++i) order[i] = shape.n - 1 - i;
  // An insertion sort, since "left open" is no order: neighbours are compared as PyTorch does.
  for (int i = 1; i < shape.n; ++i)
    for (int at = i, inside = i - 1; inside >= 0; --inside) {
      const int answer = belongs_outside(shape, operands, order[inside], order[at]);
      if (answer < 0) break;
      if (answer == 0) continue;
      std::swap(order[inside], order[at]);
      at = inside;
    }
  Dims strides = shape;
  std::int64_t step = 1;
  for (int i = 0; i < shape.n; ++i) {
    strides[order[i]] = step;
    step *= std::max<std::int64_t>(shape[order[i]], 1);
  }
  return strides;
}

bool lies_in_order(const Tensor& x, const Tensor& like) {
  if (like.is_contiguous()) return x.is_contiguous();
  const Dims strides = strides_in_order(like.shape, {&like});
  for (int d = 0; d < x.ndim(); ++d)
    if (x.shape[d] != 1 && x.strides[d] != strides[d]) return false;
  return true;
}

}  // namespace tilegrad
