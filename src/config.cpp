// What this build is and how it runs: instruction sets, threads, memory, CUDA.
#include <cstdlib>

#include "bind.h"
#include "device.h"
#include "dispatch.h"
#include "float_mode.h"
#include "host_memory.h"
#include "isa.h"
#include "ops/isa_probe.h"
#include "ops/machine_probe.h"
#include "parallel.h"
#include "tilegrad_build.h"  // written by CMake

namespace tilegrad {

template <class Stats>
static py::dict as_dict(const Stats& stats) {
  py::dict result;
  result["in_use"] = stats.in_use;
  result["cached"] = stats.cached;
  result["peak"] = stats.peak;
  return result;
}

// Float32 operations of multiply-adds on all threads; the caller takes the time.
static double fma_probe(std::int64_t tasks, std::int64_t steps) {
  TILEGRAD_CHECK(tasks > 0 && steps > 0, value, "fma_probe: expected positive counts, got ", tasks,
                 " and ", steps);
  std::vector<float> sums(static_cast<std::size_t>(tasks));
  double operations = 0;
  run(fma_probe_kernel, Device{}, FmaProbe{tasks, steps, sums.data(), &operations}, tasks * steps);
  return operations;
}

// The bytes moved by y = x + 0.5 * other, or by reading x alone.
static double memory_probe(const Tensor& y, const Tensor& x, const Tensor& other, bool reads_only) {
  for (const Tensor* t : {&y, &x, &other})
    TILEGRAD_CHECK(t->dtype == DType::float32 && t->is_contiguous() && t->device().is_cpu() &&
                       t->numel() == x.numel(),
                   value, "memory_probe: expected contiguous float32 tensors of one size");
  run(memory_probe_kernel, Device{},
      MemoryProbe{y.data<float>(), x.data<float>(), other.data<float>(), x.numel(), reads_only},
      x.numel());
  return static_cast<double>(sizeof(float)) * static_cast<double>(x.numel()) * (reads_only ? 1 : 3);
}

// Reads the environment. Apart from the module's own start, where every error would become an
// ImportError, and a second import after an error would find half a module.
static void initialize() {
  const char* isa = std::getenv("TILEGRAD_ISA");
  set_active_isa(choose_isa(isa ? isa : ""));
  set_num_threads(default_num_threads());
}

void bind_config(py::module_& module) {
  module.def("initialize", &initialize);
  module.def("get_num_threads", &num_threads,
             "How many threads kernels use, the calling one included.");
  module.def(
      "set_num_threads",
      [](int count) {
        py::gil_scoped_release release;
        set_num_threads(count);
      },
      py::arg("num"),
      "Sets how many threads kernels use. Results do not depend on it. Raises RuntimeError for a "
      "number outside 1 to 4096, TypeError for anything but an integer.");
  module.def(
      "set_flush_denormal",
      [](bool flush) {
        set_float_mode(flush ? float_mode() | kFlushToZero : float_mode() & ~kFlushToZero);
        return kFlushToZero != 0;
      },
      py::arg("mode"));
  module.def("isa", [] { return isa_name(active_isa()); });
  // What the kernels that run now were compiled for, asked through their dispatch table.
  module.def("isa_probe", [] {
    const char* name = nullptr;
    run(isa_probe_kernel, Device{}, IsaProbe{&name}, 1);
    return name;
  });
  module.def("fma_probe", &fma_probe, py::arg("tasks"), py::arg("steps"));
  module.def("memory_probe", &memory_probe, py::arg("y"), py::arg("x"), py::arg("other"),
             py::arg("reads_only"));
  module.def("compiled_isas", [] {
    std::vector<std::string> names;
    for (int i = 0; i < kIsaCount; ++i) names.emplace_back(isa_name(static_cast<Isa>(i)));
    return names;
  });
  module.def("supported_isas", [] {
    std::vector<std::string> names;
    for (Isa isa : supported_isas()) names.emplace_back(isa_name(isa));
    return names;
  });
  module.def("build_info", [] {
    py::dict build;
    build["version"] = TILEGRAD_VERSION;
    build["compiler"] = TILEGRAD_COMPILER;
    build["build_type"] = TILEGRAD_BUILD_TYPE;
    build["cuda"] = TILEGRAD_CUDA_STATE;
    build["cuda_reason"] = TILEGRAD_CUDA_REASON;
    build["cuda_architectures"] = TILEGRAD_CUDA_ARCHITECTURES;
    return build;
  });
  module.def("host_memory_stats", [] { return as_dict(host_memory_stats()); });
  module.def("host_empty_cache", &host_empty_cache);
}

}  // namespace tilegrad
