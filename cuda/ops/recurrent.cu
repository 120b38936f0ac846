// Recurrent layers over whole sequences: one launch per step and direction, its gates fused.
//
// A step cannot begin before the one before it has ended in all its units, so steps are launches of
// their own: about as long to start as a barrier of the whole card would take, and any number of
// blocks may run. Forward: a block computes the products of kUnits units with the states of kRows
// sequences, all gates of a unit by one thread, which also turns them into activations. Backward:
// one kernel for the gates' gradients, then a matrix product back to the state. What does not
// depend on the step before, projections of the input and gradients of weights, are products over
// all steps.
//
// A step reads the recurrent weights once per kRows sequences: they lie in the second cache, and
// their bandwidth is the limit: 4 bytes and two operations per weight and sequence, divided by
// kRows. Up to 64 registers, 4 blocks of 256 threads on a multiprocessor, if a step has that many,
// with 7 KiB of shared memory for floats of an LSTM.
#include "ops/recurrent.h"

#include "launch.cuh"
#include "ops/matmul.h"
#include "recurrent_cells.cuh"
#include "scratch.cuh"

namespace tilegrad::cuda {
namespace {

constexpr int kUnits = 16;  // of a block
constexpr int kRows = 32;   // sequences of a block: two for each thread
constexpr int kInner = 16;  // of the product at a time

// A step in walking order, as RecurrentLayer describes the rows.
struct Step {
  std::int64_t active, row;    // sequences, and the first one's row
  std::int64_t known, before;  // so many come from the step before, whose first row is `before`
  std::int64_t continuing;     // so many are in the next step
};

Step step_of(const RecurrentLayer& layer, std::int64_t index) {
  const auto time = [&](std::int64_t i) { return layer.reverse ? layer.steps - 1 - i : i; };
  const std::int64_t t = time(index);
  Step step = {layer.batch_sizes[t], layer.offsets[t], 0, 0, 0};
  if (index > 0) {
    step.known = std::min(step.active, layer.batch_sizes[time(index - 1)]);
    step.before = layer.offsets[time(index - 1)];
  }
  if (index + 1 < layer.steps)
    step.continuing = std::min(step.active, layer.batch_sizes[time(index + 1)]);
  return step;
}

// The state of a sequence before the step.
template <class T>
__device__ const T* state_before(const Step& step, const void* states, const void* initial,
                                 std::int64_t sequence, std::int64_t size) {
  return sequence < step.known ? static_cast<const T*>(states) + (step.before + sequence) * size
                               : static_cast<const T*>(initial) + sequence * size;
}

template <class T, int kGates>
struct StepTiles {
  T h[kInner][kRows + 1];  // one more: no two rows share all their banks
  T weight[kGates][kInner][kUnits + 1];
};

// Part [first, first + kInner) of the states of the block's sequences and of its units' weights,
// zeros outside.
template <class T, int kGates>
__device__ void load_step_tiles(const RecurrentForward& args, const Step& step,
                                std::int64_t first_sequence, std::int64_t first_unit,
                                std::int64_t first, StepTiles<T, kGates>& tiles) {
  const std::int64_t state = args.layer.state(), hidden = args.layer.hidden;
  const int k = threadIdx.x % kInner;
  const bool inside = first + k < state;
  for (int i = threadIdx.x / kInner; i < kRows; i += kBlock / kInner) {
    const std::int64_t sequence = first_sequence + i;
    tiles.h[k][i] = inside && sequence < step.active
                        ? state_before<T>(step, args.y, args.h_0, sequence, state)[first + k]
                        : T{0};
  }
  const int unit = threadIdx.x / kInner;
  const T* weight = static_cast<const T*>(args.layer.weight);
#pragma unroll
  for (int g = 0; g < kGates; ++g)
    tiles.weight[g][k][unit] = inside && first_unit + unit < hidden
                                   ? weight[(g * hidden + first_unit + unit) * state + first + k]
                                   : T{0};
}

// One unit of one sequence: from its products to its state.
template <RecurrentCell kCell, class T, int kGates>
__device__ void finish_unit(const RecurrentForward& args, const Step& step, std::int64_t sequence,
                            std::int64_t unit, T (&product)[kGates], T* h) {
  const std::int64_t hidden = args.layer.hidden, row = step.row + sequence;
  const T* bias = static_cast<const T*>(args.bias);
#pragma unroll
  for (int g = 0; g < kGates; ++g) product[g] += bias[g * hidden + unit];
  T* gates = static_cast<T*>(args.gates) + row * kGates * hidden + unit;
  T& to = h[row * hidden + unit];
  if constexpr (kCell == RecurrentCell::lstm) {
    const T c_previous = state_before<T>(step, args.cells, args.c_0, sequence, hidden)[unit];
    T& c = static_cast<T*>(args.cells)[row * hidden + unit];
    to = lstm_unit(gates, hidden, product, c_previous, c);
  } else if constexpr (kCell == RecurrentCell::gru) {
    const T h_previous = state_before<T>(step, args.y, args.h_0, sequence, hidden)[unit];
    static_cast<T*>(args.candidate)[row * hidden + unit] = product[2];
    to = gru_unit(gates, hidden, product, h_previous);
  } else {
    to = *gates = rnn_unit(kCell == RecurrentCell::rnn_relu, *gates + product[0]);
  }
}

// h: where the states go, rows of `hidden` units: y, or where they are projected from.
template <RecurrentCell kCell, class T>
__global__ void __launch_bounds__(kBlock)
    step_kernel(const RecurrentForward args, const Step step, T* h) {
  constexpr int kGates = gate_count(kCell);
  constexpr int kOwn = kRows * kUnits / kBlock;  // sequences of a thread
  __shared__ StepTiles<T, kGates> tiles;
  const std::int64_t across = (args.layer.hidden + kUnits - 1) / kUnits;
  const std::int64_t first_unit = blockIdx.x % across * kUnits;
  const std::int64_t first_sequence = blockIdx.x / across * kRows;
  const int unit = threadIdx.x % kUnits, own = threadIdx.x / kUnits;
  T product[kOwn][kGates] = {};
  for (std::int64_t first = 0; first < args.layer.state(); first += kInner) {
    __syncthreads();
    load_step_tiles(args, step, first_sequence, first_unit, first, tiles);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kInner; ++k)
#pragma unroll
      for (int i = 0; i < kOwn; ++i)
#pragma unroll
        for (int g = 0; g < kGates; ++g)
          product[i][g] += tiles.h[k][own + i * (kRows / kOwn)] * tiles.weight[g][k][unit];
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const std::int64_t sequence = first_sequence + own + i * (kRows / kOwn);
    if (sequence < step.active && first_unit + unit < args.layer.hidden)
      finish_unit<kCell>(args, step, sequence, first_unit + unit, product[i], h);
  }
}

// --- backward: the gradients of a step's gates, one thread per unit of a sequence ---

// Where they go, for all rows; all but the first may be null.
struct GateGradients {
  void *gates, *product, *h_previous, *grad_h, *output;
  std::int64_t h_previous_stride;
  const void* grad_output;  // of a projected step: (active, hidden)
};

// Adds the gradients of y to those of the state; keeps them, and the state before the step.
template <class T>
struct AddGradients {
  RecurrentBackward args;
  Step step;
  GateGradients to;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t state = args.layer.state(), sequence = i / state, unit = i % state;
    const std::int64_t row = step.row + sequence;
    T& grad = static_cast<T*>(args.grad_h)[i];
    if (args.grad_y) grad += static_cast<const T*>(args.grad_y)[row * args.grad_y_stride + unit];
    if (to.grad_h) static_cast<T*>(to.grad_h)[row * state + unit] = grad;
    if (to.h_previous)
      static_cast<T*>(to.h_previous)[row * to.h_previous_stride + unit] =
          state_before<T>(step, args.y, args.h_0, sequence, state)[unit];
  }
};

template <class T>
struct BackwardUnit {
  RecurrentBackward args;
  Step step;
  GateGradients to;
  __device__ void operator()(std::int64_t i) const {
    const RecurrentLayer& layer = args.layer;
    const std::int64_t hidden = layer.hidden, sequence = i / hidden, unit = i % hidden;
    const std::int64_t row = step.row + sequence, width = gate_count(layer.cell) * hidden;
    const T* gates = static_cast<const T*>(args.gates) + row * width + unit;
    T* grad_gates = static_cast<T*>(to.gates) + row * width + unit;
    T& grad_h = static_cast<T*>(args.grad_h)[i];  // not of a projected layer
    if (layer.cell == RecurrentCell::lstm) {
      const T c = static_cast<const T*>(args.cells)[row * hidden + unit];
      const T c_previous = state_before<T>(step, args.cells, args.c_0, sequence, hidden)[unit];
      const T grad = to.grad_output ? static_cast<const T*>(to.grad_output)[i] : grad_h;
      if (to.output) static_cast<T*>(to.output)[row * hidden + unit] = gates[3 * hidden] * tanh(c);
      lstm_unit_backward(gates, hidden, c, c_previous, grad, static_cast<T*>(args.grad_c)[i],
                         grad_gates);
    } else if (layer.cell == RecurrentCell::gru) {
      gru_unit_backward(gates, hidden, static_cast<const T*>(args.candidate)[row * hidden + unit],
                        state_before<T>(step, args.y, args.h_0, sequence, hidden)[unit], grad_h,
                        grad_gates, static_cast<T*>(to.product) + row * width + unit);
    } else {
      *grad_gates = rnn_unit_backward(layer.cell == RecurrentCell::rnn_relu, *gates, grad_h);
    }
  }
};

// --- launches ---

template <class T>
T* at(void* data, std::int64_t offset) {
  return data == nullptr ? nullptr : static_cast<T*>(data) + offset;
}
template <class T>
const T* at(const void* data, std::int64_t offset) {
  return static_cast<const T*>(data) + offset;
}

// y (rows, columns) = x @ other, both with any strides.
Matmul product_of(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t inner,
                  const void* x, std::int64_t x_row, std::int64_t x_column, const void* other,
                  std::int64_t other_row, std::int64_t other_column, void* y) {
  Matmul args{dtype, rows, columns, inner, x, x_row, x_column, other, other_row, other_column};
  args.y = y;
  return args;
}

template <class T>
struct CopyTo {
  const T* from;
  T* to;
  __device__ void operator()(std::int64_t i) const { to[i] = from[i]; }
};

// Copies the states of the sequences that end with this step.
template <class T>
void keep_final_states(const RecurrentForward& args, const Step& step) {
  const auto keep = [&](const void* states, void* final_states, std::int64_t size) {
    for_each_index((step.active - step.continuing) * size,
                   CopyTo<T>{at<T>(states, (step.row + step.continuing) * size),
                             at<T>(final_states, step.continuing * size)});
  };
  keep(args.y, args.h_n, args.layer.state());
  if (args.layer.cell == RecurrentCell::lstm) keep(args.cells, args.c_n, args.layer.hidden);
}

template <RecurrentCell kCell, class T>
void forward(const RecurrentForward& args) {
  const RecurrentLayer& layer = args.layer;
  const std::int64_t rows = layer.offsets[layer.steps - 1] + layer.batch_sizes[layer.steps - 1];
  const std::int64_t width = gate_count(kCell) * layer.hidden;
  if (args.x) {
    Matmul project = product_of(layer.dtype, rows, width, args.size, args.x, args.size, 1,
                                args.weight_ih, 1, args.size, args.gates);
    project.bias = args.bias_ih;
    matmul(project);
  }
  const bool projected = layer.projected > 0;
  const Scratch outputs(projected ? static_cast<std::size_t>(rows * layer.hidden) * sizeof(T) : 0);
  T* h = static_cast<T*>(projected ? outputs.data : args.y);
  for (std::int64_t index = 0; index < layer.steps; ++index) {
    const Step step = step_of(layer, index);
    const std::int64_t blocks =
        std::int64_t{blocks_of(layer.hidden, kUnits)} * blocks_of(step.active, kRows);
    launch(step_kernel<kCell, T>, {blocks_of(blocks, 1), kBlock}, args, step, h);
    if (projected)
      matmul(product_of(layer.dtype, step.active, layer.projected, layer.hidden,
                        h + step.row * layer.hidden, layer.hidden, 1, layer.weight_hr, 1,
                        layer.hidden, at<T>(args.y, step.row * layer.projected)));
    keep_final_states<T>(args, step);
  }
}

// Walks back through the steps.
template <class T>
void backward(const RecurrentBackward& args, GateGradients to) {
  const RecurrentLayer& layer = args.layer;
  const std::int64_t hidden = layer.hidden, state = layer.state();
  const std::int64_t width = gate_count(layer.cell) * hidden;
  const bool projected = layer.projected > 0;
  const Scratch outputs(projected ? static_cast<std::size_t>(layer.batch * hidden) * sizeof(T) : 0);
  to.grad_output = outputs.data;
  for (std::int64_t index = layer.steps - 1; index >= 0; --index) {
    const Step step = step_of(layer, index);
    for_each_index(step.active * state, AddGradients<T>{args, step, to});
    if (projected)
      matmul(product_of(layer.dtype, step.active, hidden, layer.projected, args.grad_h, state, 1,
                        layer.weight_hr, hidden, 1, outputs.data));
    for_each_index(step.active * hidden, BackwardUnit<T>{args, step, to});
    Matmul back =
        product_of(layer.dtype, step.active, state, width, at<T>(to.product, step.row * width),
                   width, 1, layer.weight, state, 1, args.grad_h);
    if (layer.cell == RecurrentCell::gru) {  // to what skipped the product
      back.residual = args.grad_h;
      back.residual_row_stride = state;
      back.residual_column_stride = 1;
    }
    matmul(back);
  }
}

// The gradients of a weight (rows, columns) and its bias: left^T @ right over all rows of the
// steps.
void weight_gradient(DType dtype, std::int64_t steps_rows, std::int64_t rows, std::int64_t columns,
                     const void* left, const void* right, void* weight, void* bias) {
  Matmul args =
      product_of(dtype, rows, columns, steps_rows, left, 1, rows, right, columns, 1, weight);
  args.x_sums = bias;
  matmul(args);
}

template <class T>
void gradients(const RecurrentGradients& args) {
  const RecurrentLayer& layer = args.backward.layer;
  const std::int64_t rows = layer.offsets[layer.steps - 1] + layer.batch_sizes[layer.steps - 1];
  const std::int64_t hidden = layer.hidden, state = layer.state(), projected = layer.projected;
  const std::int64_t width = gate_count(layer.cell) * hidden;
  const auto bytes = [&](std::int64_t columns) {
    return static_cast<std::size_t>(rows * columns) * sizeof(T);
  };
  const bool gru = layer.cell == RecurrentCell::gru;
  const Scratch gates(bytes(width)), product(gru ? bytes(width) : 0), h_previous(bytes(state)),
      grad_h(bytes(projected)), output(projected > 0 ? bytes(hidden) : 0);
  const GateGradients to = {
      gates.data, gru ? product.data : gates.data, h_previous.data, grad_h.data, output.data, state,
      nullptr};
  backward<T>(args.backward, to);
  weight_gradient(layer.dtype, rows, width, args.size, to.gates, args.x, args.grad_weight_ih,
                  args.grad_bias_ih);
  weight_gradient(layer.dtype, rows, width, state, to.product, to.h_previous, args.grad_weight_hh,
                  args.grad_bias_hh);
  if (projected > 0)
    weight_gradient(layer.dtype, rows, projected, hidden, to.grad_h, to.output, args.grad_weight_hr,
                    nullptr);
  if (args.grad_x)
    matmul(product_of(layer.dtype, rows, args.size, width, to.gates, width, 1, args.weight_ih,
                      args.size, 1, args.grad_x));
}

}  // namespace

void recurrent_forward(const RecurrentForward& args) {
  visit_floating(args.layer.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    switch (args.layer.cell) {
      case RecurrentCell::lstm:
        return forward<RecurrentCell::lstm, T>(args);
      case RecurrentCell::gru:
        return forward<RecurrentCell::gru, T>(args);
      case RecurrentCell::rnn_tanh:
        return forward<RecurrentCell::rnn_tanh, T>(args);
      case RecurrentCell::rnn_relu:
        return forward<RecurrentCell::rnn_relu, T>(args);
    }
  });
}

void recurrent_backward(const RecurrentBackward& args) {
  const GateGradients to = {args.grad_gates, args.grad_product,      args.h_previous, nullptr,
                            nullptr,         args.h_previous_stride, nullptr};
  visit_floating(args.layer.dtype,
                 [&](auto type) { backward<typename decltype(type)::type>(args, to); });
}

void recurrent_gradients(const RecurrentGradients& args) {
  visit_floating(args.backward.layer.dtype,
                 [&](auto type) { gradients<typename decltype(type)::type>(args); });
}

}  // namespace tilegrad::cuda
