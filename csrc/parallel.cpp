// The thread pool: persistent workers that take fixed chunks from an atomic counter.
//
// One job runs at a time. A worker spins briefly for the next job (a wake-up costs more than most
// kernels), then sleeps. It computes in the caller's float mode, which other libraries may have
// changed: results do not depend on which thread had a chunk. After fork the child starts with a
// fresh pool: the parent's workers do not exist there.
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "float_mode.h"

namespace tilegrad {
namespace {

constexpr auto kSpin = std::chrono::microseconds(200);

struct Job {
  ChunkBody body = nullptr;
  void* context = nullptr;
  std::int64_t size = 0, grain = 1, chunks = 0;
  std::uint64_t mode = 0;  // of the caller, so that all chunks round alike
};

// The state of the current job in one word, so that joining is a single compare-and-swap:
// bit 0: open for workers; bits 1-16: workers that joined; above: the job's number.
constexpr std::uint64_t kOpen = 1, kJoin = 2, kNumberShift = 17;

// Keeps workers off the caller's processor. Linux likes to wake a thread where its waker runs:
// there a worker would wait for the caller, who computes all chunks alone or waits for the worker,
// until the scheduler balances the processors milliseconds later.
class Placement {
 public:
  void add([[maybe_unused]] std::thread& worker) {
#if defined(__linux__)
    workers_.push_back(worker.native_handle());
#endif
  }

  // Cheap unless the caller has moved since the last call.
  void leave_to_caller() {
#if defined(__linux__)
    const int processor = sched_getcpu();
    if (processor == callers_ || processor < 0 || workers_.empty()) return;
    callers_ = processor;
    cpu_set_t now;
    if (pthread_getaffinity_np(workers_[0], sizeof(now), &now) != 0) return;
    if (!CPU_EQUAL(&now, &given_)) allowed_ = now;  // what the process was given, at first or since
    given_ = allowed_;
    CPU_CLR(processor, &given_);
    if (CPU_COUNT(&given_) == 0) given_ = allowed_;
    for (const pthread_t worker : workers_) pthread_setaffinity_np(worker, sizeof(given_), &given_);
#endif
  }

 private:
#if defined(__linux__)
  std::vector<pthread_t> workers_;
  cpu_set_t allowed_{}, given_{};  // with the caller's processor, and without
  int callers_ = -1;
#endif
};

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads), users_(threads) {
    for (int i = 1; i < threads_; ++i) {
      std::thread worker([this] { work(); });
      placement_.add(worker);
      worker.detach();
    }
  }

  int threads() const { return threads_; }

  // The caller works too, and waits only for workers that joined: one that is still waking up
  // finds the job closed and costs nothing.
  void run(const Job& job) {
    placement_.leave_to_caller();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
      next_chunk_.store(0, std::memory_order_relaxed);
      left_.store(0, std::memory_order_relaxed);
      state_.store((++number_ << kNumberShift) | kOpen, std::memory_order_release);
    }
    if (sleepers_.load() > 0) wake_.notify_all();
    take_chunks(job);
    const std::uint64_t closed = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    const auto joined = static_cast<int>((closed & ((1u << kNumberShift) - 1)) / kJoin);
    while (left_.load(std::memory_order_acquire) < joined) pause();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  // Ends the workers. The last of them, or the caller, frees the pool.
  void retire() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      retired_.store(true);
    }
    wake_.notify_all();
    release();
  }

 private:
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  // What a chunk throws (out of memory, for one) ends the job, and run() throws it to its caller:
  // left in a worker it would end the process.
  void take_chunks(const Job& job) noexcept {
    try {
      for (;;) {
        const std::int64_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
        if (chunk >= job.chunks) return;
        const std::int64_t begin = chunk * job.grain;
        job.body(job.context, begin, std::min(begin + job.grain, job.size));
      }
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      error_ = std::current_exception();
      next_chunk_.store(job.chunks, std::memory_order_relaxed);
    }
  }

  void work();

  void release() {
    if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  static std::uint64_t number_of(std::uint64_t state) { return state >> kNumberShift; }

  // Returns once there is a job after number `seen`, or false when the pool is retired.
  bool wait_for_job(std::uint64_t seen) {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    while (std::chrono::steady_clock::now() < deadline) {
      for (int i = 0; i < 64; ++i) {
        if (number_of(state_.load(std::memory_order_acquire)) != seen) return true;
        if (retired_.load(std::memory_order_relaxed)) return false;
        pause();
      }
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [&] { return number_of(state_.load()) != seen || retired_.load(); });
    sleepers_.fetch_sub(1);
    return !retired_.load();
  }

  // Takes part in the current job if it is still open. Once joined, job_ stays as it is until left_
  // counts this worker.
  bool join(std::uint64_t& state) {
    state = state_.load(std::memory_order_acquire);
    while (state & kOpen)
      if (state_.compare_exchange_weak(state, state + kJoin, std::memory_order_acq_rel))
        return true;
    return false;
  }

  const int threads_;
  Placement placement_;
  std::atomic<int> users_;  // the workers, and the owner until it retires the pool
  std::mutex mutex_;
  std::condition_variable wake_;
  Job job_;
  std::exception_ptr error_;  // written under mutex_ while a job runs
  std::uint64_t number_ = 0;  // of the last job; guarded by mutex_
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::int64_t> next_chunk_{0};
  std::atomic<int> left_{0}, sleepers_{0};
  std::atomic<bool> retired_{false};
};

thread_local bool inside_chunk = false;

void Pool::work() {
  inside_chunk = true;
  std::uint64_t state = 0;
  while (wait_for_job(number_of(state))) {
    if (!join(state)) continue;
    if (float_mode() != job_.mode) set_float_mode(job_.mode);
    take_chunks(job_);
    left_.fetch_add(1, std::memory_order_release);
  }
  release();
}

// Heap-allocated and never destroyed: workers may outlive static destruction.
struct State {
  std::mutex owner;  // held by the thread whose job runs
  Pool* pool = nullptr;
  std::atomic<int> wanted{0};
};
State* state = nullptr;

State& get_state() {
  static const bool created = [] {
    state = new State;
    pthread_atfork(nullptr, nullptr, [] {
      const int wanted = state->wanted.load();
      state = new State;  // the parent's mutexes and workers are gone in the child
      state->wanted.store(wanted);
    });
    return true;
  }();
  (void)created;
  return *state;
}

int affinity_count() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Processors granted by a cgroup quota, rounded up; a large number if there is none.
int cgroup_count() {
  constexpr int unlimited = 1 << 20;
  double quota = 0, period = 0;
  std::string text;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> text >> period) {
    if (text == "max") return unlimited;
    quota = std::atof(text.c_str());
  } else {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return unlimited;
  return static_cast<int>(std::ceil(quota / period));
}

}  // namespace

int default_num_threads() {
  if (const char* text = std::getenv("TILEGRAD_NUM_THREADS"); text && *text) {
    char* end = nullptr;
    const long count = std::strtol(text, &end, 10);
    TILEGRAD_CHECK(*end == '\0' && count >= 1 && count <= 4096, value,
                   "TILEGRAD_NUM_THREADS: expected a number from 1 to 4096, got '", text, "'");
    return static_cast<int>(count);
  }
  return std::max(1, std::min(affinity_count(), cgroup_count()));
}

int num_threads() {
  State& state = get_state();
  if (state.wanted.load() == 0) state.wanted.store(default_num_threads());
  return state.wanted.load();
}

int threads_at_hand() { return inside_chunk ? 1 : num_threads(); }

void set_num_threads(int count) {
  TILEGRAD_CHECK(count >= 1 && count <= 4096, runtime,
                 "set_num_threads: expected a number from 1 to 4096, got ", count);
  get_state().wanted.store(count);
}

void parallel_chunks(std::int64_t size, std::int64_t grain, ChunkBody body, void* context) {
  const Job job{body, context, size, grain, (size + grain - 1) / grain, float_mode()};
  const auto run_here = [&job] {
    for (std::int64_t begin = 0; begin < job.size; begin += job.grain)
      job.body(job.context, begin, std::min(begin + job.grain, job.size));
  };
  const int threads = num_threads();
  if (inside_chunk || threads == 1 || job.chunks == 1) return run_here();

  State& state = get_state();
  std::unique_lock<std::mutex> owner(state.owner, std::try_to_lock);
  if (!owner.owns_lock()) return run_here();
  if (state.pool == nullptr || state.pool->threads() != threads) {
    if (state.pool != nullptr) state.pool->retire();
    state.pool = new Pool(threads);
  }
  struct Inside {
    Inside() { inside_chunk = true; }
    ~Inside() { inside_chunk = false; }
  } inside;
  state.pool->run(job);
}

}  // namespace tilegrad
