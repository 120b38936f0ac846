// What the PTX manual says of the instructions that cuda/tensor_cores.cuh wraps: copies that happen
// when they are waited for, and fragments that are spread over a warp.
#pragma once

#include <cstdint>
#include <source_location>

#include "scheduler.h"

namespace emulation {

// cp.async, cp.async.commit_group, cp.async.wait_group of the running thread. The bytes arrive as
// late as they may: a kernel that does not wait finds what was there before.
void copy_async(void* shared, const void* global, int bytes);
void commit_copies();
void wait_for_copies(int pending);
void forget_copies();  // a block begins

// ldmatrix.x4, plain or transposed.
void load_matrices(unsigned (&to)[4], const void* row, bool transposed,
                   const std::source_location& where = std::source_location::current());

// The operands of a product, from all lanes of the warp.
struct Fragments {
  unsigned left[32][4], right[32][2];
};
void gather_fragments(Fragments& all, const unsigned (&left)[4], const unsigned (&right)[2],
                      const std::source_location& where);

// mma.m16n8k16 on 16-bit numbers; `value` gives that of their bits. Products are exact and summed
// without rounding until the end; a card may round in between.
template <class Value>
void multiply_halves(float (&sum)[4], const unsigned (&left)[4], const unsigned (&right)[2],
                     const Value& value,
                     const std::source_location& where = std::source_location::current()) {
  Fragments all;
  gather_fragments(all, left, right, where);
  const unsigned g = lane() / 4, t = lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
    double total = sum[i];
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned of_pair = k % 8 / 2, half = k % 2 * 16;
      const unsigned a = all.left[row % 8 * 4 + of_pair][row / 8 + k / 8 * 2] >> half;
      const unsigned b = all.right[column * 4 + of_pair][k / 8] >> half;
      total += static_cast<double>(value(static_cast<unsigned short>(a))) *
               value(static_cast<unsigned short>(b));
    }
    sum[i] = static_cast<float>(total);
  }
}

// mma.m16n8k8 on TF32, which ignores the lowest 13 bits of a float.
void multiply_tf32(float (&sum)[4], const unsigned (&left)[4], const unsigned (&right)[2],
                   const std::source_location& where = std::source_location::current());

// cvt.rna.tf32.f32
unsigned to_tf32(unsigned bits);

}  // namespace emulation
