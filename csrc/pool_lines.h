// Rows of images dealt out to lines, one for each element of a stride: what one tap meets in
// neighbouring windows lies side by side in them. Included once per instruction set.
#pragma once

#include <algorithm>

#include "ops/pool.h"
#include "pool_pairs.h"
#include "row_sums.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static constexpr std::int64_t kMaxTaps = 255;           // numbers of taps fit a byte
static constexpr std::int64_t kStripBytes = 40 * 1024;  // the lines of a strip stay near

template <class T>
struct Lines {
  explicit Lines(const Pool& pool) : p(pool), stride(pool.width.stride) {
    const PoolAxis& w = p.width;
    if (w.out == 1) stride = 1;  // it has no meaning, and may be huge
    const std::int64_t last = (w.kernel - 1) * w.dilation / stride;
    // The outputs of a row and what lies right of them, up to whole registers.
    length = (w.out + last + 2 * kLanes<T> - 1) / kLanes<T> * kLanes<T>;
    size = stride * length;
    reach = std::clamp<std::int64_t>(size - w.pad, 0, w.in);
  }

  // How many output rows to take at once if an input row needs `row` elements.
  static std::int64_t strip(const PoolAxis& height, std::int64_t row) {
    const std::int64_t rows = kStripBytes / (row * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t outputs = (rows - height.span()) / height.stride + 1;
    return std::clamp<std::int64_t>(outputs, 1, height.out);
  }
  // Where tap j of the first window is; that of window o lies o elements further.
  std::int64_t offset(std::int64_t tap) const {
    return tap * p.width.dilation % stride * length + tap * p.width.dilation / stride;
  }
  // Where a column of the input is.
  std::int64_t place(std::int64_t column) const {
    return (column + p.width.pad) % stride * length + (column + p.width.pad) / stride;
  }

  // Deals out rows of the input; the padding around them is left as it is.
  [[gnu::noinline]] void deal(const T* x, std::int64_t rows, T* to) const {
    const std::int64_t in = p.width.in, width = size, count = reach, step = stride;
    T *first = to + place(0), *second = to + place(1);
    for (std::int64_t row = 0; row < rows; ++row, x += in) {
      if (step == 1) map_row(first, count, [x](auto at) { return at(x); });
      else if (step == 2) deal_pairs(x, count, first, second);
      else deal_any(x, to + row * width);
      first += width;
      second += width;
    }
  }

  const Pool& p;
  std::int64_t stride, length, size, reach;  // the last: columns that windows reach

 private:
  [[gnu::always_inline]] static void deal_pairs(const T* x, std::int64_t count, T* even, T* odd) {
    using P = Pack<T, kLanes<T>>;
    constexpr typename P::Mask evens = P::even(typename P::Numbers{});
    constexpr typename P::Mask odds = P::odd(typename P::Numbers{});
    std::int64_t i = 0;
    for (; i + 2 * kLanes<T> <= count; i += 2 * kLanes<T>) {
      const Vec<T> left = load(x + i), right = load(x + i + kLanes<T>);
      store<T>(even + i / 2, __builtin_shuffle(left, right, evens));
      store<T>(odd + i / 2, __builtin_shuffle(left, right, odds));
    }
    // By pairs: with a choice of pointers GCC 12 loses i under -fsanitize=undefined.
    for (; i + 1 < count; i += 2) {
      even[i / 2] = x[i];
      odd[i / 2] = x[i + 1];
    }
    if (i < count) even[i / 2] = x[i];
  }
  void deal_any(const T* x, T* to) const {
    for (std::int64_t phase = 0; phase < std::min(stride, reach); ++phase) {
      T* line = to + place(phase);
      for (std::int64_t i = phase; i < reach; i += stride) *line++ = x[i];
    }
  }
};

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
