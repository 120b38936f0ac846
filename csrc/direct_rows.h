// Depthwise 3x3 filters with stride 1 on planes wider than a register, read where they lie.
//
// What a tap meets is a row of the source at a constant offset; only at the two ends of a row does
// it look beyond, and there a masked load gives zeros without touching memory. So nothing is copied
// between zeros first, as strips.h must: copying took a quarter of its time. A step computes four
// rows of targets, one register wide, from six rows of the source, and walks along the rows as
// memory is fetched. Only AVX-512 masks loads at no cost. Included once per instruction set.
#pragma once

#include "conv_epilogue.h"
#include "parallel.h"
#include "strips.h"
#include "vec.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
struct DirectRows;

#if defined(__AVX512F__)

static inline Vec<float> load_masked(const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}
static inline Vec<double> load_masked(const double* from, __mmask8 mask) {
  return _mm512_maskz_loadu_pd(mask, from);
}
static inline void store_masked(float* to, __mmask16 mask, Vec<float> value) {
  _mm512_mask_storeu_ps(to, mask, value);
}
static inline void store_masked(double* to, __mmask8 mask, Vec<double> value) {
  _mm512_mask_storeu_pd(to, mask, value);
}

// The geometry of one direction: target (i, j) meets source (i + r - pad_y, j + s - pad_x) through
// tap (r, s).
template <class T>
struct DirectRows {
  using Mask = std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8>;
  static constexpr Int kMostBlocks = 64;
  static constexpr int kBand = 4;  // rows of targets at once

  Int source_height, source_width, height, width, pad_y, pad_x, blocks;
  struct Masks {  // of the lanes that have a target, and of those whose tap meets the source
    Mask target, of_tap[3];
  } masks[kMostBlocks];

  static bool fits(const Conv2d& c) {
    const bool filter = c.kernel_height == 3 && c.kernel_width == 3 && c.out_channels == 1;
    const bool simple =
        c.stride_y == 1 && c.stride_x == 1 && c.dilation_y == 1 && c.dilation_x == 1;
    const Int narrow = std::min(c.in_width, c.out_width), wide = std::max(c.in_width, c.out_width);
    return filter && simple && narrow >= kLanes<T> && wide <= kMostBlocks * kLanes<T>;
  }

  // Forward, or with `reversed` from the output's gradient to the input's.
  DirectRows(const Conv2d& c, bool reversed)
      : source_height(reversed ? c.out_height : c.in_height),
        source_width(reversed ? c.out_width : c.in_width),
        height(reversed ? c.in_height : c.out_height),
        width(reversed ? c.in_width : c.out_width),
        pad_y(reversed ? 2 - c.pad_y : c.pad_y),
        pad_x(reversed ? 2 - c.pad_x : c.pad_x),
        blocks(divide_up(width, kLanes<T>)) {
    for (Int b = 0; b < blocks; ++b) {
      const Int first = b * kLanes<T>;
      masks[b].target = lanes_between(0, width - first);
      for (Int s = 0; s < 3; ++s) {
        const Int from = first + s - pad_x;
        masks[b].of_tap[s] = lanes_between(-from, source_width - from) & masks[b].target;
      }
    }
  }

  static Mask lanes_between(Int first, Int last) {
    Mask mask = 0;
    for (Int i = 0; i < kLanes<T>; ++i) mask |= (i >= first && i < last) << i;
    return mask;
  }

  Int size() const { return height * width; }
  Int source_size() const { return source_height * source_width; }

  // Calls band(integral constant rows, first row) for all rows of targets.
  template <class Band>
  void for_each_band(const Band& band) const {
    Int row = 0;
    for (; row + kBand <= height; row += kBand) band(std::integral_constant<int, kBand>(), row);
    for (; row < height; ++row) band(std::integral_constant<int, 1>(), row);
  }

  // Calls visit(r, s, elements) for every tap column of the source rows below each other that
  // kRows rows of targets meet; rows above and below the plane are left out.
  template <int kRows, class Visit>
  [[gnu::always_inline]] void for_each_source(const T* plane, Int row, Int block,
                                              const Visit& visit) const {
    const Int first = row - pad_y;
    const T* at = plane + first * source_width + block * kLanes<T> - pad_x;
    const Masks& mask = masks[block];
    const auto rows = [&](const auto& exists) {
#pragma GCC unroll 6
      for (int r = 0; r < kRows + 2; ++r)
        if (exists(r))
#pragma GCC unroll 3
          for (int s = 0; s < 3; ++s)
            visit(r, s, load_masked(at + r * source_width + s, mask.of_tap[s]));
    };
    if (first >= 0 && first + kRows + 2 <= source_height) rows([](int) { return true; });
    else rows([&](int r) { return first + r >= 0 && first + r < source_height; });
  }

  // One plane of targets.
  [[gnu::noinline]] void convolve(const T* source, const T* weight, bool reversed, T bias,
                                  T* target) const {
    Vec<T> factor[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) factor[t] = Vec<T>{} + weight[reversed ? 8 - t : t];
    for_each_band([&](auto count, Int row) {
      constexpr int rows = count;
      for (Int b = 0; b < blocks; ++b) {
        Vec<T> sum[rows];
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) sum[i] = Vec<T>{} + bias;
        for_each_source<rows>(source, row, b, [&](int r, int s, Vec<T> x) {
#pragma GCC unroll 4
          for (int i = 0; i < rows; ++i)
            if (r - i >= 0 && r - i < 3) sum[i] += factor[(r - i) * 3 + s] * x;
        });
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i)
          store_masked(target + (row + i) * width + b * kLanes<T>, masks[b].target, sum[i]);
      }
    });
  }

  // sums[t] += output gradients times what tap t meets; the last sums are of the gradients alone.
  [[gnu::noinline]] void correlate(const T* x, const T* grad, T* sums) const {
    Vec<T> sum[10];
#pragma GCC unroll 10
    for (int t = 0; t < 10; ++t) sum[t] = load(sums + t * kLanes<T>);
    for_each_band([&](auto count, Int row) {
      constexpr int rows = count;
      for (Int b = 0; b < blocks; ++b) {
        Vec<T> g[rows];
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
          g[i] = load_masked(grad + (row + i) * width + b * kLanes<T>, masks[b].target);
          sum[9] += g[i];
        }
        for_each_source<rows>(x, row, b, [&](int r, int s, Vec<T> elements) {
#pragma GCC unroll 4
          for (int i = 0; i < rows; ++i)
            if (r - i >= 0 && r - i < 3) sum[(r - i) * 3 + s] += g[i] * elements;
        });
      }
    });
#pragma GCC unroll 10
    for (int t = 0; t < 10; ++t) store(sums + t * kLanes<T>, sum[t]);
  }
};

// The forward pass, or with reversed filters the gradient for the inputs.
template <class T>
static void direct_convolve(const Conv2d& c, const T* source, bool reversed, const T* bias,
                            T* target) {
  const DirectRows<T> d(c, reversed);
  const ConvEpilogue<T> after = reversed ? ConvEpilogue<T>{} : ConvEpilogue<T>::of(c);
  const T* weight = static_cast<const T*>(c.weight);
  const Int grain = std::max<Int>(1, 32768 / d.size());
  parallel_for(c.batch * c.groups, grain, [&](Int begin, Int end) {
    for (Int plane = begin; plane < end; ++plane) {
      const Int channel = plane % c.groups;
      T* to = target + plane * d.size();
      d.convolve(source + plane * d.source_size(), weight + channel * 9, reversed,
                 bias ? bias[channel] : T{0}, to);
      if (after) after.apply(channel, to, d.size());
    }
  });
}

// The gradient of the weights.
template <class T>
static void direct_correlate(const Conv2d& c) {
  constexpr Int block = 8;  // channels side by side in memory
  const DirectRows<T> d(c, false);
  const T *x = static_cast<const T*>(c.x), *y = static_cast<const T*>(c.y);
  parallel_for(divide_up(c.groups, block) * c.parts, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int part = task % c.parts, first = task / c.parts * block;
      const Int channels = std::min(block, c.groups - first);
      alignas(64) T sums[block][10 * kLanes<T>] = {};
      for (Int image = c.batch * part / c.parts; image < c.batch * (part + 1) / c.parts; ++image)
        for (Int k = 0; k < channels; ++k) {
          const Int plane = image * c.groups + first + k;
          d.correlate(x + plane * d.source_size(), y + plane * d.size(), sums[k]);
        }
      for (Int k = 0; k < channels; ++k)
        for (Int t = 0; t < 10; ++t) {
          T total = 0;
          for (int i = 0; i < kLanes<T>; ++i) total += sums[k][t * kLanes<T> + i];
          if (t < 9) c.weight_of_part<T>(part)[(first + k) * 9 + t] = total;
          else if (c.bias_gradient) c.bias_of_part<T>(part)[first + k] = total;
        }
    }
  });
}

#endif

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
