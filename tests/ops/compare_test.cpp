// compare: every comparison of contiguous, broadcast and strided operands, on every instruction
// set.
#include "ops/compare.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

bool expected_of(CompareOp op, double x, double other) {
  switch (op) {
    case CompareOp::eq:
      return x == other;
    case CompareOp::ne:
      return x != other;
    case CompareOp::lt:
      return x < other;
    case CompareOp::le:
      return x <= other;
    case CompareOp::logical_and:
      return x != 0 && other != 0;
    case CompareOp::logical_or:
      return x != 0 || other != 0;
  }
  return false;
}

// The step of `other`: 1 beside it, 0 broadcast, 2 strided.
template <class T>
void test_comparisons(std::initializer_list<CompareOp> ops, std::int64_t step) {
  constexpr std::int64_t count = 515;
  Array<T> x(count), other(2 * count);
  for (std::int64_t i = 0; i < count; ++i) x[i] = static_cast<T>(i % 3);
  for (std::int64_t i = 0; i < 2 * count; ++i) other[i] = static_cast<T>((i + 1) % 4);
  if constexpr (std::is_floating_point_v<T>) x[7] = other[9] = static_cast<T>(NAN);
  Array<bool> y(count), expected(count);
  const auto loop = loop_over({count}, Strided<bool>{y.data(), {1}}, Strided<T>{x.data(), {1}},
                              Strided<T>{other.data(), {step}});
  for_each_isa([&](Isa isa) {
    for (CompareOp op : ops) {
      run_on(isa, compare_kernel, Compare{.op = op, .dtype = DTypeOf<T>::value, .loop = loop});
      for (std::int64_t i = 0; i < count; ++i)
        expected[i] =
            expected_of(op, static_cast<double>(x[i]), static_cast<double>(other[i * step]));
      EXPECT_TRUE(y == expected) << "operation " << static_cast<int>(op);
    }
  });
}

TEST(Compare, EveryDtypeAndLayout) {
  const auto ops = {CompareOp::eq, CompareOp::ne, CompareOp::lt, CompareOp::le};
  for (std::int64_t step : {1, 0, 2}) {
    test_comparisons<float>(ops, step);
    test_comparisons<double>(ops, step);
    test_comparisons<std::int64_t>(ops, step);
    test_comparisons<std::uint8_t>(ops, step);
    test_comparisons<bool>(ops, step);
    test_comparisons<bool>({CompareOp::logical_and, CompareOp::logical_or}, step);
  }
}

}  // namespace
}  // namespace tilegrad
