// One row of one step of a recurrent layer: loops over the units, which the compiler vectorizes.
// Included once per instruction set.
#pragma once

#include "elementary.h"
#include "gemm.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

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

// h = output gate * tanh(c), as lstm_row computed it.
template <class T>
[[gnu::noinline]] static void lstm_output_row(Int hidden, const T* gates, const T* c, T* h) {
#pragma GCC ivdep
  for (Int j = 0; j < hidden; ++j) h[j] = gates[j + 3 * hidden] * hyperbolic_tangent(c[j]);
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

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
