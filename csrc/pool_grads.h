// Gradients of maxima over windows that may overlap, in whole registers. Included once per
// instruction set.
//
// For a row of the input, each column of the windows has a line: what the windows give to it, one
// element per window, from all rows of windows that reach the row. The row is then put together of
// its lines, each shifted by its column.
#pragma once

#include "host_memory.h"
#include "pool_lines.h"
#include "pool_tasks.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kGradKernel = 5;  // rows and columns of a window, at most
static constexpr std::int64_t kGradRows = 8;    // rows of the input whose lines are made at once

// The workspace of one task.
template <class T>
struct GradLines {
  explicit GradLines(const Pool& pool) : p(pool) {
    const PoolAxis& w = p.width;
    padded = (w.out + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
    // Lines have zeros on both sides, as far as shifts and whole registers reach.
    margin = (w.kernel - 1) * w.dilation / w.stride + 1;
    length = margin + std::max(padded, (w.in + w.pad) / w.stride + 1) + 2 * kLanes<T>;
    whole = padded == w.out;
  }
  std::size_t bytes() const {
    const std::int64_t lines = kGradRows * p.width.kernel * length;
    return static_cast<std::size_t>(lines + 2 * p.height.out * padded) * sizeof(T);
  }
  void use(void* memory) {
    lines = static_cast<T*>(memory);
    grads = lines + kGradRows * p.width.kernel * length;
    places = reinterpret_cast<std::uint8_t*>(grads + p.height.out * padded);
    std::fill_n(lines, kGradRows * p.width.kernel * length, T{0});
    std::fill_n(grads, 2 * p.height.out * padded, T{0});
  }
  // The gradient and the taps of a plane in rows of whole registers: themselves or copies.
  void take(const T* y, const std::uint8_t* from) {
    grad = whole ? y : grads;
    taps = whole ? from : places;
    for (std::int64_t row = 0; !whole && row < p.height.out; ++row) {
      std::copy_n(y + row * p.width.out, p.width.out, grads + row * padded);
      std::copy_n(from + row * p.width.out, p.width.out, places + row * padded);
    }
  }

  const Pool& p;
  std::int64_t padded, margin, length;
  bool whole;
  T *lines, *grads;
  std::uint8_t* places;
  const T* grad = nullptr;
  const std::uint8_t* taps = nullptr;
};

// Whether it pays: small windows side by side, in rows that fill a register.
template <class T>
static bool has_grad_lines(const Pool& p) {
  return p.depth.trivial() && p.width.stride <= 2 && p.width.out >= kLanes<T> / 2 &&
         p.width.kernel <= kGradKernel && p.height.kernel <= kGradKernel;
}

// The lines of row `row` of the input. kKernel 0: any number of columns.
template <class T, int kKernel>
[[gnu::noinline]] static void make_lines(const GradLines<T>& g, std::int64_t row, T* lines) {
  typedef std::uint8_t Bytes __attribute__((vector_size(kLanes<T>)));
  const PoolAxis h = g.p.height;
  const std::int64_t kernel = kKernel ? kKernel : g.p.width.kernel;
  std::int64_t offset[kGradKernel], first[kGradKernel], count = 0;  // rows of windows, and taps
  for (std::int64_t b = 0; b < h.kernel; ++b) {
    const std::int64_t start = row + h.pad - b * h.dilation;
    if (start < 0 || start % h.stride != 0 || start / h.stride >= h.out) continue;
    offset[count] = start / h.stride * g.padded;
    first[count++] = b * kernel;
  }
  lines += g.margin;
  const std::int64_t length = g.length, padded = g.padded;
  const T* grads = g.grad;
  const std::uint8_t* taps = g.taps;
  for (std::int64_t o = 0; o < padded; o += kLanes<T>) {
    Vec<T> sums[kKernel ? kKernel : kGradKernel] = {};
    for (std::int64_t k = 0; k < count; ++k) {
      Bytes bytes;
      std::memcpy(&bytes, taps + offset[k] + o, sizeof(bytes));
      const Vec<T> grad = load(grads + offset[k] + o);
      VecInt<T> tap = __builtin_convertvector(bytes, VecInt<T>) - static_cast<int>(first[k]);
#pragma GCC unroll 5
      for (std::int64_t c = 0; c < kernel; ++c, tap -= 1)
        sums[c] += keep<T>(tap == VecInt<T>{}, grad);
    }
#pragma GCC unroll 5
    for (std::int64_t c = 0; c < kernel; ++c) store<T>(lines + c * length + o, sums[c]);
  }
}

// kLanes elements of one phase of a row, from element i of that phase on.
template <class T>
TILEGRAD_INLINE Vec<T> join(const T* lines, std::int64_t length, const std::int64_t* shifts,
                            const std::int64_t* columns, std::int64_t count, std::int64_t i) {
  Vec<T> sum{};
  for (std::int64_t k = 0; k < count; ++k)
    sum += load(lines + columns[k] * length + i - shifts[k]);
  return sum;
}

// A row of the input from its lines.
template <class T>
[[gnu::noinline]] static void join_lines(const GradLines<T>& g, const T* lines, T* x, bool past) {
  const PoolAxis& w = g.p.width;
  const std::int64_t stride = w.stride, length = g.length, in = w.in;
  std::int64_t shifts[2][kGradKernel], columns[2][kGradKernel], count[2] = {0, 0}, base[2];
  for (std::int64_t phase = 0; phase < stride; ++phase) {  // elements phase, phase + stride, ...
    base[phase] = g.margin + (phase + w.pad) / stride;
    for (std::int64_t c = 0; c < w.kernel; ++c) {
      if ((c * w.dilation) % stride != (phase + w.pad) % stride) continue;
      shifts[phase][count[phase]] = c * w.dilation / stride;
      columns[phase][count[phase]++] = c;
    }
  }
  const auto element = [&](std::int64_t phase, std::int64_t i) {
    return join<T>(lines, length, shifts[phase], columns[phase], count[phase], base[phase] + i);
  };
  std::int64_t i = 0;
  if (stride == 1) {
    for (; i + kLanes<T> <= in; i += kLanes<T>) store(x + i, element(0, i));
    const Vec<T> rest = element(0, i);
    for (std::int64_t k = 0; i + k < in; ++k) x[i + k] = rest[k];
    return;
  }
  for (; i + 2 * kLanes<T> <= in; i += 2 * kLanes<T>)
    store_zipped<T, kLanes<T>>(x + i, element(0, i / 2), element(1, i / 2), past);
  if (i == in) return;
  const Vec<T> even = element(0, i / 2), odd = element(1, i / 2);
  for (std::int64_t k = 0; i + k < in; ++k) x[i + k] = k % 2 ? odd[k / 2] : even[k / 2];
}

// x from y and taps, for the planes of a task.
template <class T>
static void max_grad_of_planes(const Pool& p, std::int64_t begin, std::int64_t end, bool past) {
  GradLines<T> g(p);
  g.use(thread_scratch(g.bytes()));
  const std::int64_t size = p.width.kernel * g.length;
  for (std::int64_t plane = begin; plane < end; ++plane) {
    g.take(static_cast<const T*>(p.y) + plane * p.out_size(), p.taps + plane * p.out_size());
    T* x = static_cast<T*>(p.x) + plane * p.in_size();
    for (std::int64_t top = 0; top < p.height.in; top += kGradRows) {
      const std::int64_t rows = std::min(kGradRows, p.height.in - top);
      for (std::int64_t k = 0; k < rows; ++k)
        p.width.kernel == 3 ? make_lines<T, 3>(g, top + k, g.lines + k * size)
                            : make_lines<T, 0>(g, top + k, g.lines + k * size);
      for (std::int64_t k = 0; k < rows; ++k)
        join_lines(g, g.lines + k * size, x + (top + k) * p.width.in, past);
    }
  }
  finish_streams();
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
