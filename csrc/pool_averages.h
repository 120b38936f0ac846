// Averages over windows of any kind: the rows of a window are added up first. Included once per
// instruction set.
#pragma once

#include "host_memory.h"
#include "pool_tasks.h"
#include "row_sums.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The part of a row of windows inside the input, and by how many rows averages are divided.
struct RowRange {
  std::int64_t first, last, divisor;

  RowRange(const PoolAxis& axis, bool count_include_pad, std::int64_t o)
      : first(axis.first(o)), last(axis.last(o)) {
    // The padding counts, but not what a window of ceil_mode reaches beyond it.
    const std::int64_t padded = std::min(axis.end(o), axis.in + axis.pad) - axis.start(o);
    divisor = count_include_pad ? padded : last - first;
  }
  bool empty() const { return first >= last; }
};

// One number per column: what to multiply a window's sum with, before the rows are counted.
template <class T>
struct Averages {
  Averages(const Pool& pool, T* memory) : p(pool), columns(memory), line(memory + pool.width.out) {
    for (std::int64_t o = 0; o < p.width.out; ++o) {
      const RowRange range(p.width, p.count_include_pad, o);
      const bool nothing = range.empty() && !p.width.adaptive;
      columns[o] = p.divisor ? T{1} : nothing ? T{0} : T{1} / static_cast<T>(range.divisor);
    }
  }
  // A row of the input, with the padding on both sides and room for the last windows.
  static std::int64_t line_size(const Pool& p) {
    const PoolAxis& w = p.width;
    return std::max(w.pad + w.in, (w.adaptive ? 0 : (w.out - 1) * w.stride) + w.kernel);
  }
  static std::size_t bytes(const Pool& p) {
    return static_cast<std::size_t>(p.width.out + line_size(p)) * sizeof(T);
  }
  // By what the sums of windows with these rows are multiplied, beside columns[o].
  T factor(const RowRange& z, const RowRange& y) const {
    if (p.divisor) return T{1} / static_cast<T>(p.divisor);
    const bool nothing = (z.empty() || y.empty()) && !p.width.adaptive;
    return nothing ? T{0} : T{1} / static_cast<T>(z.divisor * y.divisor);
  }

  const Pool& p;
  T *columns, *line;
};

// y[o] = factor * columns[o] * sum of the line over window o, for windows of fixed shape; kStride
// or kKernel 0: any.
template <class T, int kStride, int kKernel>
[[gnu::noinline]] static void sum_windows(const PoolAxis& w, const T* line, const T* columns,
                                          T factor, T* y) {
  const std::int64_t stride = kStride ? kStride : w.stride;
  const std::int64_t kernel = kKernel ? kKernel : w.kernel;
#pragma GCC ivdep
  for (std::int64_t o = 0; o < w.out; ++o) {
    T sum = 0;
#pragma GCC unroll 3
    for (std::int64_t j = 0; j < kernel; ++j) sum += line[o * stride + j];
    y[o] = sum * (factor * columns[o]);
  }
}

template <class T, int kStride>
static void spread_windows(const PoolAxis& w, T* line, const T* parts) {
  const std::int64_t stride = kStride ? kStride : w.stride;
  for (std::int64_t j = 0; j < w.kernel; ++j)
#pragma GCC ivdep
    for (std::int64_t o = 0; o < w.out; ++o) line[o * stride + j] += parts[o];
}

template <class T>
static void avg_row(const Averages<T>& averages, T factor, T* y) {
  const PoolAxis& w = averages.p.width;
  const T* line = averages.line;
  const T* columns = averages.columns;
  if (w.adaptive)
    for (std::int64_t o = 0; o < w.out; ++o) {
      T sum = 0;
      for (std::int64_t j = w.first(o); j < w.last(o); ++j) sum += line[j];
      y[o] = sum * (factor * columns[o]);
    }
  else if (w.kernel == 3 && w.stride == 1) sum_windows<T, 1, 3>(w, line, columns, factor, y);
  else if (w.kernel == 3 && w.stride == 2) sum_windows<T, 2, 3>(w, line, columns, factor, y);
  else if (w.kernel == 2 && w.stride == 2) sum_windows<T, 2, 2>(w, line, columns, factor, y);
  else sum_windows<T, 0, 0>(w, line, columns, factor, y);
}

// The reverse: the line from y.
template <class T>
[[gnu::noinline]] static void avg_grad_row(const Averages<T>& averages, T factor, const T* y,
                                           T* parts) {
  const PoolAxis& w = averages.p.width;
  T* line = averages.line;
  std::fill_n(line, Averages<T>::line_size(averages.p), T{0});
  for (std::int64_t o = 0; o < w.out; ++o) parts[o] = y[o] * (factor * averages.columns[o]);
  if (w.adaptive)
    for (std::int64_t o = 0; o < w.out; ++o)
      for (std::int64_t j = w.first(o); j < w.last(o); ++j) line[j] += parts[o];
  else if (w.stride == 1) spread_windows<T, 1>(w, line, parts);
  else if (w.stride == 2) spread_windows<T, 2>(w, line, parts);
  else spread_windows<T, 0>(w, line, parts);
}

template <class T>
[[gnu::noinline]] static void add_to(T* sum, const T* row, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) sum[i] += row[i];
}

// Calls visit(row of the plane) for the rows under a row of windows.
template <class Visit>
static void for_each_row_under(const RowRange& z, const RowRange& y, const Visit& visit) {
  for (std::int64_t i = z.first; i < z.last; ++i)
    for (std::int64_t j = y.first; j < y.last; ++j) visit(i, j);
}

// The sum of the rows under a row of windows; three at once, the commonest number, in one pass.
template <class T>
[[gnu::noinline]] static void sum_rows(const Pool& p, const T* x, const RowRange& z,
                                       const RowRange& y, T* line) {
  const std::int64_t count = p.width.in;
  if (z.last - z.first == 1 && y.last - y.first == 3) {
    const T* row = x + (z.first * p.height.in + y.first) * count;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) line[i] = row[i] + row[count + i] + row[2 * count + i];
    return;
  }
  std::fill_n(line, count, T{0});
  for_each_row_under(z, y, [&](std::int64_t i, std::int64_t j) {
    add_to(line, x + (i * p.height.in + j) * count, count);
  });
}

template <class T>
static void avg_pool_any(const Pool& p) {
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    const Averages<T> averages(p, static_cast<T*>(thread_scratch(Averages<T>::bytes(p))));
    std::fill_n(averages.line, Averages<T>::line_size(p), T{0});  // the padding stays
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const T* x = static_cast<const T*>(p.x) + plane * p.in_size();
      T* out = static_cast<T*>(p.y) + plane * p.out_size();
      for_each_output_row(p, [&](std::int64_t row, std::int64_t oz, std::int64_t oy) {
        const RowRange z(p.depth, p.count_include_pad, oz), y(p.height, p.count_include_pad, oy);
        sum_rows(p, x, z, y, averages.line + p.width.pad);
        avg_row(averages, averages.factor(z, y), out + row * p.width.out);
      });
    }
  });
}

template <class T>
static void avg_pool_grad_any(const Pool& p) {
  const std::size_t parts_at = Averages<T>::bytes(p);
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    char* memory = static_cast<char*>(
        thread_scratch(parts_at + static_cast<std::size_t>(p.width.out) * sizeof(T)));
    const Averages<T> averages(p, reinterpret_cast<T*>(memory));
    T* parts = reinterpret_cast<T*>(memory + parts_at);
    for (std::int64_t plane = begin; plane < end; ++plane) {
      T* x = static_cast<T*>(p.x) + plane * p.in_size();
      const T* out = static_cast<const T*>(p.y) + plane * p.out_size();
      std::fill_n(x, p.in_size(), T{0});
      for_each_output_row(p, [&](std::int64_t row, std::int64_t oz, std::int64_t oy) {
        const RowRange z(p.depth, p.count_include_pad, oz), y(p.height, p.count_include_pad, oy);
        avg_grad_row(averages, averages.factor(z, y), out + row * p.width.out, parts);
        for_each_row_under(z, y, [&](std::int64_t i, std::int64_t j) {
          add_to(x + (i * p.height.in + j) * p.width.in, averages.line + p.width.pad, p.width.in);
        });
      });
    }
  });
}

// Windows of 4 x 4 side by side that cover the whole input.
static bool fours(const Pool& p) {
  const auto covers = [](const PoolAxis& axis) {
    return axis.kernel == 4 && axis.stride == 4 && axis.pad == 0 && axis.dilation == 1 &&
           4 * axis.out == axis.in && !axis.adaptive;
  };
  return p.depth.trivial() && covers(p.height) && covers(p.width);
}

// `rows` rows of windows, whose inputs lie side by side, of one plane or of several.
template <class T>
[[gnu::noinline]] static void avg_fours_rows(std::int64_t rows, std::int64_t in, T share,
                                             const T* x, T* y, T* line) {
  for (std::int64_t row = 0; row < rows; ++row, x += 4 * in, y += in / 4) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < in; ++i)
      line[i] = x[i] + x[in + i] + x[2 * in + i] + x[3 * in + i];
#pragma GCC ivdep
    for (std::int64_t o = 0; o < in / 4; ++o)
      y[o] = (line[4 * o] + line[4 * o + 1] + line[4 * o + 2] + line[4 * o + 3]) * share;
  }
}
template <class T>
[[gnu::noinline]] static void avg_fours_grad_rows(std::int64_t rows, std::int64_t in, T share, T* x,
                                                  const T* y, T* line) {
  for (std::int64_t row = 0; row < rows; ++row, x += 4 * in, y += in / 4) {
#pragma GCC ivdep
    for (std::int64_t o = 0; o < in / 4; ++o) {
      const T part = y[o] * share;
      line[4 * o] = line[4 * o + 1] = line[4 * o + 2] = line[4 * o + 3] = part;
    }
#pragma GCC ivdep
    for (std::int64_t i = 0; i < in; ++i)
      x[i] = x[in + i] = x[2 * in + i] = x[3 * in + i] = line[i];
  }
}

template <class T, bool kGradient>
static void avg_fours(const Pool& p) {
  const T share = T{1} / static_cast<T>(p.divisor ? p.divisor : 16);
  const std::int64_t in = p.width.in, size = p.in_size();
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    T* line = static_cast<T*>(thread_scratch(static_cast<std::size_t>(in) * sizeof(T)));
    T *x = static_cast<T*>(p.x) + begin * size, *y = static_cast<T*>(p.y) + begin * size / 16;
    const std::int64_t rows = (end - begin) * p.height.out;
    if constexpr (kGradient) avg_fours_grad_rows<T>(rows, in, share, x, y, line);
    else avg_fours_rows<T>(rows, in, share, x, y, line);
  });
}

// One window that is the whole plane.
static bool whole(const Pool& p) {
  return p.depth.whole() && p.height.whole() && p.width.whole() && p.in_size() > 0 &&
         (p.count_include_pad || p.divisor || p.depth.pad + p.height.pad + p.width.pad == 0);
}

template <class T>
static T share_of_plane(const Pool& p) {
  const auto size = [](const PoolAxis& axis) { return RowRange(axis, true, 0).divisor; };
  return T{1} /
         static_cast<T>(p.divisor ? p.divisor : size(p.depth) * size(p.height) * size(p.width));
}

template <class T>
static void avg_planes(const Pool& p) {
  const T share = share_of_plane<T>(p);
  for_each_plane<T>(p, [&](const T* x, T* y, std::int64_t) {
    *y = sum_lanes<T>(add_row<T>(Vec<T>{}, p.in_size(), [x](auto place) { return place(x); })) *
         share;
  });
}

template <class T>
static void avg_planes_grad(const Pool& p) {
  const T share = share_of_plane<T>(p);
  for_each_plane<T>(p, [&](T* x, const T* y, std::int64_t) {
    const Vec<T> part = splat(*y * share);
    map_row(x, p.in_size(), [part](auto) { return part; });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
