// Streams, events and graphs of the emulated device.
//
// A stream is a queue of functions. Everything here happens under one lock that the thread which
// does the work may take again.
#include "streams.h"

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

using Clock = std::chrono::steady_clock;

struct emulated_graph {
  std::vector<emulation::Work> nodes;
  bool invalid = false;
};
struct emulated_graph_exec {
  std::vector<emulation::Work> nodes;
};

struct emulated_stream {
  std::deque<emulation::Work> queue;
  emulated_graph* graph = nullptr;  // while it captures
  bool origin = false;              // the capture began here
};

// What one cudaEventRecord has made of an event.
struct Recorded {
  cudaStream_t stream = nullptr;
  emulated_graph* graph = nullptr;  // recorded in a capture
  bool done = true;
  Clock::time_point time;
};
struct emulated_event {
  unsigned flags = 0;
  bool ever = false;
  std::shared_ptr<Recorded> last = std::make_shared<Recorded>();
};

namespace emulation {
namespace {

struct Queues {
  std::recursive_mutex mutex;
  std::set<cudaStream_t> streams;
  cudaError_t late_error = cudaSuccess;
  int captures = 0;
};
Queues& queues() {
  static Queues* instance = new Queues;
  return *instance;
}
using Lock = std::lock_guard<std::recursive_mutex>;

thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;

// Does the stream's oldest piece of work.
void step(cudaStream_t stream) {
  const Work work = std::move(stream->queue.front());
  stream->queue.pop_front();
  const cudaError_t error = work();
  if (error != cudaSuccess && queues().late_error == cudaSuccess) queues().late_error = error;
}

void finish(cudaStream_t stream) {
  while (stream != nullptr && !stream->queue.empty()) step(stream);
}

void finish(const Recorded& recorded) {
  while (!recorded.done && !recorded.stream->queue.empty()) step(recorded.stream);
}

}  // namespace

cudaError_t give(cudaStream_t stream, Work work) {
  const Lock lock(queues().mutex);
  if (stream == nullptr) return work();
  if (stream->graph != nullptr) stream->graph->nodes.push_back(std::move(work));
  else stream->queue.push_back(std::move(work));
  return cudaSuccess;
}

void finish_all_streams() {
  const Lock lock(queues().mutex);
  for (cudaStream_t stream : queues().streams) finish(stream);
}

cudaError_t refuse_while_capturing() {
  const Lock lock(queues().mutex);
  if (queues().captures == 0 || mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (cudaStream_t stream : queues().streams)
    if (stream->graph != nullptr) stream->graph->invalid = true;
  return outcome(cudaErrorStreamCaptureUnsupported);
}

cudaError_t take_late_error() {
  const Lock lock(queues().mutex);
  return outcome(std::exchange(queues().late_error, cudaSuccess));
}

}  // namespace emulation

using emulation::finish;
using emulation::Lock;
using emulation::outcome;
using emulation::queues;

// --- streams ---

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(queues().mutex);
  *stream = new emulated_stream;
  queues().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(queues().mutex);
  finish(stream);
  queues().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(queues().mutex);
  if (const cudaError_t refused = emulation::refuse_while_capturing()) return refused;
  finish(stream);
  return emulation::take_late_error();
}
// Asking brings the work forward, so that a loop of questions ends.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock(queues().mutex);
  if (stream == nullptr || stream->queue.empty()) return emulation::take_late_error();
  emulation::step(stream);
  return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(queues().mutex);
  const std::shared_ptr<Recorded> recorded = event->last;
  if (recorded->graph != nullptr) {  // the stream joins the capture
    if (stream == nullptr) return outcome(cudaErrorStreamCaptureUnsupported);
    stream->graph = recorded->graph;
    return cudaSuccess;
  }
  if (recorded->done) return cudaSuccess;
  return emulation::give(stream, [recorded] {
    finish(*recorded);
    return cudaSuccess;
  });
}

// --- events ---

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new emulated_event{.flags = flags};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(queues().mutex);
  event->ever = true;
  event->last = std::make_shared<Recorded>();
  event->last->stream = stream;
  if (stream != nullptr && stream->graph != nullptr) {
    event->last->graph = stream->graph;
    return cudaSuccess;
  }
  event->last->done = false;
  return emulation::give(stream, [recorded = event->last] {
    recorded->done = true;
    recorded->time = Clock::now();
    return cudaSuccess;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(queues().mutex);
  if (event->last->done) return cudaSuccess;
  emulation::step(event->last->stream);
  return cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(queues().mutex);
  finish(*event->last);
  return emulation::take_late_error();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock(queues().mutex);
  if (!start->ever || !end->ever || ((start->flags | end->flags) & cudaEventDisableTiming))
    return outcome(cudaErrorInvalidValue);
  if (!start->last->done || !end->last->done) return outcome(cudaErrorNotReady);
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->last->time - start->last->time).count();
  return cudaSuccess;
}

// --- graphs ---

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(queues().mutex);
  if (stream == nullptr || stream->graph != nullptr)
    return outcome(cudaErrorStreamCaptureUnsupported);
  stream->graph = new emulated_graph;
  stream->origin = true;
  ++queues().captures;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(queues().mutex);
  *graph = nullptr;
  if (stream == nullptr || stream->graph == nullptr || !stream->origin)
    return outcome(cudaErrorInvalidValue);
  *graph = stream->graph;
  stream->origin = false;
  --queues().captures;
  for (cudaStream_t other : queues().streams)
    if (other->graph == *graph) other->graph = nullptr;
  if (!(*graph)->invalid) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return outcome(cudaErrorStreamCaptureInvalidated);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock(queues().mutex);
  *status = stream == nullptr || stream->graph == nullptr ? cudaStreamCaptureStatusNone
            : stream->graph->invalid                      ? cudaStreamCaptureStatusInvalidated
                                                          : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* other) {
  std::swap(emulation::mode, *other);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new emulated_graph_exec{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return emulation::give(stream, [nodes = exec->nodes] {
    for (const emulation::Work& node : nodes)
      if (const cudaError_t error = node()) return error;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
