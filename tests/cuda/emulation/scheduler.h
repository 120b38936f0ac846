// Runs a grid of CUDA threads on one thread of the host, block after block: who runs, who waits.
//
// Every CUDA thread of a block is a fiber. It runs until it waits for others, at a barrier of the
// block, at a meeting of its warp or for a condition, and the scheduler turns to the next. So a
// kernel that spins until another thread writes something does not end here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "vectors.h"

namespace emulation {

// In which order blocks, warps and lanes get their turns. A right kernel gives the same bits in
// all.
enum class Order {
  forward,   // each warp runs as far as it can before the next one starts
  reverse,   // the same, from the last block, warp and lane to the first
  shuffled,  // a new permutation in every round
};
void set_order(Order order, unsigned seed = 1);
Order chosen_order();
unsigned random_number();  // for what the chosen order leaves to chance

struct Grid {
  dim3 blocks, threads;
  std::size_t dynamic_shared_bytes;
  const void* kernel;  // its address
};

// Calls body() once as each thread of the grid. Returns an empty text, or why the grid did not end:
// every waiting thread, with the line on which it waits.
std::string run_grid(const Grid& grid, const std::function<void()>& body);

// --- what a thread calls; `where` is the line in the kernel ---

// Waits until every thread of the block that has not ended is here; returns how many said true.
int wait_for_block(const char* what, bool flag, const std::source_location& where);

// Waits until every lane of `mask` that has not ended is here with the same mask and `what`.
// Returns what each of these lanes brought; the values of the others are noise.
struct Gathered {
  std::array<std::uint64_t, 32> values;
  unsigned lanes;  // a bit for each lane that was here
};
const Gathered& wait_for_lanes(const char* what, unsigned mask, std::uint64_t value,
                               const std::source_location& where);

// Waits until condition(object, value) holds, which what other threads do, or what arrives from
// elsewhere, must bring about.
using Condition = bool (*)(const void* object, unsigned value);
void wait_until(const char* what, Condition condition, const void* object, unsigned value,
                const std::source_location& where);

// What this thread has done so far happens before what follows the second call with the same tag.
void happens_before(const void* tag);
void happens_after(const void* tag);

// While it lives, the thread sanitizer looks away: what follows is done by no thread of the kernel.
class Unseen {
 public:
  Unseen();
  ~Unseen();
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// The thread has done what a card leaves undefined: the grid ends with this complaint.
[[noreturn]] void fail_block(const char* complaint, const std::source_location& where);

// The same as wait_for_lanes without values, and what the lanes did before it comes before what
// they do after it.
void synchronize_lanes(const char* what, unsigned mask, const std::source_location& where);

unsigned lane();          // of the running thread
unsigned active_lanes();  // the lanes of its warp that have not ended
void* dynamic_shared();   // of the running block
std::size_t dynamic_shared_bytes();

}  // namespace emulation

// CUDA's own names for the place of the running thread.
extern dim3 gridDim, blockDim;
extern uint3 blockIdx, threadIdx;
