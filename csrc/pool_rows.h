// Maxima over any windows of fixed shape, in whole registers. Included once per instruction set.
//
// Each row of the input is dealt out to `stride` rows of a scratch memory, surrounded by padding,
// so that the elements which one tap meets in neighbouring windows lie side by side.
#pragma once

#include <bit>
#include <limits>

#include "ops/pool.h"
#include "row_sums.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kMaxTaps = 255;  // numbers of taps fit a byte

// The dealt rows of one plane. Each stays until a row that is `height` or `depth` windows further
// takes its slot; windows that overlap so find most of their rows dealt.
template <class T>
struct DealtRows {
  DealtRows(const Pool& p, char* memory)
      : pool(p),
        length(dealt_length(p)),
        rows(slot_count(p.height)),
        slices(slot_count(p.depth)),
        slots(slices * rows),
        held(reinterpret_cast<std::int64_t*>(memory)),
        bounds(held + slots),
        data(reinterpret_cast<T*>(memory + align((slots + 2 * p.width.stride) * 8))) {
    const std::int64_t stride = p.width.stride, pad = p.width.pad;
    for (std::int64_t phase = 0; phase < stride; ++phase) {
      const std::int64_t first = phase >= pad ? 0 : (pad - phase + stride - 1) / stride;
      const std::int64_t last = (p.width.in + pad - phase + stride - 1) / stride;
      bounds[2 * phase] = std::min(length, first);
      bounds[2 * phase + 1] = std::clamp(last, bounds[2 * phase], length);
    }
  }

  // At least the windows' span, and a power of two: a mask finds the slot.
  static std::int64_t slot_count(const PoolAxis& axis) {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(axis.span())));
  }
  static std::int64_t align(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }
  // Outputs of a row and what lies right of them, up to whole registers.
  static std::int64_t dealt_length(const Pool& p) {
    const PoolAxis& w = p.width;
    const std::int64_t last = (w.kernel - 1) * w.dilation / w.stride;
    return (w.out + last + 2 * kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  }
  static std::int64_t bytes(const Pool& p) {
    const std::int64_t slots = slot_count(p.depth) * slot_count(p.height);
    return align((slots + 2 * p.width.stride) * 8) +
           slots * p.width.stride * dealt_length(p) * static_cast<std::int64_t>(sizeof(T));
  }

  void start_plane(const T* x) {
    plane = x;
    std::fill_n(held, slots, std::int64_t{-1});
  }
  // Row y of slice z. Tap j of window o is at [offset(j) + o].
  const T* row(std::int64_t z, std::int64_t y) {
    const std::int64_t slot = (z & (slices - 1)) * rows + (y & (rows - 1));
    const std::int64_t number = z * pool.height.in + y;
    T* to = data + slot * pool.width.stride * length;
    if (held[slot] != number) deal(plane + number * pool.width.in, to);
    held[slot] = number;
    return to;
  }
  std::int64_t offset(std::int64_t tap) const {
    const std::int64_t at = tap * pool.width.dilation;
    return at % pool.width.stride * length + at / pool.width.stride;
  }

  const Pool& pool;
  std::int64_t length, rows, slices, slots;
  std::int64_t *held, *bounds;  // which rows are dealt; of a dealt row, what is not padding
  T* data;
  const T* plane = nullptr;

 private:
  [[gnu::noinline]] void deal(const T* x, T* to) const {
    const std::int64_t stride = pool.width.stride, pad = pool.width.pad;
    constexpr T kNothing = -std::numeric_limits<T>::infinity();
    for (std::int64_t phase = 0; phase < stride; ++phase, to += length) {
      // to[i] is x[i * stride + phase - pad].
      const std::int64_t begin = bounds[2 * phase], end = bounds[2 * phase + 1];
      const T* from = x + phase - pad;
      std::fill_n(to, begin, kNothing);
      if (stride == 1) std::copy_n(from + begin, end - begin, to + begin);
      else if (stride == 2)
        for (std::int64_t i = begin; i < end; ++i) to[i] = from[2 * i];
      else
        for (std::int64_t i = begin; i < end; ++i) to[i] = from[i * stride];
      std::fill_n(to + end, length - end, kNothing);
    }
  }
};

// The rows of one row of windows, and the number of the first tap in each.
template <class T>
struct WindowRows {
  const T* row[kMaxTaps];
  std::int64_t tap[kMaxTaps];
  std::int64_t count = 0;
};

// kLanes outputs: best and tap start as -inf and the first tap inside the input. NaN wins; of equal
// maxima the first one, of several NaN the last one, as in PyTorch.
// kKernel 0: windows of any width.
template <class T, int kKernel>
TILEGRAD_INLINE void max_of_rows(const WindowRows<T>& rows, const std::int64_t* offsets,
                                 std::int64_t width, std::int64_t o, Vec<T>& best, VecInt<T>& tap) {
  const std::int64_t kernel = kKernel ? kKernel : width;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T* row = rows.row[r] + o;
    VecInt<T> number = VecInt<T>{} + static_cast<int>(rows.tap[r]);
#pragma GCC unroll 3
    for (std::int64_t j = 0; j < kernel; ++j, number += 1) {
      const Vec<T> value = load(row + offsets[j]);
      const VecInt<T> wins = (value > best) | (value != value);
      best = wins ? value : best;
      tap = wins ? number : tap;
    }
  }
}

template <class T>
TILEGRAD_INLINE void store_part(T* address, Vec<T> value, std::int64_t count) {
  if (count >= kLanes<T>) return store(address, value);
  for (int k = 0; k < count; ++k) address[k] = value[k];
}

// One row of outputs, for windows of kKernel columns or, with 0, any number. Up to `room` elements
// may be written: what is too much is overwritten later.
template <class T, int kKernel>
[[gnu::noinline]] static void max_row(const WindowRows<T>& rows, const std::int64_t* offsets,
                                      const PoolAxis& width, const T* first_taps, std::int64_t room,
                                      T* y, std::uint8_t* taps) {
  typedef std::uint8_t Bytes __attribute__((vector_size(kLanes<T>)));
  const int first_row = rows.count > 0 ? static_cast<int>(rows.tap[0]) : 0;
  for (std::int64_t o = 0; o < width.out; o += kLanes<T>) {
    Vec<T> best = splat(-std::numeric_limits<T>::infinity());
    VecInt<T> tap = __builtin_convertvector(load(first_taps + o), VecInt<T>) + first_row;
    max_of_rows<T, kKernel>(rows, offsets, width.kernel, o, best, tap);
    const std::int64_t count = std::min<std::int64_t>(room - o, kLanes<T>);
    store_part(y + o, best, count);
    if (taps == nullptr) continue;
    const Bytes bytes = __builtin_convertvector(tap, Bytes);
    std::uint8_t buffer[kLanes<T>];
    std::memcpy(buffer, &bytes, sizeof(buffer));
    if (count >= kLanes<T>) std::memcpy(taps + o, buffer, sizeof(buffer));
    else std::copy_n(buffer, count, taps + o);
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
