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
#include "transpose.h"

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
  static constexpr Int kMostPlanes = 8, kMostBlocks = 32;  // of a strip with several planes

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
    for (Int n = 1; n <= std::min(kMostPlanes, channels); ++n) {
      const double all = static_cast<double>(blocks_of(n) * lanes);
      const double share = static_cast<double>(n * x.count) / all * (n == 1 ? 1.2 : 1.0);
      if (n > 1 && blocks_of(n) > kMostBlocks) break;
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

// The taps of each target phase, one phase after the other: where the window holds their inputs
// and which of the channel's weights they are.
struct Taps {
  Int offset[kDepthwiseTaps], weight[kDepthwiseTaps];
  Int begin[17];  // of each phase; the stride is at most 4
  Int count = 0;

  explicit Taps(const Strips& s) {
    Int phase = 0;
    for (Int fy = 0; fy < s.y.target_phases(); ++fy)
      for (Int fx = 0; fx < s.x.target_step; ++fx) {
        begin[phase++] = count;
        for (Int w = 0; w < s.windows; ++w) add_taps(s, w, fy, fx);
      }
    begin[phase] = count;
  }

  void add_taps(const Strips& s, Int w, Int fy, Int fx) {
    for (const StripAxis::Tap* y = s.y.tap; y < s.y.tap + s.y.taps; ++y)
      for (const StripAxis::Tap* x = s.x.tap; x < s.x.tap + s.x.taps; ++x) {
        if (y->target_phase != fy || x->target_phase != fx) continue;
        const Int window = (w * s.y.source_step + y->source_phase) * s.x.source_step;
        offset[count] =
            (window + x->source_phase) * s.window_size() + y->shift * s.pitch + x->shift;
        weight[count++] = (w * s.y.taps + y->tap) * s.x.taps + x->tap;
      }
  }
};

template <class T>
using Bits = decltype(Vec<T>{} < Vec<T>{});  // integers of the same size

// All ones in the lanes [begin, end).
template <class T>
static inline Bits<T> lanes_between(Int begin, Int end) {
  Bits<T> bits;
  for (int i = 0; i < kLanes<T>; ++i) bits[i] = i >= begin && i < end ? -1 : 0;
  return bits;
}

template <class T>
static inline Vec<T> masked(Vec<T> value, Bits<T> mask) {
  return (Vec<T>)((Bits<T>)value & mask);
}

template <class T, int... kLane>
static inline Vec<T> even_lanes(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane)...);
}

template <class T, int... kLane>
static inline Vec<T> odd_lanes(Vec<T> a, Vec<T> b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (2 * kLane + 1)...);
}

// from[0], from[kStep], ...; with kStep 2 the one element behind the last is read as well.
template <int kStep, class T>
static inline Vec<T> load_every(const T* from) {
  if constexpr (kStep == 1) return load(from);
  else
    return even_lanes<T>(load(from), load(from + kLanes<T>),
                         std::make_integer_sequence<int, kLanes<T>>{});
}

// Puts rows of a strip together in registers, where the planes' elements and the zeros between them
// meet, so that each vector is stored once. Columns [first, last) of a plane hold the elements
// shift + column * step of the source row.
template <class T>
struct RowBuilder {
  struct Piece {  // of one plane, for one vector
    Bits<T> mask;
    Int plane, from;  // what lane 0 would hold
  };

  Int first, last, step, shift, planes, plane_pitch, blocks, pitch;
  Int begin[Strips::kMostBlocks + 2];  // where each block's pieces begin, for several planes
  Piece pieces[Strips::kMostBlocks + Strips::kMostPlanes + 2];  // of one plane: its first and last

  void prepare(const Strips& s, Int first_column, Int last_column, Int source_step,
               Int source_shift) {
    first = first_column, last = last_column, step = source_step, shift = source_shift;
    planes = s.planes, plane_pitch = s.plane_pitch, pitch = s.pitch;
    blocks = s.pitch / s.lanes;
    if (planes == 1) {
      pieces[0] = piece(0, first / s.lanes);
      pieces[1] = piece(0, std::max<Int>(last - 1, 0) / s.lanes);
      return;
    }
    Int count = 0;
    blocks = std::min(blocks, Strips::kMostBlocks + 1);
    for (Int block = 0; block < blocks; ++block) {
      begin[block] = count;
      for (Int p = 0; p < planes; ++p) {
        const Int from = p * plane_pitch + first, to = p * plane_pitch + last;
        if (std::max(from, block * s.lanes) < std::min(to, (block + 1) * s.lanes))
          pieces[count++] = piece(p, block);
      }
    }
    begin[blocks] = count;
  }

  Piece piece(Int plane, Int block) const {
    const Int at = plane * plane_pitch - block * kLanes<T>;  // of the plane's column 0
    return {lanes_between<T>(at + first, at + last), plane, shift - at * step};
  }

  // Builds `rows` rows. `from` is the first one's source row in the first of `count` planes; rows
  // are `row_step` and planes `plane_step` apart. Whole vectors are read where the array, [array,
  // array_end), goes on far enough.
  void build(T* to, const T* from, Int rows, Int row_step, Int count, Int plane_step,
             const T* array, const T* array_end) const {
    if (rows <= 0) return;
    const Int length = (count - 1) * plane_step + shift + last * step;  // of a row
    const Int margin = 2 * kLanes<T> * step;
    const T* end = from + (rows - 1) * row_step + length;
    if (count == planes && step <= 2 && from - array >= margin && array_end - end >= margin) {
      if (step == 1) build_quickly<1>(to, from, rows, row_step, plane_step);
      else build_quickly<2>(to, from, rows, row_step, plane_step);
    } else if (rows > 1) {  // perhaps it is only the first row, or the last
      build(to, from, 1, row_step, count, plane_step, array, array_end);
      build(to + pitch, from + row_step, rows - 2, row_step, count, plane_step, array, array_end);
      build(to + (rows - 1) * pitch, from + (rows - 1) * row_step, 1, row_step, count, plane_step,
            array, array_end);
    } else {
      std::fill_n(to, pitch, T{0});
      for (Int p = 0; p < count; ++p, to += plane_pitch, from += plane_step)
        for (Int i = first; i < last; ++i) to[i] = from[shift + i * step];
    }
  }

  template <int kStep>
  void build_quickly(T* to, const T* from, Int rows, Int row_step, Int plane_step) const {
    constexpr Int lanes = kLanes<T>;
    if (planes > 1) {
      for (Int block = 0; block < blocks; ++block, to += lanes) {
        const Piece* p = pieces + begin[block];
        const Int count = begin[block + 1] - begin[block];
        if (count == 1) build_block<kStep, 1>(to, from, rows, row_step, plane_step, p);
        else if (count == 2) build_block<kStep, 2>(to, from, rows, row_step, plane_step, p);
        else if (count == 3) build_block<kStep, 3>(to, from, rows, row_step, plane_step, p);
        else build_any_block<kStep>(to, from, rows, row_step, plane_step, p, count);
      }
      return;
    }
    const Int first_block = first / lanes, last_block = (last - 1) / lanes;
    build_block<kStep, 1>(to + first_block * lanes, from, rows, row_step, 0, &pieces[0]);
    if (last_block > first_block)
      build_block<kStep, 1>(to + last_block * lanes, from, rows, row_step, 0, &pieces[1]);
    from += shift;
    for (Int row = 0; row < rows; ++row, to += pitch, from += row_step) {
      for (Int block = 0; block < first_block; ++block) store(to + block * lanes, Vec<T>{});
      for (Int block = first_block + 1; block < last_block; ++block)
        store(to + block * lanes, load_every<kStep>(from + block * lanes * kStep));
      for (Int block = last_block + 1; block < blocks; ++block) store(to + block * lanes, Vec<T>{});
    }
  }

  template <int kStep, int kPieces>
  void build_block(T* to, const T* from, Int rows, Int row_step, Int plane_step,
                   const Piece* p) const {
    const T* source[kPieces];
    Bits<T> mask[kPieces];
#pragma GCC unroll 3
    for (int i = 0; i < kPieces; ++i)
      source[i] = from + p[i].plane * plane_step + p[i].from, mask[i] = p[i].mask;
    for (Int row = 0, at = 0; row < rows; ++row, at += row_step) {
      Bits<T> value = {};
#pragma GCC unroll 3
      for (int i = 0; i < kPieces; ++i)
        value |= (Bits<T>)load_every<kStep>(source[i] + at) & mask[i];
      store(to + row * pitch, (Vec<T>)value);
    }
  }

  template <int kStep>
  void build_any_block(T* to, const T* from, Int rows, Int row_step, Int plane_step, const Piece* p,
                       Int count) const {
    for (Int row = 0; row < rows; ++row, from += row_step) {
      Bits<T> value = {};
      for (Int i = 0; i < count; ++i)
        value |= (Bits<T>)load_every<kStep>(from + p[i].plane * plane_step + p[i].from) & p[i].mask;
      store(to + row * pitch, (Vec<T>)value);
    }
  }
};

// Fills the windows of the band whose targets begin at row `first` of their phases. `from` is the
// first source plane of the strip, of which there are `planes`, `plane_step` elements apart;
// s.windows planes follow each other. There is a builder for each phase of the columns.
template <class T>
[[gnu::noinline]] static void fill_windows(const Strips& s, const RowBuilder<T>* builders,
                                           const T* from, Int planes, Int plane_step, Int first,
                                           const T* array, const T* array_end, T* window) {
  const Int plane_size = s.y.source * s.x.source, step = s.y.source_step;
  for (Int w = 0; w < s.windows; ++w, from += plane_size)
    for (Int fy = 0; fy < step; ++fy)
      for (Int fx = 0; fx < s.x.source_step; ++fx, window += s.window_size()) {
        const RowBuilder<T>& builder = builders[fx];
        const bool empty = builder.first == builder.last;
        const Int begin = std::clamp<Int>(s.y.first(fy) - first, 0, s.window_rows);
        const Int end = empty ? begin : std::clamp(s.y.last(fy) - first, begin, s.window_rows);
        std::fill_n(window, begin * s.pitch, T{0});
        const Int y = (first + begin) * step + fy - s.y.origin;
        builder.build(window + begin * s.pitch, from + y * s.x.source, end - begin,
                      step * s.x.source, planes, plane_step, array, array_end);
        std::fill_n(window + end * s.pitch, (s.window_rows - end) * s.pitch, T{0});
      }
}

// to[i] = from[i] for i < count; up to `space` elements may be written. A narrow row is copied with
// narrow vectors: whole ones would cross the cache lines.
template <int kBytes, class T>
static inline void copy_row(const T* from, Int count, Int space, T* to) {
  constexpr Int lanes = kBytes / sizeof(T);
  for (Int i = 0; i < count; i += lanes)
    if (i + lanes <= space) std::memcpy(to + i, from + i, kBytes);
    else std::copy_n(from + i, count - i, to + i);
}

// to[2i] = even[i], to[2i + 1] = odd[i], for `count` elements; writes up to `space`.
template <class T>
static inline void copy_pairs(const T* even, const T* odd, Int count, Int space, T* to) {
  constexpr Int lanes = kLanes<T>;
  using Lanes = std::make_integer_sequence<int, kLanes<T>>;
  for (Int i = 0; i < count; i += 2 * lanes, even += lanes, odd += lanes) {
    if (i + 2 * lanes <= space) {
      store(to + i, interleave<T, 0>(load(even), load(odd), Lanes{}));
      store(to + i + lanes, interleave<T, 1>(load(even), load(odd), Lanes{}));
    } else {
      for (Int k = i; k < count; ++k) to[k] = k % 2 ? odd[(k - i) / 2] : even[(k - i) / 2];
    }
  }
}

// Takes the targets of a band out of the tile that holds them in the layout of a window: rows
// `first` and following of each phase, for `planes` planes from `to` on, `plane_step` apart.
template <class T>
[[gnu::noinline]] static void empty_tile(const Strips& s, const T* tile, Int planes, Int plane_step,
                                         Int first, T* to) {
  const Int step = s.x.target_step, width = s.x.target, size = s.tile_size();
  const Int bytes = width * static_cast<Int>(sizeof(T));
  const Int begin = first * s.y.target_step;
  const Int rows = std::min(s.rows * s.y.target_step, s.y.target - begin);
  for (Int p = 0; p < planes; ++p, tile += s.plane_pitch, to += plane_step) {
    T* target = to + begin * width;
    Int space = rows * width, phase = 0;  // later rows overwrite what is written there
    for (const T* from = tile; space > 0; space -= width, target += width) {
      if (step == 1 && bytes <= 16) copy_row<16>(from, width, space, target);
      else if (step == 1 && bytes <= 32) copy_row<32>(from, width, space, target);
      else if (step == 1) copy_row<TILEGRAD_VECTOR_BYTES>(from, width, space, target);
      else if (step == 2) copy_pairs(from, from + size, width, space, target);
      else
        for (Int i = 0; i < width; ++i) target[i] = from[i % step * size + i / step];
      from += step * size;
      if (++phase == s.y.target_step) from += s.pitch - phase * step * size, phase = 0;
    }
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
