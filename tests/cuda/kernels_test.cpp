// The CUDA kernels against the CPU's baseline kernels, without Python. Skipped without a card.
#include "kernel_testing.h"
#include "ops/binary.h"
#include "ops/copy.h"
#include "ops/fill.h"
#include "ops/matmul.h"
#include "runtime.h"

namespace tilegrad {
namespace {

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << cuda::unavailable_reason();
    cuda::use_device(0);
  }
};

// A copy of an array on the card.
template <class T>
class OnCard {
 public:
  explicit OnCard(Array<T>& host) : host_(host), bytes_(sizeof(T) * std::size_t(host.size)) {
    data = static_cast<T*>(cuda::allocate(bytes_, 0));
    cuda::copy(data, 0, host.data(), -1, bytes_);
  }
  ~OnCard() { cuda::free(data, 0); }
  OnCard(const OnCard&) = delete;
  Array<T> read() const {
    Array<T> result(host_.size);
    cuda::copy(result.data(), -1, data, 0, bytes_);
    return result;
  }
  T* data;

 private:
  Array<T>& host_;
  std::size_t bytes_;
};

TEST_F(Cuda, BinaryAgreesWithTheCpu) {
  constexpr std::int64_t rows = 70, columns = 333;
  Array<float> x = Array<float>::random(rows * columns, 1), row = Array<float>::random(columns, 2);
  Array<float> y(rows * columns);
  OnCard<float> x_there(x), row_there(row), y_there(y);
  for (BinaryOp op : {BinaryOp::add, BinaryOp::mul, BinaryOp::div, BinaryOp::maximum,
                      BinaryOp::remainder, BinaryOp::add_scaled}) {
    const auto arguments = [&](float* to, float* left, float* right) {
      return Binary{
          .op = op,
          .dtype = DType::float32,
          .alpha = 0.5,
          .whole_alpha = 0,
          .loop = loop_over({rows, columns}, Strided<float>{to, {columns, 1}},
                            Strided<float>{left, {columns, 1}}, Strided<float>{right, {0, 1}})};
    };
    run_on(Isa{0}, binary_kernel, arguments(y.data(), x.data(), row.data()));
    binary_kernel.cuda(arguments(y_there.data, x_there.data, row_there.data));
    expect_close(y_there.read(), y, y.size, 1e-5, 1e-5);
  }
}

TEST_F(Cuda, CopyTransposesAndConverts) {
  constexpr std::int64_t rows = 37, columns = 53;
  Array<float> x = Array<float>::random(rows * columns, 3);
  Array<double> y(rows * columns);
  OnCard<float> x_there(x);
  OnCard<double> y_there(y);
  copy_kernel.cuda(Copy{.to = DType::float64,
                        .from = DType::float32,
                        .loop = loop_over({columns, rows}, Strided<double>{y_there.data, {rows, 1}},
                                          Strided<float>{x_there.data, {1, columns}})});
  const Array<double> result = y_there.read();
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      ASSERT_EQ(result[j * rows + i], static_cast<double>(x[i * columns + j]));
}

TEST_F(Cuda, FillKeepsToItsStride) {
  Array<std::int16_t> y(900, 7);
  OnCard<std::int16_t> y_there(y);
  Fill args{.element_size = 2,
            .value = {},
            .loop = loop_over({300}, Strided<std::int16_t>{y_there.data, {3}})};
  const std::int16_t value = -12345;
  std::memcpy(args.value, &value, sizeof(value));
  fill_kernel.cuda(args);
  const Array<std::int16_t> result = y_there.read();
  for (std::int64_t i = 0; i < 900; ++i) ASSERT_EQ(result[i], i % 3 == 0 ? value : 7);
}

TEST_F(Cuda, MatmulAgreesWithTheCpuAndWithItself) {
  constexpr std::int64_t rows = 131, columns = 67, inner = 301;
  Array<float> x = Array<float>::random(rows * inner, 4), bias = Array<float>::random(columns, 6);
  Array<float> other = Array<float>::random(inner * columns, 5), y(rows * columns);
  OnCard<float> x_there(x), other_there(other), bias_there(bias), y_there(y);
  const auto arguments = [&](float* left, float* right, float* added, float* to) {
    return Matmul{.dtype = DType::float32,
                  .rows = rows,
                  .columns = columns,
                  .inner = inner,
                  .x = left,
                  .x_row_stride = inner,
                  .x_column_stride = 1,
                  .other = right,
                  .other_row_stride = 1,  // transposed
                  .other_column_stride = inner,
                  .y = to,
                  .bias = added};
  };
  run_on(Isa{0}, matmul_kernel, arguments(x.data(), other.data(), bias.data(), y.data()));
  const Matmul there = arguments(x_there.data, other_there.data, bias_there.data, y_there.data);
  matmul_kernel.cuda(there);
  const Array<float> first = y_there.read();
  expect_close(first, y, y.size, 1e-4, 1e-4);
  matmul_kernel.cuda(there);
  EXPECT_TRUE(y_there.read() == first);
}

TEST_F(Cuda, TheAllocatorReusesBlocksAndFailsWithAnError) {
  void* first = cuda::allocate(1000, 0);
  cuda::free(first, 0);
  EXPECT_EQ(cuda::allocate(900, 0), first);
  cuda::free(first, 0);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(std::size_t{1} << 45, 0); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([] { cuda::require_device(99, "test"); }), ErrorKind::runtime);
}

TEST(CudaRuntime, WithoutACardThereIsAReasonAndAnError) {
  if (cuda::device_count() > 0) GTEST_SKIP() << "this machine has a card";
  EXPECT_FALSE(cuda::unavailable_reason().empty());
  EXPECT_EQ(error_kind_of([] { cuda::require_device(0, "test"); }), ErrorKind::runtime);
  EXPECT_EQ(error_kind_of([] { cuda::allocate(8, 0); }), ErrorKind::runtime);
}

}  // namespace
}  // namespace tilegrad
