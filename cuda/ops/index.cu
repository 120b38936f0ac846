// Indexing by tensors: byte offsets from indices, reads through them, and the positions of true
// elements.
//
// Offsets and reads take a thread per element: 8 bytes for each index, 2 * element_size + 8 for a
// read. An index out of range raises a flag, for which the host waits. nonzero counts with a scan
// (scan.cuh), whose store writes the coordinates of the true ones: two bytes an element and
// 8 * ndim for each that is true. A few integer operations an element. Up to 48 registers, 5 blocks
// of 256 threads on a multiprocessor.
#include "ops/index.h"

#include "elementwise.cuh"
#include "flag.cuh"
#include "reduce.cuh"
#include "scan.cuh"

namespace tilegrad::cuda {
namespace {

struct OffsetsOf {
  IndexOffsets args;
  int* flag;
  __device__ void operator()(std::int64_t i) const {
    bool bad = false;
    std::uint64_t offset = 0;  // unsigned: an index that is out of range may overflow
    for (int k = 0; k < args.count; ++k) {
      const std::int64_t at = args.index[k][i], size = args.sizes[k];
      bad |= at < (args.wrap ? -size : 0) || at >= size;
      offset += static_cast<std::uint64_t>(at < 0 ? at + size : at) *
                static_cast<std::uint64_t>(args.strides[k]);
    }
    if (args.offsets != nullptr) args.offsets[i] = bad ? 0 : static_cast<std::int64_t>(offset);
    if (bad) raise_flag(flag);
  }
};

template <class T, bool kChecks>
struct ReadThrough {
  std::int64_t scale, size;
  int* flag;
  __device__ void operator()(char* const* pointers) const {
    const std::int64_t at = *reinterpret_cast<const std::int64_t*>(pointers[2]);
    if (kChecks && (at < 0 || at >= size)) return raise_flag(flag);
    *reinterpret_cast<T*>(pointers[0]) = *reinterpret_cast<const T*>(pointers[1] + at * scale);
  }
};

template <class T>
void get(const IndexGet& args) {
  if (args.out_of_range == nullptr)
    return for_each_element(args.loop, ReadThrough<T, false>{args.scale, 0, nullptr});
  const Flag flag;
  for_each_element(args.loop, ReadThrough<T, true>{args.scale, args.size, flag.pointer()});
  if (flag.is_raised()) args.out_of_range->store(true, std::memory_order_relaxed);
}

struct CountTrue {
  using Accumulator = std::int64_t;
  const bool* x;
  std::int64_t* count;
  __device__ std::int64_t identity() const { return 0; }
  __device__ std::int64_t lift(std::int64_t offset, std::int64_t) const { return x[offset]; }
  __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const { return a + b; }
  __device__ void store(std::int64_t, std::int64_t sum) const { *count = sum; }
};

// The state is the number of true elements, so each knows where its coordinates go.
struct PlaceTrue {
  using State = std::int64_t;
  Nonzero args;
  __device__ State identity() const { return 0; }
  __device__ State lift(std::int64_t at, std::int64_t) const { return args.x[at]; }
  __device__ State operator()(State a, State b) const { return a + b; }
  __device__ void store(std::int64_t at, State before, State with) const {
    if (before == with) return;
#pragma unroll 1
    for (int d = args.ndim - 1; d >= 0; --d) {
      const Divided place = divide(at, args.shape[d]);
      args.coordinates[d * args.count + before] = place.remainder;
      at = place.quotient;
    }
  }
};

}  // namespace

void index_offsets(const IndexOffsets& args) {
  if (args.size == 0) return;
  const Flag flag;
  for_each_index(args.size, OffsetsOf{args, flag.pointer()});
  if (flag.is_raised()) args.out_of_range->store(true, std::memory_order_relaxed);
}

void index_get(const IndexGet& args) {
  switch (args.element_size) {
    case 1:
      return get<std::uint8_t>(args);
    case 2:
      return get<std::uint16_t>(args);
    case 4:
      return get<std::uint32_t>(args);
    default:
      return get<std::uint64_t>(args);
  }
}

void count_nonzero_elements(const CountNonzero& args) {
  const Scratch count(sizeof(std::int64_t));
  reduce_by(CountTrue{args.x, static_cast<std::int64_t*>(count.data)}, line_shape(args.size));
  read_back(args.count, count.data, sizeof(std::int64_t));
}

void nonzero(const Nonzero& args) {
  std::int64_t size = 1;
  for (int d = 0; d < args.ndim; ++d) size *= args.shape[d];
  scan_lines(PlaceTrue{args}, {1, size, 1});
}

}  // namespace tilegrad::cuda
