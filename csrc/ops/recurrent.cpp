// Recurrent layers: LSTM after Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with
// the forget gate of Gers et al. (2000); GRU after Cho et al., "Learning Phrase Representations
// using RNN Encoder-Decoder" (2014), its reset gate applied after the product; and the plain RNN
// of Elman (1990).
//
// Sequences do not see each other, so a task takes a few of them through all steps. The
// projections of the input were computed for all steps at once, or are the first thing that a step
// computes; it adds the product of the state with the packed weights where they lie, and turns the
// sums into activations in place.
#include "recurrent.h"

#include <algorithm>

#include "../elementary.h"
#include "../host_memory.h"
#include "../parallel.h"
#include "../walk_gradients.h"
#include "../walk_product.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// --- one row of a step: loops over the units, which the compiler vectorizes ---

// gates: in the sums, out the activations.
template <class T>
[[gnu::noinline]] static void lstm_row(Int hidden, const T* bias, const T* c_previous, T* gates,
                                       T* c, T* h) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) {
    const T input = logistic(gates[j] + bias[j]);
    const T forget = logistic(gates[j + hidden] + bias[j + hidden]);
    const T cell = hyperbolic_tangent(gates[j + 2 * hidden] + bias[j + 2 * hidden]);
    const T output = logistic(gates[j + 3 * hidden] + bias[j + 3 * hidden]);
    const T state = forget * c_previous[j] + input * cell;
    gates[j] = input;
    gates[j + hidden] = forget;
    gates[j + 2 * hidden] = cell;
    gates[j + 3 * hidden] = output;
    c[j] = state;
    h[j] = output * hyperbolic_tangent(state);
  }
}

// candidate: in the recurrent product of the new gate, out the same with its bias.
template <class T>
[[gnu::noinline]] static void gru_row(Int hidden, const T* bias, const T* h_previous, T* gates,
                                      T* candidate, T* h) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) {
    const T reset = logistic(gates[j] + bias[j]);
    const T update = logistic(gates[j + hidden] + bias[j + hidden]);
    const T recurrent = candidate[j] + bias[j + 2 * hidden];
    const T fresh = hyperbolic_tangent(gates[j + 2 * hidden] + reset * recurrent);
    gates[j] = reset;
    gates[j + hidden] = update;
    gates[j + 2 * hidden] = fresh;
    candidate[j] = recurrent;
    h[j] = fresh + update * (h_previous[j] - fresh);
  }
}

template <class T>
[[gnu::noinline]] static void rnn_tanh_row(Int hidden, const T* bias, T* h) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) h[j] = hyperbolic_tangent(h[j] + bias[j]);
}

template <class T>
[[gnu::noinline]] static void rnn_relu_row(Int hidden, const T* bias, T* h) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) {
    const T sum = h[j] + bias[j];
    h[j] = sum < 0 ? T{0} : sum;  // NaN stays
  }
}

// grad_c: in the gradient of c, out that of c_previous.
template <class T>
[[gnu::noinline]] static void lstm_backward_row(Int hidden, const T* gates, const T* c,
                                                const T* c_previous, const T* grad_h, T* grad_c,
                                                T* grad_gates) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) {
    const T input = gates[j], forget = gates[j + hidden], cell = gates[j + 2 * hidden],
            output = gates[j + 3 * hidden];
    const T squashed = hyperbolic_tangent(c[j]);
    const T grad = grad_c[j] + grad_h[j] * output * (T{1} - squashed * squashed);
    grad_gates[j] = grad * cell * input * (T{1} - input);
    grad_gates[j + hidden] = grad * c_previous[j] * forget * (T{1} - forget);
    grad_gates[j + 2 * hidden] = grad * input * (T{1} - cell * cell);
    grad_gates[j + 3 * hidden] = grad_h[j] * squashed * output * (T{1} - output);
    grad_c[j] = grad * forget;
  }
}

// grad_h: in the gradient of h, out the part of h_previous's that skips the product.
template <class T>
[[gnu::noinline]] static void gru_backward_row(Int hidden, const T* gates, const T* candidate,
                                               const T* h_previous, T* grad_h, T* grad_gates,
                                               T* grad_product) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) {
    const T reset = gates[j], update = gates[j + hidden], fresh = gates[j + 2 * hidden];
    const T grad_fresh = grad_h[j] * (T{1} - update) * (T{1} - fresh * fresh);
    const T grad_reset = grad_fresh * candidate[j] * reset * (T{1} - reset);
    const T grad_update = grad_h[j] * (h_previous[j] - fresh) * update * (T{1} - update);
    grad_gates[j] = grad_product[j] = grad_reset;
    grad_gates[j + hidden] = grad_product[j + hidden] = grad_update;
    grad_gates[j + 2 * hidden] = grad_fresh;
    grad_product[j + 2 * hidden] = grad_fresh * reset;
    grad_h[j] *= update;
  }
}

template <class T>
[[gnu::noinline]] static void rnn_backward_row(Int hidden, bool relu, const T* y, const T* grad_h,
                                               T* grad_gates) {
  if (relu) {
#pragma GCC ivdep
    for (Int j = 0; j < hidden; ++j) grad_gates[j] = y[j] <= 0 ? T{0} : grad_h[j];
    return;
  }
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) grad_gates[j] = grad_h[j] * (T{1} - y[j] * y[j]);
}

// --- the walk ---

// Some of the rows of a step: sequences first to first + count, whose rows begin at `row`.
struct Section {
  Int first, count, row;
  Int previous_row;  // of the same sequences in the step before; -1: they start from h_0
  Int next_row;      // about where those of the step after lie
};

// The sections of the index-th step in walking order, of sequences begin to end: those that come
// from the step before, and those that start here.
template <class Body>
static void for_each_section(const RecurrentLayer& layer, Int index, Int begin, Int end,
                             const Body& body) {
  const Int t = layer.reverse ? layer.steps - 1 - index : index;
  const Int before = layer.reverse ? t + 1 : t - 1;
  const Int active = std::min(layer.batch_sizes[t], end);
  const Int known =
      index == 0 ? begin : std::clamp(layer.batch_sizes[before], begin, std::max(begin, active));
  const Int row = layer.offsets[t];
  const Int next = index + 1 < layer.steps ? layer.offsets[layer.reverse ? t - 1 : t + 1] : row;
  if (known > begin)
    body(Section{begin, known - begin, row + begin, layer.offsets[before] + begin, next + begin});
  if (active > known) body(Section{known, active - known, row + known, -1, next + known});
}

// Sequences per task where no sum depends on it: each thread takes as many at a time as use a panel
// of weights well, so that it reads the weights as rarely as possible.
static Int free_task(Int batch) {
  constexpr Int kMost = 24;
  const Int share = (batch + num_threads() - 1) / num_threads();
  const Int tasks = (share + kMost - 1) / kMost;
  return std::max<Int>((share + tasks - 1) / tasks, std::min<Int>(batch, 4));
}

template <class T>
static const T* state_before(const Section& s, const void* states, const void* initial,
                             Int hidden) {
  if (s.previous_row < 0) return static_cast<const T*>(initial) + s.first * hidden;
  return static_cast<const T*>(states) + s.previous_row * hidden;
}

// Asks for a row that the next step will read or write. Each step's rows are short and far from the
// last one's, so that the processor does not foresee them.
template <bool kWrite, class T>
static void prefetch_row(const T* row, Int columns) {
  for (Int j = 0; j < columns; j += 64 / static_cast<Int>(sizeof(T)))
    __builtin_prefetch(row + j, kWrite, 2);
}

// The weights of the forward products. Those of the GRU's new gate are apart: its product is not
// added to the input's.
template <class T>
struct ForwardWeights {
  WalkWeights<T> input, added, candidate;

  explicit ForwardWeights(const RecurrentForward& args) {
    const RecurrentLayer& layer = args.layer;
    const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden;
    const Int columns = layer.cell == RecurrentCell::gru ? 2 * hidden : width;
    const T* weight = static_cast<const T*>(layer.weight);
    T* panels = static_cast<T*>(layer.packed);
    added = pack_walk(panels, weight, columns, hidden, hidden, Int{1});
    candidate =
        pack_walk(panels, weight + columns * hidden, width - columns, hidden, hidden, Int{1});
    if (args.x)
      input = pack_walk(panels, static_cast<const T*>(args.weight_ih), width, args.size, args.size,
                        Int{1});
  }
};

template <class T>
static void forward_section(const RecurrentForward& args, const ForwardWeights<T>& weights,
                            const Section& s) {
  const RecurrentLayer& layer = args.layer;
  const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden;
  const T* bias = static_cast<const T*>(args.bias);
  const T* h_previous = state_before<T>(s, args.y, args.h_0, hidden);
  T* gates = static_cast<T*>(args.gates) + s.row * width;
  T* h = static_cast<T*>(args.y) + s.row * hidden;
  const T* next_gates = static_cast<const T*>(args.gates) + s.next_row * width;
  if (const T* x = static_cast<const T*>(args.x))
    walk_product(s.count, x + s.row * args.size, args.size, weights.input,
                 WalkStart<T>{static_cast<const T*>(args.bias_ih)}, gates, width);
  walk_product(s.count, h_previous, hidden, weights.added, WalkStart<T>{gates, width}, gates,
               width);
  if (layer.cell == RecurrentCell::lstm) {
    const T* c_previous = state_before<T>(s, args.cells, args.c_0, hidden);
    T* c = static_cast<T*>(args.cells) + s.row * hidden;
    for (Int i = 0; i < s.count; ++i) {
      prefetch_row<true>(next_gates + i * width, width);
      lstm_row(hidden, bias, c_previous + i * hidden, gates + i * width, c + i * hidden,
               h + i * hidden);
    }
  } else if (layer.cell == RecurrentCell::gru) {
    T* candidate = static_cast<T*>(args.candidate) + s.row * hidden;
    walk_product(s.count, h_previous, hidden, weights.candidate, WalkStart<T>{}, candidate, hidden);
    for (Int i = 0; i < s.count; ++i) {
      prefetch_row<true>(next_gates + i * width, width);
      gru_row(hidden, bias, h_previous + i * hidden, gates + i * width, candidate + i * hidden,
              h + i * hidden);
    }
  } else {  // gates and h are one
    for (Int i = 0; i < s.count; ++i)
      layer.cell == RecurrentCell::rnn_tanh ? rnn_tanh_row(hidden, bias, h + i * hidden)
                                            : rnn_relu_row(hidden, bias, h + i * hidden);
  }
}

// Copies the states after the index-th step of the sequences that end with it.
template <class T>
static void keep_final_states(const RecurrentForward& args, Int index, Int begin, Int end) {
  const RecurrentLayer& layer = args.layer;
  const Int t = layer.reverse ? layer.steps - 1 - index : index;
  const Int active = std::min(layer.batch_sizes[t], end);
  if (index < layer.steps - 1)
    begin = std::max(begin, layer.batch_sizes[layer.reverse ? t - 1 : t + 1]);
  if (active <= begin) return;
  const Int hidden = layer.hidden, from = (layer.offsets[t] + begin) * hidden;
  const Int count = (active - begin) * hidden;
  std::copy_n(static_cast<const T*>(args.y) + from, count,
              static_cast<T*>(args.h_n) + begin * hidden);
  if (layer.cell == RecurrentCell::lstm)
    std::copy_n(static_cast<const T*>(args.cells) + from, count,
                static_cast<T*>(args.c_n) + begin * hidden);
}

template <class T>
static void forward(const RecurrentForward& args) {
  const RecurrentLayer& layer = args.layer;
  const ForwardWeights<T> weights(args);
  parallel_for(layer.batch, free_task(layer.batch), [&](Int begin, Int end) {
    for (Int index = 0; index < layer.steps; ++index) {
      for_each_section(layer, index, begin, end,
                       [&](const Section& s) { forward_section(args, weights, s); });
      keep_final_states<T>(args, index, begin, end);
    }
  });
}

// --- backward ---

// Where the gradients of a section's gates and the states before it go: rows of a matrix each.
template <class T>
struct GradientRows {
  WalkRows<T> gates, product, h_previous;
};

// The packed weights of the backward products; those of the input's gradient may be missing.
template <class T>
struct BackwardWeights {
  WalkWeights<T> recurrent, input{0, 0, nullptr};
};

// grad_h and grad_c hold, per sequence, the gradients of its state after the current step.
template <class T>
static void backward_section(const RecurrentBackward& args, const WalkWeights<T>& weights,
                             const Section& s, const GradientRows<T>& to) {
  const RecurrentLayer& layer = args.layer;
  const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden;
  const T* h_previous = state_before<T>(s, args.y, args.h_0, hidden);
  const T* gates = static_cast<const T*>(args.gates) + s.row * width;
  T* grad_h = static_cast<T*>(args.grad_h) + s.first * hidden;
  if (const T* grad_y = static_cast<const T*>(args.grad_y))
    for (Int i = 0; i < s.count; ++i)
      for (Int j = 0; j < hidden; ++j)
        grad_h[i * hidden + j] += grad_y[(s.row + i) * args.grad_y_stride + j];
  if (layer.cell == RecurrentCell::lstm) {
    const T* c = static_cast<const T*>(args.cells) + s.row * hidden;
    const T* c_previous = state_before<T>(s, args.cells, args.c_0, hidden);
    T* grad_c = static_cast<T*>(args.grad_c) + s.first * hidden;
    for (Int i = 0; i < s.count; ++i) {
      if (s.previous_row >= 0)
        prefetch_row<false>(gates + (s.previous_row - s.row + i) * width, width);
      lstm_backward_row(hidden, gates + i * width, c + i * hidden, c_previous + i * hidden,
                        grad_h + i * hidden, grad_c + i * hidden, to.gates.row(i));
    }
  } else if (layer.cell == RecurrentCell::gru) {
    const T* candidate = static_cast<const T*>(args.candidate) + s.row * hidden;
    for (Int i = 0; i < s.count; ++i) {
      if (s.previous_row >= 0)
        prefetch_row<false>(gates + (s.previous_row - s.row + i) * width, width);
      gru_backward_row(hidden, gates + i * width, candidate + i * hidden, h_previous + i * hidden,
                       grad_h + i * hidden, to.gates.row(i), to.product.row(i));
    }
  } else {
    for (Int i = 0; i < s.count; ++i)
      rnn_backward_row(hidden, layer.cell == RecurrentCell::rnn_relu, gates + i * width,
                       grad_h + i * hidden, to.gates.row(i));
  }
  for (Int i = 0; i < s.count; ++i) to.h_previous.put(i, h_previous + i * hidden);
  const bool adds = layer.cell == RecurrentCell::gru;  // to what skipped the product
  walk_product(s.count, to.product.data, to.product.stride, weights,
               adds ? WalkStart<T>{grad_h, hidden} : WalkStart<T>{}, grad_h, hidden);
}

template <class T>
static WalkWeights<T> pack_backward(const RecurrentLayer& layer, T*& panels) {
  return pack_walk(panels, static_cast<const T*>(layer.weight), layer.hidden,
                   gate_count(layer.cell) * layer.hidden, Int{1}, layer.hidden);
}

template <class T>
static void backward(const RecurrentBackward& args) {
  const RecurrentLayer& layer = args.layer;
  T* panels = static_cast<T*>(layer.packed);
  const WalkWeights<T> weights = pack_backward(layer, panels);
  const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden;
  parallel_for(layer.batch, free_task(layer.batch), [&](Int begin, Int end) {
    for (Int index = layer.steps - 1; index >= 0; --index)
      for_each_section(layer, index, begin, end, [&](const Section& s) {
        const GradientRows<T> rows{
            {static_cast<T*>(args.grad_gates) + s.row * width, width, width},
            {static_cast<T*>(args.grad_product) + s.row * width, width, width},
            {static_cast<T*>(args.h_previous) + s.row * args.h_previous_stride, hidden,
             args.h_previous_stride}};
        backward_section(args, weights, s, rows);
      });
  });
}

// --- backward with the weights' gradients ---

// The gradients of the weights and biases: of a task, or the results.
template <class T>
struct WeightSums {
  T *weight_ih, *weight_hh, *bias_ih, *bias_hh;
  Int width, size, hidden;

  explicit WeightSums(const RecurrentGradients& args)
      : weight_ih(static_cast<T*>(args.grad_weight_ih)),
        weight_hh(static_cast<T*>(args.grad_weight_hh)),
        bias_ih(static_cast<T*>(args.grad_bias_ih)),
        bias_hh(static_cast<T*>(args.grad_bias_hh)),
        width(gate_count(args.backward.layer.cell) * args.backward.layer.hidden),
        size(args.size),
        hidden(args.backward.layer.hidden) {}

  WeightSums(const RecurrentGradients& args, Int task) : WeightSums(args) {
    T* sums = static_cast<T*>(args.sums) + task * width * (size + hidden + 2);
    weight_ih = sums;
    weight_hh = weight_ih + width * size;
    bias_ih = weight_hh + width * hidden;
    bias_hh = bias_ih + width;
  }
};

// Rows that a task collects before it adds their products: the gates' gradients take a quarter of a
// cache of 1 MiB.
template <class T>
static Int chunk_rows(const RecurrentLayer& layer) {
  const Int width = gate_count(layer.cell) * layer.hidden;
  const Int fitting = (Int{1} << 18) / static_cast<Int>(sizeof(T)) / width;
  return std::max(std::clamp<Int>(fitting, 64, 256), recurrent_task(layer.batch));
}

// What a task needs for the gradients of the weights, in its thread's scratch memory.
template <class T>
struct GradientChunk {
  GradientRows<T> rows;
  WalkRows<T> x;
  Int capacity, filled = 0;
  bool first = true;  // nothing was added to the sums yet

  explicit GradientChunk(const RecurrentGradients& args)
      : capacity(chunk_rows<T>(args.backward.layer)) {
    const RecurrentLayer& layer = args.backward.layer;
    const Int width = gate_count(layer.cell) * layer.hidden, gates = walk_stride<T>(width);
    const Int states = walk_stride<T>(layer.hidden), inputs = walk_stride<T>(args.size);
    const std::size_t elements =
        static_cast<std::size_t>(capacity * (2 * gates + states + inputs) + kTileRows);
    T* scratch = static_cast<T*>(thread_scratch(elements * sizeof(T)));
    rows.gates = rows.product = {scratch, width, gates};
    if (layer.cell == RecurrentCell::gru) rows.product.data += capacity * gates;
    rows.h_previous = {scratch + 2 * capacity * gates, layer.hidden, states};
    x = {rows.h_previous.data + capacity * states, args.size, inputs};
  }

  // The rows from the first that is free.
  GradientRows<T> next() const {
    GradientRows<T> free = rows;
    for (WalkRows<T>* each : {&free.gates, &free.product, &free.h_previous})
      each->data = each->row(filled);
    return free;
  }

  void add_to(const WeightSums<T>& sums) {
    if (filled == 0 && !first) return;
    add_gradient(filled, rows.gates, x, sums.weight_ih, !first);
    add_gradient(filled, rows.product, rows.h_previous, sums.weight_hh, !first);
    add_column_sums(filled, rows.gates, sums.bias_ih, !first);
    add_column_sums(filled, rows.product, sums.bias_hh, !first);
    filled = 0;
    first = false;
  }
};

template <class T>
static void gradients_of_task(const RecurrentGradients& args, const BackwardWeights<T>& weights,
                              Int begin, Int end, const WeightSums<T>& sums) {
  const RecurrentLayer& layer = args.backward.layer;
  GradientChunk<T> chunk(args);
  for (Int index = layer.steps - 1; index >= 0; --index)
    for_each_section(layer, index, begin, end, [&](const Section& s) {
      if (chunk.filled + s.count > chunk.capacity) chunk.add_to(sums);
      const GradientRows<T> rows = chunk.next();
      backward_section(args.backward, weights.recurrent, s, rows);
      for (Int i = 0; i < s.count; ++i)
        chunk.x.put(chunk.filled + i, static_cast<const T*>(args.x) + (s.row + i) * args.size);
      if (args.grad_x)
        walk_product(s.count, rows.gates.data, rows.gates.stride, weights.input, WalkStart<T>{},
                     static_cast<T*>(args.grad_x) + s.row * args.size, args.size);
      chunk.filled += s.count;
    });
  chunk.add_to(sums);
}

// to = the sum of all tasks' parts, in their order.
template <class T>
static void combine(T* to, const T* parts, Int count, Int tasks, Int task_stride) {
  parallel_for(count, 1 << 14, [&](Int begin, Int end) {
    std::copy(parts + begin, parts + end, to + begin);
    for (Int task = 1; task < tasks; ++task)
      for (Int i = begin; i < end; ++i) to[i] += parts[task * task_stride + i];
  });
}

template <class T>
static void gradients(const RecurrentGradients& args) {
  const RecurrentLayer& layer = args.backward.layer;
  T* panels = static_cast<T*>(layer.packed);
  BackwardWeights<T> weights{pack_backward(layer, panels)};
  const WeightSums<T> results(args);
  if (args.grad_x)
    weights.input = pack_walk(panels, static_cast<const T*>(args.weight_ih), args.size,
                              results.width, Int{1}, args.size);
  const Int grain = recurrent_task(layer.batch), tasks = (layer.batch + grain - 1) / grain;
  if (tasks == 1) return gradients_of_task(args, weights, Int{0}, layer.batch, results);
  parallel_for(layer.batch, grain, [&](Int begin, Int end) {
    gradients_of_task(args, weights, begin, end, WeightSums<T>(args, begin / grain));
  });
  const WeightSums<T> parts(args, 0);
  const Int stride = results.width * (args.size + layer.hidden + 2);
  combine(results.weight_ih, parts.weight_ih, results.width * args.size, tasks, stride);
  combine(results.weight_hh, parts.weight_hh, results.width * layer.hidden, tasks, stride);
  combine(results.bias_ih, parts.bias_ih, results.width, tasks, stride);
  combine(results.bias_hh, parts.bias_hh, results.width, tasks, stride);
}

void recurrent_forward(const RecurrentForward& args) {
  if (args.layer.dtype == DType::float64) return forward<double>(args);
  forward<float>(args);
}

void recurrent_backward(const RecurrentBackward& args) {
  if (args.layer.dtype == DType::float64) return backward<double>(args);
  backward<float>(args);
}

void recurrent_gradients(const RecurrentGradients& args) {
  if (args.backward.layer.dtype == DType::float64) return gradients<double>(args);
  gradients<float>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
