// Comparisons: 2 * sizeof(T) bytes read and one written per element, and one comparison. Up to 48
// registers, 5 blocks of 256 threads on a multiprocessor.
#include "ops/compare.h"

#include "elementwise.cuh"

namespace tilegrad::cuda {
namespace {

// The switch is the same for all threads.
template <class T>
struct Comparison {
  CompareOp op;
  __device__ bool operator()(T x, T other) const {
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
        return x != T{0} && other != T{0};
      default:
        return x != T{0} || other != T{0};
    }
  }
};

}  // namespace

void compare(const Compare& args) {
  visit(args.dtype, [&](auto type) {
    using Found = typename decltype(type)::type;
    // A bool is a byte that is 0 or 1.
    using T = std::conditional_t<std::is_same_v<Found, bool>, std::uint8_t, Found>;
    map_elements<bool, T, T>(args.loop, Comparison<T>{args.op});
  });
}

}  // namespace tilegrad::cuda
