// Graphs: capture of what a thread gives to a stream, and its replay.
#include <atomic>

#include "check.cuh"
#include "state.h"

namespace tilegrad::cuda {

struct CapturedGraph {
  int index = 0;
  std::size_t pool = 0;
  cudaStream_t stream = nullptr;
  cudaGraphExec_t exec = nullptr;  // null until the capture has ended
};

std::size_t new_pool() {
  static std::atomic<std::size_t> last{0};
  return ++last;
}

Graph begin_capture(int index, std::size_t pool) {
  use_device(index);
  const Stream stream = current_stream(index);
  TILEGRAD_CHECK(stream != nullptr, runtime,
                 "CUDA graphs must be captured on a non-default stream. (However, after capture, "
                 "it's ok to replay them on the default stream.)");
  TILEGRAD_CHECK(!uses_pool(), runtime, "capture_begin: this thread is capturing a graph already");
  auto* graph = new CapturedGraph{.index = index,
                                  .pool = pool == 0 ? new_pool() : pool,
                                  .stream = static_cast<cudaStream_t>(stream)};
  const cudaError_t result = cudaStreamBeginCapture(graph->stream, cudaStreamCaptureModeGlobal);
  if (result != cudaSuccess) delete graph;
  TILEGRAD_CUDA_CHECK(result);
  begin_pool(index, graph->pool);
  return graph;
}

void end_capture(Graph graph) {
  use_device(graph->index);
  cudaGraph_t written = nullptr;
  const cudaError_t result = cudaStreamEndCapture(graph->stream, &written);
  end_pool(graph->index, graph->pool);
  TILEGRAD_CUDA_CHECK(result);
  const cudaError_t made = cudaGraphInstantiate(&graph->exec, written, 0);
  cudaGraphDestroy(written);
  TILEGRAD_CUDA_CHECK(made);
}

void launch_graph(Graph graph) {
  TILEGRAD_CHECK(graph->exec != nullptr, runtime,
                 "replay: called on a CUDAGraph without a preceding successful capture");
  const OnDevice on(graph->index);
  TILEGRAD_CUDA_CHECK(cudaGraphLaunch(graph->exec, static_cast<cudaStream_t>(current_stream())));
}

std::size_t graph_pool(Graph graph) { return graph->pool; }

void destroy_graph(Graph graph) {
  if (!has_forked()) {
    if (graph->exec != nullptr) {
      if (!uses_pool()) cudaDeviceSynchronize();  // it may be running
      cudaGraphExecDestroy(graph->exec);
    }
    cudaGetLastError();
    release_pool(graph->index, graph->pool);
  }
  delete graph;
}

bool is_capturing() {
  if (device_count() == 0 || current_stream() == nullptr) return false;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  TILEGRAD_CUDA_CHECK(cudaStreamIsCapturing(static_cast<cudaStream_t>(current_stream()), &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace tilegrad::cuda
