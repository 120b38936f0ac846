// What tilegrad.cuda is made of: devices, streams, events and memory as plain functions; graphs are
// in graphs.cpp.
//
// Streams and events travel as integers, their addresses; python/tilegrad/cuda makes
// objects of them.
#include "../cuda/runtime.h"

#include <string>

#include "bind.h"
#include "device.h"
#include "order.h"

namespace tilegrad {

void bind_graphs(py::module_& module);  // src/graphs.cpp

namespace {

using Handle = std::uintptr_t;

void* pointer(Handle handle) { return reinterpret_cast<void*>(handle); }
Handle handle_of(const void* pointer) { return reinterpret_cast<Handle>(pointer); }

py::dict properties(int index) {
  const cuda::DeviceProperties found = cuda::device_properties(index);
  py::dict result;
  result["name"] = found.name;
  result["major"] = found.major;
  result["minor"] = found.minor;
  result["total_memory"] = found.total_memory;
  result["multi_processor_count"] = found.multiprocessors;
  result["warp_size"] = found.warp_size;
  result["max_threads_per_multi_processor"] = found.threads_per_multiprocessor;
  result["regs_per_multiprocessor"] = found.registers_per_multiprocessor;
  result["L2_cache_size"] = found.l2_cache;
  result["shared_memory_per_block"] = found.shared_memory_per_block;
  result["shared_memory_per_block_optin"] = found.shared_memory_per_block_optin;
  result["shared_memory_per_multiprocessor"] = found.shared_memory_per_multiprocessor;
  return result;
}

// The allocator's counts under PyTorch's names.
py::dict memory(int index) {
  if (cuda::device_count() > 0) cuda::require_device(index, "memory_stats");
  cuda::MemoryStats stats = cuda::device_count() ? cuda::memory_stats(index) : cuda::MemoryStats{};
  py::dict result;
  const auto add = [&](const std::string& name, const cuda::Count& count) {
    result[py::str(name + ".current")] = count.current;
    result[py::str(name + ".peak")] = count.peak;
    result[py::str(name + ".allocated")] = count.allocated;
    result[py::str(name + ".freed")] = count.freed;
  };
  stats.for_each([&](const std::string& name, const cuda::Counts& counts) {
    add(name + ".all", counts.all);
    add(name + ".small_pool", counts.small);
    add(name + ".large_pool", counts.large);
  });
  result["num_alloc_retries"] = stats.retries;
  result["num_ooms"] = stats.failures;
  result["num_device_alloc"] = stats.device_allocations;
  result["num_device_free"] = stats.device_frees;
  return result;
}

Tensor pin(const Tensor& x) {
  Tensor y = pinned(x.shape, x.dtype);
  take_order(y, {&x});
  copy_into(y, x);
  return y;
}

void bind_devices(py::module_& module) {
  module.def("cuda_device_count", &cuda::device_count);
  module.def("cuda_unavailable_reason", &cuda::unavailable_reason);
  module.def("cuda_driver_version", &cuda::driver_version);
  module.def("cuda_properties", &properties, py::arg("index"));
  module.def("cuda_current_device", &cuda::current_device);
  module.def("cuda_set_device", &cuda::set_current_device, py::arg("index"));
  module.def(
      "cuda_synchronize", [](int index) { cuda::synchronize(index); }, py::arg("index"),
      py::call_guard<py::gil_scoped_release>());
}

void bind_streams(py::module_& module) {
  module.def(
      "cuda_current_stream", [](int index) { return handle_of(cuda::current_stream(index)); },
      py::arg("index"));
  static bool streams_in_use = false;  // GIL held
  module.def(
      "cuda_set_stream",
      [](int index, Handle stream) {
        cuda::set_current_stream(index, pointer(stream));
        streams_in_use |= stream != 0;
      },
      py::arg("index"), py::arg("stream"));
  // Whether any but the default streams has ever been a current one.
  module.def("cuda_streams_in_use", [] { return streams_in_use; });
  module.def(
      "cuda_stream_from_pool",
      [](int index, bool urgent) { return handle_of(cuda::stream_from_pool(index, urgent)); },
      py::arg("index"), py::arg("urgent"));
  module.def(
      "cuda_stream_synchronize",
      [](int index, Handle stream) { cuda::synchronize_stream(index, pointer(stream)); },
      py::arg("index"), py::arg("stream"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "cuda_stream_query",
      [](int index, Handle stream) { return cuda::is_done(index, pointer(stream)); },
      py::arg("index"), py::arg("stream"));
  module.def(
      "cuda_event_create",
      [](int index, bool timed, bool blocking) {
        return handle_of(cuda::create_event(index, timed, blocking));
      },
      py::arg("index"), py::arg("timed"), py::arg("blocking"));
  module.def(
      "cuda_event_destroy",
      [](int index, Handle event) { cuda::destroy_event(index, pointer(event)); }, py::arg("index"),
      py::arg("event"));
  module.def(
      "cuda_event_record",
      [](int index, Handle event, Handle stream) {
        cuda::record_event(index, pointer(event), pointer(stream));
      },
      py::arg("index"), py::arg("event"), py::arg("stream"));
  module.def(
      "cuda_stream_wait_event",
      [](int index, Handle stream, Handle event) {
        cuda::wait_for_event(index, pointer(stream), pointer(event));
      },
      py::arg("index"), py::arg("stream"), py::arg("event"));
  module.def(
      "cuda_event_synchronize",
      [](int index, Handle event) { cuda::synchronize_event(index, pointer(event)); },
      py::arg("index"), py::arg("event"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "cuda_event_query",
      [](int index, Handle event) { return cuda::is_done_event(index, pointer(event)); },
      py::arg("index"), py::arg("event"));
  module.def(
      "cuda_event_elapsed",
      [](int index, Handle start, Handle end) {
        return cuda::milliseconds_between(index, pointer(start), pointer(end));
      },
      py::arg("index"), py::arg("start"), py::arg("end"));
}

void bind_memory(py::module_& module) {
  module.def("cuda_memory_stats", &memory, py::arg("index"));
  module.def("cuda_reset_peaks", &cuda::reset_memory_peaks, py::arg("index"));
  module.def("cuda_reset_sums", &cuda::reset_memory_sums, py::arg("index"));
  module.def(
      "cuda_memory_info",
      [](int index) {
        const cuda::MemoryInfo info = cuda::memory_info(index);
        return py::make_tuple(info.free, info.total);
      },
      py::arg("index"));
  module.def("cuda_empty_cache", &cuda::empty_cache, py::call_guard<py::gil_scoped_release>());
  module.def(
      "cuda_record_stream",
      [](const Tensor& x, Handle stream) {
        TILEGRAD_CHECK(!x.device().is_cpu(), runtime,
                       "record_stream: expected a CUDA tensor, got one on the CPU");
        cuda::record_stream(x.storage->data, x.device().index, pointer(stream));
      },
      py::arg("input"), py::arg("stream"));
  module.def("pin_memory", &pin, py::arg("input"));
  module.def("empty_pinned", &pinned, py::arg("size"), py::arg("dtype"));
  module.def(
      "is_pinned",
      [](const Tensor& x) { return x.device().is_cpu() && cuda::is_pinned(x.storage->data); },
      py::arg("input"));
}

}  // namespace

Tensor pinned(const Dims& shape, DType dtype) {
  Tensor y;
  const std::int64_t count = checked_numel(shape, dtype, "pin_memory");
  y.storage = StorageRef(new Storage);
  y.storage->bytes = static_cast<std::size_t>(count) * size_of(dtype);
  y.storage->data = cuda::allocate_pinned(y.storage->bytes);
  y.storage->owner = y.storage->data;
  y.storage->release_owner = cuda::free_pinned;
  y.dtype = dtype;
  y.shape = shape;
  y.strides = contiguous_strides(shape);
  return y;
}

void bind_cuda(py::module_& module) {
  bind_devices(module);
  bind_streams(module);
  bind_memory(module);
  bind_graphs(module);
}

}  // namespace tilegrad
