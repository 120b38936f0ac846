// What follows a convolution, against the same as passes of their own: equal to the last bit.
#pragma once

#include "kernel_testing.h"
#include "ops/batchnorm.h"
#include "ops/conv2d.h"

namespace tilegrad {

// Runs `convolve` with every combination of normalization, residual and ReLU. `args` are those of
// the plain convolution, `plain` is its output.
template <class T>
void check_epilogues(Isa isa, const Kernel<Conv2d>& convolve, Conv2d args, const Array<T>& plain) {
  const std::int64_t channels = args.groups * args.out_channels;
  Array<T> mean = Array<T>::random(channels, 5), rstd = Array<T>::random(channels, 6);
  Array<T> weight = Array<T>::random(channels, 7), bias = Array<T>::random(channels, 8);
  Array<T> residual = Array<T>::random(plain.size, 9);
  for (int parts = 1; parts < 16; ++parts) {
    const bool norm = parts & 1, affine = parts & 2, add = parts & 4, relu = parts & 8;
    if (affine && !norm) continue;
    SCOPED_TRACE(testing::Message() << "norm " << norm << ", affine " << affine << ", residual "
                                    << add << ", relu " << relu);
    Array<T> normal(plain.size), expected(plain.size), actual(plain.size);
    BatchNorm pass{args.dtype, args.batch, channels, args.pixels()};
    pass.x = plain.values.get(), pass.y = normal.data();
    pass.mean = mean.data(), pass.rstd = rstd.data();
    if (affine) pass.weight = weight.data(), pass.bias = bias.data();
    if (norm) run_on(isa, batchnorm_forward_kernel, pass);
    for (std::int64_t i = 0; i < plain.size; ++i) {
      const T value = norm ? normal[i] : plain[i];
      const T sum = add ? value + residual[i] : value;
      expected[i] = relu && sum <= T{0} ? T{0} : sum;
    }
    if (norm) args.mean = mean.data(), args.rstd = rstd.data();
    else args.mean = args.rstd = nullptr;
    args.norm_weight = affine ? weight.data() : nullptr;
    args.norm_bias = affine ? bias.data() : nullptr;
    args.residual = add ? residual.data() : nullptr;
    args.relu = relu;
    args.y = actual.data();
    run_on(isa, convolve, args);
    EXPECT_TRUE(actual == expected);
  }
}

}  // namespace tilegrad
