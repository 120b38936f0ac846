// The scheduler of emulated CUDA threads. Compiled without sanitizers, as fiber.cpp.
#include "scheduler.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <sstream>
#include <utility>
#include <vector>

#include "fiber.h"
#include "hopper.h"
#include "shared_memory.h"
#include "tensor_cores.h"

#if defined(EMULATION_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_ignore_thread_begin();
extern "C" void __tsan_ignore_thread_end();
#endif

dim3 gridDim, blockDim;
uint3 blockIdx, threadIdx;

namespace emulation {
namespace {

constexpr unsigned kWarp = 32;

// Tells the thread sanitizer which accesses are ordered: what a thread did before a release comes
// before what follows an acquire of the same tag. The switches themselves order nothing.
void release([[maybe_unused]] char& tag) {
#if defined(EMULATION_THREAD_SANITIZER)
  __tsan_release(&tag);
#endif
}
void acquire([[maybe_unused]] char& tag) {
#if defined(EMULATION_THREAD_SANITIZER)
  __tsan_acquire(&tag);
#endif
}

enum class State : std::uint8_t { ready, at_barrier, at_meeting, waiting, failed, ended };

struct Thread {
  Fiber fiber{Fiber::Kind::cuda_thread};
  uint3 index;
  unsigned number, lane, warp;
  State state = State::ended;
  // While it waits:
  const char* what = "";
  std::source_location where;
  bool flag = false;        // of a barrier
  unsigned mask = 0;        // of a meeting
  std::uint64_t value = 0;  // of a meeting
  Condition condition = nullptr;
  const void* object = nullptr;  // of the condition, and its value
  unsigned object_value = 0;
  Gathered gathered;  // what the last meeting brought
  unsigned synchronizations = 0;
  char tags[2];
};

struct Warp {
  unsigned first, lanes;  // threads [first, first + lanes)
};

// The block that is running. Tags come in pairs: the next barrier uses the other one, so that what
// a thread does after a barrier is not taken for something that happened before it.
struct Block {
  std::vector<std::unique_ptr<Thread>> threads;  // kept from block to block
  std::vector<Warp> warps;
  std::vector<unsigned> warp_order, lane_order;
  unsigned size = 0;
  unsigned barriers = 0;
  int flags = 0;  // of the last barrier
  bool waited = false, abandoned = false;
  char start_tag, end_tag, barrier_tags[2];
  Fiber scheduler{Fiber::Kind::scheduler};
  Thread* running = nullptr;
  const std::function<void()>* body = nullptr;
  std::vector<char> dynamic_shared;
  std::string complaint;  // of fail_block
};
Block block;

std::mutex launches;  // one grid at a time, as on one stream
Order order = Order::forward;
std::mt19937 generator;

void run(Thread& thread) {
  block.running = &thread;
  threadIdx = thread.index;
  Fiber::switch_over(block.scheduler, thread.fiber);
}

void give_turn_back() { Fiber::switch_over(block.running->fiber, block.scheduler); }

// The first and last thing on the stack of a CUDA thread.
void thread_entry() {
  Fiber::arrived(block.scheduler);
  acquire(block.start_tag);
  (*block.body)();
  release(block.end_tag);
  block.running->state = State::ended;
  give_turn_back();
}

void wait(State state, const char* what, const std::source_location& where) {
  Thread& self = *block.running;
  self.state = state;
  self.what = what;
  self.where = where;
  block.waited = true;
  give_turn_back();
  if (!block.abandoned) return;
  release(block.end_tag);  // a deadlock: its last turn
  give_turn_back();
}

void prepare_order(std::vector<unsigned>& numbers, std::size_t count) {
  numbers.resize(count);
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (order == Order::reverse) std::reverse(numbers.begin(), numbers.end());
}

void reshuffle(std::vector<unsigned>& numbers) {
  if (order == Order::shuffled) std::shuffle(numbers.begin(), numbers.end(), generator);
}

// Wakes the lanes whose whole meeting has arrived; false if there are none.
bool end_meetings(Warp& warp) {
  bool any = false;
  unsigned done = 0;  // lanes
  for (unsigned lane = 0; lane < warp.lanes; ++lane) {
    const Thread& first = *block.threads[warp.first + lane];
    if (first.state != State::at_meeting || (done >> lane & 1)) continue;
    unsigned present = 0, missing = 0;
    for (unsigned other = 0; other < warp.lanes; ++other) {
      const Thread& thread = *block.threads[warp.first + other];
      if (!(first.mask >> other & 1) || thread.state == State::ended) continue;
      const bool same = thread.state == State::at_meeting && thread.mask == first.mask &&
                        thread.what == first.what;
      (same ? present : missing) |= 1u << other;
    }
    done |= present;
    if (missing) continue;
    Gathered gathered{{}, present};
    gathered.values.fill(0xbadbadbadbadbadbu);
    for (unsigned other = 0; other < warp.lanes; ++other)
      if (present >> other & 1) gathered.values[other] = block.threads[warp.first + other]->value;
    for (unsigned other = 0; other < warp.lanes; ++other)
      if (present >> other & 1) {
        block.threads[warp.first + other]->gathered = gathered;
        block.threads[warp.first + other]->state = State::ready;
      }
    any = true;
  }
  return any;
}

// Gives every ready lane of the warp one turn; false if there was none.
bool run_lanes(const Warp& warp) {
  bool any = false;
  reshuffle(block.lane_order);
  for (unsigned lane : block.lane_order) {
    if (lane >= warp.lanes) continue;
    Thread& thread = *block.threads[warp.first + lane];
    if (thread.state != State::ready) continue;
    run(thread);
    any = true;
  }
  return any;
}

// Wakes everybody if all threads that have not ended are at the barrier; false if not.
bool end_barrier() {
  unsigned arrived = 0, ended = 0;
  int flags = 0;
  const Thread* first = nullptr;
  for (unsigned i = 0; i < block.size; ++i) {
    const Thread& thread = *block.threads[i];
    if (thread.state == State::ended) ++ended;
    if (thread.state != State::at_barrier) continue;
    if (first == nullptr) first = &thread;
    // CUDA leaves undefined what happens when threads wait at different barriers.
    if (thread.where.line() != first->where.line() || thread.what != first->what) return false;
    ++arrived;
    flags += thread.flag;
  }
  if (arrived == 0 || arrived + ended < block.size) return false;
  for (unsigned i = 0; i < block.size; ++i)
    if (block.threads[i]->state == State::at_barrier) block.threads[i]->state = State::ready;
  block.flags = flags;
  ++block.barriers;
  return true;
}

bool all_have_ended() {
  for (unsigned i = 0; i < block.size; ++i)
    if (block.threads[i]->state != State::ended) return false;
  return true;
}

// Wakes the threads whose condition holds; false if there are none.
bool end_waits() {
  bool any = false;
  for (unsigned i = 0; i < block.size; ++i) {
    Thread& thread = *block.threads[i];
    if (thread.state != State::waiting) continue;
    if (!thread.condition(thread.object, thread.object_value)) continue;
    thread.state = State::ready;
    any = true;
  }
  return any;
}

// "  threads 0..31 wait in __syncthreads at kernel.cu:17", neighbours in one line.
std::string waiting_threads() {
  std::ostringstream text;
  for (unsigned i = 0, last = 0; i < block.size; i = last + 1) {
    last = i;
    const Thread& thread = *block.threads[i];
    if (thread.state == State::ended) continue;
    const auto waits_alike = [&](const Thread& other) {
      return other.state != State::ended && other.what == thread.what &&
             other.where.line() == thread.where.line() && other.mask == thread.mask;
    };
    while (last + 1 < block.size && waits_alike(*block.threads[last + 1])) ++last;
    text << "\n  thread " << i;
    if (last > i) text << ".." << last;
    text << ": waits in " << thread.what << " at " << thread.where.file_name() << ':'
         << thread.where.line();
    if (thread.state == State::at_meeting)
      text << " for lanes 0x" << std::hex << thread.mask << std::dec;
  }
  return text.str();
}

void begin_block(const Grid& grid) {
  for (unsigned i = 0; i < block.size; ++i) {
    if (i == block.threads.size()) block.threads.push_back(std::make_unique<Thread>());
    Thread& thread = *block.threads[i];
    thread.number = i;
    thread.lane = i % kWarp;
    thread.warp = i / kWarp;
    thread.index = {i % grid.threads.x, i / grid.threads.x % grid.threads.y,
                    i / grid.threads.x / grid.threads.y};
    thread.state = State::ready;
    thread.fiber.start(thread_entry);
  }
  block.warps.clear();
  for (unsigned first = 0; first < block.size; first += kWarp)
    block.warps.push_back({first, std::min(kWarp, block.size - first)});
  prepare_order(block.warp_order, block.warps.size());
  prepare_order(block.lane_order, kWarp);
  poison_shared_memory(grid.kernel, block.waited);
  block.waited = false;
  block.complaint.clear();
  forget_copies();
  begin_async_block();
  poison(block.dynamic_shared.data(), block.dynamic_shared.size());
  release(block.start_tag);
}

void abandon_threads() {
  block.abandoned = true;
  for (unsigned i = 0; i < block.size; ++i) {
    Thread& thread = *block.threads[i];
    if (thread.state == State::ended) continue;
    run(thread);
    thread.fiber.abandon();
  }
  block.abandoned = false;
}

// Runs the block's threads until all have ended; if they cannot, says where they wait.
std::string run_block(const Grid& grid) {
  begin_block(grid);
  for (bool progress = true; progress;) {
    progress = false;
    reshuffle(block.warp_order);
    for (unsigned number : block.warp_order) {
      Warp& warp = block.warps[number];
      while (run_lanes(warp)) {
        progress = true;
        if (!end_meetings(warp) || order == Order::shuffled) break;
      }
    }
    progress |= end_barrier();
    progress |= end_waits();
    if (!copies_are_under_way() || all_have_ended()) continue;
    if (!progress || (order == Order::shuffled && generator() % 2 == 0)) progress |= land_a_copy();
  }
  std::string waiting = waiting_threads();
  if (!waiting.empty()) abandon_threads();
  acquire(block.end_tag);
  if (block.complaint.empty() && copies_are_under_way())
    block.complaint = "it has ended, and copies to its shared memory are under way";
  if (waiting.empty() && block.complaint.empty()) return {};
  std::ostringstream text;
  text << (block.complaint.empty() ? "deadlock" : "error") << " in block (" << blockIdx.x << ", "
       << blockIdx.y << ", " << blockIdx.z << "):";
  return text.str() + (block.complaint.empty() ? waiting : ' ' + block.complaint);
}

}  // namespace

void set_order(Order chosen, unsigned seed) {
  const std::lock_guard<std::mutex> lock(launches);
  order = chosen;
  generator.seed(seed);
}

Order chosen_order() { return order; }
unsigned random_number() { return static_cast<unsigned>(generator()); }

std::string run_grid(const Grid& grid, const std::function<void()>& body) {
  const std::lock_guard<std::mutex> lock(launches);
  gridDim = grid.blocks;
  blockDim = grid.threads;
  block.body = &body;
  block.size = grid.threads.x * grid.threads.y * grid.threads.z;
  block.dynamic_shared = std::vector<char>(grid.dynamic_shared_bytes);
  const std::size_t count = std::size_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
  std::vector<unsigned> numbers;
  prepare_order(numbers, count);
  reshuffle(numbers);
  for (unsigned number : numbers) {
    blockIdx = {number % grid.blocks.x, number / grid.blocks.x % grid.blocks.y,
                number / grid.blocks.x / grid.blocks.y};
    std::string problem = run_block(grid);
    if (!problem.empty()) return problem;
  }
  return {};
}

int wait_for_block(const char* what, bool flag, const std::source_location& where) {
  char& tag = block.barrier_tags[block.barriers % 2];
  block.running->flag = flag;
  release(tag);
  wait(State::at_barrier, what, where);
  acquire(tag);
  return block.flags;
}

const Gathered& wait_for_lanes(const char* what, unsigned mask, std::uint64_t value,
                               const std::source_location& where) {
  Thread& self = *block.running;
  self.mask = mask;
  self.value = value;
  wait(State::at_meeting, what, where);
  return self.gathered;
}

void wait_until(const char* what, Condition condition, const void* object, unsigned value,
                const std::source_location& where) {
  block.waited = true;
  if (condition(object, value)) return;
  Thread& self = *block.running;
  self.condition = condition;
  self.object = object;
  self.object_value = value;
  wait(State::waiting, what, where);
}

void fail_block(const char* complaint, const std::source_location& where) {
  if (block.complaint.empty()) {
    std::ostringstream text;
    text << complaint << " (thread " << block.running->number << " at " << where.file_name() << ':'
         << where.line() << ')';
    block.complaint = text.str();
  }
  wait(State::failed, "fail_block", where);  // does not return
  std::abort();
}

#if defined(EMULATION_THREAD_SANITIZER)
Unseen::Unseen() { __tsan_ignore_thread_begin(); }
Unseen::~Unseen() { __tsan_ignore_thread_end(); }
#else
Unseen::Unseen() = default;
Unseen::~Unseen() = default;
#endif

void happens_before([[maybe_unused]] const void* tag) {
#if defined(EMULATION_THREAD_SANITIZER)
  __tsan_release(const_cast<void*>(tag));
#endif
}
void happens_after([[maybe_unused]] const void* tag) {
#if defined(EMULATION_THREAD_SANITIZER)
  __tsan_acquire(const_cast<void*>(tag));
#endif
}

void synchronize_lanes(const char* what, unsigned mask, const std::source_location& where) {
  Thread& self = *block.running;
  const unsigned turn = self.synchronizations++ % 2;
  release(self.tags[turn]);
  const Gathered& turns = wait_for_lanes(what, mask, turn, where);
  for (unsigned other = 0; other < kWarp; ++other)
    if (turns.lanes >> other & 1)
      acquire(block.threads[block.warps[self.warp].first + other]->tags[turns.values[other]]);
}

unsigned lane() { return block.running->lane; }

unsigned active_lanes() {
  const Warp& warp = block.warps[block.running->warp];
  unsigned lanes = 0;
  for (unsigned other = 0; other < warp.lanes; ++other)
    if (block.threads[warp.first + other]->state != State::ended) lanes |= 1u << other;
  return lanes;
}

void* dynamic_shared() { return block.dynamic_shared.data(); }
std::size_t dynamic_shared_bytes() { return block.dynamic_shared.size(); }

}  // namespace emulation
