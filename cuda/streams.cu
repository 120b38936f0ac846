// Streams and events.
#include <array>
#include <atomic>
#include <mutex>

#include "check.cuh"
#include "state.h"

namespace tilegrad::cuda {
namespace {

constexpr unsigned kStreams = 32;  // of each card and priority

// Created when first asked for, and never destroyed: programs drop stream objects at any time.
struct Streams {
  std::mutex mutex;
  std::array<std::array<cudaStream_t, kStreams>, 2> streams = {};
  std::array<unsigned, 2> next = {};
};
Streams& streams_of(int index) {
  static auto* all = new std::array<Streams, kMostDevices>;
  return (*all)[static_cast<std::size_t>(index)];
}

thread_local std::array<Stream, kMostDevices> current = {};

cudaStream_t of(Stream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(Event event) { return static_cast<cudaEvent_t>(event); }

}  // namespace

Stream current_stream(int index) { return current[static_cast<std::size_t>(index)]; }
Stream current_stream() { return current_stream(used_device()); }

void set_current_stream(int index, Stream stream) {
  require_device(index, "set_stream");
  current[static_cast<std::size_t>(index)] = stream;
}

Stream stream_from_pool(int index, bool urgent) {
  const OnDevice on(index);
  Streams& pool = streams_of(index);
  const std::lock_guard<std::mutex> lock(pool.mutex);
  cudaStream_t& stream = pool.streams[urgent][pool.next[urgent]++ % kStreams];
  if (stream == nullptr) {
    int least = 0, greatest = 0;
    TILEGRAD_CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    TILEGRAD_CUDA_CHECK(
        cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, urgent ? greatest : least));
  }
  return stream;
}

void synchronize_stream(int index, Stream stream) {
  const OnDevice on(index);
  refuse_while_capturing("synchronize()");
  TILEGRAD_CUDA_CHECK(cudaStreamSynchronize(of(stream)));
  report_faults(index);
}

bool is_done(int index, Stream stream) {
  const OnDevice on(index);
  refuse_while_capturing("query()");
  const cudaError_t result = cudaStreamQuery(of(stream));
  if (result == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  TILEGRAD_CUDA_CHECK(result);
  return true;
}

Event create_event(int index, bool timed, bool blocking) {
  const OnDevice on(index);
  cudaEvent_t event = nullptr;
  TILEGRAD_CUDA_CHECK(cudaEventCreateWithFlags(
      &event, (timed ? 0u : cudaEventDisableTiming) | (blocking ? cudaEventBlockingSync : 0u)));
  return event;
}

// Runs in destructors, at the end of the process too: an error is of no use there.
void destroy_event(int index, Event event) {
  if (has_forked() || index >= device_count()) return;
  cudaEventDestroy(event_of(event));
  cudaGetLastError();
}

void record_event(int index, Event event, Stream stream) {
  const OnDevice on(index);
  TILEGRAD_CUDA_CHECK(cudaEventRecord(event_of(event), of(stream)));
}

void wait_for_event(int index, Stream stream, Event event) {
  const OnDevice on(index);
  TILEGRAD_CUDA_CHECK(cudaStreamWaitEvent(of(stream), event_of(event), 0));
}

void synchronize_event(int index, Event event) {
  const OnDevice on(index);
  refuse_while_capturing("synchronize()");
  TILEGRAD_CUDA_CHECK(cudaEventSynchronize(event_of(event)));
  report_faults(index);
}

bool is_done_event(int index, Event event) {
  const OnDevice on(index);
  refuse_while_capturing("query()");
  const cudaError_t result = cudaEventQuery(event_of(event));
  if (result == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  TILEGRAD_CUDA_CHECK(result);
  return true;
}

float milliseconds_between(int index, Event start, Event end) {
  const OnDevice on(index);
  float milliseconds = 0;
  TILEGRAD_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, event_of(start), event_of(end)));
  return milliseconds;
}

}  // namespace tilegrad::cuda
