// Graphs: capture of what a thread gives to a stream, its replay, and what a replay complains of.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "flag.cuh"

namespace tilegrad::cuda {

struct CapturedGraph {
  int index = 0;
  std::size_t pool = 0;
  cudaStream_t stream = nullptr;
  bool capturing = true;
  cudaGraphExec_t exec = nullptr;  // null until the capture has ended
};

namespace {

// Of each card, what replays met that they must not: Faults. In pinned memory: kernels write there,
// and the host looks whenever it has waited. Made before the first capture, never released.
std::atomic<int*> faults{nullptr};

void make_faults() {
  if (faults.load() != nullptr) return;
  void* made = nullptr;
  TILEGRAD_CUDA_CHECK(cudaHostAlloc(&made, kMostDevices * sizeof(int), cudaHostAllocDefault));
  std::fill_n(static_cast<int*>(made), kMostDevices, 0);
  int* before = nullptr;
  if (!faults.compare_exchange_strong(before, static_cast<int*>(made))) cudaFreeHost(made);
}

// To destroy a graph means to wait for it, which would spoil a capture in any thread; and Python
// collects garbage in whichever thread it likes. Those that are dropped meanwhile are destroyed
// when no capture is left.
// (Not static in a function: beside kernels, the emulated device takes that for shared memory.)
struct Captures {
  std::mutex mutex;
  int running = 0;
  std::vector<Graph> dropped;
};
Captures& captures = *new Captures;  // outlives static destruction
std::atomic<std::size_t> last_pool{0};

void destroy(Graph graph) {
  if (!has_forked()) {
    if (graph->exec != nullptr) {
      cudaDeviceSynchronize();  // it may be running
      cudaGraphExecDestroy(graph->exec);
    }
    cudaGetLastError();
    release_pool(graph->index, graph->pool);
  }
  delete graph;
}

void count_captures(int change) {
  const std::lock_guard<std::mutex> lock(captures.mutex);
  captures.running += change;
  if (captures.running > 0) return;
  for (Graph graph : std::exchange(captures.dropped, {})) destroy(graph);
}

cudaError_t stop_writing(Graph graph, cudaGraph_t* written) {
  graph->capturing = false;
  const cudaError_t result = cudaStreamEndCapture(graph->stream, written);
  end_pool(graph->index, graph->pool);
  count_captures(-1);
  return result;
}

constexpr std::size_t kMostNumbers = 512;  // of one launch: 8 KiB of parameters
struct Numbers {
  std::size_t count;
  StoredNumber numbers[kMostNumbers];
};

// A thread a number: 16 bytes of parameters read, at most 8 written, nothing computed. 8 blocks on
// a multiprocessor, of which a launch has two.
__global__ void __launch_bounds__(kBlock) store_kernel(const Numbers all) {
  const unsigned i = blockIdx.x * kBlock + threadIdx.x;
  if (i < all.count) *all.numbers[i].place = all.numbers[i].value;
}

// One byte an element.
struct RaiseWhere {
  const bool* wrong;
  int* flag;
  Fault fault;
  __device__ void operator()(std::int64_t i) const {
    if (wrong[i]) raise_flag(flag, fault);
  }
};

}  // namespace

int* fault_of_captured() { return faults.load() + used_device(); }

void report_faults(int index) {
  int* const all = faults.load();
  if (all == nullptr || index < 0) return;
  volatile int& fault = all[index];
  const int met = fault;
  if (met == 0) return;
  fault = 0;
  std::string what;
  const auto name = [&](Fault one, const char* text) {
    if (met & static_cast<int>(one)) what += (what.empty() ? "" : " and ") + std::string(text);
  };
  name(Fault::index, "an index or a label out of range");
  name(Fault::divisor, "an integer division by zero");
  name(Fault::probability, "probabilities, weights or deviations out of range");
  fail(ErrorKind::runtime,
       "CUDA graph: a replay met " + what +
           ", and its results are not what was asked for. (What is wrong is said only outside of "
           "graphs, where calls wait for the answer: run the same ones there.)");
}

void report_replayed(const bool* wrong, std::int64_t size, Fault fault) {
  for_each_index(size, RaiseWhere{wrong, fault_of_captured(), fault});
}

std::size_t new_pool() { return ++last_pool; }

Graph begin_capture(int index, std::size_t pool) {
  use_device(index);
  const Stream stream = current_stream(index);
  TILEGRAD_CHECK(stream != nullptr, runtime,
                 "CUDA graphs must be captured on a non-default stream. (However, after capture, "
                 "it's ok to replay them on the default stream.)");
  TILEGRAD_CHECK(!uses_pool(), runtime, "capture_begin: this thread is capturing a graph already");
  make_faults();
  auto* graph = new CapturedGraph{.index = index,
                                  .pool = pool == 0 ? new_pool() : pool,
                                  .stream = static_cast<cudaStream_t>(stream)};
  count_captures(1);
  const cudaError_t result = cudaStreamBeginCapture(graph->stream, cudaStreamCaptureModeGlobal);
  if (result != cudaSuccess) {
    count_captures(-1);
    delete graph;
  }
  TILEGRAD_CUDA_CHECK(result);
  begin_pool(index, graph->pool);
  return graph;
}

void end_capture(Graph graph) {
  use_device(graph->index);
  cudaGraph_t written = nullptr;
  const cudaError_t result = stop_writing(graph, &written);
  TILEGRAD_CUDA_CHECK(result);
  const cudaError_t made = cudaGraphInstantiate(&graph->exec, written, 0);
  cudaGraphDestroy(written);
  TILEGRAD_CUDA_CHECK(made);
}

void check_launchable(Graph graph) {
  TILEGRAD_CHECK(graph->exec != nullptr, runtime,
                 "replay: called on a CUDAGraph without a preceding successful capture");
}

void launch_graph(Graph graph, const StoredNumber* numbers, std::size_t count) {
  check_launchable(graph);
  const OnDevice on(graph->index);
  report_faults(graph->index);
  for (std::size_t first = 0; first < count; first += kMostNumbers) {
    Numbers some;
    some.count = std::min(kMostNumbers, count - first);
    std::copy_n(numbers + first, some.count, some.numbers);
    launch(store_kernel, {blocks_for(static_cast<std::int64_t>(some.count)), kBlock}, some);
  }
  TILEGRAD_CUDA_CHECK(cudaGraphLaunch(graph->exec, static_cast<cudaStream_t>(current_stream())));
}

std::size_t graph_pool(Graph graph) { return graph->pool; }

void destroy_graph(Graph graph) {
  if (graph->capturing && !has_forked()) {  // given up in the middle
    cudaGraph_t written = nullptr;
    if (stop_writing(graph, &written) == cudaSuccess) cudaGraphDestroy(written);
  }
  {
    const std::lock_guard<std::mutex> lock(captures.mutex);
    if (captures.running > 0) return captures.dropped.push_back(graph);
  }
  destroy(graph);
}

bool is_capturing() {
  if (device_count() == 0 || current_stream() == nullptr) return false;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  TILEGRAD_CUDA_CHECK(cudaStreamIsCapturing(static_cast<cudaStream_t>(current_stream()), &status));
  return status != cudaStreamCaptureStatusNone;
}

void refuse_while_capturing(const char* what) {
  TILEGRAD_CHECK(!is_capturing(), runtime,
                 "CUDA error: operation not permitted when stream is capturing: ", what,
                 " would make the host wait for the card. Do it before or after the capture");
}

}  // namespace tilegrad::cuda
