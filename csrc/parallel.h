// The thread pool: parallel_for over fixed chunks, so results never depend on the thread count.
#pragma once

#include <cstdint>

namespace tilegrad {

// The number of threads that parallel_for uses, the calling one included.
int num_threads();
void set_num_threads(int count);

// The number that a parallel_for called here uses: 1 inside a chunk of another.
int threads_at_hand();

// The default: TILEGRAD_NUM_THREADS, else the processors this process may use (affinity mask and
// cgroup quota). Throws a ValueError if the variable is not a positive number.
int default_num_threads();

using ChunkBody = void (*)(void* context, std::int64_t begin, std::int64_t end);

// Calls body for [0, grain), [grain, 2*grain), ... up to size. Which thread runs a chunk varies;
// the chunks do not, and that is what makes reductions over them reproducible. Called inside a
// chunk, or while another thread holds the pool, it runs every chunk on the calling thread.
void parallel_chunks(std::int64_t size, std::int64_t grain, ChunkBody body, void* context);

// What a body throws in any thread is thrown to the caller. A template only to accept lambdas;
// static so that no instruction set's copy can replace another's at link time.
template <class Body>
static inline void parallel_for(std::int64_t size, std::int64_t grain, const Body& body) {
  if (size <= 0) return;
  if (size <= grain) {  // too small to share: skip the indirect call
    body(std::int64_t{0}, size);
    return;
  }
  parallel_chunks(
      size, grain,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<const Body*>(context))(begin, end);
      },
      const_cast<Body*>(&body));
}

}  // namespace tilegrad
