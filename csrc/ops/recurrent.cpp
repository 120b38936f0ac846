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

#include "../float_mode.h"
#include "../host_memory.h"
#include "../parallel.h"
#include "../recurrent_rows.h"
#include "../walk_gradients.h"
#include "../walk_product.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

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
  WalkWeights<T> input, added, candidate, projection;

  explicit ForwardWeights(const RecurrentForward& args) {
    const RecurrentLayer& layer = args.layer;
    const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden;
    const Int columns = layer.cell == RecurrentCell::gru ? 2 * hidden : width;
    const T* weight = static_cast<const T*>(layer.weight);
    T* panels = static_cast<T*>(layer.packed);
    added = pack_walk(panels, weight, columns, layer.state(), layer.state(), Int{1});
    candidate =
        pack_walk(panels, weight + columns * hidden, width - columns, hidden, hidden, Int{1});
    if (layer.projected > 0)
      projection = pack_walk(panels, static_cast<const T*>(layer.weight_hr), layer.projected,
                             hidden, hidden, Int{1});
    if (args.x)
      input = pack_walk(panels, static_cast<const T*>(args.weight_ih), width, args.size, args.size,
                        Int{1});
  }
};

template <class T>
static void forward_section(const RecurrentForward& args, const ForwardWeights<T>& weights,
                            const Section& s) {
  const RecurrentLayer& layer = args.layer;
  const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden, state = layer.state();
  const T* bias = static_cast<const T*>(args.bias);
  const T* h_previous = state_before<T>(s, args.y, args.h_0, state);
  T* gates = static_cast<T*>(args.gates) + s.row * width;
  T* h = static_cast<T*>(args.y) + s.row * state;
  const T* next_gates = static_cast<const T*>(args.gates) + s.next_row * width;
  if (const T* x = static_cast<const T*>(args.x))
    walk_product(s.count, x + s.row * args.size, args.size, weights.input,
                 WalkStart<T>{static_cast<const T*>(args.bias_ih)}, gates, width);
  walk_product(s.count, h_previous, state, weights.added, WalkStart<T>{gates, width}, gates, width);
  if (layer.cell == RecurrentCell::lstm) {
    const T* c_previous = state_before<T>(s, args.cells, args.c_0, hidden);
    T* c = static_cast<T*>(args.cells) + s.row * hidden;
    T* output = layer.projected == 0 ? h
                                     : static_cast<T*>(thread_scratch(
                                           static_cast<std::size_t>(s.count * hidden) * sizeof(T)));
    for (Int i = 0; i < s.count; ++i) {
      prefetch_row<true>(next_gates + i * width, width);
      lstm_row(hidden, bias, c_previous + i * hidden, gates + i * width, c + i * hidden,
               output + i * hidden);
    }
    if (layer.projected > 0)
      walk_product(s.count, output, hidden, weights.projection, WalkStart<T>{}, h, state);
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
  const Int from = layer.offsets[t] + begin;
  const auto copy = [&](const void* states, void* final_states, Int size) {
    std::copy_n(static_cast<const T*>(states) + from * size, (active - begin) * size,
                static_cast<T*>(final_states) + begin * size);
  };
  copy(args.y, args.h_n, layer.state());
  if (layer.cell == RecurrentCell::lstm) copy(args.cells, args.c_n, layer.hidden);
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

// Where the gradients of a section's gates and the states before it go: rows of a matrix each. With
// a projection also its results' gradients, its operands, and room for their gradients.
template <class T>
struct GradientRows {
  WalkRows<T> gates, product, h_previous, grad_h{}, output{}, grad_output{};
};

// The packed weights of the backward products; some are missing where there is no such product.
template <class T>
struct BackwardWeights {
  WalkWeights<T> recurrent, projection, input;
};

// Keeps the gradients of what was projected, and computes those of what it was projected from.
template <class T>
static WalkRows<T> project_gradients(const WalkWeights<T>& weights, Int count, const T* grad_h,
                                     const GradientRows<T>& to) {
  for (Int i = 0; i < count; ++i) to.grad_h.put(i, grad_h + i * to.grad_h.columns);
  walk_product(count, grad_h, to.grad_h.columns, weights, WalkStart<T>{}, to.grad_output.data,
               to.grad_output.stride);
  return to.grad_output;
}

// grad_h and grad_c hold, per sequence, the gradients of its state after the current step.
template <class T>
static void backward_section(const RecurrentBackward& args, const BackwardWeights<T>& weights,
                             const Section& s, const GradientRows<T>& to) {
  const RecurrentLayer& layer = args.layer;
  const Int hidden = layer.hidden, width = gate_count(layer.cell) * hidden, state = layer.state();
  const T* h_previous = state_before<T>(s, args.y, args.h_0, state);
  const T* gates = static_cast<const T*>(args.gates) + s.row * width;
  T* grad_h = static_cast<T*>(args.grad_h) + s.first * state;
  if (const T* grad_y = static_cast<const T*>(args.grad_y))
    for (Int i = 0; i < s.count; ++i)
      for (Int j = 0; j < state; ++j)
        grad_h[i * state + j] += grad_y[(s.row + i) * args.grad_y_stride + j];
  if (layer.cell == RecurrentCell::lstm) {
    const T* c = static_cast<const T*>(args.cells) + s.row * hidden;
    const T* c_previous = state_before<T>(s, args.cells, args.c_0, hidden);
    T* grad_c = static_cast<T*>(args.grad_c) + s.first * hidden;
    const WalkRows<T> grad_output = layer.projected > 0
                                        ? project_gradients(weights.projection, s.count, grad_h, to)
                                        : WalkRows<T>{grad_h, hidden, hidden};
    for (Int i = 0; i < s.count; ++i) {
      if (s.previous_row >= 0)
        prefetch_row<false>(gates + (s.previous_row - s.row + i) * width, width);
      if (layer.projected > 0)
        lstm_output_row(hidden, gates + i * width, c + i * hidden, to.output.row(i));
      lstm_backward_row(hidden, gates + i * width, c + i * hidden, c_previous + i * hidden,
                        grad_output.row(i), grad_c + i * hidden, to.gates.row(i));
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
  for (Int i = 0; i < s.count; ++i) to.h_previous.put(i, h_previous + i * state);
  const bool adds = layer.cell == RecurrentCell::gru;  // to what skipped the product
  walk_product(s.count, to.product.data, to.product.stride, weights.recurrent,
               adds ? WalkStart<T>{grad_h, state} : WalkStart<T>{}, grad_h, state);
}

template <class T>
static BackwardWeights<T> pack_backward(const RecurrentLayer& layer, T*& panels) {
  BackwardWeights<T> weights{};
  const Int width = gate_count(layer.cell) * layer.hidden;
  weights.recurrent = pack_walk(panels, static_cast<const T*>(layer.weight), layer.state(), width,
                                Int{1}, layer.state());
  if (layer.projected > 0)
    weights.projection = pack_walk(panels, static_cast<const T*>(layer.weight_hr), layer.hidden,
                                   layer.projected, Int{1}, layer.hidden);
  return weights;
}

template <class T>
static void backward(const RecurrentBackward& args) {
  const RecurrentLayer& layer = args.layer;
  T* panels = static_cast<T*>(layer.packed);
  const BackwardWeights<T> weights = pack_backward<T>(layer, panels);
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
  T *weight_ih, *weight_hh, *bias_ih, *bias_hh, *weight_hr;
  Int width, size, state;

  explicit WeightSums(const RecurrentGradients& args)
      : weight_ih(static_cast<T*>(args.grad_weight_ih)),
        weight_hh(static_cast<T*>(args.grad_weight_hh)),
        bias_ih(static_cast<T*>(args.grad_bias_ih)),
        bias_hh(static_cast<T*>(args.grad_bias_hh)),
        weight_hr(static_cast<T*>(args.grad_weight_hr)),
        width(gate_count(args.backward.layer.cell) * args.backward.layer.hidden),
        size(args.size),
        state(args.backward.layer.state()) {}

  WeightSums(const RecurrentGradients& args, Int task) : WeightSums(args) {
    T* sums = static_cast<T*>(args.sums) + task * recurrent_task_sums(args.backward.layer, size);
    weight_ih = sums;
    weight_hh = weight_ih + width * size;
    bias_ih = weight_hh + width * state;
    bias_hh = bias_ih + width;
    weight_hr = bias_hh + width;
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
    const Int width = gate_count(layer.cell) * layer.hidden;
    const Int outputs = layer.projected > 0 ? layer.hidden : 0;
    const bool gru = layer.cell == RecurrentCell::gru;
    struct Part {
      WalkRows<T>* matrix;
      Int rows, columns;
    };
    const Part parts[] = {{&rows.gates, capacity, width},
                          {&rows.product, gru ? capacity : 0, width},
                          {&rows.h_previous, capacity, layer.state()},
                          {&rows.grad_h, capacity, layer.projected},
                          {&rows.output, capacity, outputs},
                          {&rows.grad_output, recurrent_task(layer.batch), outputs},
                          {&x, capacity, args.size}};
    Int size = kTileRows;
    for (const Part& part : parts) size += part.rows * walk_stride<T>(part.columns);
    T* next = static_cast<T*>(thread_scratch(static_cast<std::size_t>(size) * sizeof(T)));
    for (const Part& part : parts) {
      *part.matrix = {next, part.columns, walk_stride<T>(part.columns)};
      clear_padding(*part.matrix, part.rows);
      next += part.rows * part.matrix->stride;
    }
    std::fill_n(next, kTileRows, T{0});
    if (!gru) rows.product = rows.gates;
  }

  // Tiles multiply what stands behind the columns too. Whatever the scratch memory held there does
  // not reach a result, but Intel's processors take 100 cycles and more for a vector with a number
  // so small that it is not a normal one.
  static void clear_padding(const WalkRows<T>& matrix, Int rows) {
    for (Int i = 0; i < rows; ++i)
      std::fill_n(matrix.row(i) + matrix.columns, matrix.stride - matrix.columns, T{0});
  }

  // The rows from the first that is free.
  GradientRows<T> next() const {
    GradientRows<T> free = rows;
    for (WalkRows<T>* each :
         {&free.gates, &free.product, &free.h_previous, &free.grad_h, &free.output})
      each->data = each->row(filled);
    return free;
  }

  void add_to(const WeightSums<T>& sums) {
    if (filled == 0 && !first) return;
    add_gradient(filled, rows.gates, x, sums.weight_ih, !first);
    add_gradient(filled, rows.product, rows.h_previous, sums.weight_hh, !first);
    if (rows.grad_h.columns > 0)
      add_gradient(filled, rows.grad_h, rows.output, sums.weight_hr, !first);
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
      backward_section(args.backward, weights, s, rows);
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
  BackwardWeights<T> weights = pack_backward<T>(layer, panels);
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
  const Int stride = recurrent_task_sums(layer, args.size);
  combine(results.weight_ih, parts.weight_ih, results.width * args.size, tasks, stride);
  combine(results.weight_hh, parts.weight_hh, results.width * layer.state(), tasks, stride);
  if (layer.projected > 0)
    combine(results.weight_hr, parts.weight_hr, layer.projected * layer.hidden, tasks, stride);
  combine(results.bias_ih, parts.bias_ih, results.width, tasks, stride);
  combine(results.bias_hh, parts.bias_hh, results.width, tasks, stride);
}

// States fade and gradients vanish over long sequences, by a factor in each step: for some hundred
// steps they are below the smallest normal number, with which Intel's processors took ten times as
// long for all 500. They are zero here.
void recurrent_forward(const RecurrentForward& args) {
  const FlushedToZero mode;
  if (args.layer.dtype == DType::float64) return forward<double>(args);
  forward<float>(args);
}

void recurrent_backward(const RecurrentBackward& args) {
  const FlushedToZero mode;
  if (args.layer.dtype == DType::float64) return backward<double>(args);
  backward<float>(args);
}

void recurrent_gradients(const RecurrentGradients& args) {
  const FlushedToZero mode;
  if (args.backward.layer.dtype == DType::float64) return gradients<double>(args);
  gradients<float>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
