// Pooling: plain loops over windows. Windows may overlap, so a task takes whole planes; within one
// the order is that of the output.
#include "pool2d.h"

#include <cmath>
#include <limits>

#include "../parallel.h"
#include "../strided.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// visit(x plane, y plane, indices of the plane)
template <class T, class Visit>
static void for_each_plane(const Pool2d& p, const Visit& visit) {
  const std::int64_t size = std::max<std::int64_t>(1, p.in_size() + p.out_size());
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / size);
  parallel_for(p.planes, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane)
      visit(static_cast<T*>(p.x) + plane * p.in_size(), static_cast<T*>(p.y) + plane * p.out_size(),
            p.indices ? p.indices + plane * p.out_size() : nullptr);
  });
}

// visit(number of the output element, its row, its column)
template <class Visit>
static void for_each_output(const Pool2d& p, const Visit& visit) {
  std::int64_t at = 0;
  for (std::int64_t row = 0; row < p.vertical.out; ++row)
    for (std::int64_t column = 0; column < p.horizontal.out; ++column) visit(at++, row, column);
}

template <class T>
static void max_pool(const Pool2d& p) {
  const PoolAxis &v = p.vertical, &h = p.horizontal;
  for_each_plane<T>(p, [&](const T* x, T* y, std::int64_t* indices) {
    for_each_output(p, [&](std::int64_t at, std::int64_t row, std::int64_t column) {
      const std::int64_t first_y = v.first(row), last_y = v.last(row);
      const std::int64_t first_x = h.first(column), last_x = h.last(column);
      T best = -std::numeric_limits<T>::infinity();
      std::int64_t place = first_y * h.in + first_x;
      for (std::int64_t i = first_y; i < last_y; i += v.dilation)
        for (std::int64_t j = first_x; j < last_x; j += h.dilation) {
          const T value = x[i * h.in + j];
          if (value > best || std::isnan(value)) {  // NaN wins; the last one, as in PyTorch
            best = value;
            place = i * h.in + j;
          }
        }
      y[at] = best;
      indices[at] = place;
    });
  });
}

template <class T>
static void scatter(const Pool2d& p) {
  for_each_plane<T>(p, [&](T* x, const T* y, const std::int64_t* indices) {
    std::fill_n(x, p.in_size(), T{0});
    for (std::int64_t i = 0; i < p.out_size(); ++i) x[indices[i]] += y[i];
  });
}

template <class T>
static void gather(const Pool2d& p) {
  for_each_plane<T>(p, [&](const T* x, T* y, const std::int64_t* indices) {
    for (std::int64_t i = 0; i < p.out_size(); ++i) y[i] = x[indices[i]];
  });
}

// The part of a window inside the input, and the reciprocal weight of its elements.
struct Window {
  std::int64_t first_y, last_y, first_x, last_x, divisor;
};

static Window window_of(const Pool2d& p, std::int64_t row, std::int64_t column) {
  const PoolAxis &v = p.vertical, &h = p.horizontal;
  Window w{v.first(row), v.last(row), h.first(column), h.last(column), p.divisor};
  if (w.divisor != 0) return w;
  // The padding counts, but not what a window of ceil_mode reaches beyond it.
  const std::int64_t rows = std::min(v.end(row), v.in + v.pad) - v.start(row);
  const std::int64_t columns = std::min(h.end(column), h.in + h.pad) - h.start(column);
  w.divisor =
      p.count_include_pad ? rows * columns : (w.last_y - w.first_y) * (w.last_x - w.first_x);
  return w;
}

template <class T>
static void avg_pool(const Pool2d& p) {
  for_each_plane<T>(p, [&](const T* x, T* y, const std::int64_t*) {
    for_each_output(p, [&](std::int64_t at, std::int64_t row, std::int64_t column) {
      const Window w = window_of(p, row, column);
      T sum = 0;
      for (std::int64_t i = w.first_y; i < w.last_y; ++i)
        for (std::int64_t j = w.first_x; j < w.last_x; ++j) sum += x[i * p.horizontal.in + j];
      const bool empty = w.first_y >= w.last_y || w.first_x >= w.last_x;
      y[at] = empty && !p.vertical.adaptive ? T{0} : sum / static_cast<T>(w.divisor);
    });
  });
}

template <class T>
static void avg_pool_grad(const Pool2d& p) {
  for_each_plane<T>(p, [&](T* x, const T* y, const std::int64_t*) {
    std::fill_n(x, p.in_size(), T{0});
    for_each_output(p, [&](std::int64_t at, std::int64_t row, std::int64_t column) {
      const Window w = window_of(p, row, column);
      const T share = y[at] / static_cast<T>(w.divisor);
      for (std::int64_t i = w.first_y; i < w.last_y; ++i)
        for (std::int64_t j = w.first_x; j < w.last_x; ++j) x[i * p.horizontal.in + j] += share;
    });
  });
}

void max_pool2d(const Pool2d& args) {
  visit_floating(args.dtype, [&](auto t) { max_pool<typename decltype(t)::type>(args); });
}
void pool2d_scatter(const Pool2d& args) {
  visit_floating(args.dtype, [&](auto t) { scatter<typename decltype(t)::type>(args); });
}
void pool2d_gather(const Pool2d& args) {
  visit_floating(args.dtype, [&](auto t) { gather<typename decltype(t)::type>(args); });
}
void avg_pool2d(const Pool2d& args) {
  visit_floating(args.dtype, [&](auto t) { avg_pool<typename decltype(t)::type>(args); });
}
void avg_pool2d_grad(const Pool2d& args) {
  visit_floating(args.dtype, [&](auto t) { avg_pool_grad<typename decltype(t)::type>(args); });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
