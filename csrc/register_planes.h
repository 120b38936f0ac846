// Depthwise 3x3 filters on planes up to 15 wide, with the shifted inputs made in registers.
//
// Where the output has the size of the input, rows follow each other without gaps in both. What a
// tap meets is the plane shifted by at most a row and a column, less than a vector: one permutation
// of two neighbouring registers. Lanes whose column lies in the row before or behind are masked
// out, what lies above or below the plane is a register of zeros. Only AVX-512 permutes two
// registers freely; flat_planes.h does the same with memory. Included once per instruction set.
#pragma once

#include "conv_epilogue.h"
#include "host_memory.h"
#include "parallel.h"
#include "strips.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// The first `count` elements, zeros behind them; nothing else is read.
template <class T>
static inline Vec<T> load_first(const T* from, Int count) {
#if defined(__AVX512F__)
  const auto mask = static_cast<unsigned>((1ull << count) - 1);
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from);
  else return (Vec<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), from);
#else
  Vec<T> value{};
  for (Int i = 0; i < count; ++i) value[i] = from[i];
  return value;
#endif
}

template <class T>
static inline void store_first(T* to, Vec<T> value, Int count) {
#if defined(__AVX512F__)
  const auto mask = static_cast<unsigned>((1ull << count) - 1);
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>(mask), (__m512)value);
  else _mm512_mask_storeu_pd(to, static_cast<__mmask8>(mask), (__m512d)value);
#else
  for (Int i = 0; i < count; ++i) to[i] = value[i];
#endif
}

// Planes of one size, and what the taps do to them. Tap (r, c) meets the element (r - 1) * pitch +
// c - 1 behind each output's own.
template <class T>
struct RegisterPlanes {
  static constexpr Int kMostVectors = 64;
  Int pitch, size, vectors, tail;                     // the last vector holds `tail` elements
  Bits<T> index[9];                                   // into two registers
  alignas(64) T masks[2 * kMostVectors * kLanes<T>];  // lanes that see the left and right column

  static bool fits(const Conv2d& c) {
    const bool filter = c.kernel_height == 3 && c.kernel_width == 3 && c.out_channels == 1;
    const bool same = c.stride_y == 1 && c.stride_x == 1 && c.pad_y == 1 && c.pad_x == 1 &&
                      c.dilation_y == 1 && c.dilation_x == 1;
    return TILEGRAD_VECTOR_BYTES == 64 && filter && same && c.in_width >= 2 &&
           c.in_width < kLanes<T> && c.in_height * c.in_width <= kMostVectors * kLanes<T>;
  }

  explicit RegisterPlanes(const Conv2d& c) : pitch(c.in_width), size(c.in_height * c.in_width) {
    constexpr Int lanes = kLanes<T>;
    vectors = divide_up(size, lanes);
    tail = size - (vectors - 1) * lanes;
    for (int t = 0; t < 9; ++t) {
      const Int shift = (t / 3 - 1) * pitch + t % 3 - 1;
      for (int i = 0; i < lanes; ++i) index[t][i] = i + (shift < 0 ? lanes : 0) + shift;
    }
    for (Int i = 0; i < vectors * lanes; ++i) {
      const Int v = i / lanes * 2 * lanes, column = i % pitch;
      const Bits<T> all = ~Bits<T>{}, none{};
      std::memcpy(masks + v + i % lanes, column > 0 ? &all : &none, sizeof(T));
      std::memcpy(masks + v + lanes + i % lanes, column + 1 < pitch ? &all : &none, sizeof(T));
    }
  }

  // What tap t meets, from the registers of which the middle one holds the outputs' own places.
  [[gnu::always_inline]] static Vec<T> shifted(int t, Vec<T> before, Vec<T> own, Vec<T> behind,
                                               Bits<T> index) {
    if (t == 4) return own;
    return t < 4 ? __builtin_shuffle(before, own, index) : __builtin_shuffle(own, behind, index);
  }

  Vec<T> vector(const T* plane, Int v) const {
    if (v + 1 < vectors) return load(plane + v * kLanes<T>);
    return v + 1 == vectors ? load_first(plane + v * kLanes<T>, tail) : Vec<T>{};
  }

  // `count` planes that follow each other; each has nine weights and a bias, if any.
  [[gnu::noinline]] void convolve(const T* x, const T* weight, bool reversed, const T* bias,
                                  Int count, T* y) const {
    Bits<T> own_index[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) own_index[t] = index[t];
    for (Int plane = 0; plane < count; ++plane, x += size, y += size, weight += 9) {
      T factor[9];
#pragma GCC unroll 9
      for (int t = 0; t < 9; ++t) factor[t] = weight[reversed ? 8 - t : t];
      const Vec<T> start = Vec<T>{} + (bias ? bias[plane] : T{0});
      Vec<T> before{}, own = vector(x, 0);
      for (Int v = 0; v < vectors; ++v) {
        const Vec<T> behind = vector(x, v + 1);
        Vec<T> sum[3] = {Vec<T>{}, start, Vec<T>{}};
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t)
          sum[t % 3] += factor[t] * shifted(t, before, own, behind, own_index[t]);
        const T* mask = masks + v * 2 * kLanes<T>;
        const Vec<T> total = sum[1] + masked<T>(sum[0], (Bits<T>)load(mask)) +
                             masked<T>(sum[2], (Bits<T>)load(mask + kLanes<T>));
        if (v + 1 < vectors) store(y + v * kLanes<T>, total);
        else store_first(y + v * kLanes<T>, total, tail);
        before = own, own = behind;
      }
    }
  }

  // sums[t] += output gradients times what tap t meets, for planes `step` apart; the last sums are
  // of the gradients themselves.
  [[gnu::noinline]] void correlate(const T* x, const T* grad, Int step, Int count, T* sums) const {
    Bits<T> own_index[9];
    Vec<T> sum[9], sum_of_grads = load(sums + 9 * kLanes<T>);
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) {
      own_index[t] = index[t];
      sum[t] = load(sums + t * kLanes<T>);
    }
    for (Int plane = 0; plane < count; ++plane, x += step, grad += step) {
      Vec<T> before{}, own = vector(x, 0);
      for (Int v = 0; v < vectors; ++v) {
        const Vec<T> behind = vector(x, v + 1), all = vector(grad, v);
        sum_of_grads += all;
        const T* mask = masks + v * 2 * kLanes<T>;
        const Vec<T> of_column[3] = {masked<T>(all, (Bits<T>)load(mask)), all,
                                     masked<T>(all, (Bits<T>)load(mask + kLanes<T>))};
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t)
          sum[t] += of_column[t % 3] * shifted(t, before, own, behind, own_index[t]);
        before = own, own = behind;
      }
    }
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) store(sums + t * kLanes<T>, sum[t]);
    store(sums + 9 * kLanes<T>, sum_of_grads);
  }
};

// The forward pass, or with reversed filters the gradient for the inputs.
template <class T>
static void register_convolve(const Conv2d& c, const T* source, bool reversed, const T* bias,
                              T* target) {
  const RegisterPlanes<T> r(c);
  const ConvEpilogue<T> after = reversed ? ConvEpilogue<T>{} : ConvEpilogue<T>::of(c);
  const T* weight = static_cast<const T*>(c.weight);
  const Int channels = c.groups, grain = std::max<Int>(1, 32768 / r.size);
  parallel_for(c.batch * channels, grain, [&](Int begin, Int end) {
    for (Int plane = begin; plane < end;) {  // up to the last channel of an image
      const Int channel = plane % channels, count = std::min(end - plane, channels - channel);
      r.convolve(source + plane * r.size, weight + channel * 9, reversed,
                 bias ? bias + channel : nullptr, count, target + plane * r.size);
      for (Int k = 0; k < count && after; ++k)
        after.apply(channel + k, target + (plane + k) * r.size, r.size);
      plane += count;
    }
  });
}

// The gradient of the weights; false if one is infinite or NaN: then a lane that was masked out of
// the gradients, but not of the inputs, may be the cause.
template <class T>
static bool register_correlate(const Conv2d& c) {
  constexpr Int block = 8, images = 8;  // channels side by side in memory, images in a row
  const RegisterPlanes<T> r(c);
  const T *x = static_cast<const T*>(c.x), *y = static_cast<const T*>(c.y);
  bool invalid = false;
  parallel_for(divide_up(c.groups, block) * c.parts, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int part = task % c.parts, first = task / c.parts * block;
      const Int channels = std::min(block, c.groups - first), step = c.groups * r.size;
      const Int last = c.batch * (part + 1) / c.parts;
      alignas(64) T sums[block][10 * kLanes<T>] = {};
      for (Int image = c.batch * part / c.parts; image < last; image += images)
        for (Int k = 0; k < channels; ++k) {
          const Int at = (image * c.groups + first + k) * r.size;
          r.correlate(x + at, y + at, step, std::min(images, last - image), sums[k]);
        }
      T check = 0;
      for (Int k = 0; k < channels; ++k)
        for (Int t = 0; t < 10; ++t) {
          T total = 0;
          for (int i = 0; i < kLanes<T>; ++i) total += sums[k][t * kLanes<T> + i];
          check += T{0} * total;
          if (t < 9) c.weight_of_part<T>(part)[(first + k) * 9 + t] = total;
          else if (c.bias_gradient) c.bias_of_part<T>(part)[first + k] = total;
        }
      if (!(check == 0)) __atomic_store_n(&invalid, true, __ATOMIC_RELAXED);
    }
  });
  return !invalid;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
