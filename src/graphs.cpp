// CUDA graphs, with the keys of random numbers that each replay draws anew.
//
// A captured kernel that draws finds its key in device memory. The graph knows those places, and
// the generator of each; a replay draws the keys, in the order of the captured calls, and stores
// them ahead of the graph. So it gives what the same calls would give, and moves the generators on.
#include <memory>
#include <vector>

#include "../cuda/runtime.h"
#include "bind.h"
#include "rng.h"

namespace tilegrad {
namespace {

struct KeyedGraph {
  struct Key {
    Tensor place;          // int64, one element
    py::object generator;  // kept: it draws at each replay
  };
  cuda::Graph graph = nullptr;
  std::vector<Key> keys;
};

// A graph travels through Python as its address.
using GraphHandle = std::uintptr_t;
KeyedGraph* keyed(GraphHandle handle) { return reinterpret_cast<KeyedGraph*>(handle); }

thread_local KeyedGraph* captured = nullptr;

GraphHandle begin_graph(int index, std::size_t pool) {
  auto made = std::make_unique<KeyedGraph>();
  made->graph = cuda::begin_capture(index, pool);
  captured = made.get();
  return reinterpret_cast<GraphHandle>(made.release());
}

void end_graph(GraphHandle handle) {
  captured = nullptr;
  cuda::end_capture(keyed(handle)->graph);
}

void replay_graph(GraphHandle handle) {
  KeyedGraph* const graph = keyed(handle);
  cuda::check_launchable(graph->graph);
  std::vector<cuda::StoredNumber> numbers;
  for (const KeyedGraph::Key& key : graph->keys)
    numbers.push_back(
        {key.place.data<std::uint64_t>(), draw_key(key.generator.cast<Generator&>())});
  const py::gil_scoped_release release;
  cuda::launch_graph(graph->graph, numbers.data(), numbers.size());
}

void forget_graph(GraphHandle handle) {
  const std::unique_ptr<KeyedGraph> graph(keyed(handle));
  if (captured == graph.get()) captured = nullptr;
  cuda::destroy_graph(graph->graph);
}

// Deviations that are wrong, for draws that are made of other operations.
void report_replayed(const Tensor& wrong) {
  TILEGRAD_CHECK(wrong.dtype == DType::boolean && !wrong.device().is_cpu() && wrong.is_contiguous(),
                 runtime, "cuda_report_replayed: argument 'wrong': expected a contiguous bool ",
                 "tensor on a CUDA device, got ", info(wrong.dtype).name, " on ",
                 wrong.device().str());
  cuda::report_replayed(wrong.data<bool>(), wrong.numel(), cuda::Fault::probability);
}

}  // namespace

std::optional<Tensor> captured_key(Generator& generator, Device device) {
  if (device.is_cpu() || !cuda::is_capturing()) return std::nullopt;
  TILEGRAD_CHECK(captured != nullptr, runtime,
                 "random numbers can be captured only by the thread that began the CUDA graph");
  Tensor place = empty({1}, DType::int64, device, "random_key");
  captured->keys.push_back({place, py::cast(generator, py::return_value_policy::reference)});
  return place;
}

void bind_graphs(py::module_& module) {
  module.def("cuda_graph_begin", &begin_graph, py::arg("index"), py::arg("pool"));
  module.def("cuda_graph_end", &end_graph, py::arg("graph"));
  module.def("cuda_graph_replay", &replay_graph, py::arg("graph"));
  module.def(
      "cuda_graph_pool", [](GraphHandle handle) { return cuda::graph_pool(keyed(handle)->graph); },
      py::arg("graph"));
  module.def("cuda_new_pool", &cuda::new_pool);
  module.def("cuda_graph_destroy", &forget_graph, py::arg("graph"));
  module.def("cuda_is_capturing", &cuda::is_capturing);
  module.def("cuda_report_replayed", &report_replayed, py::arg("wrong"));
}

}  // namespace tilegrad
