// One row of one step of a recurrent layer: loops over the units, in registers where
// register_functions.h has the functions for them, else vectorized by the compiler. Included once
// per instruction set.
#pragma once

#include "gemm.h"
#include "softmax_row.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Places in rows: at(row) reads what stands there, at.put(row, value) writes it.
template <class T>
struct OneUnit {
  Int j;
  T operator()(const T* row) const { return row[j]; }
  void put(T* row, T value) const { row[j] = value; }
};
template <class T>
struct WholeUnits : Whole<T> {
  void put(T* row, Vec<T> value) const { store(row + this->begin, value); }
};
template <class T>
struct PartOfUnits : Part<T> {
  void put(T* row, Vec<T> value) const { store_part(row + this->begin, value, this->count); }
};

// compute(at) for all units of a row.
template <class T, class Compute>
TILEGRAD_INLINE void for_each_unit(Int hidden, const Compute& compute) {
  constexpr auto kTanh = [](auto x) TILEGRAD_RETURNS(hyperbolic_tangent(x));
  if constexpr (std::is_invocable_v<decltype(kTanh), Vec<T>>) {
    Int j = 0;
    for (; j + kLanes<T> <= hidden; j += kLanes<T>) compute(WholeUnits<T>{{j}});
    if (j < hidden) compute(PartOfUnits<T>{{j, hidden - j}});
  } else {
#pragma GCC ivdep
    for (Int j = 0; j < hidden; ++j) compute(OneUnit<T>{j});
  }
}

// gates: in the sums, out the activations.
template <class T>
[[gnu::noinline]] static void lstm_row(Int hidden, const T* bias, const T* c_previous, T* gates,
                                       T* c, T* h) {
  for_each_unit<T>(hidden, [=](auto at) {
    const auto input = logistic(at(gates) + at(bias));
    const auto forget = logistic(at(gates + hidden) + at(bias + hidden));
    const auto cell = hyperbolic_tangent(at(gates + 2 * hidden) + at(bias + 2 * hidden));
    const auto output = logistic(at(gates + 3 * hidden) + at(bias + 3 * hidden));
    const auto state = forget * at(c_previous) + input * cell;
    at.put(gates, input);
    at.put(gates + hidden, forget);
    at.put(gates + 2 * hidden, cell);
    at.put(gates + 3 * hidden, output);
    at.put(c, state);
    at.put(h, output * hyperbolic_tangent(state));
  });
}

// h = output gate * tanh(c), as lstm_row computed it.
template <class T>
[[gnu::noinline]] static void lstm_output_row(Int hidden, const T* gates, const T* c, T* h) {
  for_each_unit<T>(hidden,
                   [=](auto at) { at.put(h, at(gates + 3 * hidden) * hyperbolic_tangent(at(c))); });
}

// candidate: in the recurrent product of the new gate, out the same with its bias.
template <class T>
[[gnu::noinline]] static void gru_row(Int hidden, const T* bias, const T* h_previous, T* gates,
                                      T* candidate, T* h) {
  for_each_unit<T>(hidden, [=](auto at) {
    const auto reset = logistic(at(gates) + at(bias));
    const auto update = logistic(at(gates + hidden) + at(bias + hidden));
    const auto recurrent = at(candidate) + at(bias + 2 * hidden);
    const auto fresh = hyperbolic_tangent(at(gates + 2 * hidden) + reset * recurrent);
    at.put(gates, reset);
    at.put(gates + hidden, update);
    at.put(gates + 2 * hidden, fresh);
    at.put(candidate, recurrent);
    at.put(h, fresh + update * (at(h_previous) - fresh));
  });
}

template <class T>
[[gnu::noinline]] static void rnn_tanh_row(Int hidden, const T* bias, T* h) {
  for_each_unit<T>(hidden, [=](auto at) { at.put(h, hyperbolic_tangent(at(h) + at(bias))); });
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
  for_each_unit<T>(hidden, [=](auto at) {
    const auto input = at(gates), forget = at(gates + hidden), cell = at(gates + 2 * hidden),
               output = at(gates + 3 * hidden), squashed = hyperbolic_tangent(at(c));
    const auto grad = at(grad_c) + at(grad_h) * output * (T{1} - squashed * squashed);
    at.put(grad_gates, grad * cell * input * (T{1} - input));
    at.put(grad_gates + hidden, grad * at(c_previous) * forget * (T{1} - forget));
    at.put(grad_gates + 2 * hidden, grad * input * (T{1} - cell * cell));
    at.put(grad_gates + 3 * hidden, at(grad_h) * squashed * output * (T{1} - output));
    at.put(grad_c, grad * forget);
  });
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
