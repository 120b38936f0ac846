// The CUDA runtime of a build without CUDA: no device, and every other call says so.
#include "check.h"
#include "runtime.h"

namespace tilegrad::cuda {
namespace {

[[noreturn]] void refuse(int index, const char* op) {
  fail(ErrorKind::runtime, op, ": device 'cuda:", index,
       "' is not available: ", unavailable_reason());
}

}  // namespace

int device_count() { return 0; }
std::string unavailable_reason() {
  return "tilegrad was built without CUDA (tilegrad.show_config() says why)";
}
void require_device(int index, const char* op) { refuse(index, op); }
void use_device(int index) { refuse(index, "cuda"); }
int current_device() { return 0; }
void set_current_device(int index) { refuse(index, "set_device"); }
void synchronize(int index) { refuse(index, "synchronize"); }
DeviceProperties device_properties(int index) { refuse(index, "get_device_properties"); }
std::string driver_version() { return {}; }

Stream current_stream(int) { return nullptr; }
Stream current_stream() { return nullptr; }
void set_current_stream(int index, Stream) { refuse(index, "set_stream"); }
Stream stream_from_pool(int index, bool) { refuse(index, "Stream"); }
void synchronize_stream(int index, Stream) { refuse(index, "synchronize"); }
bool is_done(int index, Stream) { refuse(index, "query"); }
Event create_event(int index, bool, bool) { refuse(index, "Event"); }
void destroy_event(int, Event) {}
void record_event(int index, Event, Stream) { refuse(index, "record"); }
void wait_for_event(int index, Stream, Event) { refuse(index, "wait_event"); }
void synchronize_event(int index, Event) { refuse(index, "synchronize"); }
bool is_done_event(int index, Event) { refuse(index, "query"); }
float milliseconds_between(int index, Event, Event) { refuse(index, "elapsed_time"); }

void* allocate(std::size_t, int index) { refuse(index, "allocate"); }
void free(void*, int) {}
void record_stream(void*, int index, Stream) { refuse(index, "record_stream"); }
MemoryStats memory_stats(int) { return {}; }
void reset_memory_peaks(int) {}
void reset_memory_sums(int) {}
void empty_cache() {}
MemoryInfo memory_info(int index) { refuse(index, "mem_get_info"); }
void* allocate_pinned(std::size_t) { refuse(0, "pin_memory"); }
void free_pinned(void*) {}
bool is_pinned(const void*) { return false; }
void empty_pinned_cache() {}
void copy(void*, int to, const void*, int from, std::size_t, bool) {
  refuse(to < 0 ? from : to, "copy");
}

Graph begin_capture(int index, std::size_t) { refuse(index, "capture_begin"); }
void end_capture(Graph) { refuse(0, "capture_end"); }
void check_launchable(Graph) { refuse(0, "replay"); }
void launch_graph(Graph, const StoredNumber*, std::size_t) { refuse(0, "replay"); }
std::size_t graph_pool(Graph) { return 0; }
std::size_t new_pool() { return 0; }
void destroy_graph(Graph) {}
bool is_capturing() { return false; }
void refuse_while_capturing(const char*) {}
void report_replayed(const bool*, std::int64_t, Fault) {}

}  // namespace tilegrad::cuda
