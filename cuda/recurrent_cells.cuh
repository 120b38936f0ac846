// What the gates of recurrent cells do to one unit of one sequence, forward and backward.
#pragma once

#include "ops/recurrent.h"

namespace tilegrad::cuda {

template <class T>
static __device__ T logistic(T x) {
  return T{1} / (T{1} + exp(-x));
}

// The gates of a unit lie `hidden` apart: in the projections of the input, out the activations.
// product: the recurrent products with their biases.
template <class T>
static __device__ T lstm_unit(T* gates, std::int64_t hidden, const T (&product)[4], T c_previous,
                              T& c) {
  const T input = logistic(gates[0] + product[0]);
  const T forget = logistic(gates[hidden] + product[1]);
  const T cell = tanh(gates[2 * hidden] + product[2]);
  const T output = logistic(gates[3 * hidden] + product[3]);
  c = forget * c_previous + input * cell;
  gates[0] = input;
  gates[hidden] = forget;
  gates[2 * hidden] = cell;
  gates[3 * hidden] = output;
  return output * tanh(c);
}

template <class T>
static __device__ T gru_unit(T* gates, std::int64_t hidden, const T (&product)[3], T h_previous) {
  const T reset = logistic(gates[0] + product[0]);
  const T update = logistic(gates[hidden] + product[1]);
  const T fresh = tanh(gates[2 * hidden] + reset * product[2]);
  gates[0] = reset;
  gates[hidden] = update;
  gates[2 * hidden] = fresh;
  return fresh + update * (h_previous - fresh);
}

template <class T>
static __device__ T rnn_unit(bool relu, T sum) {
  if (relu) return sum < T{0} ? T{0} : sum;  // NaN stays
  return tanh(sum);
}

// grad_c: in the gradient of c, out that of c_previous. Writes the gradients of the four sums.
template <class T>
static __device__ void lstm_unit_backward(const T* gates, std::int64_t hidden, T c, T c_previous,
                                          T grad_h, T& grad_c, T* grad_gates) {
  const T input = gates[0], forget = gates[hidden], cell = gates[2 * hidden],
          output = gates[3 * hidden];
  const T squashed = tanh(c);
  const T grad = grad_c + grad_h * output * (T{1} - squashed * squashed);
  grad_gates[0] = grad * cell * input * (T{1} - input);
  grad_gates[hidden] = grad * c_previous * forget * (T{1} - forget);
  grad_gates[2 * hidden] = grad * input * (T{1} - cell * cell);
  grad_gates[3 * hidden] = grad_h * squashed * output * (T{1} - output);
  grad_c = grad * forget;
}

// grad_h: in the gradient of h, out the part of h_previous's that skips the product. The new gate's
// product has a gradient of its own.
template <class T>
static __device__ void gru_unit_backward(const T* gates, std::int64_t hidden, T candidate,
                                         T h_previous, T& grad_h, T* grad_gates, T* grad_product) {
  const T reset = gates[0], update = gates[hidden], fresh = gates[2 * hidden];
  const T grad_fresh = grad_h * (T{1} - update) * (T{1} - fresh * fresh);
  const T grad_update = grad_h * (h_previous - fresh) * update * (T{1} - update);
  const T grad_reset = grad_fresh * candidate * reset * (T{1} - reset);
  grad_gates[0] = grad_product[0] = grad_reset;
  grad_gates[hidden] = grad_product[hidden] = grad_update;
  grad_gates[2 * hidden] = grad_fresh;
  grad_product[2 * hidden] = grad_fresh * reset;
  grad_h *= update;
}

template <class T>
static __device__ T rnn_unit_backward(bool relu, T h, T grad_h) {
  if (relu) return h <= T{0} ? T{0} : grad_h;
  return grad_h * (T{1} - h * h);
}

}  // namespace tilegrad::cuda
