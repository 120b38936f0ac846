// where: every element size and broadcast, on every instruction set.
#include "ops/where.h"

#include "kernel_testing.h"

namespace tilegrad {
namespace {

template <class T>
void test_steps(std::int64_t condition_step, std::int64_t x_step, std::int64_t other_step) {
  constexpr std::int64_t count = 517;
  Array<bool> condition = Array<bool>::random(2 * count, 1);
  Array<T> x = Array<T>::random(2 * count, 2), other = Array<T>::random(2 * count, 3);
  Array<T> y(count), expected(count);
  for (std::int64_t i = 0; i < count; ++i)
    expected[i] = condition[i * condition_step] ? x[i * x_step] : other[i * other_step];
  const auto loop = loop_over(
      {count}, Strided<T>{y.data(), {1}}, Strided<bool>{condition.data(), {condition_step}},
      Strided<T>{x.data(), {x_step}}, Strided<T>{other.data(), {other_step}});
  for_each_isa([&](Isa isa) {
    run_on(isa, where_kernel, Where{.element_size = sizeof(T), .loop = loop});
    EXPECT_TRUE(y == expected);
  });
}

TEST(Where, EveryElementSizeAndStep) {
  for (std::int64_t condition : {1, 0, 2})
    for (std::int64_t x : {1, 0, 2})
      for (std::int64_t other : {1, 0, 2}) {
        test_steps<std::int8_t>(condition, x, other);
        test_steps<std::int16_t>(condition, x, other);
        test_steps<float>(condition, x, other);
        test_steps<double>(condition, x, other);
      }
}

}  // namespace
}  // namespace tilegrad
