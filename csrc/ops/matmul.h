// Contract of matmul: y = activation(x @ other + bias + residual), batched, any strides on the
// inputs.
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

enum class MatmulActivation : std::uint8_t { none, relu, gelu };

// y = activation(x @ other + bias + residual). Strides count elements. y is row-major: (batch...,
// rows, columns) without gaps.
struct Matmul {
  // float32, float64, int64 (other integers are widened by the caller), or bfloat16, which is
  // summed in float32 and rounded once; on CUDA also float16, likewise
  DType dtype;
  std::int64_t rows, columns, inner;
  const void* x;  // (batch..., rows, inner)
  std::int64_t x_row_stride, x_column_stride;
  const void* other;  // (batch..., inner, columns)
  std::int64_t other_row_stride, other_column_stride;
  void* y = nullptr;
  const void* bias = nullptr;      // (columns), contiguous, or null; float32 where y is a half
  const void* residual = nullptr;  // (batch..., rows, columns) of y's dtype, or null
  std::int64_t residual_row_stride = 0, residual_column_stride = 0;
  MatmulActivation activation = MatmulActivation::none;
  void* x_sums = nullptr;   // (rows): the sums of x's rows; not with batch dimensions or halves
  bool allow_tf32 = false;  // CUDA, float32: operands may be rounded to 11 bits for tensor cores

  // Batch dimensions, innermost first; a stride of 0 broadcasts.
  int batch_ndim = 0;
  std::int64_t batch_shape[kMaxDims] = {};
  std::int64_t x_batch_strides[kMaxDims] = {}, other_batch_strides[kMaxDims] = {};
  std::int64_t residual_batch_strides[kMaxDims] = {};

  std::int64_t batch() const {
    std::int64_t count = 1;
    for (int d = 0; d < batch_ndim; ++d) count *= batch_shape[d];
    return count;
  }
};

}  // namespace tilegrad

TILEGRAD_KERNEL(matmul, Matmul)
