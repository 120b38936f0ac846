// The recurrent kernels against plain double-precision loops, on every instruction set.
#include "ops/recurrent.h"

#include <limits>

#include "kernel_testing.h"

namespace tilegrad {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Case {
  RecurrentCell cell;
  std::int64_t hidden;
  std::vector<std::int64_t> batch_sizes;
  bool reverse;
};

// Hidden sizes around the vectors and panels (4 to 64), batches around the tiles (3, 6) and tasks,
// more rows than a task collects (256).
const Case kCases[] = {
    {RecurrentCell::lstm, 1, {1}, false},
    {RecurrentCell::lstm, 17, {7, 7, 5, 2}, false},
    {RecurrentCell::lstm, 64, {31, 30, 30}, true},
    {RecurrentCell::gru, 3, {2, 1, 1}, true},
    {RecurrentCell::gru, 33, {8, 8, 3}, false},
    {RecurrentCell::gru, 16, {60, 59}, true},
    {RecurrentCell::rnn_tanh, 67, {13, 13, 1}, false},
    {RecurrentCell::rnn_tanh, 5, {5, 4}, true},
    {RecurrentCell::rnn_relu, 70, {6, 2, 2}, false},
    {RecurrentCell::rnn_relu, 31, {25, 25}, true},
    {RecurrentCell::lstm, 5, std::vector<std::int64_t>(70, 4), false},
    {RecurrentCell::gru, 2, std::vector<std::int64_t>(67, 9), true},
};

// One layer with random operands, its results and its workspace.
template <class T>
struct Layer {
  explicit Layer(const Case& c)
      : c(c),
        batch(c.batch_sizes[0]),
        width(gate_count(c.cell) * c.hidden),
        rows(count_rows(c)),
        weight(Array<T>::random(width * c.hidden, 1)),
        bias(Array<T>::random(width, 2)),
        h_0(Array<T>::random(batch * c.hidden, 3)),
        c_0(Array<T>::random(batch * c.hidden, 4)),
        projections(Array<T>::random(rows * width, 5)),
        gates(rows * width),
        y(rows * c.hidden),
        cells(rows * c.hidden),
        candidate(rows * c.hidden),
        h_n(batch * c.hidden),
        c_n(batch * c.hidden),
        packed(recurrent_packed_size(c.cell, 0, c.hidden)) {
    for (std::int64_t i = 0; i < weight.size; ++i) weight[i] /= static_cast<T>(c.hidden);
    for (std::int64_t size : c.batch_sizes)
      offsets.push_back(offsets.empty() ? 0 : offsets.back() + last), last = size;
  }

  static std::int64_t count_rows(const Case& c) {
    std::int64_t sum = 0;
    for (std::int64_t size : c.batch_sizes) sum += size;
    return sum;
  }

  RecurrentLayer layer() {
    return {.cell = c.cell,
            .dtype = DTypeOf<T>::value,
            .steps = static_cast<std::int64_t>(c.batch_sizes.size()),
            .batch = batch,
            .hidden = c.hidden,
            .batch_sizes = c.batch_sizes.data(),
            .offsets = offsets.data(),
            .reverse = c.reverse,
            .weight = weight.data(),
            .packed = packed.data()};
  }

  // One gate: its activations are the output.
  T* outputs() { return gate_count(c.cell) == 1 ? gates.data() : y.data(); }

  RecurrentForward arguments() {
    return {.layer = layer(),
            .x = nullptr,
            .weight_ih = nullptr,
            .bias_ih = nullptr,
            .size = 0,
            .bias = bias.data(),
            .h_0 = h_0.data(),
            .c_0 = c_0.data(),
            .gates = gates.data(),
            .y = outputs(),
            .cells = cells.data(),
            .candidate = candidate.data(),
            .h_n = h_n.data(),
            .c_n = c_n.data()};
  }

  void forward(Isa isa) {
    std::memcpy(gates.data(), projections.data(), sizeof(T) * static_cast<std::size_t>(gates.size));
    run_on(isa, recurrent_forward_kernel, arguments());
  }

  const Case& c;
  std::int64_t batch, width, rows, last = 0;
  Array<T> weight, bias, h_0, c_0, projections, gates, y, cells, candidate, h_n, c_n, packed;
  std::vector<std::int64_t> offsets;
};

// What may be shifted by a little, to differentiate numerically: one element of one operand.
struct Shift {
  char operand = 0;  // 'x' projections, 'h' h_0, 'c' c_0, 'w' weight
  std::int64_t at = 0;
  double by = 0;
};

struct Reference {
  Array<double> y, h_n, c_n;
};

// Sequence by sequence and unit by unit, after the formulas.
template <class T>
Reference reference(const Layer<T>& l, const Shift& shift = {}) {
  const std::int64_t hidden = l.c.hidden;
  Reference r{Array<double>(l.rows * hidden), Array<double>(l.batch * hidden),
              Array<double>(l.batch * hidden)};
  const auto value = [&](char operand, const Array<T>& x, std::int64_t at) {
    return static_cast<double>(x[at]) + (shift.operand == operand && shift.at == at ? shift.by : 0);
  };
  for (std::int64_t b = 0; b < l.batch; ++b) {
    std::vector<double> h, c;
    for (std::int64_t j = 0; j < hidden; ++j) {
      h.push_back(value('h', l.h_0, b * hidden + j));
      c.push_back(value('c', l.c_0, b * hidden + j));
    }
    const auto steps = static_cast<std::int64_t>(l.c.batch_sizes.size());
    for (std::int64_t index = 0; index < steps; ++index) {
      const auto t = static_cast<std::size_t>(l.c.reverse ? steps - 1 - index : index);
      if (b >= l.c.batch_sizes[t]) continue;
      const std::int64_t row = l.offsets[t] + b;
      const std::vector<double> before = h;
      for (std::int64_t j = 0; j < hidden; ++j) {
        double in[4], product[4];
        for (int g = 0; g < gate_count(l.c.cell); ++g) {
          const std::int64_t unit = g * hidden + j;
          in[g] = value('x', l.projections, row * l.width + unit);
          product[g] = static_cast<double>(l.bias[unit]);
          for (std::int64_t k = 0; k < hidden; ++k)
            product[g] += value('w', l.weight, unit * hidden + k) * before[k];
        }
        const auto at = static_cast<std::size_t>(j);
        if (l.c.cell == RecurrentCell::lstm) {
          c[at] = sigmoid(in[1] + product[1]) * c[at] +
                  sigmoid(in[0] + product[0]) * std::tanh(in[2] + product[2]);
          h[at] = sigmoid(in[3] + product[3]) * std::tanh(c[at]);
        } else if (l.c.cell == RecurrentCell::gru) {
          const double update = sigmoid(in[1] + product[1]);
          const double fresh = std::tanh(in[2] + sigmoid(in[0] + product[0]) * product[2]);
          h[at] = (1 - update) * fresh + update * before[at];
        } else {
          const double sum = in[0] + product[0];
          h[at] = l.c.cell == RecurrentCell::rnn_tanh ? std::tanh(sum) : std::max(sum, 0.0);
        }
        r.y[row * hidden + j] = h[at];
      }
    }
    for (std::int64_t j = 0; j < hidden; ++j) {
      r.h_n[b * hidden + j] = h[static_cast<std::size_t>(j)];
      r.c_n[b * hidden + j] = c[static_cast<std::size_t>(j)];
    }
  }
  return r;
}

template <class T>
void test_forward() {
  const double tolerance = 100 * std::numeric_limits<T>::epsilon();
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << "hidden " << c.hidden << ", batch " << c.batch_sizes[0]);
    Layer<T> layer(c);
    const Reference expected = reference(layer);
    for_each_isa([&](Isa isa) {
      layer.forward(isa);
      expect_close(layer.outputs(), expected.y, expected.y.size, tolerance, tolerance);
      expect_close(layer.h_n, expected.h_n, expected.h_n.size, tolerance, tolerance);
      if (c.cell == RecurrentCell::lstm)
        expect_close(layer.c_n, expected.c_n, expected.c_n.size, tolerance, tolerance);
    });
  }
}

TEST(Recurrent, ForwardFloat32) { test_forward<float>(); }
TEST(Recurrent, ForwardFloat64) { test_forward<double>(); }

// Of a weighted sum of all outputs, against differences of the reference.
TEST(Recurrent, Backward) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << "hidden " << c.hidden << ", batch " << c.batch_sizes[0]);
    Layer<double> l(c);
    const std::int64_t states = l.batch * c.hidden, outputs = l.rows * c.hidden;
    const Array<double> grad_y = Array<double>::random(outputs, 6),
                        grad_h_n = Array<double>::random(states, 7),
                        grad_c_n = Array<double>::random(states, 8);
    const auto loss = [&](const Shift& shift) {
      const Reference r = reference(l, shift);
      double sum = 0;
      for (std::int64_t i = 0; i < outputs; ++i) sum += r.y[i] * grad_y[i];
      for (std::int64_t i = 0; i < states; ++i) sum += r.h_n[i] * grad_h_n[i];
      if (c.cell == RecurrentCell::lstm)
        for (std::int64_t i = 0; i < states; ++i) sum += r.c_n[i] * grad_c_n[i];
      return sum;
    };
    const auto slope = [&](char operand, std::int64_t at) {
      return (loss({operand, at, 1e-5}) - loss({operand, at, -1e-5})) / 2e-5;
    };
    for_each_isa([&](Isa isa) {
      l.forward(isa);
      Array<double> grad_h(states), grad_c(states), grad_gates(l.rows * l.width),
          grad_product(l.rows * l.width), h_previous(outputs);
      for (std::int64_t i = 0; i < states; ++i) grad_h[i] = grad_h_n[i], grad_c[i] = grad_c_n[i];
      Array<double>& product = c.cell == RecurrentCell::gru ? grad_product : grad_gates;
      run_on(isa, recurrent_backward_kernel,
             RecurrentBackward{.layer = l.layer(),
                               .h_0 = l.h_0.data(),
                               .c_0 = l.c_0.data(),
                               .gates = l.gates.data(),
                               .y = l.outputs(),
                               .cells = l.cells.data(),
                               .candidate = l.candidate.data(),
                               .grad_y = const_cast<Array<double>&>(grad_y).data(),
                               .grad_y_stride = c.hidden,
                               .grad_h = grad_h.data(),
                               .grad_c = grad_c.data(),
                               .grad_gates = grad_gates.data(),
                               .grad_product = product.data(),
                               .h_previous = h_previous.data(),
                               .h_previous_stride = c.hidden});
      for (std::int64_t i = 0; i < 5; ++i) {  // a few elements of each, spread out
        const std::int64_t state = (i * states) / 5, gate = (i * l.rows * l.width) / 5;
        EXPECT_NEAR(grad_h[state], slope('h', state), 1e-6);
        EXPECT_NEAR(grad_gates[gate], slope('x', gate), 1e-6);
        if (c.cell == RecurrentCell::lstm) {
          EXPECT_NEAR(grad_c[state], slope('c', state), 1e-6);
        }
        const std::int64_t at = (i * l.weight.size) / 5;  // as the caller's product computes it
        double sum = 0;
        for (std::int64_t row = 0; row < l.rows; ++row)
          sum +=
              product[row * l.width + at / c.hidden] * h_previous[row * c.hidden + at % c.hidden];
        EXPECT_NEAR(sum, slope('w', at), 1e-6);
      }
    });
  }
}

// The projections that a step computes are those that the caller would have given.
TEST(Recurrent, ProjectsTheInput) {
  constexpr std::int64_t size = 21;
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << "hidden " << c.hidden << ", batch " << c.batch_sizes[0]);
    Layer<double> l(c);
    const Array<double> x = Array<double>::random(l.rows * size, 9),
                        weight = Array<double>::random(l.width * size, 10),
                        bias = Array<double>::random(l.width, 11);
    for (std::int64_t row = 0; row < l.rows; ++row)
      for (std::int64_t unit = 0; unit < l.width; ++unit) {
        double sum = bias[unit];
        for (std::int64_t k = 0; k < size; ++k) sum += x[row * size + k] * weight[unit * size + k];
        l.projections[row * l.width + unit] = sum;
      }
    const Reference expected = reference(l);
    Array<double> packed(recurrent_packed_size(c.cell, size, c.hidden));
    for_each_isa([&](Isa isa) {
      RecurrentForward args = l.arguments();
      args.x = &x[0], args.weight_ih = &weight[0], args.bias_ih = &bias[0], args.size = size;
      args.layer.packed = packed.data();
      l.gates = Array<double>(l.gates.size, NAN);  // whatever lies there is overwritten
      args.gates = l.gates.data();
      args.y = l.outputs();
      run_on(isa, recurrent_forward_kernel, args);
      expect_close(l.outputs(), expected.y, expected.y.size, 1e-12, 1e-12);
    });
  }
}

// Operands of backward, and what it fills.
template <class T>
struct Gradients {
  static constexpr std::int64_t size = 21;

  explicit Gradients(Layer<T>& l)
      : l(l),
        x(Array<T>::random(l.rows * size, 9)),
        weight(Array<T>::random(l.width * size, 10)),
        grad_y(Array<T>::random(l.rows * l.c.hidden, 6)),
        grad_h(Array<T>::random(l.batch * l.c.hidden, 7)),
        grad_c(Array<T>::random(l.batch * l.c.hidden, 8)),
        gates(l.rows * l.width, NAN),
        product(l.rows * l.width, NAN),
        h_previous(l.rows * l.c.hidden, NAN),
        grad_x(l.rows * size, NAN),
        weight_ih(l.width * size, NAN),
        weight_hh(l.width * l.c.hidden, NAN),
        bias_ih(l.width, NAN),
        bias_hh(l.width, NAN),
        packed(recurrent_packed_backward_size(l.c.cell, size, l.c.hidden)),
        sums(recurrent_sums_size(l.layer(), size)) {}

  RecurrentBackward backward() {
    RecurrentLayer layer = l.layer();
    layer.packed = packed.data();
    return {.layer = layer,
            .h_0 = l.h_0.data(),
            .c_0 = l.c_0.data(),
            .gates = l.gates.data(),
            .y = l.outputs(),
            .cells = l.cells.data(),
            .candidate = l.candidate.data(),
            .grad_y = grad_y.data(),
            .grad_y_stride = l.c.hidden,
            .grad_h = grad_h.data(),
            .grad_c = grad_c.data(),
            .grad_gates = gates.data(),
            .grad_product = (l.c.cell == RecurrentCell::gru ? product : gates).data(),
            .h_previous = h_previous.data(),
            .h_previous_stride = l.c.hidden};
  }

  RecurrentGradients arguments() {
    return {.backward = backward(),
            .x = x.data(),
            .weight_ih = weight.data(),
            .size = size,
            .grad_x = grad_x.data(),
            .grad_weight_ih = weight_ih.data(),
            .grad_weight_hh = weight_hh.data(),
            .grad_bias_ih = bias_ih.data(),
            .grad_bias_hh = bias_hh.data(),
            .sums = sums.data()};
  }

  Layer<T>& l;
  Array<T> x, weight, grad_y, grad_h, grad_c, gates, product, h_previous, grad_x, weight_ih,
      weight_hh, bias_ih, bias_hh, packed, sums;
};

// left (rows, columns)^T @ right (rows, others)
Array<double> product_of(const Array<double>& left, std::int64_t columns,
                         const Array<double>& right, std::int64_t others, std::int64_t rows) {
  Array<double> sums(columns * others, 0.0);
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t i = 0; i < columns; ++i)
      for (std::int64_t j = 0; j < others; ++j)
        sums[i * others + j] += left[row * columns + i] * right[row * others + j];
  return sums;
}

// The kernel that sums the weights' gradients itself, against products of what the other returns.
TEST(Recurrent, GradientsOfWeights) {
  constexpr double tolerance = 1e-11;
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << "hidden " << c.hidden << ", batch " << c.batch_sizes[0]);
    for_each_isa([&](Isa isa) {
      Layer<double> l(c);
      l.forward(isa);
      Gradients<double> whole(l), summed(l);
      run_on(isa, recurrent_backward_kernel, whole.backward());
      run_on(isa, recurrent_gradients_kernel, summed.arguments());
      Array<double>& product = c.cell == RecurrentCell::gru ? whole.product : whole.gates;
      const auto expect = [&](const Array<double>& found, const Array<double>& expected) {
        expect_close(found, expected, found.size, tolerance, tolerance);
      };
      const std::int64_t size = whole.size, rows = l.rows, width = l.width;
      expect(summed.grad_h, whole.grad_h);
      if (c.cell == RecurrentCell::lstm) expect(summed.grad_c, whole.grad_c);
      expect(summed.weight_ih, product_of(whole.gates, width, whole.x, size, rows));
      expect(summed.weight_hh, product_of(product, width, whole.h_previous, c.hidden, rows));
      const Array<double> ones(rows, 1.0);
      expect(summed.bias_ih, product_of(whole.gates, width, ones, 1, rows));
      expect(summed.bias_hh, product_of(product, width, ones, 1, rows));
      for (std::int64_t row = 0; row < rows; row += 3)
        for (std::int64_t k = 0; k < size; k += 5) {
          double sum = 0;
          for (std::int64_t unit = 0; unit < width; ++unit)
            sum += whole.gates[row * width + unit] * whole.weight[unit * size + k];
          EXPECT_NEAR(summed.grad_x[row * size + k], sum, tolerance);
        }
    });
  }
}

// Projected by the identity, an LSTM is one without a projection.
TEST(Recurrent, IdentityAsProjection) {
  for (const Case& c : kCases) {
    if (c.cell != RecurrentCell::lstm) continue;
    SCOPED_TRACE(::testing::Message() << "hidden " << c.hidden << ", batch " << c.batch_sizes[0]);
    Array<double> identity(c.hidden * c.hidden), grad_identity(c.hidden * c.hidden, NAN);
    for (std::int64_t j = 0; j < c.hidden; ++j) identity[j * c.hidden + j] = 1;
    const auto project = [&](RecurrentLayer& layer, Array<double>& packed) {
      layer.projected = c.hidden;
      layer.weight_hr = identity.data();
      layer.packed = packed.data();
    };
    for_each_isa([&](Isa isa) {
      Layer<double> plain(c), projected(c);
      plain.forward(isa);
      std::memcpy(projected.gates.data(), projected.projections.data(),
                  sizeof(double) * static_cast<std::size_t>(projected.gates.size));
      RecurrentForward forward = projected.arguments();
      Array<double> packed(recurrent_packed_size(c.cell, 0, c.hidden, c.hidden));
      project(forward.layer, packed);
      run_on(isa, recurrent_forward_kernel, forward);
      expect_close(projected.y, plain.y, plain.y.size, 1e-12, 1e-12);
      expect_close(projected.h_n, plain.h_n, plain.h_n.size, 1e-12, 1e-12);

      Gradients<double> expected(plain), found(projected);
      run_on(isa, recurrent_gradients_kernel, expected.arguments());
      RecurrentGradients args = found.arguments();
      packed =
          Array<double>(recurrent_packed_backward_size(c.cell, found.size, c.hidden, c.hidden));
      project(args.backward.layer, packed);
      Array<double> sums(recurrent_sums_size(args.backward.layer, found.size));
      args.sums = sums.data();
      args.grad_weight_hr = grad_identity.data();
      run_on(isa, recurrent_gradients_kernel, args);
      expect_close(found.grad_h, expected.grad_h, found.grad_h.size, 1e-11, 1e-11);
      expect_close(found.grad_x, expected.grad_x, found.grad_x.size, 1e-11, 1e-11);
      expect_close(found.weight_hh, expected.weight_hh, found.weight_hh.size, 1e-11, 1e-11);
      // Its values are compared with PyTorch in tests/ops/test_recurrent.py.
      for (std::int64_t j = 0; j < grad_identity.size; ++j)
        EXPECT_TRUE(std::isfinite(grad_identity[j]));
    });
  }
}

TEST(Recurrent, EveryNumberOfThreadsGivesTheSameGradients) {
  const Case c{RecurrentCell::gru, 40, {50, 50, 50, 50, 50, 50, 50, 20, 3}, false};
  for_each_isa([&](Isa isa) {
    Array<float> first(0);
    for_each_thread_count([&] {
      Layer<float> layer(c);
      layer.forward(isa);
      Gradients<float> gradients(layer);
      run_on(isa, recurrent_gradients_kernel, gradients.arguments());
      if (first.size == 0) first = std::move(gradients.weight_hh);
      else EXPECT_TRUE(gradients.weight_hh == first);
    });
  });
}

TEST(Recurrent, EveryNumberOfThreadsGivesTheSameBits) {
  const Case c{RecurrentCell::lstm, 40, {50, 50, 20, 3}, false};
  for_each_isa([&](Isa isa) {
    Array<float> first(0);
    for_each_thread_count([&] {
      Layer<float> layer(c);
      layer.forward(isa);
      if (first.size == 0) first = std::move(layer.y);
      else EXPECT_TRUE(layer.y == first);
    });
  });
}

}  // namespace
}  // namespace tilegrad
