// activation: float32 against the definitions in double, and derivatives against differences of the
// float64 functions, on every instruction set.
#include "ops/activation.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

constexpr std::int64_t kCount = 1003;

template <class T>
Array<T> forward(Isa isa, ActivationOp op, Array<T>& x) {
  Array<T> y(x.size);
  const auto loop = loop_over({x.size}, Strided<T>{y.data(), {1}}, Strided<T>{x.data(), {1}});
  run_on(
      isa, activation_forward_kernel,
      Activation{.op = op, .dtype = DTypeOf<T>::value, .a = 0.25, .b = 2, .c = 1.5, .loop = loop});
  return y;
}

template <class T>
Array<T> backward(Isa isa, ActivationOp op, Array<T>& grad, Array<T>& value) {
  Array<T> grad_x(grad.size);
  const auto loop = loop_over({grad.size}, Strided<T>{grad_x.data(), {1}},
                              Strided<T>{grad.data(), {1}}, Strided<T>{value.data(), {1}});
  run_on(isa, activation_backward_kernel,
         ActivationBackward{
             .op = op, .dtype = DTypeOf<T>::value, .a = 0.25, .b = 2, .c = 1.5, .loop = loop});
  return grad_x;
}

double expected_of(ActivationOp op, double x) {
  switch (op) {
    case ActivationOp::relu:
      return x > 0 ? x : 0;
    case ActivationOp::sigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationOp::tanh:
      return std::tanh(x);
    case ActivationOp::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationOp::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationOp::silu:
      return x / (1 + std::exp(-x));
    case ActivationOp::leaky_relu:
      return x > 0 ? x : 0.25 * x;
    case ActivationOp::elu:
      return x > 0 ? 2 * x : 0.5 * std::expm1(1.5 * x);
    case ActivationOp::softplus:
      return 0.25 * x > 2 ? x : std::log1p(std::exp(0.25 * x)) / 0.25;
    case ActivationOp::log_sigmoid:
      return -std::log1p(std::exp(-x));
    case ActivationOp::clamp:
    case ActivationOp::hardtanh:
      return std::min(std::max(x, 0.25), 2.0);
    case ActivationOp::hardsigmoid:
      return std::min(std::max(x + 3, 0.0), 6.0) / 6;
    case ActivationOp::hardswish:
      return x * std::min(std::max(x + 3, 0.0), 6.0) / 6;
  }
  return NAN;
}

constexpr ActivationOp kOps[] = {
    ActivationOp::relu,        ActivationOp::sigmoid,   ActivationOp::tanh,
    ActivationOp::gelu,        ActivationOp::gelu_tanh, ActivationOp::silu,
    ActivationOp::leaky_relu,  ActivationOp::elu,       ActivationOp::softplus,
    ActivationOp::log_sigmoid, ActivationOp::clamp,     ActivationOp::hardtanh,
    ActivationOp::hardsigmoid, ActivationOp::hardswish};

TEST(Activation, ForwardMatchesTheDefinition) {
  Array<float> x = Array<float>::random(kCount, 1);
  for (std::int64_t i = 0; i < kCount; ++i) x[i] *= 5;
  Array<double> expected(kCount);
  for_each_isa([&](Isa isa) {
    for (ActivationOp op : kOps) {
      SCOPED_TRACE(static_cast<int>(op));
      for (std::int64_t i = 0; i < kCount; ++i) expected[i] = expected_of(op, x[i]);
      expect_close(forward(isa, op, x), expected, kCount, 1e-6, 5e-7);
    }
  });
}

TEST(Activation, BackwardIsTheDerivative) {
  constexpr double kStep = 1e-5;
  Array<double> x = Array<double>::random(kCount, 2), grad = Array<double>::random(kCount, 3);
  for (std::int64_t i = 0; i < kCount; ++i) {
    x[i] *= 5;
    if (std::abs(x[i]) < 2 * kStep) x[i] = 0.1;  // no difference across a kink
  }
  Array<double> expected(kCount);
  for_each_isa([&](Isa isa) {
    for (ActivationOp op : kOps) {
      SCOPED_TRACE(static_cast<int>(op));
      const bool reads_output =
          op == ActivationOp::relu || op == ActivationOp::sigmoid || op == ActivationOp::tanh;
      Array<double> y = forward(isa, op, x);
      for (std::int64_t i = 0; i < kCount; ++i)
        expected[i] =
            grad[i] * (expected_of(op, x[i] + kStep) - expected_of(op, x[i] - kStep)) / (2 * kStep);
      expect_close(backward(isa, op, grad, reads_output ? y : x), expected, kCount, 1e-8, 1e-9);
    }
  });
}

// The left tail, where gelu is small, is accurate too, and the layout does not matter.
TEST(Activation, GeluIsRelativelyAccurate) {
  constexpr std::int64_t count = 60001;
  Array<float> x(count), spread(2 * count), y(count), strided(2 * count);
  for (std::int64_t i = 0; i < count; ++i)
    spread[2 * i] = x[i] = static_cast<float>(i - count / 2) * (11.9f / count);  // to +-5.95
  for_each_isa([&](Isa isa) {
    y = forward(isa, ActivationOp::gelu, x);
    const auto loop =
        loop_over({count}, Strided<float>{strided.data(), {2}}, Strided<float>{spread.data(), {2}});
    run_on(isa, activation_forward_kernel,
           Activation{.op = ActivationOp::gelu,
                      .dtype = DType::float32,
                      .a = 0,
                      .b = 0,
                      .c = 0,
                      .loop = loop});
    for (std::int64_t i = 0; i < count; ++i) {
      const double exact = 0.5 * x[i] * std::erfc(-static_cast<double>(x[i]) / std::sqrt(2.0));
      // In the tail, the exponent's own rounding counts: x^2 / 2 units. Without tables, the tail
      // itself may err by 2^-23, as csrc/gelu.h says.
      double bound = 0x1p-23 * (3 + 0.5 * x[i] * x[i]) * std::abs(exact);
      const bool with_tables = isa != kCuda && isa_name(isa) == std::string("avx512");
      if (!with_tables) bound += 0x1p-23 * std::abs(x[i]);
      ASSERT_LE(std::abs(y[i] - exact), bound) << "gelu(" << x[i] << ")";
      ASSERT_EQ(strided[2 * i], y[i]) << "gelu(" << x[i] << ")";
    }
  });
}

// Down to the smallest normal results, and the layout does not matter.
TEST(Activation, SigmoidAndTanhAreRelativelyAccurate) {
  constexpr std::int64_t count = 60001;
  Array<float> x(count), spread(2 * count), strided(2 * count);
  for (std::int64_t i = 0; i < count; ++i)
    spread[2 * i] = x[i] = static_cast<float>(i - count / 2) * (i % 2 ? 173.0f : 5.0f) / count;
  for_each_isa([&](Isa isa) {
    for (ActivationOp op : {ActivationOp::sigmoid, ActivationOp::tanh, ActivationOp::silu}) {
      const Array<float> y = forward(isa, op, x);
      const auto loop = loop_over({count}, Strided<float>{strided.data(), {2}},
                                  Strided<float>{spread.data(), {2}});
      run_on(isa, activation_forward_kernel,
             Activation{.op = op, .dtype = DType::float32, .a = 0, .b = 0, .c = 0, .loop = loop});
      for (std::int64_t i = 0; i < count; ++i) {
        const double exact = expected_of(op, x[i]);
        ASSERT_LE(std::abs(y[i] - exact), 4 * 0x1p-23 * std::abs(exact)) << "at " << x[i];
        ASSERT_EQ(strided[2 * i], y[i]) << "at " << x[i];
      }
    }
  });
}

// Where the results of small and large numbers are 0, 1 or NaN.
TEST(Activation, SigmoidAndTanhAtTheEdges) {
  Array<float> x(37);  // registers and a rest
  const float edges[] = {INFINITY, -INFINITY, 1e30f, -1e30f, -0.0f};
  for (std::int64_t i = 0; i < 37; ++i) x[i] = i % 6 == 5 ? NAN : edges[i % 6];
  const float sigmoids[] = {1, 0, 1, 0, 0.5f}, tangents[] = {1, -1, 1, -1, 0};
  for_each_isa([&](Isa isa) {
    const Array<float> y = forward(isa, ActivationOp::sigmoid, x),
                       z = forward(isa, ActivationOp::tanh, x);
    for (std::int64_t i = 0; i < 37; ++i) {
      EXPECT_TRUE(i % 6 == 5 ? std::isnan(y[i]) : y[i] == sigmoids[i % 6]) << "at " << x[i];
      EXPECT_TRUE(i % 6 == 5 ? std::isnan(z[i]) : z[i] == tangents[i % 6]) << "at " << x[i];
    }
  });
}

TEST(Activation, GeluOfInfinities) {
  Array<float> x(37, INFINITY);
  for (std::int64_t i = 0; i < 37; i += 2) x[i] = -INFINITY;
  Array<double> wide(2);
  wide[0] = INFINITY, wide[1] = -INFINITY;
  for_each_isa([&](Isa isa) {
    const Array<float> y = forward(isa, ActivationOp::gelu, x);
    for (std::int64_t i = 0; i < 37; ++i)
      EXPECT_TRUE(i % 2 == 1 ? y[i] == INFINITY : std::isnan(y[i])) << i;
    const Array<double> z = forward(isa, ActivationOp::gelu, wide);
    EXPECT_EQ(z[0], INFINITY);
    EXPECT_TRUE(std::isnan(z[1]));
  });
}

TEST(Activation, ReluKeepsNaN) {
  Array<float> x(33, -1.0f);
  x[32] = NAN;
  for_each_isa([&](Isa isa) {
    const Array<float> y = forward(isa, ActivationOp::relu, x);
    EXPECT_EQ(y[0], 0.0f);
    EXPECT_TRUE(std::isnan(y[32]));
  });
}

}  // namespace
}  // namespace tilegrad
