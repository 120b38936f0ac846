// The geometry of a depthwise convolution, and the windows that its kernels read.
//
// The planes of neighbouring channels stand side by side in a strip, as many as fill vectors well,
// so that a vector of a row belongs to one plane of a wide image or to several narrow ones. Between
// two planes lie the zeros of the padding, shared as the right edge of one and the left edge of
// the next. A stride sorts the elements by their remainder, into one such window for each, and then
// every tap sees its inputs at a constant offset. Included once per instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "ops/depthwise.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

using Int = std::int64_t;

static inline Int divide_up(Int a, Int b) { return (a + b - 1) / b; }

// One direction. Target t = f + m * target_step of phase f is the sum over some taps of the window
// of the tap's phase at m + shift; there lies source element (m + shift) * source_step + phase -
// origin. One of the steps is the stride of the convolution, the other one 1.
struct StripAxis {
  static constexpr int kMaxTaps = 256;
  struct Tap {
    Int tap, target_phase, source_phase, shift;
  };

  Int source, target, source_step, target_step, origin;
  Int count;      // targets of a phase, rounded up
  Int reach = 0;  // the largest shift
  Int taps;
  Tap tap[kMaxTaps];  // by ascending shift

  Int target_phases() const { return std::min(target_step, target); }
  // The window of phase f holds source elements at [first, last), zeros elsewhere.
  Int first(Int f) const { return std::max<Int>(0, divide_up(origin - f, source_step)); }
  Int last(Int f) const {
    return std::clamp<Int>(divide_up(source + origin - f, source_step), first(f), size());
  }
  Int size() const { return count + reach; }

  // `grad`: from the outputs to the inputs, with the taps in reversed order.
  StripAxis(bool grad, Int in, Int out, Int kernel, Int stride, Int pad, Int dilation)
      : source(grad ? out : in),
        target(grad ? in : out),
        source_step(grad ? 1 : stride),
        target_step(grad ? stride : 1),
        origin(pad),
        count(divide_up(target, target_step)),
        taps(kernel) {
    if (grad) origin = divide_up((kernel - 1) * dilation - pad, stride);
    for (Int i = 0; i < kernel; ++i) {
      const Int t = grad ? kernel - 1 - i : i, at = t * dilation;
      if (grad) {  // input f + m * stride meets the tap at output m + (f + pad - at) / stride
        const Int f = ((at - pad) % stride + stride) % stride;
        tap[i] = {t, f, 0, (f + pad - at) / stride + origin};
      } else {
        tap[i] = {t, 0, at % stride, at / stride};
      }
      reach = std::max(reach, tap[i].shift);
    }
  }
};

// What all tasks of a kernel share.
struct Strips {
  StripAxis y, x;
  Int lanes, channels;     // of the arrays with one plane per group
  Int planes;              // of a strip
  Int plane_pitch, pitch;  // from plane to plane and from row to row in a window
  Int tail;                // zeros behind the last plane
  Int blocks;              // vectors in a row
  Int rows;                // of a full band, in rows of one target phase
  Int windows;             // source planes that one target needs: filters of a channel, or 1
  Int window_rows;         // of each window; there is one for each phase and source plane

  Strips(const Conv2d& c, bool grad, int vector_lanes)
      : y(grad, c.in_height, c.out_height, c.kernel_height, c.stride_y, c.pad_y, c.dilation_y),
        x(grad, c.in_width, c.out_width, c.kernel_width, c.stride_x, c.pad_x, c.dilation_x),
        lanes(vector_lanes),
        channels(c.groups),
        windows(grad ? c.out_channels : 1) {
    plane_pitch = 0;
    for (Int f = 0; f < x.source_step; ++f)
      plane_pitch = std::max({plane_pitch, x.last(f), x.size() - x.first(f)});
    tail = x.size() - plane_pitch;
    planes = best_planes();
    blocks = blocks_of(planes);
    pitch = divide_up(std::max(planes * plane_pitch, blocks * lanes), lanes) * lanes;
    constexpr Int window_elements = 6144;  // stays in L1
    const Int of_row = y.source_step * x.source_step * windows * pitch;
    rows = std::clamp<Int>(window_elements / of_row - y.reach, 8, std::max<Int>(y.count, 8));
    rows = std::min(rows, y.count);
    window_rows = rows + y.reach;
  }

  Int blocks_of(Int n) const { return divide_up((n - 1) * plane_pitch + x.count, lanes); }

  // Planes side by side leave fewer lanes idle, but have to be taken apart again.
  Int best_planes() const {
    Int best = 1;
    double best_share = 0;
    for (Int n = 1; n <= std::min<Int>(8, channels); ++n) {
      const double all = static_cast<double>(blocks_of(n) * lanes);
      const double share = static_cast<double>(n * x.count) / all * (n == 1 ? 1.2 : 1.0);
      if (share > best_share * 1.02) best = n, best_share = share;
    }
    return best;
  }

  Int window_size() const { return window_rows * pitch; }
  Int window_count() const { return windows * y.source_step * x.source_step; }
  // Reading behind a row, and writing of whole vectors, may go beyond the last window.
  Int window_elements() const { return window_count() * window_size() + x.reach + 2 * lanes; }
  Int tile_size() const { return rows * pitch; }
  Int tile_elements() const { return y.target_step * x.target_step * tile_size() + lanes; }
  Int strips() const { return divide_up(channels, planes); }
  // Whether results go to memory as they are: what a row spills is overwritten by the next one.
  bool is_direct() const {
    return planes == 1 && y.target_step == 1 && x.target_step == 1 && 2 * x.target >= lanes;
  }
};

// Lane i is all ones for i < count.
template <class T>
static inline Vec<T> keep_first(Vec<T> value, Int count) {
  typedef int Bits __attribute__((vector_size(TILEGRAD_VECTOR_BYTES)));
  static constexpr int table[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0};
  Bits bits, mask;
  std::memcpy(&bits, &value, sizeof(bits));
  std::memcpy(&mask, table + 16 - count * static_cast<Int>(sizeof(T) / sizeof(int)), sizeof(mask));
  bits &= mask;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

// The first `count` elements of a vector, zeros in the others; reads no element from `end` on.
template <class T>
static inline Vec<T> load_first(const T* from, Int count, const T* end) {
  if (end - from >= kLanes<T>) return keep_first<T>(load(from), count);
  Vec<T> value = {};
  std::memcpy(&value, from, static_cast<std::size_t>(count) * sizeof(T));
  return value;
}

// Both write whole vectors: what they spill beyond `count` is overwritten by the next call.
template <class T>
static inline void put_zeros(T* to, Int count) {
  for (Int i = 0; i < count; i += kLanes<T>) store(to + i, Vec<T>{});
}
template <class T>
static inline void put_row(T* to, const T* from, Int count, const T* end) {
  Int i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) store(to + i, load(from + i));
  if (i < count) store(to + i, load_first(from + i, count - i, end));
}

template <class T>
static inline void put_every(T* to, const T* from, Int step, Int count, const T* end) {
  if (step == 1) return put_row(to, from, count, end);
  if (step == 2)
    for (Int i = 0; i < count; ++i) to[i] = from[2 * i];
  else
    for (Int i = 0; i < count; ++i) to[i] = from[i * step];
}

// Fills the windows of the band whose targets begin at row `first` of their phases. `from` is the
// first source plane of the strip, of which there are `planes`, `plane_step` elements apart, and
// `windows` follow each other; `end` is the end of the whole array.
template <class T>
static void fill_windows(const Strips& s, const T* from, Int planes, Int plane_step, Int first,
                         const T* end, T* window) {
  const Int plane_size = s.y.source * s.x.source;
  for (Int w = 0; w < s.windows; ++w, from += plane_size)
    for (Int fy = 0; fy < s.y.source_step; ++fy)
      for (Int fx = 0; fx < s.x.source_step; ++fx, window += s.window_size()) {
        const Int begin = s.x.first(fx), stop = s.x.last(fx);
        const Int column = begin * s.x.source_step + fx - s.x.origin;
        for (Int row = 0; row < s.window_rows; ++row) {
          const Int y = (first + row) * s.y.source_step + fy - s.y.origin;
          T* to = window + row * s.pitch;
          if (y < 0 || y >= s.y.source || begin == stop) {
            put_zeros(to, s.pitch);
            continue;
          }
          const T* source = from + y * s.x.source + column;
          for (Int p = 0; p < planes; ++p, to += s.plane_pitch, source += plane_step) {
            put_zeros(to, begin);
            put_every(to + begin, source, s.x.source_step, stop - begin, end);
            put_zeros(to + stop, s.plane_pitch - stop);
          }
          put_zeros(to, s.tail);
        }
      }
}

// Takes the targets of a band out of the tile that holds them in the layout of a window: rows
// `first` and following of each phase, for `planes` planes from `to` on, `plane_step` apart.
template <class T>
static void empty_tile(const Strips& s, const T* tile, Int planes, Int plane_step, Int first,
                       T* to) {
  const Int step = s.x.target_step;
  const Int last = std::min((first + s.rows) * s.y.target_step, s.y.target);
  for (Int p = 0; p < planes; ++p, tile += s.plane_pitch, to += plane_step)
    for (Int y = first * s.y.target_step; y < last; ++y) {
      const Int row = y / s.y.target_step - first, phase = y % s.y.target_step * step;
      const T* from = tile + phase * s.tile_size() + row * s.pitch;
      T* target = to + y * s.x.target;
      if (step == 1) {
        const Int left = (last - y) * s.x.target;  // later rows overwrite what is spilled there
        for (Int i = 0; i < s.x.target; i += kLanes<T>)
          if (i + kLanes<T> <= left) store(target + i, load(from + i));
          else std::copy_n(from + i, s.x.target - i, target + i);
      } else if (step == 2) {
        const T* odd = from + s.tile_size();
        const Int pairs = s.x.target / 2;
        for (Int i = 0; i < pairs; ++i) target[2 * i] = from[i], target[2 * i + 1] = odd[i];
        if (s.x.target % 2) target[2 * pairs] = from[pairs];
      } else {
        for (Int i = 0; i < s.x.target; ++i) target[i] = from[i % step * s.tile_size() + i / step];
      }
    }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
