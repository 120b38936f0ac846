// Recurrent layers: argument rules, the rows of packed sequences, workspace.
#include "ops/recurrent.h"

#include <vector>

#include "bind.h"
#include "dispatch.h"

namespace tilegrad {
namespace {

using Optional = std::optional<Tensor>;

RecurrentCell cell_of(const std::string& name) {
  if (name == "lstm") return RecurrentCell::lstm;
  if (name == "gru") return RecurrentCell::gru;
  if (name == "rnn_tanh") return RecurrentCell::rnn_tanh;
  TILEGRAD_CHECK(name == "rnn_relu", value, "recurrent: unknown kind of cell '", name, "'");
  return RecurrentCell::rnn_relu;
}

// A dense version of an argument that must have this shape and the dtype and device of `like`.
Tensor recurrent_argument(const char* name, const Tensor& x, const Dims& shape,
                          const Tensor& like) {
  TILEGRAD_CHECK(x.shape == shape, runtime, "recurrent: argument '", name, "': expected shape ",
                 shape.str(), ", got ", x.shape.str());
  TILEGRAD_CHECK(x.dtype == like.dtype, runtime, "recurrent: argument '", name,
                 "': expected the dtype of input, ", info(like.dtype).name, ", got ",
                 info(x.dtype).name);
  TILEGRAD_CHECK(x.device() == like.device(), runtime,
                 "recurrent: expected all tensors on one device, got ", like.device().str(),
                 " and ", x.device().str());
  return contiguous(x);
}

Tensor recurrent_zeros(const Dims& shape, const Tensor& like) {
  Tensor x = empty(shape, like.dtype, like.device());
  copy_into(x, scalar_tensor(Scalar{}, like.dtype, like.device()));
  return x;
}

// The argument, or zeros for None.
Tensor recurrent_optional(const char* name, const Optional& x, const Dims& shape,
                          const Tensor& like) {
  return x ? recurrent_argument(name, *x, shape, like) : recurrent_zeros(shape, like);
}

// How the rows of all steps lie; owns what RecurrentLayer points to.
struct RecurrentRows {
  std::vector<std::int64_t> batch_sizes, offsets;

  // batch_sizes: int64 (steps), or None for `batch` rows in every step.
  RecurrentRows(const Optional& given, std::int64_t rows, std::int64_t batch) {
    if (given) {
      TILEGRAD_CHECK(given->ndim() == 1 && given->dtype == DType::int64 && given->device().is_cpu(),
                     runtime, "recurrent: argument 'batch_sizes': expected a 1-dimensional int64 ",
                     "tensor on the CPU, got shape ", given->shape.str(), " and dtype ",
                     info(given->dtype).name);
      const Tensor dense = contiguous(*given);
      batch_sizes.assign(dense.data<std::int64_t>(), dense.data<std::int64_t>() + dense.numel());
    } else if (batch > 0) {
      TILEGRAD_CHECK(rows % batch == 0, runtime, "recurrent: argument 'input': ", rows,
                     " rows are no steps of ", batch, " sequences");
      batch_sizes.assign(static_cast<std::size_t>(rows / batch), batch);
    }
    std::int64_t sum = 0, before = batch;
    for (std::int64_t size : batch_sizes) {
      TILEGRAD_CHECK(size > 0 && size <= before, runtime,
                     "recurrent: argument 'batch_sizes': expected positive numbers that never grow,"
                     " at most the batch size ",
                     batch, ", got ", size, " after ", before);
      offsets.push_back(sum);
      sum += before = size;
    }
    TILEGRAD_CHECK(sum == rows && (batch_sizes.empty() || batch_sizes[0] == batch), runtime,
                   "recurrent: argument 'batch_sizes': expected ", rows, " rows of ", batch,
                   " sequences, got ", sum, " of ", batch_sizes.empty() ? 0 : batch_sizes[0]);
  }
};

// The sizes that the arguments agree on; state is that of h: hidden, or what it is projected to.
struct RecurrentSizes {
  std::int64_t rows, width, hidden, batch, state;
};

RecurrentSizes recurrent_sizes(const std::string& cell, const Tensor& gates, const Tensor& weight,
                               const Optional& weight_hr, const Tensor& h_0) {
  TILEGRAD_CHECK(is_floating(gates.dtype), not_implemented, "recurrent: not implemented for dtype ",
                 info(gates.dtype).name, "; expected a floating dtype");
  TILEGRAD_CHECK(gates.ndim() == 2 && weight.ndim() == 2 && h_0.ndim() == 2, runtime,
                 "recurrent: expected matrices, got gates ", gates.shape.str(), ", weight_hh ",
                 weight.shape.str(), ", h_0 ", h_0.shape.str());
  TILEGRAD_CHECK(!weight_hr || (cell == "lstm" && weight_hr->ndim() == 2), runtime,
                 "recurrent: argument 'weight_hr': expected a matrix, for LSTM only");
  const std::int64_t state = weight.shape[1], hidden = weight_hr ? weight_hr->shape[1] : state,
                     width = gate_count(cell_of(cell)) * hidden;
  TILEGRAD_CHECK(gates.shape[1] == width && weight.shape[0] == width, runtime,
                 "recurrent: argument 'weight_hh': expected ", gate_count(cell_of(cell)),
                 " gates of one size, ", gates.shape[1], " rows as weight_ih, got shape ",
                 weight.shape.str());
  return {gates.shape[0], width, hidden, h_0.shape[0], state};
}

// What the layer and its gradient share; `rows` and `packed` must outlive it.
RecurrentLayer make_layer(const std::string& cell, const Tensor& gates, const Tensor& weight,
                          const Tensor& weight_hr, const RecurrentRows& rows,
                          const RecurrentSizes& sizes, bool reverse, const Tensor& packed) {
  return {.cell = cell_of(cell),
          .dtype = gates.dtype,
          .steps = static_cast<std::int64_t>(rows.batch_sizes.size()),
          .batch = sizes.batch,
          .hidden = sizes.hidden,
          .batch_sizes = rows.batch_sizes.data(),
          .offsets = rows.offsets.data(),
          .reverse = reverse,
          .weight = weight.bytes(),
          .packed = packed.bytes(),
          .projected = weight_hr.defined() ? sizes.state : 0,
          .weight_hr = weight_hr.defined() ? weight_hr.bytes() : nullptr};
}

// The projection (state, hidden), or an undefined tensor for None.
Tensor recurrent_projection(const Optional& weight_hr, const RecurrentSizes& sizes,
                            const Tensor& like) {
  if (!weight_hr) return {};
  return recurrent_argument("weight_hr", *weight_hr, {sizes.state, sizes.hidden}, like);
}

std::int64_t recurrent_work(const RecurrentSizes& sizes) {
  return sizes.rows * sizes.width * std::max<std::int64_t>(1, sizes.hidden / 8);
}

py::object or_none(const Tensor& x) { return x.defined() ? py::cast(x) : py::none(); }

// Batches of this size on make use of a panel of weights several times in each step: there the
// kernel projects the input itself. Below, one product over all steps is better.
constexpr std::int64_t kProjectingBatch = 12;

// `projections` are those of the input, or None: see recurrent_projects. They become the gates.
// -> (gates, y, h_n, c_n or None, cells or None, candidate or None)
py::tuple recurrent_forward(const std::string& cell, const Tensor& input,
                            const Optional& projections, const Tensor& weight_ih,
                            const Optional& bias_ih, const Tensor& weight_hh,
                            const Optional& bias_hh, const Optional& weight_hr, const Tensor& h_0,
                            const Optional& c_0, const Optional& batch_sizes, bool reverse) {
  TILEGRAD_CHECK(input.ndim() == 2 && weight_ih.ndim() == 2 && input.shape[1] == weight_ih.shape[1],
                 runtime, "recurrent: argument 'input': expected ", weight_ih.shape.str(),
                 " features as weight_ih, got shape ", input.shape.str());
  const Tensor gates =
      projections ? *projections
                  : empty({input.shape[0], weight_ih.shape[0]}, input.dtype, input.device());
  const RecurrentSizes sizes = recurrent_sizes(cell, gates, weight_hh, weight_hr, h_0);
  TILEGRAD_CHECK(gates.is_contiguous() && sizes.rows == input.shape[0], runtime,
                 "recurrent: expected contiguous projections of all rows");
  const Dims state{sizes.batch, sizes.state}, inner_state{sizes.batch, sizes.hidden};
  const Tensor weight =
      recurrent_argument("weight_hh", weight_hh, {sizes.width, sizes.state}, gates);
  const Tensor projection = recurrent_projection(weight_hr, sizes, gates);
  const Tensor bias = recurrent_optional("bias_hh", bias_hh, {sizes.width}, gates);
  const Tensor first_h = recurrent_argument("h_0", h_0, state, gates);
  const RecurrentRows rows(batch_sizes, sizes.rows, sizes.batch);
  const std::int64_t size = projections ? 0 : input.shape[1];
  const std::int64_t projected = projection.defined() ? sizes.state : 0;
  const Tensor packed = empty({recurrent_packed_size(cell_of(cell), size, sizes.hidden, projected)},
                              gates.dtype, gates.device());
  RecurrentForward args{
      .layer = make_layer(cell, gates, weight, projection, rows, sizes, reverse, packed),
      .size = size,
      .bias = bias.bytes(),
      .h_0 = first_h.bytes(),
      .gates = gates.bytes()};
  Tensor x, input_weight, input_bias;
  if (!projections) {
    x = contiguous(input);
    input_weight = recurrent_argument("weight_ih", weight_ih, {sizes.width, size}, gates);
    input_bias = recurrent_optional("bias_ih", bias_ih, {sizes.width}, gates);
    args.x = x.bytes();
    args.weight_ih = input_weight.bytes();
    args.bias_ih = input_bias.bytes();
  }
  const bool lstm = args.layer.cell == RecurrentCell::lstm;
  const bool gru = args.layer.cell == RecurrentCell::gru;
  Tensor first_c, c_n, cells, candidate;
  const Tensor y =
      lstm || gru ? empty({sizes.rows, sizes.state}, gates.dtype, gates.device()) : gates;
  const Tensor h_n = empty(state, gates.dtype, gates.device());
  args.y = y.bytes();
  args.h_n = h_n.bytes();
  if (lstm) {
    first_c = recurrent_optional("c_0", c_0, inner_state, gates);
    c_n = empty(inner_state, gates.dtype, gates.device());
    cells = empty({sizes.rows, sizes.hidden}, gates.dtype, gates.device());
    args.c_0 = first_c.bytes();
    args.c_n = c_n.bytes();
    args.cells = cells.bytes();
  } else if (gru) {
    candidate = empty({sizes.rows, sizes.hidden}, gates.dtype, gates.device());
    args.candidate = candidate.bytes();
  }
  if (sizes.rows > 0) run(recurrent_forward_kernel, gates.device(), args, recurrent_work(sizes));
  return py::make_tuple(gates, y, h_n, or_none(c_n), or_none(cells), or_none(candidate));
}

// Whether recurrent_forward is to be called without projections.
bool recurrent_projects(const Tensor& h_0) {
  return h_0.ndim() == 2 && h_0.shape[0] >= kProjectingBatch;
}

// A copy that the kernel may write to, or zeros for None.
Tensor recurrent_state_gradient(const char* name, const Optional& grad, const Dims& shape,
                                const Tensor& like) {
  if (!grad) return recurrent_zeros(shape, like);
  const Tensor checked = recurrent_argument(name, *grad, shape, like);
  Tensor copy = empty_like(checked);
  copy_into(copy, checked);
  return copy;
}

// What both forms of backward share: the arguments as the kernels take them, with their tensors.
struct RecurrentGradientCall {
  RecurrentSizes sizes;
  RecurrentRows rows;
  Tensor weight, projection, first_h, first_c, gates, y, cells, candidate, packed, grad_y, grad_h,
      grad_c;
  RecurrentBackward args{};

  // size: the features of an input whose gradient the kernel computes.
  RecurrentGradientCall(const std::string& cell, const Tensor& given_gates, const Tensor& given_y,
                        const Optional& given_cells, const Optional& given_candidate,
                        const Tensor& weight_hh, const Optional& weight_hr, const Tensor& h_0,
                        const Optional& c_0, const Optional& batch_sizes, bool reverse,
                        const Optional& given_grad_y, const Optional& grad_h_n,
                        const Optional& grad_c_n, std::int64_t size)
      : sizes(recurrent_sizes(cell, given_gates, weight_hh, weight_hr, h_0)),
        rows(batch_sizes, sizes.rows, sizes.batch) {
    const Dims state{sizes.batch, sizes.state}, inner_state{sizes.batch, sizes.hidden},
        outputs{sizes.rows, sizes.state}, all{sizes.rows, sizes.hidden};
    gates = contiguous(given_gates);
    weight = recurrent_argument("weight_hh", weight_hh, {sizes.width, sizes.state}, gates);
    projection = recurrent_projection(weight_hr, sizes, gates);
    first_h = recurrent_argument("h_0", h_0, state, gates);
    y = recurrent_argument("y", given_y, outputs, gates);
    packed = empty({recurrent_packed_backward_size(cell_of(cell), size, sizes.hidden,
                                                   projection.defined() ? sizes.state : 0)},
                   gates.dtype, gates.device());
    grad_h = recurrent_state_gradient("grad_h_n", grad_h_n, state, gates);
    args = {.layer = make_layer(cell, gates, weight, projection, rows, sizes, reverse, packed),
            .h_0 = first_h.bytes(),
            .gates = gates.bytes(),
            .y = y.bytes(),
            .grad_h = grad_h.bytes()};
    if (given_grad_y) {
      const bool dense_rows = given_grad_y->shape == outputs && given_grad_y->strides[1] == 1;
      grad_y =
          dense_rows ? *given_grad_y : recurrent_argument("grad_y", *given_grad_y, outputs, gates);
      args.grad_y = grad_y.bytes();
      args.grad_y_stride = grad_y.strides[0];
    }
    if (args.layer.cell == RecurrentCell::lstm) {
      TILEGRAD_CHECK(given_cells, runtime, "recurrent_backward: an LSTM needs its cell states");
      cells = recurrent_argument("cells", *given_cells, all, gates);
      first_c = recurrent_optional("c_0", c_0, inner_state, gates);
      grad_c = recurrent_state_gradient("grad_c_n", grad_c_n, inner_state, gates);
      args.cells = cells.bytes();
      args.c_0 = first_c.bytes();
      args.grad_c = grad_c.bytes();
    } else if (args.layer.cell == RecurrentCell::gru) {
      TILEGRAD_CHECK(given_candidate, runtime, "recurrent_backward: a GRU needs its candidate");
      candidate = recurrent_argument("candidate", *given_candidate, all, gates);
      args.candidate = candidate.bytes();
    }
  }
};

// `joined`: with the input (rows, size), the states before each step become the right part of one
// matrix (rows, size + hidden), so that one product gives the gradients of both weights.
// -> (grad_gates, grad_product, h_previous, grad_h_0, grad_c_0 or None)
py::tuple recurrent_backward(const std::string& cell, const Tensor& gates, const Tensor& y,
                             const Optional& cells, const Optional& candidate,
                             const Tensor& weight_hh, const Tensor& h_0, const Optional& c_0,
                             const Optional& batch_sizes, bool reverse, const Optional& grad_y,
                             const Optional& grad_h_n, const Optional& grad_c_n,
                             const Optional& joined) {
  RecurrentGradientCall call(cell, gates, y, cells, candidate, weight_hh, {}, h_0, c_0, batch_sizes,
                             reverse, grad_y, grad_h_n, grad_c_n, 0);
  const RecurrentSizes& sizes = call.sizes;
  TILEGRAD_CHECK(!joined || (joined->ndim() == 2 && joined->shape[0] == sizes.rows), runtime,
                 "recurrent_backward: argument 'joined': expected ", sizes.rows, " rows");
  const std::int64_t size = joined ? joined->shape[1] : 0;
  const bool gru = call.args.layer.cell == RecurrentCell::gru;
  const Tensor grad_gates = empty_like(gates), grad_product = gru ? empty_like(gates) : grad_gates;
  const Tensor h_previous = empty({sizes.rows, size + sizes.hidden}, gates.dtype, gates.device());
  if (joined) copy_into(as_strided(h_previous, {sizes.rows, size}, h_previous.strides, 0), *joined);
  call.args.grad_gates = grad_gates.bytes();
  call.args.grad_product = grad_product.bytes();
  call.args.h_previous =
      h_previous.bytes() + size * static_cast<std::int64_t>(size_of(gates.dtype));
  call.args.h_previous_stride = size + sizes.hidden;
  if (sizes.rows > 0)
    run(recurrent_backward_kernel, gates.device(), call.args, recurrent_work(sizes));
  return py::make_tuple(grad_gates, grad_product, h_previous, call.grad_h, or_none(call.grad_c));
}

// Up to this many elements of both weights, a task's share of their gradients stays in the cache.
constexpr std::int64_t kSummedWeights = 1 << 18;

// Whether recurrent_gradients is to be called instead of recurrent_backward.
bool recurrent_sums_gradients(const Tensor& weight_ih, const Tensor& weight_hh) {
  return weight_ih.numel() + weight_hh.numel() <= kSummedWeights;
}

// -> the gradients of (input or None, h_0, c_0 or None, weight_ih, weight_hh, bias_ih, bias_hh,
// weight_hr or None)
py::tuple recurrent_gradients(const std::string& cell, const Tensor& gates, const Tensor& y,
                              const Optional& cells, const Optional& candidate,
                              const Tensor& weight_hh, const Tensor& h_0, const Optional& c_0,
                              const Optional& batch_sizes, bool reverse, const Optional& grad_y,
                              const Optional& grad_h_n, const Optional& grad_c_n,
                              const Tensor& input, const Tensor& weight_ih,
                              const Optional& weight_hr, bool needs_input) {
  TILEGRAD_CHECK(input.ndim() == 2 && gates.ndim() == 2 && input.shape[0] == gates.shape[0],
                 runtime, "recurrent_gradients: expected an input of as many rows as gates, got ",
                 input.shape.str());
  const std::int64_t size = input.shape[1];
  RecurrentGradientCall call(cell, gates, y, cells, candidate, weight_hh, weight_hr, h_0, c_0,
                             batch_sizes, reverse, grad_y, grad_h_n, grad_c_n, size);
  const RecurrentSizes& sizes = call.sizes;
  const auto result = [&](const Dims& shape) {
    return sizes.rows > 0 ? empty(shape, gates.dtype, gates.device())
                          : recurrent_zeros(shape, gates);
  };
  const Tensor x = recurrent_argument("input", input, {sizes.rows, size}, gates);
  const Tensor weight = recurrent_argument("weight_ih", weight_ih, {sizes.width, size}, gates);
  Tensor grad_x, grad_weight_hr;
  if (needs_input) grad_x = result({sizes.rows, size});
  if (weight_hr) grad_weight_hr = result({sizes.state, sizes.hidden});
  const Tensor grad_weight_ih = result({sizes.width, size}),
               grad_weight_hh = result({sizes.width, sizes.state}),
               grad_bias_ih = result({sizes.width}), grad_bias_hh = result({sizes.width}),
               sums = result({recurrent_sums_size(call.args.layer, size)});
  const RecurrentGradients args{.backward = call.args,
                                .x = x.bytes(),
                                .weight_ih = weight.bytes(),
                                .size = size,
                                .grad_x = needs_input ? grad_x.bytes() : nullptr,
                                .grad_weight_ih = grad_weight_ih.bytes(),
                                .grad_weight_hh = grad_weight_hh.bytes(),
                                .grad_bias_ih = grad_bias_ih.bytes(),
                                .grad_bias_hh = grad_bias_hh.bytes(),
                                .grad_weight_hr = weight_hr ? grad_weight_hr.bytes() : nullptr,
                                .sums = sums.bytes()};
  if (sizes.rows > 0)
    run(recurrent_gradients_kernel, gates.device(), args, 3 * recurrent_work(sizes));
  return py::make_tuple(or_none(grad_x), call.grad_h, or_none(call.grad_c), grad_weight_ih,
                        grad_weight_hh, grad_bias_ih, grad_bias_hh, or_none(grad_weight_hr));
}

}  // namespace

void bind_recurrent(py::module_& module) {
  module.def("recurrent_forward", &recurrent_forward, py::arg("cell"), py::arg("input"),
             py::arg("projections"), py::arg("weight_ih"), py::arg("bias_ih"), py::arg("weight_hh"),
             py::arg("bias_hh"), py::arg("weight_hr"), py::arg("h_0"), py::arg("c_0"),
             py::arg("batch_sizes"), py::arg("reverse"));
  module.def("recurrent_backward", &recurrent_backward, py::arg("cell"), py::arg("gates"),
             py::arg("y"), py::arg("cells"), py::arg("candidate"), py::arg("weight_hh"),
             py::arg("h_0"), py::arg("c_0"), py::arg("batch_sizes"), py::arg("reverse"),
             py::arg("grad_y"), py::arg("grad_h_n"), py::arg("grad_c_n"), py::arg("joined"));
  module.def("recurrent_gradients", &recurrent_gradients, py::arg("cell"), py::arg("gates"),
             py::arg("y"), py::arg("cells"), py::arg("candidate"), py::arg("weight_hh"),
             py::arg("h_0"), py::arg("c_0"), py::arg("batch_sizes"), py::arg("reverse"),
             py::arg("grad_y"), py::arg("grad_h_n"), py::arg("grad_c_n"), py::arg("input"),
             py::arg("weight_ih"), py::arg("weight_hr"), py::arg("needs_input"));
  module.def("recurrent_sums_gradients", &recurrent_sums_gradients, py::arg("weight_ih"),
             py::arg("weight_hh"));
  module.def("recurrent_projects", &recurrent_projects, py::arg("h_0"));
}

}  // namespace tilegrad
