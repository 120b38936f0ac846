// scaled_dot_product_attention: shapes, masks, heads that share keys, the layout of results.
#include "ops/attention.h"

#include <algorithm>
#include <utility>

#include "bind.h"
#include "dispatch.h"
#include "gate.h"
#include "rng.h"

namespace tilegrad {
namespace {

constexpr const char* kAttentionOp = "scaled_dot_product_attention";

// Heads that together keep this many threads busy; fewer are cut into chunks of queries.
constexpr std::int64_t kAttentionTasks = 16;
constexpr std::int64_t kAttentionChunk = 64;  // queries, at least

struct AttentionOptions {
  double dropout;
  bool causal;
  double scale;
  bool shared_heads;  // enable_gqa
  Operand seed;
};

// Sizes (..., rows, columns) after the leading ones of `batch`.
Dims with_matrix(const Dims& batch, std::int64_t rows, std::int64_t columns) {
  Dims shape = batch;
  shape.push(rows);
  shape.push(columns);
  return shape;
}

Dims leading(const Tensor& x, int dropped) {
  Dims shape;
  for (int d = 0; d < x.ndim() - dropped; ++d) shape.push(x.shape[d]);
  return shape;
}

void check_attention_inputs(const Tensor& query, const Tensor& key, const Tensor& value) {
  TILEGRAD_CHECK(query.ndim() >= 2 && key.ndim() >= 2 && value.ndim() >= 2, runtime, kAttentionOp,
                 ": Expected query, key, and value to all be at least 2 dimensional, got shapes ",
                 query.shape.str(), ", ", key.shape.str(), " and ", value.shape.str());
  TILEGRAD_CHECK(is_floating(query.dtype), runtime, kAttentionOp,
                 ": argument 'query': expected a floating dtype, got ", info(query.dtype).name);
  TILEGRAD_CHECK(query.dtype == key.dtype && query.dtype == value.dtype, runtime, kAttentionOp,
                 ": Expected query, key, and value to have the same dtype, got ",
                 info(query.dtype).name, ", ", info(key.dtype).name, " and ",
                 info(value.dtype).name);
  TILEGRAD_CHECK(query.device() == key.device() && query.device() == value.device(), runtime,
                 kAttentionOp, ": Expected query, key, and value on one device, got ",
                 query.device().str(), ", ", key.device().str(), " and ", value.device().str());
  const std::int64_t features = query.shape[query.ndim() - 1], keys = key.shape[key.ndim() - 2];
  TILEGRAD_CHECK(key.shape[key.ndim() - 1] == features, runtime, kAttentionOp,
                 ": argument 'key': Expected the ", features, " features of query, got shape ",
                 key.shape.str());
  TILEGRAD_CHECK(value.shape[value.ndim() - 2] == keys, runtime, kAttentionOp,
                 ": argument 'value': Expected the length of key, ", keys, ", got shape ",
                 value.shape.str());
}

// The heads of query, per head of key and value.
std::int64_t group_of(const Tensor& query, const Tensor& key, const Tensor& value) {
  TILEGRAD_CHECK(query.ndim() >= 3 && key.ndim() >= 3 && value.ndim() >= 3, index, kAttentionOp,
                 ": enable_gqa expects at least 3 dimensions, got shapes ", query.shape.str(), ", ",
                 key.shape.str(), " and ", value.shape.str());
  const std::int64_t heads = query.shape[query.ndim() - 3], own = key.shape[key.ndim() - 3];
  TILEGRAD_CHECK(own == value.shape[value.ndim() - 3] && own > 0 && heads % own == 0, runtime,
                 kAttentionOp,
                 ": Number of heads in key and value must divide the number of heads in query, got "
                 "shapes ",
                 query.shape.str(), ", ", key.shape.str(), " and ", value.shape.str());
  return heads / own;
}

// x as (batch, heads, rows, columns): a view where possible.
Tensor four_dims(const Tensor& x) {
  const int n = x.ndim();
  Dims shape{1, 1, x.shape[n - 2], x.shape[n - 1]},
      strides{0, 0, x.strides[n - 2], x.strides[n - 1]};
  if (n > 4) {
    shape[1] = x.shape[n - 3];
    for (int d = 0; d < n - 3; ++d) shape[0] *= x.shape[d];
    return reshape(x, shape);
  }
  for (int d = 0; d < n - 2; ++d) {
    shape[d + 4 - n] = x.shape[d];
    strides[d + 4 - n] = x.strides[d];
  }
  return as_strided(x, shape, strides, x.offset);
}

// The arguments as the kernels take them, with the tensors that hold them.
struct AttentionCall {
  Dims batch, key_batch;  // leading sizes of query and y, and of key and value
  Tensor query, key, value, mask;
  AttentionProblem problem{};
};

AttentionOperand attention_operand(const Tensor& x) {  // of four dimensions
  return {x.bytes(), x.strides[0], x.strides[1], x.strides[2]};
}

// Four dimensions, with features side by side.
Tensor attention_dense(const Tensor& x) {
  const Tensor y = four_dims(x);
  return y.strides[3] == 1 || y.shape[3] <= 1 ? y : contiguous(y);
}

void set_attention_mask(AttentionCall& call, const Tensor& mask) {
  AttentionProblem& p = call.problem;
  TILEGRAD_CHECK(mask.dtype == DType::boolean || mask.dtype == p.dtype, runtime, kAttentionOp,
                 ": Expected attn_mask dtype to be bool or to match query dtype, got attn_mask ",
                 info(mask.dtype).name, " and query ", info(p.dtype).name);
  TILEGRAD_CHECK(!p.causal, runtime, kAttentionOp,
                 ": Explicit attn_mask should not be set when is_causal=True");
  TILEGRAD_CHECK(mask.device() == call.query.device(), runtime, kAttentionOp,
                 ": expected attn_mask on ", call.query.device().str(), ", got ",
                 mask.device().str());
  call.mask =
      four_dims(expand(mask, with_matrix(call.batch, p.queries, p.keys), "attn_mask of attention"));
  const Dims& strides = call.mask.strides;
  p.mask = {call.mask.bytes(), mask.dtype == DType::boolean, strides[0], strides[1], strides[2],
            strides[3]};
}

AttentionCall prepare_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                const std::optional<Tensor>& mask,
                                const AttentionOptions& options) {
  check_attention_inputs(query, key, value);
  TILEGRAD_CHECK(options.dropout >= 0 && options.dropout <= 1, runtime, kAttentionOp,
                 ": dropout probability has to be between 0 and 1, but got ", options.dropout);
  AttentionCall call;
  AttentionProblem& p = call.problem;
  p.dtype = query.dtype;
  p.group = options.shared_heads ? group_of(query, key, value) : 1;
  const int dropped = options.shared_heads ? 3 : 2;
  call.batch = broadcast_shapes(
      broadcast_shapes(leading(query, dropped), leading(key, dropped), kAttentionOp),
      leading(value, dropped), kAttentionOp);
  call.key_batch = call.batch;
  if (options.shared_heads) {
    call.batch.push(query.shape[query.ndim() - 3]);
    call.key_batch.push(key.shape[key.ndim() - 3]);
  }
  p.queries = query.shape[query.ndim() - 2];
  p.features = query.shape[query.ndim() - 1];
  p.keys = key.shape[key.ndim() - 2];
  p.value_features = value.shape[value.ndim() - 1];
  const auto as = [](const Tensor& x, const Dims& batch, std::int64_t rows) {
    return attention_dense(
        expand(x, with_matrix(batch, rows, x.shape[x.ndim() - 1]), kAttentionOp));
  };
  call.query = as(query, call.batch, p.queries);
  call.key = as(key, call.key_batch, p.keys);
  call.value = as(value, call.key_batch, p.keys);
  p.query = attention_operand(call.query);
  p.key = attention_operand(call.key);
  p.value = attention_operand(call.value);
  p.batch = call.query.shape[0];
  p.heads = call.query.shape[1];
  p.scale = options.scale;
  p.causal = options.causal;
  p.dropout = options.dropout;
  p.seed = held_key(options.seed, query.device(), kAttentionOp);
  if (mask) set_attention_mask(call, *mask);
  return call;
}

// A new (..., rows, features) in the memory order of `like`: where its heads lie inside its rows,
// as after (batch, length, heads, features).transpose(1, 2), so do those of the result, and undoing
// that transposition costs nothing.
Tensor attention_result(const Tensor& like, const Dims& batch, std::int64_t rows,
                        std::int64_t features) {
  const Dims shape = with_matrix(batch, rows, features);
  if (shape.n == 4 && like.ndim() == 4 && like.strides[1] < like.strides[2])
    return transpose(
        empty({shape[0], shape[2], shape[1], shape[3]}, like.dtype, like.device(), kAttentionOp), 1,
        2);
  return empty(shape, like.dtype, like.device(), kAttentionOp);
}

// Whether three dense tensors of one shape are slices of one, as a layer gives that projects to
// query, key and value at once: then `step` is their distance. Kernels write features side by side.
bool attention_slices(const Tensor& query, const Tensor& key, const Tensor& value,
                      std::int64_t& step) {
  step = key.offset - query.offset;
  if (query.ndim() != 4 || query.shape != key.shape || query.shape != value.shape ||
      query.strides != key.strides || query.strides != value.strides ||
      query.storage.get() != key.storage.get() || query.storage.get() != value.storage.get() ||
      step <= 0 || value.offset - key.offset != step || query.strides[3] != 1)
    return false;
  std::pair<std::int64_t, std::int64_t> dims[5]{{step, 3}};  // stride and size, innermost first
  for (int d = 0; d < 4; ++d) dims[d + 1] = {query.strides[d], query.shape[d]};
  std::sort(std::begin(dims), std::end(dims));
  std::int64_t stride = 1;
  for (const auto& [expected, size] : dims) {
    if (expected != stride && size != 1) return false;
    stride *= size;
  }
  return query.numel() > 0;
}

// The gradients of query, key and value. Those of slices of one tensor are such slices again, so
// that nothing is copied to join them.
void attention_gradient_results(const AttentionCall& call, const Tensor& query, const Tensor& key,
                                const Tensor& value, Tensor* results) {
  const AttentionProblem& p = call.problem;
  if (std::int64_t step = 0; attention_slices(query, key, value, step)) {
    const Tensor whole = empty({3 * query.numel()}, query.dtype, query.device(), kAttentionOp);
    for (int i = 0; i < 3; ++i)
      results[i] = as_strided(whole, query.shape, query.strides, i * step);
    return;
  }
  results[0] = attention_result(query, call.batch, p.queries, p.features);
  results[1] = attention_result(key, call.key_batch, p.keys, p.features);
  results[2] = attention_result(value, call.key_batch, p.keys, p.value_features);
}

// What softmax is computed in.
DType attention_sums(const AttentionProblem& p) {
  return is_half(p.dtype) ? DType::float32 : p.dtype;
}

// Halves reach these functions on cards only, whose kernels for them hold so many features.
bool fits_half_kernels(const Tensor& query, const Tensor& value) {
  const auto features = [](const Tensor& x) { return x.ndim() > 0 ? x.shape[x.ndim() - 1] : 0; };
  return std::max(features(query), features(value)) <= kMostHalfFeatures;
}

std::optional<Tensor> attention_mask_in_float32(const std::optional<Tensor>& mask) {
  if (!mask || !is_half(mask->dtype)) return mask;
  return to_dtype(*mask, DType::float32);
}

Tensor rounded_item(const py::tuple& results, int i, DType dtype) {
  return to_dtype(as_py(PyTuple_GET_ITEM(results.ptr(), i))->tensor, dtype);
}

std::int64_t attention_work(const AttentionProblem& p) {
  return p.batch * p.heads * p.queries * (p.keys + 1) * (p.features + p.value_features);
}

// (y, what backward needs to know of the scores of each query, or None)
py::tuple attention_forward(const Tensor& query, const Tensor& key, const Tensor& value,
                            const std::optional<Tensor>& mask, double dropout, bool causal,
                            double scale, bool shared_heads, const Operand& seed,
                            bool wants_normalizer) {
  if (is_half(query.dtype) && !fits_half_kernels(query, value)) {
    const auto wide = [](const Tensor& x) { return to_dtype(x, DType::float32); };
    const py::tuple results =
        attention_forward(wide(query), wide(key), wide(value), attention_mask_in_float32(mask),
                          dropout, causal, scale, shared_heads, seed, wants_normalizer);
    return py::make_tuple(rounded_item(results, 0, query.dtype), results[1]);
  }
  const AttentionCall call =
      prepare_attention(query, key, value, mask, {dropout, causal, scale, shared_heads, seed});
  const AttentionProblem& p = call.problem;
  Tensor y = attention_result(query, call.batch, p.queries, p.value_features);
  const std::int64_t rows = p.batch * p.heads * p.queries;
  Attention args{.problem = p, .y = attention_operand(four_dims(y)), .normalizer = nullptr};
  py::object kept = py::none();
  Tensor normalizer;
  if (wants_normalizer) {
    normalizer = empty({rows, 2}, attention_sums(p), query.device(), kAttentionOp);
    args.normalizer = normalizer.bytes();
    kept = py::cast(normalizer);
  }
  if (rows > 0) run(attention_kernel, query.device(), args, attention_work(p));
  return py::make_tuple(std::move(y), std::move(kept));
}

std::int64_t attention_padded(std::int64_t features) {
  return (features + kAttentionPadding - 1) / kAttentionPadding * kAttentionPadding;
}

// The gradients of query, key and value, in their shapes after broadcasting.
py::tuple attention_gradients(const Tensor& grad, const Tensor& query, const Tensor& key,
                              const Tensor& value, const std::optional<Tensor>& mask,
                              const Tensor& y, const Tensor& normalizer, double dropout,
                              bool causal, double scale, bool shared_heads, const Operand& seed) {
  if (is_half(query.dtype) && !fits_half_kernels(query, value)) {
    const auto wide = [](const Tensor& x) { return to_dtype(x, DType::float32); };
    const py::tuple results = attention_gradients(
        wide(grad), wide(query), wide(key), wide(value), attention_mask_in_float32(mask), wide(y),
        normalizer, dropout, causal, scale, shared_heads, seed);
    const DType dtype = query.dtype;
    return py::make_tuple(rounded_item(results, 0, dtype), rounded_item(results, 1, dtype),
                          rounded_item(results, 2, dtype));
  }
  const AttentionCall call =
      prepare_attention(query, key, value, mask, {dropout, causal, scale, shared_heads, seed});
  const AttentionProblem& p = call.problem;
  const std::int64_t rows = p.batch * p.heads * p.queries;
  const Dims shape = with_matrix(call.batch, p.queries, p.value_features);
  TILEGRAD_CHECK(grad.shape == shape && y.shape == shape && grad.dtype == p.dtype &&
                     y.dtype == p.dtype && normalizer.dtype == attention_sums(p) &&
                     normalizer.numel() == 2 * rows && normalizer.is_contiguous(),
                 runtime, kAttentionOp, ": expected a gradient and results of shape ", shape.str(),
                 ", got ", grad.shape.str(), " and ", y.shape.str());
  const Tensor dense_grad = attention_dense(grad), dense_y = attention_dense(y);
  Tensor results[3], workspace;
  attention_gradient_results(call, query, key, value, results);
  const auto& [grad_query, grad_key, grad_value] = results;
  AttentionBackward args{.problem = p,
                         .y = attention_operand(dense_y),
                         .grad_y = attention_operand(dense_grad),
                         .grad_query = attention_operand(four_dims(grad_query)),
                         .grad_key = attention_operand(four_dims(grad_key)),
                         .grad_value = attention_operand(four_dims(grad_value)),
                         .normalizer = normalizer.bytes(),
                         .chunks = 1};
  const std::int64_t heads = std::max<std::int64_t>(p.batch * p.heads, 1);
  if (heads < kAttentionTasks)
    args.chunks = std::clamp<std::int64_t>(p.queries / kAttentionChunk, 1, kAttentionTasks / heads);
  const std::int64_t columns = attention_padded(p.features) + attention_padded(p.value_features);
  if (args.chunks > 1 || p.group > 1 || columns != p.features + p.value_features) {
    workspace = empty({p.batch * p.heads, args.chunks, p.keys, columns}, p.dtype, query.device(),
                      kAttentionOp);
    args.workspace = workspace.bytes();
  }
  // A workspace of no bytes is a null pointer; then there is no gradient either.
  if (columns * p.keys * p.batch * p.heads > 0)
    run(attention_backward_kernel, query.device(), args, 3 * attention_work(p));
  else copy_into(grad_query, scalar_tensor(Scalar{}, p.dtype, query.device()));
  return py::make_tuple(grad_query, grad_key, grad_value);
}

// The factors that forward applied to the weights: (..., queries, keys).
Tensor attention_factors(const Dims& shape, DType dtype, Device device, double dropout,
                         const Operand& seed) {
  TILEGRAD_CHECK(shape.n >= 1 && is_floating(dtype), runtime,
                 "attention_dropout: expected at least one dimension and a floating dtype");
  Tensor factors = empty(shape, dtype, device, "attention_dropout");
  const std::int64_t keys = shape[shape.n - 1];
  if (factors.numel() > 0)
    run(attention_dropout_kernel, device,
        AttentionDropout{dtype, factors.bytes(), factors.numel() / keys, keys, dropout,
                         held_key(seed, device, "attention_dropout")},
        factors.numel());
  return factors;
}

}  // namespace

void bind_attention(py::module_& module) {
  module.def("attention", &attention_forward, py::arg("query"), py::arg("key"), py::arg("value"),
             py::arg("attn_mask"), py::arg("dropout_p"), py::arg("is_causal"), py::arg("scale"),
             py::arg("enable_gqa"), py::arg("seed"), py::arg("wants_normalizer"));
  module.def("attention_backward", &attention_gradients, py::arg("grad"), py::arg("query"),
             py::arg("key"), py::arg("value"), py::arg("attn_mask"), py::arg("output"),
             py::arg("normalizer"), py::arg("dropout_p"), py::arg("is_causal"), py::arg("scale"),
             py::arg("enable_gqa"), py::arg("seed"));
  module.def("attention_dropout", &attention_factors, py::arg("shape"), py::arg("dtype"),
             py::arg("device"), py::arg("dropout_p"), py::arg("seed"));
  half_rule(HalfRule::first_result, {"attention"});
  takes_halves_on_cards({"attention", "attention_backward"});
}

}  // namespace tilegrad
