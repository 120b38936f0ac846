// What the PTX manual says of the instructions that cuda/hopper.cuh wraps: barriers that count
// arrivals and bytes, copies by the copy engine, and products of a warpgroup.
//
// Two of their properties make mistakes show. What they do in the background happens at a time of
// the emulation's choice: a copy as late as it may in forward order, at once in reverse order, at
// some time in shuffled order; a product when it is waited for. And they see shared memory as it
// was when a thread last called fence_async_proxy(), but for what copies have brought, and noise
// where it has changed since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "cuda.h"
#include "scheduler.h"

namespace emulation {

// --- shared memory ---

// Where a part of dynamic shared memory lies in the 256 KiB that descriptors can name. As on a
// card, it does not begin at a round address.
std::uint32_t shared_address(const void* data);
void fence_async_proxy();

// --- barriers: 8 bytes in shared memory ---

void init_barrier(void* barrier, unsigned arrivals, const std::source_location& where);
void arrive(void* barrier, const std::source_location& where);
void expect_bytes(void* barrier, int bytes, const std::source_location& where);
bool has_completed(void* barrier, unsigned parity, const std::source_location& where);
void wait_for_phase(void* barrier, unsigned parity, const std::source_location& where);

// --- copies ---

void copy_bulk(void* shared, const void* global, int bytes, void* barrier,
               const std::source_location& where);
void copy_box(void* shared, const CUtensorMap& map, const int* at, int dimensions, void* barrier,
              const std::source_location& where);
// Of a map that walks over the pixels of images.
void copy_pixels(void* shared, const CUtensorMap& map, const int* at, int across, int down,
                 void* barrier, const std::source_location& where);

// --- products ---

struct Operand {
  std::uint64_t descriptor;
  bool transposed;
};
using ValueOfBits = float (*)(unsigned);

void fence_products();
// sum += x @ other for 64 rows, so many columns, and 32 bytes of the inner dimension. Products are
// exact and summed without rounding until the end of each instruction.
void multiply_tiles(const Operand& x, const Operand& other, float* sum, int columns,
                    int element_bytes, ValueOfBits value, const std::source_location& where);
void commit_products();
void wait_for_products(int pending, const std::source_location& where);

// --- what the files of the emulation share ---

void begin_async_block();  // a block begins, its shared memory is noise
bool land_a_copy();        // lets one copy arrive; false if none is under way
bool copies_are_under_way();

// The byte at a shared address, as the async proxy sees it; noise if a thread has changed it since
// the last fence_async_proxy(), which the async proxy may have seen or not.
unsigned char async_byte(std::uint32_t address, const std::source_location& where);
// The address with chunks exchanged; the mode is that of descriptors: 0 none, 1 by 128 bytes, 2 by
// 64, 3 by 32.
std::uint32_t swizzled(std::uint32_t address, unsigned mode);
void begin_products();  // a block begins

}  // namespace emulation
