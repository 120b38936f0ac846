// Softmax: exp(x - max) / sum(exp(x - max)), so that nothing overflows.
//
// A row (inner == 1) is reduced in vector lanes that are folded at the end; otherwise neighbouring
// columns of the inner dimension are taken side by side, one per lane. What is left of them, fewer
// than a vector, is gathered into rows. Each row or column belongs to one task.
#include "softmax.h"

#include "../host_memory.h"
#include "../softmax_row.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
[[gnu::noinline]] static void softmax_row(T* y, const T* x, std::int64_t count, bool log,
                                          bool stream, T* scratch) {
  const T shift = largest_of(x, count);
  if (log) {
    const T log_sum = std::log(sum_exponentials<T, false>(nullptr, x, count, shift));
    write_row(y, count, stream, [=](auto at) { return at(x) - shift - log_sum; });
    return;
  }
  T* terms = stream ? scratch : y;
  const T scale = T{1} / sum_exponentials<T, true>(terms, x, count, shift);
  write_row(y, count, stream, [=](auto at) { return at(terms) * scale; });
}

// With s = sum(grad) for the logarithm, sum(grad * y) otherwise:
//   log_softmax: grad_x = grad - exp(y) * s        softmax: grad_x = (grad - s) * y
template <class T>
[[gnu::noinline]] static void backward_row(T* grad_x, const T* grad, const T* y, std::int64_t count,
                                           bool log, bool stream) {
  if (log) {
    const T sum = sum_row<T>(count, [=](auto at) { return at(grad); });
    write_row(grad_x, count, stream,
              [=](auto at) { return at(grad) - exponential_below<T>(at(y)) * sum; });
    return;
  }
  const T sum = sum_row<T>(count, [=](auto at) { return at(grad) * at(y); });
  write_row(grad_x, count, stream, [=](auto at) { return (at(grad) - sum) * at(y); });
}

// --- columns: kVectors vectors of neighbours, `step` elements apart along the reduced dimension
// ---

template <class T, int kVectors, class Body>
TILEGRAD_INLINE void each_vector(std::int64_t length, std::int64_t step, const Body& body) {
  for (std::int64_t i = 0; i < length; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) body(v, i * step + v * kLanes<T>);
}

template <class T, int kVectors>
[[gnu::noinline]] static void softmax_columns(T* y, const T* x, std::int64_t length,
                                              std::int64_t step, bool log) {
  Vec<T> shift[kVectors], sum[kVectors], log_sum[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    shift[v] = splat(kMinusInfinity<T>);
    sum[v] = Vec<T>{};
  }
  each_vector<T, kVectors>(length, step, [&](int v, std::int64_t at) {
    const Vec<T> value = load(x + at);
    shift[v] = value > shift[v] ? value : shift[v];  // a NaN is caught by the sum
  });
  each_vector<T, kVectors>(length, step, [&](int v, std::int64_t at) {
    const Vec<T> term = exponential_below<T>(load(x + at) - shift[v]);
    sum[v] += term;
    if (!log) store(y + at, term);
  });
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v)
    for (int lane = 0; lane < kLanes<T>; ++lane) log_sum[v][lane] = std::log(sum[v][lane]);
  each_vector<T, kVectors>(length, step, [&](int v, std::int64_t at) {
    store(y + at, log ? load(x + at) - shift[v] - log_sum[v] : load(y + at) / sum[v]);
  });
}

template <class T, int kVectors>
[[gnu::noinline]] static void backward_columns(T* grad_x, const T* grad, const T* y,
                                               std::int64_t length, std::int64_t step, bool log) {
  Vec<T> sum[kVectors]{};
  each_vector<T, kVectors>(length, step, [&](int v, std::int64_t at) {
    sum[v] += log ? load(grad + at) : load(grad + at) * load(y + at);
  });
  if (log)
    each_vector<T, kVectors>(length, step, [&](int v, std::int64_t at) {
      store(grad_x + at, load(grad + at) - exponential_below<T>(load(y + at)) * sum[v]);
    });
  else
    each_vector<T, kVectors>(length, step, [&](int v, std::int64_t at) {
      store(grad_x + at, (load(grad + at) - sum[v]) * load(y + at));
    });
}

// --- tasks
// ----------------------------------------------------------------------------------------

// Calls run(offset, width) for every row (width 1), or every group of at most 4 vectors of
// columns.
template <class T, class Args, class Task>
static void for_each_part(const Args& args, const Task& run) {
  constexpr std::int64_t kGroup = 4 * kLanes<T>;
  const std::int64_t groups = (args.inner + kGroup - 1) / kGroup;
  const std::int64_t work = std::max<std::int64_t>(1, args.length * std::min(args.inner, kGroup));
  parallel_for(args.outer * groups, std::max<std::int64_t>(1, kGrain / 4 / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % groups * kGroup;
                   run(task / groups * args.length * args.inner + first,
                       std::min(kGroup, args.inner - first));
                 }
                 finish_stream();
               });
}

template <class T>
static bool streams(std::int64_t outer, std::int64_t length, std::int64_t inner) {
  return inner == 1 && outer * length * static_cast<std::int64_t>(sizeof(T)) >= kStreamBytes;
}

// A column as a row, and back.
template <class T>
static const T* gather(T* row, const T* column, std::int64_t length, std::int64_t step) {
  for (std::int64_t i = 0; i < length; ++i) row[i] = column[i * step];
  return row;
}
template <class T>
static void scatter(T* column, const T* row, std::int64_t length, std::int64_t step) {
  for (std::int64_t i = 0; i < length; ++i) column[i * step] = row[i];
}

template <class T>
static T* row_scratch(std::int64_t elements) {
  return static_cast<T*>(thread_scratch(static_cast<std::size_t>(elements) * sizeof(T)));
}

template <class T>
static void forward(const Softmax& args) {
  const std::int64_t n = args.length, step = args.inner;
  const bool stream = streams<T>(args.outer, n, step);
  for_each_part<T>(args, [&](std::int64_t offset, std::int64_t width) {
    T* y = static_cast<T*>(args.y) + offset;
    const T* x = static_cast<const T*>(args.x) + offset;
    if (step == 1)
      return softmax_row(y, x, n, args.log, stream, stream ? row_scratch<T>(n) : nullptr);
    if (width == 4 * kLanes<T>) return softmax_columns<T, 4>(y, x, n, step, args.log);
    std::int64_t j = 0;
    for (; j + kLanes<T> <= width; j += kLanes<T>)
      softmax_columns<T, 1>(y + j, x + j, n, step, args.log);
    T* row = j < width ? row_scratch<T>(n) : nullptr;
    for (; j < width; ++j) {
      softmax_row(row, gather(row, x + j, n, step), n, args.log, false, row);
      scatter(y + j, row, n, step);
    }
  });
}

template <class T>
static void backward(const SoftmaxBackward& args) {
  const std::int64_t n = args.length, step = args.inner;
  const bool stream = streams<T>(args.outer, n, step);
  for_each_part<T>(args, [&](std::int64_t offset, std::int64_t width) {
    T* grad_x = static_cast<T*>(args.grad_x) + offset;
    const T *grad = static_cast<const T*>(args.grad) + offset,
            *y = static_cast<const T*>(args.y) + offset;
    if (step == 1) return backward_row(grad_x, grad, y, n, args.log, stream);
    if (width == 4 * kLanes<T>) return backward_columns<T, 4>(grad_x, grad, y, n, step, args.log);
    std::int64_t j = 0;
    for (; j + kLanes<T> <= width; j += kLanes<T>)
      backward_columns<T, 1>(grad_x + j, grad + j, y + j, n, step, args.log);
    T* row = j < width ? row_scratch<T>(2 * n) : nullptr;
    for (; j < width; ++j) {
      gather(row, grad + j, n, step);
      backward_row(row, row, gather(row + n, y + j, n, step), n, args.log, false);
      scatter(grad_x + j, row, n, step);
    }
  });
}

void softmax(const Softmax& args) {
  args.dtype == DType::float32 ? forward<float>(args) : forward<double>(args);
}

void softmax_backward(const SoftmaxBackward& args) {
  args.dtype == DType::float32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
