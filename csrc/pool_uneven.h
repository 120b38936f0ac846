// Averages over adaptive windows whose sizes differ, and their gradients. Included once per
// instruction set.
//
// Forward and backward are one loop: each element of the result is the weighted sum of a range of
// the source in every direction. Rows are added up first, whole registers of columns at a time. As
// many rows as a register has lanes are then transposed, so that ranges of columns, which no
// register could collect where they differ in size, become ranges of registers.
#pragma once

#include "host_memory.h"
#include "pool_averages.h"
#include "pool_tasks.h"
#include "row_sums.h"
#include "transpose.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Cuts a block of memory into arrays of whole registers.
struct Cutter {
  char* memory;
  template <class E>
  E* take(std::int64_t count) {
    E* const taken = reinterpret_cast<E*>(memory);
    memory += bytes<E>(count);
    return taken;
  }
  template <class E>
  static std::size_t bytes(std::int64_t count) {
    return (static_cast<std::size_t>(count) * sizeof(E) + 63) / 64 * 64;
  }
};

template <class T>
static std::int64_t whole_registers(std::int64_t count) {
  return (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Along one direction: which elements of the source each element of the result takes.
struct Ranges {
  std::int64_t in, out;  // sizes of the source, of the result
  std::int64_t *first, *last;

  static std::size_t bytes(const PoolAxis& axis) {
    return 2 * Cutter::bytes<std::int64_t>(std::max(axis.in, axis.out));
  }
  // The elements under each window.
  static Ranges under(const PoolAxis& axis, Cutter& memory) {
    Ranges r(axis.in, axis.out, memory);
    for (std::int64_t o = 0; o < axis.out; ++o)
      r.first[o] = axis.first(o), r.last[o] = axis.last(o);
    return r;
  }
  // The windows over each element.
  static Ranges over(const PoolAxis& axis, Cutter& memory) {
    Ranges r(axis.out, axis.in, memory);
    std::int64_t first = 0, last = 0;
    for (std::int64_t i = 0; i < axis.in; ++i) {
      while (first < axis.out && axis.last(first) <= i) ++first;
      while (last < axis.out && axis.first(last) <= i) ++last;
      r.first[i] = first, r.last[i] = last;
    }
    return r;
  }

 private:
  Ranges(std::int64_t from, std::int64_t to, Cutter& memory)
      : in(from),
        out(to),
        first(memory.take<std::int64_t>(to)),
        last(memory.take<std::int64_t>(to)) {}
};

// The rows of the result, one after the other.
struct RowCursor {
  std::int64_t depth, height;  // rows of a plane
  std::int64_t plane, z = 0, y = 0;

  void next() {
    if (++y < height) return;
    y = 0;
    if (++z < depth) return;
    z = 0;
    ++plane;
  }
};

// What the sum over each window is multiplied with along this direction: 1 / its size, or 1 where
// there is a divisor.
template <class T>
static const T* window_shares(const Pool& p, const PoolAxis& axis, Cutter& memory) {
  T* const shares = memory.take<T>(axis.out);
  for (std::int64_t o = 0; o < axis.out; ++o) {
    const RowRange range(axis, p.count_include_pad, o);
    const bool nothing = range.empty() && !axis.adaptive;
    shares[o] = p.divisor ? T{1} : nothing ? T{0} : T{1} / static_cast<T>(range.divisor);
    if (p.divisor && &axis == &p.depth) shares[o] /= static_cast<T>(p.divisor);
  }
  return shares;
}

// The workspace of one task. With kGrad y is the source and each window's share is taken before
// adding up, else x is and it is taken afterwards.
template <class T, bool kGrad>
struct RangeSums {
  static constexpr std::int64_t lanes = kLanes<T>;

  RangeSums(const Pool& p, Cutter memory)
      : depth(ranges(p.depth, memory)),
        height(ranges(p.height, memory)),
        width(ranges(p.width, memory)),
        depth_share(window_shares<T>(p, p.depth, memory)),
        height_share(window_shares<T>(p, p.height, memory)),
        width_share(window_shares<T>(p, p.width, memory)),
        in(whole_registers<T>(width.in)),
        out(whole_registers<T>(width.out)),
        lines(memory.take<T>(lanes * in)),
        columns(memory.take<T>(lanes * in)),
        sums(memory.take<T>(lanes * out)),
        rows(memory.take<T>(lanes * out)) {
    std::fill_n(lines, lanes * in, T{0});
    std::fill_n(sums, lanes * out, T{0});
  }
  static std::size_t bytes(const Pool& p) {
    std::size_t total = 0;
    for (const PoolAxis* axis : {&p.depth, &p.height, &p.width})
      total += Ranges::bytes(*axis) + Cutter::bytes<T>(axis->out);
    const std::int64_t row = whole_registers<T>(p.width.in) + whole_registers<T>(p.width.out);
    return total + 2 * Cutter::bytes<T>(lanes * row) + 4 * 64;
  }
  static Ranges ranges(const PoolAxis& axis, Cutter& memory) {
    return kGrad ? Ranges::over(axis, memory) : Ranges::under(axis, memory);
  }

  const Ranges depth, height, width;
  const T *depth_share, *height_share, *width_share;  // of each window
  const std::int64_t in, out;                         // rows of whole registers
  T* const lines;                                     // (lanes, in): sums of rows of the source
  T* const columns;                                   // (in, lanes): the same, transposed
  T* const sums;                                      // (out, lanes)
  T* const rows;                                      // (lanes, out): rows of the result
};

// kCount registers from column c on: the sum of the rows of plane x that row (oz, oy) takes.
template <class T, bool kGrad, int kCount>
TILEGRAD_INLINE void sum_of_rows(const RangeSums<T, kGrad>& s, const T* x, std::int64_t oz,
                                 std::int64_t oy, T* line) {
  Vec<T> sums[kCount] = {};
  for (std::int64_t z = s.depth.first[oz]; z < s.depth.last[oz]; ++z)
    for (std::int64_t y = s.height.first[oy]; y < s.height.last[oy]; ++y) {
      const T* row = x + (z * s.height.in + y) * s.width.in;
      const T share = kGrad ? s.depth_share[z] * s.height_share[y] : T{1};
#pragma GCC unroll 4
      for (int k = 0; k < kCount; ++k) sums[k] += load(row + k * kLanes<T>) * share;
    }
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) store(line + k * kLanes<T>, sums[k]);
}

// The whole line. Its last register reads beyond the row, so `room` tells how many elements of x
// may be read; where they do not suffice, the line ends element by element.
template <class T, bool kGrad>
[[gnu::noinline]] static void line_of_rows(const RangeSums<T, kGrad>& s, const T* x,
                                           std::int64_t room, std::int64_t oz, std::int64_t oy,
                                           T* line) {
  constexpr std::int64_t lanes = kLanes<T>;
  const std::int64_t last_row =
      (s.depth.last[oz] - 1) * s.height.in + s.height.last[oy] - 1;  // it begins last
  const std::int64_t end = std::min(s.in, (room - last_row * s.width.in) / lanes * lanes);
  std::int64_t c = 0;
  for (; c + 4 * lanes <= end; c += 4 * lanes) sum_of_rows<T, kGrad, 4>(s, x + c, oz, oy, line + c);
  for (; c + lanes <= end; c += lanes) sum_of_rows<T, kGrad, 1>(s, x + c, oz, oy, line + c);
  for (; c < s.width.in; ++c) {
    T sum = 0;
    for (std::int64_t z = s.depth.first[oz]; z < s.depth.last[oz]; ++z)
      for (std::int64_t y = s.height.first[oy]; y < s.height.last[oy]; ++y)
        sum += x[(z * s.height.in + y) * s.width.in + c] *
               (kGrad ? s.depth_share[z] * s.height_share[y] : T{1});
    line[c] = sum;
  }
}

// The rows of the result from the lines; lane k is to be multiplied with shares[k].
template <class T, bool kGrad>
[[gnu::noinline]] static void sum_columns(const RangeSums<T, kGrad>& s, Vec<T> shares) {
  constexpr std::int64_t lanes = kLanes<T>;
  for (std::int64_t c = 0; c < s.in; c += lanes)
    transpose_square(s.lines + c, s.in, s.columns + c * lanes, lanes);
  if constexpr (kGrad)
    for (std::int64_t c = 0; c < s.width.in; ++c)
      store<T>(s.columns + c * lanes, load(s.columns + c * lanes) * s.width_share[c]);
  for (std::int64_t o = 0; o < s.width.out; ++o) {
    Vec<T> sum{};
    for (std::int64_t c = s.width.first[o]; c < s.width.last[o]; ++c)
      sum += load(s.columns + c * lanes);
    if constexpr (!kGrad) sum *= shares * s.width_share[o];
    store(s.sums + o * lanes, sum);
  }
  for (std::int64_t o = 0; o < s.out; o += lanes)
    transpose_square(s.sums + o * lanes, lanes, s.rows + o, s.out);
}

// Rows of `width` numbers, one after the other, from rows of whole registers. What a register
// writes beyond its row is overwritten by the next one; beyond `room` nothing is written.
template <class T>
[[gnu::noinline]] static void join_rows(const T* rows, std::int64_t stride, std::int64_t count,
                                        std::int64_t width, std::int64_t room, T* to) {
  constexpr std::int64_t lanes = kLanes<T>;
  for (std::int64_t k = 0; k < count; ++k, rows += stride, to += width, room -= width) {
    std::int64_t c = 0;
    for (; c < width && c + lanes <= room; c += lanes) store(to + c, load(rows + c));
    for (; c < width; ++c) to[c] = rows[c];
  }
}

template <class T, bool kGrad>
static void sum_ranges(const Pool& p) {
  const T* from = static_cast<const T*>(kGrad ? p.y : p.x);
  T* to = static_cast<T*>(kGrad ? p.x : p.y);
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    const RangeSums<T, kGrad> s(
        p, {static_cast<char*>(thread_scratch(RangeSums<T, kGrad>::bytes(p)))});
    const std::int64_t size = s.depth.in * s.height.in * s.width.in;
    std::int64_t rest = (end - begin) * s.depth.out * s.height.out;  // rows to come
    RowCursor at{s.depth.out, s.height.out, begin};
    T* y = to + begin * s.depth.out * s.height.out * s.width.out;
    for (; rest > 0; rest -= s.lanes, y += s.lanes * s.width.out) {
      const std::int64_t count = std::min(s.lanes, rest);
      Vec<T> shares{};
      for (std::int64_t k = 0; k < count; ++k, at.next()) {
        line_of_rows(s, from + at.plane * size, (p.planes - at.plane) * size, at.z, at.y,
                     s.lines + k * s.in);
        if constexpr (!kGrad) shares[k] = s.depth_share[at.z] * s.height_share[at.y];
      }
      sum_columns(s, shares);
      join_rows(s.rows, s.out, count, s.width.out, rest * s.width.out, y);
    }
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
