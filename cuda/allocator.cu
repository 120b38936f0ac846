// The caching allocator of device memory.
//
// Memory is taken from the card in segments: 2 MiB for blocks of up to 1 MiB, 20 MiB for blocks
// below 10 MiB, larger blocks alone, in multiples of 2 MiB. A segment is cut into blocks, and idle
// neighbours become one again. Each block belongs to the stream for which it was first cut. These
// sizes are PyTorch's, so that a program fits where it fitted there.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iomanip>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "check.cuh"
#include "state.h"

namespace tilegrad::cuda {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kRounding = 512;  // bytes
constexpr std::size_t kLargestSmall = kMiB;
constexpr std::size_t kSmallSegment = 2 * kMiB;
constexpr std::size_t kLargeSegment = 20 * kMiB;
constexpr std::size_t kSmallestAlone = 10 * kMiB;
constexpr std::size_t kLargest = std::size_t{1} << 46;

std::size_t rounded_to(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

struct Block;
struct ByStreamAndSize {
  bool operator()(const Block* a, const Block* b) const;
};
using Idle = std::set<Block*, ByStreamAndSize>;

// Where blocks come from: the common pool of a card, or that of a graph.
struct Pool {
  Idle small, large;
  int graphs = 0;  // that may still be launched; their memory must stay where it is
};

struct Block {
  char* data = nullptr;
  std::size_t size = 0, requested = 0;
  Stream stream = nullptr;
  Pool* pool = nullptr;
  bool small = false, in_use = false;
  Block *before = nullptr, *after = nullptr;  // neighbours in the segment
  std::vector<Stream> users;                  // other streams that use it
  int events = 0;                             // of theirs, that have yet to come

  Idle& idle() const { return small ? pool->small : pool->large; }
  bool is_part() const { return before != nullptr || after != nullptr; }
};

bool ByStreamAndSize::operator()(const Block* a, const Block* b) const {
  const auto key = [](const Block* block) {
    return std::make_tuple(reinterpret_cast<std::uintptr_t>(block->stream), block->size,
                           reinterpret_cast<std::uintptr_t>(block->data));
  };
  return key(a) < key(b);
}

std::string in_words(std::size_t bytes) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(2);
  if (bytes < kMiB) text << static_cast<double>(bytes) / 1024 << " KiB";
  else if (bytes < 1024 * kMiB) text << static_cast<double>(bytes) / kMiB << " MiB";
  else text << static_cast<double>(bytes) / (1024 * kMiB) << " GiB";
  return text.str();
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != 0 && *value != '0';
}

// Graphs allow nothing that waits while they are captured, but for calls in this scope.
class Relaxed {
 public:
  Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// The pool of the graph that this thread captures; 0 for none.
thread_local std::size_t pool_of_thread = 0;

class Allocator {
 public:
  explicit Allocator(int index) : index_(index) {}

  void* allocate(std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (pool_of_thread == 0) finish_events();
    if (bytes > kLargest) report_full(bytes);
    const bool small = bytes <= kLargestSmall;
    const std::size_t size = rounded_to(bytes, kRounding);
    const auto graph_pool = graph_pools_.find(pool_of_thread);
    Pool& pool = graph_pool == graph_pools_.end() ? common_ : *graph_pool->second;
    Block* block = find_idle(small ? pool.small : pool.large, size);
    if (block == nullptr) block = new_segment(pool, small, size, bytes);
    split(block, size);
    block->in_use = true;
    block->requested = bytes;
    in_use_.emplace(block->data, block);
    stats_.allocation.add(small, 1);
    stats_.allocated_bytes.add(small, block->size);
    stats_.requested_bytes.add(small, bytes);
    stats_.active.add(small, 1);
    stats_.active_bytes.add(small, block->size);
    return block->data;
  }

  void free(void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = in_use_.find(data);
    if (found == in_use_.end()) return;
    Block* block = found->second;
    in_use_.erase(found);
    stats_.allocation.remove(block->small, 1);
    stats_.allocated_bytes.remove(block->small, block->size);
    stats_.requested_bytes.remove(block->small, block->requested);
    if (block->users.empty()) return make_idle(block);
    // An event that a capture writes down says nothing about now: recorded when it has ended.
    if (pool_of_thread != 0) waiting_for_capture_.push_back(block);
    else record_events(block);
  }

  void record_stream(void* data, Stream stream) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = in_use_.find(data);
    TILEGRAD_CHECK(found != in_use_.end(), runtime,
                   "record_stream: the tensor's memory does not come from cuda:", index_);
    Block* block = found->second;
    if (stream != block->stream &&
        std::find(block->users.begin(), block->users.end(), stream) == block->users.end())
      block->users.push_back(stream);
  }

  MemoryStats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }
  void reset_peaks() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.reset_peaks();
  }
  void reset_sums() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.reset_sums();
  }
  void release_idle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    release_segments();
  }

  void begin_pool(std::size_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Pool>& pool = graph_pools_[id];
    if (!pool) pool = std::make_unique<Pool>();
    ++pool->graphs;
  }
  void end_capture() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Block* block : std::exchange(waiting_for_capture_, {})) record_events(block);
  }
  void release_pool(std::size_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    --graph_pools_[id]->graphs;
  }

 private:
  // The block comes to those that are idle, or leaves them.
  void insert_idle(Block* block) {
    block->idle().insert(block);
    if (!block->is_part()) return;
    stats_.inactive_split.add(block->small, 1);
    stats_.inactive_split_bytes.add(block->small, block->size);
  }
  void erase_idle(Block* block) {
    block->idle().erase(block);
    if (!block->is_part()) return;
    stats_.inactive_split.remove(block->small, 1);
    stats_.inactive_split_bytes.remove(block->small, block->size);
  }

  // The smallest that is large enough, among those of the current stream.
  Block* find_idle(Idle& idle, std::size_t size) {
    Block wanted;
    wanted.stream = current_stream(index_);
    wanted.size = size;
    const auto found = idle.lower_bound(&wanted);
    if (found == idle.end() || (*found)->stream != wanted.stream) return nullptr;
    Block* block = *found;
    erase_idle(block);
    return block;
  }

  Block* new_segment(Pool& pool, bool small, std::size_t size, std::size_t asked) {
    const std::size_t bytes = small                   ? kSmallSegment
                              : size < kSmallestAlone ? kLargeSegment
                                                      : rounded_to(size, kSmallSegment);
    void* data = take_from_card(bytes);
    if (data == nullptr) {
      ++stats_.retries;
      release_segments();
      data = take_from_card(bytes);
    }
    if (data == nullptr) report_full(asked);
    ++stats_.device_allocations;
    stats_.reserved_bytes.add(small, bytes);
    stats_.segment.add(small, 1);
    Block* block = new Block;
    block->data = static_cast<char*>(data);
    block->size = bytes;
    block->stream = current_stream(index_);
    block->pool = &pool;
    block->small = small;
    return block;
  }

  // Null when the card is full.
  static void* take_from_card(std::size_t bytes) {
    const Relaxed relaxed;
    void* data = nullptr;
    const cudaError_t result = cudaMalloc(&data, bytes);
    if (result == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    TILEGRAD_CUDA_CHECK(result);
    return data;
  }

  [[noreturn]] void report_full(std::size_t bytes) {
    ++stats_.failures;
    const std::size_t allocated = stats_.allocated_bytes.all.current;
    std::size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    fail(ErrorKind::out_of_memory, "CUDA out of memory. Tried to allocate ", in_words(bytes),
         ". GPU ", index_, " has a total capacity of ", in_words(total), " of which ",
         in_words(available), " is free. Of the allocated memory ", in_words(allocated),
         " is in use by tensors, and ", in_words(stats_.reserved_bytes.all.current - allocated),
         " is reserved but not in use.");
  }

  // Cuts what is left over off the block, if a block of its pool can be made of it.
  void split(Block* block, std::size_t size) {
    const std::size_t rest = block->size - size;
    if (block->small ? rest < kRounding : rest <= kLargestSmall) return;
    Block* other = new Block;
    other->data = block->data + size;
    other->size = rest;
    other->stream = block->stream;
    other->pool = block->pool;
    other->small = block->small;
    other->before = block;
    other->after = block->after;
    if (other->after) other->after->before = other;
    block->after = other;
    block->size = size;
    insert_idle(other);
  }

  static bool is_idle(const Block* block) { return block != nullptr && !block->in_use; }

  // Joins the block with idle neighbours and puts it into its pool.
  void make_idle(Block* block) {
    block->in_use = false;
    stats_.active.remove(block->small, 1);
    stats_.active_bytes.remove(block->small, block->size);
    for (Block* other : {block->before, block->after}) {
      if (!is_idle(other)) continue;
      erase_idle(other);
      if (other == block->before) {
        block->data = other->data;
        block->before = other->before;
        if (block->before) block->before->after = block;
      } else {
        block->after = other->after;
        if (block->after) block->after->before = block;
      }
      block->size += other->size;
      delete other;
    }
    insert_idle(block);
  }

  // One for each stream that uses the block; it stays out of the pool, in use, until they have
  // come.
  void record_events(Block* block) {
    for (Stream stream : std::exchange(block->users, {})) {
      cudaEvent_t event = nullptr;
      TILEGRAD_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
      TILEGRAD_CUDA_CHECK(cudaEventRecord(event, static_cast<cudaStream_t>(stream)));
      ++block->events;
      events_.emplace_back(event, block);
    }
  }

  void finish_events(bool wait = false) {
    while (!events_.empty()) {
      const auto [event, block] = events_.front();
      const cudaError_t result = wait ? cudaEventSynchronize(event) : cudaEventQuery(event);
      if (result == cudaErrorNotReady) {
        cudaGetLastError();
        return;
      }
      events_.pop_front();
      cudaEventDestroy(event);
      if (--block->events == 0) make_idle(block);
      TILEGRAD_CUDA_CHECK(result);
    }
  }

  // Returns every segment that is idle as a whole to the card.
  void release_segments() {
    if (pool_of_thread == 0) finish_events(true);
    release_idle_of(common_);
    for (auto& [id, pool] : graph_pools_)
      if (pool->graphs == 0) release_idle_of(*pool);
  }

  void release_idle_of(Pool& pool) {
    for (Idle* idle : {&pool.small, &pool.large})
      for (auto at = idle->begin(); at != idle->end();) {
        Block* block = *at;
        if (block->is_part()) {
          ++at;
          continue;
        }
        const Relaxed relaxed;
        TILEGRAD_CUDA_CHECK(cudaFree(block->data));
        ++stats_.device_frees;
        stats_.reserved_bytes.remove(block->small, block->size);
        stats_.segment.remove(block->small, 1);
        at = idle->erase(at);
        delete block;
      }
  }

  const int index_;
  std::mutex mutex_;
  Pool common_;
  std::map<std::size_t, std::unique_ptr<Pool>> graph_pools_;
  std::unordered_map<void*, Block*> in_use_;
  std::deque<std::pair<cudaEvent_t, Block*>> events_;
  std::vector<Block*> waiting_for_capture_;
  MemoryStats stats_;
};

// Never destroyed: tensors may be released after static destruction.
Allocator& allocator_of(int index) {
  static auto* all = [] {
    auto* created = new std::vector<std::unique_ptr<Allocator>>;
    for (int i = 0; i < device_count(); ++i) created->push_back(std::make_unique<Allocator>(i));
    return created;
  }();
  return *(*all)[static_cast<std::size_t>(index)];
}

// For tools that look for accesses outside of blocks: every block is the card's own.
bool caches() {
  static const bool yes = !is_set("TILEGRAD_NO_CUDA_MEMORY_CACHING");
  return yes;
}

}  // namespace

void* allocate(std::size_t bytes, int index) {
  const OnDevice on(index);
  if (bytes == 0) return nullptr;
  if (caches()) return allocator_of(index).allocate(bytes);
  void* data = nullptr;
  TILEGRAD_CUDA_CHECK(cudaMalloc(&data, bytes));
  return data;
}

// Runs in destructors: whatever is wrong with the card will be said by the next call.
void free(void* data, int index) {
  if (data == nullptr || has_forked()) return;
  try {
    const OnDevice on(index);
    if (caches()) allocator_of(index).free(data);
    else cudaFree(data);
  } catch (const Error&) {
  }
}

void record_stream(void* data, int index, Stream stream) {
  require_device(index, "record_stream");
  if (data != nullptr && caches()) allocator_of(index).record_stream(data, stream);
}

MemoryStats memory_stats(int index) {
  require_device(index, "memory_stats");
  return allocator_of(index).stats();
}

void reset_memory_peaks(int index) {
  require_device(index, "reset_peak_memory_stats");
  allocator_of(index).reset_peaks();
}

void reset_memory_sums(int index) {
  require_device(index, "reset_accumulated_memory_stats");
  allocator_of(index).reset_sums();
}

void empty_cache() {
  for (int i = 0; i < device_count() && !has_forked(); ++i) {
    const OnDevice on(i);
    allocator_of(i).release_idle();
  }
}

MemoryInfo memory_info(int index) {
  const OnDevice on(index);
  MemoryInfo info;
  TILEGRAD_CUDA_CHECK(cudaMemGetInfo(&info.free, &info.total));
  return info;
}

// --- graphs' pools ---

bool uses_pool() { return pool_of_thread != 0; }

void begin_pool(int index, std::size_t pool) {
  allocator_of(index).begin_pool(pool);
  pool_of_thread = pool;
}

void end_pool(int index, std::size_t) {
  pool_of_thread = 0;
  allocator_of(index).end_capture();
}

void release_pool(int index, std::size_t pool) { allocator_of(index).release_pool(pool); }

}  // namespace tilegrad::cuda
