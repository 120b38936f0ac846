// What the C++ tests share: every supported instruction set, random operands, loops, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "check.h"
#include "kernel.h"
#include "parallel.h"
#include "strided.h"
#include "test_device.h"

namespace tilegrad {

// Calls body(isa) for each set that this processor runs, or for CUDA if that is what the tests run
// on (test_device.h); a failure message names the set.
template <class Body>
void for_each_isa(const Body& body) {
  if (testing_cuda()) {
    for_each_cuda_order([&](const char* order) {
      SCOPED_TRACE(order);
      body(kCuda);
    });
    return;
  }
  for (Isa isa : supported_isas()) {
    SCOPED_TRACE(std::string("instruction set ") + isa_name(isa));
    body(isa);
  }
}

// Calls body() with 1, 2, 3 and 8 threads and restores the number.
template <class Body>
void for_each_thread_count(const Body& body) {
  const int before = num_threads();
  for (int threads : {1, 2, 3, 8}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    set_num_threads(threads);
    body();
  }
  set_num_threads(before);
}

template <class Args>
void run_on(Isa isa, const Kernel<Args>& kernel, const Args& args) {
  if (isa != kCuda) return kernel.cpu[static_cast<int>(isa)](args);
  TILEGRAD_CHECK(kernel.cuda != nullptr, not_implemented, "cuda/ lacks the kernel ", kernel.name);
  kernel.cuda(args);
  wait_for_cuda();
}

// The kind of the tilegrad::Error that `call` throws; fails the test if it throws none.
inline ErrorKind error_kind_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_FALSE(std::string(error.what()).empty());
    return error.kind;
  }
  ADD_FAILURE() << "expected a tilegrad::Error";
  return ErrorKind::not_implemented;
}

// The message of the error that `call` throws.
inline std::string complaint_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// A small generator (the output function of SplitMix64), so that every platform draws the same.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Floats in [-1, 1); integers from the whole range of their type.
  template <class T>
  T draw() {
    if constexpr (std::is_floating_point_v<T>)
      return static_cast<T>(static_cast<double>(next() >> 11) * 0x1p-52 - 1.0);
    else if constexpr (std::is_same_v<T, bool>) return (next() & 1) != 0;
    else return static_cast<T>(next());
  }

 private:
  std::uint64_t state_;
};

// A plain array that kernels can reach on any device.
template <class T>
struct Array {
  explicit Array(std::int64_t count, T value = T{})
      : size(count),
        values(static_cast<T*>(allocate_for_kernels(sizeof(T) * static_cast<std::size_t>(count)))) {
    for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = value;
  }
  static Array random(std::int64_t count, std::uint64_t seed) {
    Array array(count);
    Random generator(seed);
    for (std::int64_t i = 0; i < count; ++i) array[i] = generator.draw<T>();
    return array;
  }
  T& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
  const T& operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
  T* data() { return values.get(); }
  bool operator==(const Array& other) const {
    return size == other.size && std::memcmp(values.get(), other.values.get(),
                                             sizeof(T) * static_cast<std::size_t>(size)) == 0;
  }

  struct Free {
    void operator()(T* data) const { free_for_kernels(data); }
  };
  std::int64_t size;
  std::unique_ptr<T[], Free> values;
};

// One operand of a loop: its first element and strides in elements, outermost first.
template <class T>
struct Strided {
  T* data;
  std::vector<std::int64_t> strides;
};

// A StridedLoop as src/loop.h would build it, without merging: `shape` and strides outermost first.
template <class... T>
StridedLoop<sizeof...(T)> loop_over(const std::vector<std::int64_t>& shape,
                                    const Strided<T>&... operands) {
  StridedLoop<sizeof...(T)> loop;
  loop.ndim = static_cast<int>(shape.size());
  const auto at = [&](int d) { return shape.size() - 1 - static_cast<std::size_t>(d); };
  for (int d = 0; d < loop.ndim; ++d) loop.shape[d] = shape[at(d)];
  int k = 0;
  const auto add = [&](const auto& operand) {
    loop.data[k] = reinterpret_cast<char*>(operand.data);
    for (int d = 0; d < loop.ndim; ++d)
      loop.strides[k][d] =
          operand.strides[at(d)] * static_cast<std::int64_t>(sizeof(*operand.data));
    ++k;
  };
  (add(operands), ...);
  return loop;
}

// |actual - expected| <= atol + rtol * |expected| for every element (NaN equals NaN); reports the
// first element that is not.
template <class A, class B>
void expect_close(const A& actual, const B& expected, std::int64_t count, double rtol,
                  double atol) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if ((std::isnan(a) && std::isnan(e)) || a == e) continue;
    ASSERT_LE(std::abs(a - e), atol + rtol * std::abs(e))
        << "element " << i << " of " << count << ": " << a << " instead of " << e;
  }
}

}  // namespace tilegrad
