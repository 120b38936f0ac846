// embedding and embedding_bag: every index and offset is checked here.
#include "ops/embedding.h"

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "indexing.h"

namespace tilegrad {
namespace {

void check_embedding_device(const char* op, const Tensor& weight, const Tensor& other) {
  TILEGRAD_CHECK(weight.device() == other.device(), runtime, op,
                 ": Expected all tensors to be on the same device, but found ",
                 weight.device().str(), " and ", other.device().str());
}

// The indices, dense and of 64 bits, each in [0, entries), on the device of `weight`.
Tensor embedding_indices(const char* op, const Tensor& input, const Tensor& weight,
                         std::int64_t entries, ErrorKind outside) {
  TILEGRAD_CHECK(input.dtype == DType::int64 || input.dtype == DType::int32, runtime, op,
                 ": argument 'input': Expected indices of dtype int64 or int32, got ",
                 info(input.dtype).name);
  check_embedding_device(op, weight, input);
  Tensor index = contiguous(to_dtype(input, DType::int64));
  if (indices_within(index, entries)) return index;
  if (entries == 0) fail(outside, op, ": index out of range: the table has no entries");
  const Tensor host = to_device(index, Device{});
  const std::int64_t* values = host.data<std::int64_t>();
  for (std::int64_t i = 0, count = index.numel(); i < count; ++i)
    if (values[i] < 0 || values[i] >= entries)
      fail(outside, op, ": index out of range: index ", values[i], " of input, at position ", i,
           ", is not in [0, ", entries, ")");
  return index;
}

void check_table(const char* op, const Tensor& weight, bool floating) {
  TILEGRAD_CHECK(weight.ndim() == 2, runtime, op, ": 'weight' must be 2-D, got shape ",
                 weight.shape.str());
  TILEGRAD_CHECK(!floating || is_floating(weight.dtype), not_implemented, op,
                 ": argument 'weight': expected a floating dtype, got ", info(weight.dtype).name);
}

Tensor embedding_rows(const Tensor& input, const Tensor& weight) {
  check_table("embedding", weight, false);
  const Tensor index =
      embedding_indices("embedding", input, weight, weight.shape[0], ErrorKind::index);
  const Tensor table = contiguous(weight);
  Dims shape = input.shape;
  shape.push(weight.shape[1]);
  checked_numel(shape, weight.dtype, "embedding");
  Tensor y = empty(shape, weight.dtype, weight.device(), "embedding");
  const auto row_bytes = weight.shape[1] * static_cast<std::int64_t>(size_of(weight.dtype));
  if (y.numel() > 0)
    run(embedding_kernel, weight.device(),
        Embedding{y.bytes(), table.bytes(), index.data<std::int64_t>(), index.numel(), row_bytes},
        y.numel());
  return y;
}

// grad: (rows, features). `source` and `factors` as in the kernel's contract.
Tensor embedding_gradient(const Tensor& grad, const Tensor& input,
                          const std::optional<Tensor>& source, const std::optional<Tensor>& factors,
                          std::int64_t entries, std::int64_t padding_idx,
                          bool divide_by_frequency) {
  constexpr const char* op = "embedding_backward";
  check_table(op, grad, true);
  const Tensor index = embedding_indices(op, input, grad, entries, ErrorKind::index);
  const std::int64_t count = index.numel(), rows = grad.shape[0];
  const Tensor dense = contiguous(grad);
  Tensor from, scale;
  if (source) {
    from = contiguous(*source);
    TILEGRAD_CHECK(from.dtype == DType::int64 && from.numel() == count, runtime, op,
                   ": expected one int64 source per index");
    check_embedding_device(op, grad, from);
    // Negative ones count nothing; of those only -1 is used.
    TILEGRAD_CHECK(count == 0 || indices_within(from, std::max<std::int64_t>(rows, 1), true), index,
                   op, ": source out of range");
    if (rows == 0) {  // then every one has to be negative
      const Tensor host = to_device(from, Device{});
      for (std::int64_t i = 0; i < count; ++i)
        TILEGRAD_CHECK(host.data<std::int64_t>()[i] < 0, index, op, ": source out of range");
    }
  }
  TILEGRAD_CHECK(source || rows == count, runtime, op, ": expected a gradient of ", count,
                 " rows, got shape ", grad.shape.str());
  if (factors) {
    scale = contiguous(*factors);
    TILEGRAD_CHECK(scale.dtype == grad.dtype && scale.numel() == count, runtime, op,
                   ": expected one factor per index, of the gradient's dtype");
  }
  const Tensor starts = empty({entries + 1}, DType::int64, grad.device(), op),
               order = empty({count}, DType::int64, grad.device(), op);
  Tensor grad_weight = empty({entries, grad.shape[1]}, grad.dtype, grad.device(), op);
  const EmbeddingBackward args{.dtype = grad.dtype,
                               .grad_weight = grad_weight.bytes(),
                               .grad = dense.bytes(),
                               .index = index.data<std::int64_t>(),
                               .source = source ? from.data<std::int64_t>() : nullptr,
                               .factors = factors ? scale.bytes() : nullptr,
                               .starts = starts.data<std::int64_t>(),
                               .order = order.data<std::int64_t>(),
                               .entries = entries,
                               .features = grad.shape[1],
                               .count = count,
                               .padding_idx = padding_idx,
                               .divide_by_frequency = divide_by_frequency};
  if (grad_weight.numel() > 0)
    run(embedding_backward_kernel, grad.device(), args, grad.numel() + grad_weight.numel());
  return grad_weight;
}

// The bags' bounds: (bags + 1,), on the host, which has to look at each.
Tensor bag_bounds(const Tensor& offsets, std::int64_t count, bool include_last) {
  constexpr const char* op = "embedding_bag";
  TILEGRAD_CHECK(offsets.dtype == DType::int64 || offsets.dtype == DType::int32, runtime, op,
                 ": argument 'offsets': expected dtype int64 or int32, got ",
                 info(offsets.dtype).name);
  TILEGRAD_CHECK(offsets.ndim() == 1, value, op, ": offsets has to be a 1D Tensor, got shape ",
                 offsets.shape.str());
  TILEGRAD_CHECK(!include_last || offsets.numel() > 0, runtime, op,
                 ": include_last_offset: number of offsets should be at least 1");
  const Tensor given = to_device(contiguous(to_dtype(offsets, DType::int64)), Device{});
  const std::int64_t bags = offsets.numel() - (include_last ? 1 : 0);
  Tensor bounds = empty({bags + 1}, DType::int64, Device{}, op);
  std::int64_t* at = bounds.data<std::int64_t>();
  at[bags] = count;
  for (std::int64_t b = 0; b < offsets.numel(); ++b) {
    at[b] = given.data<std::int64_t>()[b];
    TILEGRAD_CHECK(b > 0 || at[0] == 0, runtime, op,
                   ": offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to "
                   "start from position 0. However, got ",
                   at[0]);
    TILEGRAD_CHECK(at[b] <= count && (b == 0 || at[b] >= at[b - 1]), runtime, op, ": offsets[", b,
                   "] can not be smaller than the one before, nor greater than input's length ",
                   count, ", got ", at[b]);
  }
  return bounds;
}

// For each place of the input: its bag, or -1 for padding; and 1 / (places that count in its bag).
// All of it on the host.
void describe_places(const EmbeddingBag& args, std::int64_t count, const Tensor& bag_of,
                     const Tensor& share) {
  std::int64_t* bags = bag_of.data<std::int64_t>();
  std::fill_n(bags, count, std::int64_t{-1});
  for (std::int64_t b = 0; b < args.bags; ++b) {
    std::int64_t counted = 0;
    for (std::int64_t i = args.offsets[b]; i < args.offsets[b + 1]; ++i)
      if (args.index[i] != args.padding_idx) {
        bags[i] = b;
        ++counted;
      }
    const double part = counted > 0 ? 1.0 / static_cast<double>(counted) : 0.0;
    for (std::int64_t i = args.offsets[b]; i < args.offsets[b + 1]; ++i)
      if (args.dtype == DType::float32) share.data<float>()[i] = static_cast<float>(part);
      else share.data<double>()[i] = part;
  }
}

BagMode parse_bag_mode(const std::string& name) {
  if (name == "sum") return BagMode::sum;
  if (name == "mean") return BagMode::mean;
  TILEGRAD_CHECK(name == "max", value,
                 "embedding_bag: mode has to be one of sum, mean or max, got ", name);
  return BagMode::max;
}

// (y, bag of each place, share of each place in its bag's mean, for max the entries chosen)
py::tuple embedding_bags(const Tensor& input, const Tensor& weight, const Tensor& offsets,
                         const std::string& mode, const std::optional<Tensor>& factors,
                         bool include_last, std::int64_t padding_idx) {
  constexpr const char* op = "embedding_bag";
  check_table(op, weight, true);
  const Tensor index = embedding_indices(op, input, weight, weight.shape[0], ErrorKind::runtime);
  const std::int64_t count = index.numel(), features = weight.shape[1];
  const Tensor bounds = bag_bounds(offsets, count, include_last), table = contiguous(weight);
  Tensor scale;
  check_embedding_device(op, weight, offsets);
  if (factors) {
    check_embedding_device(op, weight, *factors);
    TILEGRAD_CHECK(
        factors->dtype == weight.dtype && factors->numel() == count, runtime, op,
        ": expected 'weight' and 'per_sample_weights' of one dtype, and one of the latter "
        "per index");
    scale = contiguous(*factors);
  }
  const Tensor host_index = to_device(index, Device{});
  EmbeddingBag args{.dtype = weight.dtype,
                    .mode = parse_bag_mode(mode),
                    .y = nullptr,
                    .weight = table.bytes(),
                    .index = host_index.data<std::int64_t>(),
                    .offsets = bounds.data<std::int64_t>(),
                    .factors = factors ? scale.bytes() : nullptr,
                    .largest = nullptr,
                    .bags = bounds.numel() - 1,
                    .features = features,
                    .padding_idx = padding_idx};
  Tensor y = empty({args.bags, features}, weight.dtype, weight.device(), op);
  Tensor bag_of = empty({count}, DType::int64, Device{}, op);
  Tensor share = empty({count}, weight.dtype, Device{}, op);
  Tensor largest = empty({args.mode == BagMode::max ? args.bags : 0, features}, DType::int64,
                         weight.device(), op);
  describe_places(args, count, bag_of, share);
  const Tensor placed = to_device(bounds, weight.device());
  bag_of = to_device(bag_of, weight.device());
  share = to_device(share, weight.device());
  args.index = index.data<std::int64_t>();
  args.offsets = placed.data<std::int64_t>();
  args.y = y.bytes();
  args.largest = largest.data<std::int64_t>();
  if (y.numel() > 0) run(embedding_bag_kernel, weight.device(), args, count * features + y.numel());
  return py::make_tuple(std::move(y), std::move(bag_of), std::move(share), std::move(largest));
}

}  // namespace

void bind_embedding(py::module_& module) {
  module.def("embedding", &embedding_rows, py::arg("input"), py::arg("weight"));
  module.def("embedding_backward", &embedding_gradient, py::arg("grad"), py::arg("input"),
             py::arg("source"), py::arg("factors"), py::arg("entries"), py::arg("padding_idx"),
             py::arg("divide_by_frequency"));
  module.def("embedding_bag", &embedding_bags, py::arg("input"), py::arg("weight"),
             py::arg("offsets"), py::arg("mode"), py::arg("per_sample_weights"),
             py::arg("include_last_offset"), py::arg("padding_idx"));
  takes_halves({"embedding"});  // rows are moved as they are
}

}  // namespace tilegrad
