// Contract of the recurrent layers: one layer in one direction over whole sequences.
//
// Sequences of different lengths come packed, as in PyTorch: step t holds one row for each of the
// first batch_sizes[t] sequences, and the rows of all steps lie one after the other. Batch sizes
// never grow, so sequence b is in step t exactly if b < batch_sizes[t].
#pragma once

#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

enum class RecurrentCell : std::uint8_t { lstm, gru, rnn_tanh, rnn_relu };

constexpr int gate_count(RecurrentCell cell) {
  return cell == RecurrentCell::lstm ? 4 : cell == RecurrentCell::gru ? 3 : 1;
}

// What a layer is and how its rows lie. All arrays are dense, of one floating dtype.
struct RecurrentLayer {
  RecurrentCell cell;
  DType dtype;
  std::int64_t steps, batch, hidden;
  const std::int64_t* batch_sizes;  // (steps), in the memory of the host on every device
  const std::int64_t* offsets;      // (steps), so too: the first row of each step
  bool reverse;                     // from the last step to the first
  const void* weight;               // (gates * hidden, state), gates in PyTorch's order
  void* packed;                     // workspace for packed weights, see below

  // LSTM: h = weight_hr @ (output gate * tanh(c)), after Sak et al., "Long Short-Term Memory Based
  // Recurrent Neural Network Architectures" (2014); its size, or 0 if there is no such projection.
  std::int64_t projected = 0;
  const void* weight_hr = nullptr;  // (projected, hidden)

  constexpr std::int64_t state() const {
    return projected > 0 ? projected : hidden;
  }  // the size of h
};

// Gates in PyTorch's order: LSTM input, forget, cell, output; GRU reset, update, new.
//
// The projections of the input, x @ weight_ih^T + bias_ih, come in `gates`; or, where x is given,
// each step computes its own, which saves writing and reading them: for batches large enough to use
// a step's weights well.
struct RecurrentForward {
  RecurrentLayer layer;
  const void *x, *weight_ih, *bias_ih;  // (rows, size), (gates * hidden, size), (gates * hidden)
  std::int64_t size;
  const void* bias;       // (gates * hidden), added to the recurrent product
  const void *h_0, *c_0;  // (batch, state), (batch, hidden); c_0 for LSTM only
  void* gates;            // (rows, gates * hidden): in projections of the input, out activations
  void* y;                // (rows, state); may be `gates` itself where there is one gate
  void* cells;            // LSTM: (rows, hidden)
  void* candidate;        // GRU: (rows, hidden), the recurrent part of the new gate
  void *h_n, *c_n;        // as h_0 and c_0: after the last step of each sequence
};

// The weights' gradients are large products of all rows. Where a task's share of them fits the
// cache, the kernel computes them: see RecurrentGradients. Elsewhere the caller does, from
// grad_gates, grad_product and h_previous.
struct RecurrentBackward {
  RecurrentLayer layer;
  const void *h_0, *c_0, *gates, *y, *cells, *candidate;  // as above
  const void* grad_y;  // (rows, state) with rows grad_y_stride elements apart, or null
  std::int64_t grad_y_stride;
  void *grad_h, *grad_c;  // as h_0 and c_0: in gradients of h_n, c_n; out those of h_0, c_0
  void* grad_gates;       // (rows, gates * hidden): of the projections of the input
  void* grad_product;     // the same of the recurrent product; other than grad_gates for GRU
  void* h_previous;  // (rows, hidden): the state before each step, as the rows of a wider matrix
  std::int64_t h_previous_stride;
};

// Backward with the gradients of the weights, whose shapes they have, and of the input unless
// grad_x is null; the only one for layers with a projection. The arguments behind grad_c of
// `backward` are not used.
struct RecurrentGradients {
  RecurrentBackward backward;
  const void *x, *weight_ih;  // (rows, size), (gates * hidden, size)
  std::int64_t size;
  void *grad_x, *grad_weight_ih, *grad_weight_hh, *grad_bias_ih, *grad_bias_hh;
  void* grad_weight_hr;
  void* sums;  // workspace: recurrent_sums_size elements
};

// Tasks are of this many sequences, whatever the number of threads. Each reads all weights in every
// step, so that large batches take more at a time; small ones are to occupy all threads.
inline constexpr std::int64_t recurrent_task(std::int64_t batch) {
  return batch >= 64 ? 16 : batch >= 12 ? 8 : 4;
}

// Each task sums its own gradients of the weights.
inline std::int64_t recurrent_task_sums(const RecurrentLayer& layer, std::int64_t size) {
  return gate_count(layer.cell) * layer.hidden * (size + layer.state() + 2) +
         layer.projected * layer.hidden;
}
inline std::int64_t recurrent_sums_size(const RecurrentLayer& layer, std::int64_t size) {
  const std::int64_t task = recurrent_task(layer.batch);
  return (layer.batch + task - 1) / task * recurrent_task_sums(layer, size);
}

// Elements of workspace that suffice on every instruction set: the columns of packed weights are
// padded by less than two vectors, of at most 16 elements, in each of at most four matrices.
inline constexpr std::int64_t recurrent_packed_size(RecurrentCell cell, std::int64_t size,
                                                    std::int64_t hidden,
                                                    std::int64_t projected = 0) {
  return (gate_count(cell) * hidden + 3 * 32) * (hidden + size) + (projected + 32) * hidden;
}
inline constexpr std::int64_t recurrent_packed_backward_size(RecurrentCell cell, std::int64_t size,
                                                             std::int64_t hidden,
                                                             std::int64_t projected = 0) {
  return gate_count(cell) * hidden * (hidden + size + 2 * 32) + projected * (hidden + 32);
}

}  // namespace tilegrad

TILEGRAD_KERNEL(recurrent_forward, RecurrentForward)
TILEGRAD_KERNEL(recurrent_backward, RecurrentBackward)
TILEGRAD_KERNEL(recurrent_gradients, RecurrentGradients)
