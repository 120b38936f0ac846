// The CUDA runtime as the rest of tilegrad sees it: devices, memory, copies, streams, graphs. No
// CUDA types here, so that builds without CUDA can include it; absent.cpp answers there.
//
// Each thread has a current stream on every card, the default one at first. Kernels and copies are
// queued there, in order. A freed block of memory is handed out again to the stream that it came
// from, at once: whatever still reads it was queued before whatever will write it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "memory_stats.h"

namespace tilegrad::cuda {

// --- devices ---

// Cards that can be used; 0 without a driver. Never throws.
int device_count();
// Why there are none, for messages: "no NVIDIA driver is installed"; empty if there are some.
std::string unavailable_reason();
// Throws a RuntimeError that says what is missing, unless card `index` can be used.
void require_device(int index, const char* op);

// Makes the card the one on which this thread's kernels run, until the next call.
void use_device(int index);
// The card that "cuda" without a number means to this thread.
int current_device();
void set_current_device(int index);
// Waits until the card has done everything that was queued, and reports what went wrong there.
void synchronize(int index);

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0, multiprocessors = 0, warp_size = 0, threads_per_multiprocessor = 0;
  int registers_per_multiprocessor = 0;
  std::size_t total_memory = 0, l2_cache = 0;
  std::size_t shared_memory_per_block = 0, shared_memory_per_block_optin = 0,
              shared_memory_per_multiprocessor = 0;
};
DeviceProperties device_properties(int index);
std::string driver_version();  // the CUDA version that the driver knows: "13.0"

// --- streams: a cudaStream_t each; null is the default stream of a card ---

using Stream = void*;
Stream current_stream(int index);
Stream current_stream();  // of the card that use_device has chosen
void set_current_stream(int index, Stream stream);
// One of 32 for each card and priority (0, or -1 for more urgent work), in turn.
Stream stream_from_pool(int index, bool urgent);
void synchronize_stream(int index, Stream stream);
bool is_done(int index, Stream stream);

using Event = void*;  // a cudaEvent_t
Event create_event(int index, bool timed, bool blocking);
void destroy_event(int index, Event event);
void record_event(int index, Event event, Stream stream);
void wait_for_event(int index, Stream stream, Event event);
void synchronize_event(int index, Event event);
bool is_done_event(int index, Event event);
float milliseconds_between(int index, Event start, Event end);

// --- memory ---

// From the pool of that card and the current stream; null for zero bytes. When the card is full,
// the pool's idle memory is returned and the request tried once more; then an OutOfMemoryError is
// thrown.
void* allocate(std::size_t bytes, int index);
void free(void* data, int index);
// The block is in use by that stream too: once freed, it waits for what is queued there now.
void record_stream(void* data, int index, Stream stream);

MemoryStats memory_stats(int index);
void reset_memory_peaks(int index);  // they start from what is in use now
void reset_memory_sums(int index);   // what was counted so far
void empty_cache();
struct MemoryInfo {
  std::size_t free = 0, total = 0;
};
MemoryInfo memory_info(int index);  // of the whole card

// Page-locked host memory: copies from and to it need not wait.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* data);
bool is_pinned(const void* data);
void empty_pinned_cache();

// Between the host (-1) and cards, behind the work of the current stream. Returns when the host's
// side may be reused, but for pinned memory if `non_blocking`.
void copy(void* destination, int to, const void* source, int from, std::size_t bytes,
          bool non_blocking = false);

// --- graphs: the work of a stream, written down once and done many times ---

using Graph = struct CapturedGraph*;
// Begins to write down what this thread gives to its current stream, which must not be the default
// one. Memory comes from a pool of its own: `pool`, or a new one for 0.
Graph begin_capture(int index, std::size_t pool);
void end_capture(Graph graph);
// Numbers that are stored before the graph begins: what its kernels find at those places.
struct StoredNumber {
  std::uint64_t* place;
  std::uint64_t value;
};
void check_launchable(Graph graph);  // throws unless its capture has ended
void launch_graph(Graph graph, const StoredNumber* numbers = nullptr, std::size_t count = 0);
std::size_t graph_pool(Graph graph);
std::size_t new_pool();
void destroy_graph(Graph graph);
bool is_capturing();  // the current stream of this thread
// Throws a RuntimeError that names what would wait, if the current stream is capturing: after a
// wait CUDA would declare the capture invalid.
void refuse_while_capturing(const char* what);
// What a replay may meet that elsewhere is refused at once; bits.
enum class Fault : int { index = 1, divisor = 2, probability = 4 };
// While a graph is captured: in its replays a true element is a fault, of which whoever waits is
// told.
void report_replayed(const bool* wrong, std::int64_t size, Fault fault);

}  // namespace tilegrad::cuda
