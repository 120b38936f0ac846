// What the allocator of a card counts: how much of what it holds is in which state, now, at most,
// and in all.
#pragma once

#include <algorithm>
#include <cstddef>

namespace tilegrad::cuda {

struct Count {
  std::size_t current = 0, peak = 0, allocated = 0, freed = 0;

  void add(std::size_t amount) {
    current += amount;
    allocated += amount;
    peak = std::max(peak, current);
  }
  void remove(std::size_t amount) {
    current -= amount;
    freed += amount;
  }
};

// Of all memory, and of the two kinds of segments apart.
struct Counts {
  Count all, small, large;

  void add(bool is_small, std::size_t amount) {
    all.add(amount);
    (is_small ? small : large).add(amount);
  }
  void remove(bool is_small, std::size_t amount) {
    all.remove(amount);
    (is_small ? small : large).remove(amount);
  }
};

// A block is allocated while a tensor has it, and active until all streams are done with it. It is
// an inactive split if it is neither, and a part of a segment that others use.
struct MemoryStats {
  Counts allocation, segment, active, inactive_split;  // how many
  Counts allocated_bytes, reserved_bytes, active_bytes, inactive_split_bytes;
  Counts requested_bytes;  // of allocated blocks, before they were rounded up
  std::size_t retries = 0, failures = 0;
  std::size_t device_allocations = 0, device_frees = 0;  // calls of the runtime

  // Calls `visit(name, counts)`, in PyTorch's words.
  template <class Visit>
  void for_each(Visit visit) {
    visit("allocation", allocation), visit("segment", segment), visit("active", active);
    visit("inactive_split", inactive_split), visit("allocated_bytes", allocated_bytes);
    visit("reserved_bytes", reserved_bytes), visit("active_bytes", active_bytes);
    visit("inactive_split_bytes", inactive_split_bytes);
    visit("requested_bytes", requested_bytes);
  }
  template <class Change>
  void change_each(Change change) {
    for_each([&](const char*, Counts& counts) {
      for (Count* count : {&counts.all, &counts.small, &counts.large}) change(*count);
    });
  }
  void reset_peaks() {
    change_each([](Count& count) { count.peak = count.current; });
  }
  void reset_sums() {
    change_each([](Count& count) { count.allocated = count.freed = 0; });
    retries = failures = device_allocations = device_frees = 0;
  }
};

}  // namespace tilegrad::cuda
