// Complex tensors as real ones.
#include "parts.h"

namespace tilegrad {

Tensor as_real(const Tensor& x) {
  Tensor y = x;
  y.dtype = part_dtype(x.dtype);
  y.offset *= 2;
  for (int d = 0; d < y.ndim(); ++d) y.strides[d] *= 2;
  y.shape.push(2);
  y.strides.push(1);
  return y;
}

Tensor as_complex(const Tensor& x, const char* op) {
  TILEGRAD_CHECK(x.dtype == DType::float32 || x.dtype == DType::float64, runtime, op,
                 " is only supported for half, float and double tensors, but got a tensor of "
                 "scalar type: ",
                 info(x.dtype).name);
  const int last = x.ndim() - 1;
  TILEGRAD_CHECK(last >= 0, runtime, "Input tensor must have one or more dimensions");
  TILEGRAD_CHECK(x.shape[last] == 2, runtime, "Tensor must have a last dimension of size 2");
  TILEGRAD_CHECK(x.strides[last] == 1, runtime, "Tensor must have a last dimension with stride 1");
  Tensor y = x;
  y.dtype = complex_dtype(x.dtype);
  --y.shape.n;
  --y.strides.n;
  for (int d = 0; d < last; ++d) {
    TILEGRAD_CHECK(x.strides[d] % 2 == 0, runtime,
                   "Tensor must have a stride divisible by 2 for all but last dimension");
    y.strides[d] /= 2;
  }
  TILEGRAD_CHECK(x.offset % 2 == 0, runtime, "Tensor must have a storage_offset divisible by 2");
  y.offset /= 2;
  return y;
}

Tensor part_of_complex(const Tensor& x, int which) {
  Tensor y = as_real(x);
  y.offset += which;
  --y.shape.n;
  --y.strides.n;
  return y;
}

Tensor shown_twice(const Tensor& x) {
  Tensor y = x;
  y.shape.push(2);
  y.strides.push(0);
  return y;
}

}  // namespace tilegrad
