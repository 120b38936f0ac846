// The instructions of tensor cores, as the PTX manual describes them.
#include "tensor_cores.h"

#include <bit>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

namespace emulation {
namespace {

struct Copy {
  void* to;
  const void* from;
  int bytes;
};

// What a thread has begun to copy: its last group is not committed yet.
using Groups = std::deque<std::vector<Copy>>;

std::vector<Groups> of_threads;

Groups& own_groups() {
  const unsigned number = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  if (of_threads.size() <= number) of_threads.resize(number + 1, Groups{{}});
  return of_threads[number];
}

}  // namespace

void copy_async(void* shared, const void* global, int bytes) {
  const Unseen unseen;
  own_groups().back().push_back({shared, global, bytes});
}

void commit_copies() {
  const Unseen unseen;
  own_groups().emplace_back();
}

void wait_for_copies(int pending) {
  for (;;) {
    std::vector<Copy> group;
    {
      const Unseen unseen;
      Groups& own = own_groups();
      if (own.size() <= static_cast<std::size_t>(pending) + 1) return;
      group = std::move(own.front());
      own.pop_front();
    }
    for (const Copy& copy : group) {
      std::memset(copy.to, 0, 16);
      std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
    }
  }
}

void forget_copies() {
  const Unseen unseen;
  of_threads.clear();
}

void load_matrices(unsigned (&to)[4], const void* row, bool transposed,
                   const std::source_location& where) {
  const Gathered rows =
      wait_for_lanes("ldmatrix", 0xffffffffu, reinterpret_cast<std::uintptr_t>(row), where);
  const unsigned r = lane() / 4, c = lane() % 4;
  const auto element = [&](unsigned matrix, unsigned from_row, unsigned column) {
    std::uint16_t value;
    std::memcpy(&value,
                reinterpret_cast<const char*>(rows.values[8 * matrix + from_row]) + 2 * column, 2);
    return static_cast<unsigned>(value);
  };
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    const unsigned low = transposed ? element(matrix, 2 * c, r) : element(matrix, r, 2 * c);
    const unsigned high =
        transposed ? element(matrix, 2 * c + 1, r) : element(matrix, r, 2 * c + 1);
    to[matrix] = low | high << 16;
  }
}

void gather_fragments(Fragments& all, const unsigned (&left)[4], const unsigned (&right)[2],
                      const std::source_location& where) {
  const auto exchange = [&](unsigned low, unsigned high, auto&& keep) {
    const Gathered& values =
        wait_for_lanes("mma", 0xffffffffu, low | std::uint64_t{high} << 32, where);
    for (unsigned i = 0; i < 32; ++i)
      keep(i, static_cast<unsigned>(values.values[i]),
           static_cast<unsigned>(values.values[i] >> 32));
  };
  exchange(left[0], left[1], [&](unsigned i, unsigned low, unsigned high) {
    all.left[i][0] = low, all.left[i][1] = high;
  });
  exchange(left[2], left[3], [&](unsigned i, unsigned low, unsigned high) {
    all.left[i][2] = low, all.left[i][3] = high;
  });
  exchange(right[0], right[1], [&](unsigned i, unsigned low, unsigned high) {
    all.right[i][0] = low, all.right[i][1] = high;
  });
}

void multiply_tf32(float (&sum)[4], const unsigned (&left)[4], const unsigned (&right)[2],
                   const std::source_location& where) {
  Fragments all;
  gather_fragments(all, left, right, where);
  const auto value = [](unsigned bits) { return double{std::bit_cast<float>(bits & ~0x1fffu)}; };
  const unsigned g = lane() / 4, t = lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
    double total = sum[i];
    for (unsigned k = 0; k < 8; ++k)
      total += value(all.left[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]) *
               value(all.right[column * 4 + k % 4][k / 4]);
    sum[i] = static_cast<float>(total);
  }
}

unsigned to_tf32(unsigned bits) {
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;  // infinite or NaN
  return (bits + 0x1000u) & ~0x1fffu;
}

}  // namespace emulation
