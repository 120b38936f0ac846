// Pooling of channels-last images: every element is a row of channels, so registers run over
// channels and windows need no rearranging. Included once per instruction set.
#pragma once

#include "pool_averages.h"
#include "pool_rows.h"
#include "pool_tasks.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Calls visit(element of x, number of the tap) for the taps of one window inside the input.
template <class Visit>
TILEGRAD_INLINE void for_each_element(const Pool& p, std::int64_t oz, std::int64_t oy,
                                      std::int64_t ox, const Visit& visit) {
  const PoolAxis &d = p.depth, &h = p.height, &w = p.width;
  for (std::int64_t z = d.first(oz), a = d.first_tap(oz); z < d.last(oz); z += d.dilation, ++a)
    for (std::int64_t y = h.first(oy), b = h.first_tap(oy); y < h.last(oy); y += h.dilation, ++b)
      for (std::int64_t x = w.first(ox), c = w.first_tap(ox); x < w.last(ox); x += w.dilation, ++c)
        visit((z * h.in + y) * w.in + x, (a * h.kernel + b) * w.kernel + c);
}

// Calls visit(image, oz, oy, output element in all) for the rows of y from begin to end.
template <class Visit>
TILEGRAD_INLINE void for_each_row_of_windows(const Pool& p, std::int64_t begin, std::int64_t end,
                                             const Visit& visit) {
  const std::int64_t rows = p.depth.out * p.height.out;
  for (std::int64_t row = begin; row < end; ++row)
    visit(row / rows, row % rows / p.height.out, row % p.height.out, row * p.width.out);
}

template <class Task>
static void for_each_window_row(const Pool& p, const Task& task) {
  const std::int64_t rows = p.planes * p.depth.out * p.height.out;
  const std::int64_t work = p.channels * (p.in_size() + p.out_size()) * p.planes;
  parallel_for(rows, std::max<std::int64_t>(1, kGrain * rows / std::max<std::int64_t>(1, work)),
               [&](std::int64_t begin, std::int64_t end) {
                 for_each_row_of_windows(p, begin, end, task);
                 finish_streams();
               });
}

// Whether every element of x is in exactly one window.
static bool tiles(const Pool& p) {
  const auto once = [](const PoolAxis& a) {
    return !a.adaptive && a.dilation == 1 && a.pad == 0 && a.stride == a.kernel &&
           a.out * a.stride == a.in;
  };
  return once(p.depth) && once(p.height) && once(p.width);
}

// Calls place(offset) for registers that cover the channels; the last two may overlap. Channels
// that do not fill a register are left to rest(channel).
template <class T, class Place, class Rest>
TILEGRAD_INLINE void for_each_register(std::int64_t channels, const Place& place,
                                       const Rest& rest) {
  if (channels < kLanes<T>) {
    for (std::int64_t c = 0; c < channels; ++c) rest(c);
    return;
  }
  for (std::int64_t c = 0; c + kLanes<T> <= channels; c += kLanes<T>) place(c);
  if (channels % kLanes<T> != 0) place(channels - kLanes<T>);
}

// One window of rows x + offset[k]; NaN wins, then the first of equal maxima.
template <class T>
[[gnu::noinline]] static void max_of_window(const T* x, const std::int64_t* offset,
                                            const std::int64_t* number, std::int64_t count,
                                            std::int64_t channels, T* y, std::uint8_t* taps) {
  for_each_register<T>(
      channels,
      [=](std::int64_t c) {
        Vec<T> best = splat(kNothing<T>);
        VecInt<T> tap{};
        for (std::int64_t k = 0; k < count; ++k) {
          const Vec<T> value = load(x + offset[k] + c);
          const VecInt<T> candidate = VecInt<T>{} + static_cast<int>(number[k]);
          if (k == 0) best = value, tap = candidate;
          else choose_larger<T, MaxRule{true, true}>(value, candidate, best, tap);
        }
        store(y + c, best);
        if (taps != nullptr) store_as_bytes(taps + c, tap);
      },
      [=](std::int64_t c) {
        T best = kNothing<T>;
        std::int64_t tap = count > 0 ? number[0] : 0;
        for (std::int64_t k = 0; k < count; ++k) {
          const T value = x[offset[k] + c];
          if (!(value > best || value != value)) continue;
          best = value;
          tap = number[k];
        }
        y[c] = best;
        if (taps) taps[c] = static_cast<std::uint8_t>(tap);
      });
}

template <class T>
static void max_channels(const Pool& p) {
  const std::int64_t image_size = p.in_size() * p.channels;
  for_each_window_row(
      p, [&](std::int64_t image, std::int64_t oz, std::int64_t oy, std::int64_t at) {
        std::int64_t offset[kMaxTaps], number[kMaxTaps];
        for (std::int64_t ox = 0; ox < p.width.out; ++ox) {
          std::int64_t count = 0;
          for_each_element(p, oz, oy, ox, [&](std::int64_t element, std::int64_t tap) {
            offset[count] = element * p.channels;
            number[count++] = tap;
          });
          const std::int64_t to = (at + ox) * p.channels;
          max_of_window(static_cast<const T*>(p.x) + image * image_size, offset, number, count,
                        p.channels, static_cast<T*>(p.y) + to, p.taps ? p.taps + to : nullptr);
        }
      });
}

// x = the gradient where this tap was chosen; with kAdd it is added.
template <class T, bool kAdd>
[[gnu::noinline]] static void grad_of_tap(const T* y, const std::uint8_t* taps, std::int64_t number,
                                          std::int64_t channels, T* x) {
  const auto wanted = static_cast<std::uint8_t>(number);
  std::int64_t c = 0;
  for (; c + kLanes<T> <= channels; c += kLanes<T>) {
    const auto tap = widen_bytes<VecInt<T>>(taps + c);
    const Vec<T> grad = keep<T>(tap == wanted, load(y + c));
    store<T>(x + c, kAdd ? load(x + c) + grad : grad);
  }
  for (; c < channels; ++c) {
    const T grad = taps[c] == wanted ? y[c] : T{0};
    x[c] = kAdd ? x[c] + grad : grad;
  }
}

template <class T, bool kAdd>
[[gnu::noinline]] static void add_scaled(const T* y, T factor, std::int64_t channels, T* x) {
  for (std::int64_t c = 0; c < channels; ++c) x[c] = kAdd ? x[c] + y[c] * factor : y[c] * factor;
}

// Calls spread(x element, y element, tap, oz, oy, ox, whether to add) for all taps of all windows,
// having set what needs it to 0. Windows that overlap are left to one task per image.
template <class T, class Spread>
static void spread_windows_of_images(const Pool& p, const Spread& spread) {
  const auto one_row = [&](std::int64_t image, std::int64_t oz, std::int64_t oy, std::int64_t at,
                           auto add) {
    for (std::int64_t ox = 0; ox < p.width.out; ++ox)
      for_each_element(p, oz, oy, ox, [&](std::int64_t element, std::int64_t tap) {
        spread(static_cast<T*>(p.x) + (image * p.in_size() + element) * p.channels,
               (at + ox) * p.channels, tap, oz, oy, ox, add);
      });
  };
  if (tiles(p))
    return for_each_window_row(p, [&](auto image, auto oz, auto oy, auto at) {
      one_row(image, oz, oy, at, std::false_type{});
    });
  const std::int64_t size = p.in_size() * p.channels, rows = p.depth.out * p.height.out;
  parallel_for(p.planes, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, size)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t image = begin; image < end; ++image) {
                   std::fill_n(static_cast<T*>(p.x) + image * size, size, T{0});
                   for_each_row_of_windows(p, image * rows, (image + 1) * rows,
                                           [&](auto, auto oz, auto oy, auto at) {
                                             one_row(image, oz, oy, at, std::true_type{});
                                           });
                 }
               });
}

template <class T>
static void max_channels_grad(const Pool& p) {
  const T* y = static_cast<const T*>(p.y);
  spread_windows_of_images<T>(
      p, [&](T* x, std::int64_t from, std::int64_t tap, auto, auto, auto, auto add) {
        grad_of_tap<T, add()>(y + from, p.taps + from, tap, p.channels, x);
      });
}

// By what the sum over a window is multiplied.
template <class T>
static T average_factor(const Pool& p, std::int64_t oz, std::int64_t oy, std::int64_t ox) {
  if (p.divisor) return T{1} / static_cast<T>(p.divisor);
  const RowRange z(p.depth, p.count_include_pad, oz), y(p.height, p.count_include_pad, oy),
      x(p.width, p.count_include_pad, ox);
  const bool nothing = (z.empty() || y.empty() || x.empty()) && !p.width.adaptive;
  return nothing ? T{0} : T{1} / static_cast<T>(z.divisor * y.divisor * x.divisor);
}

// Four registers of channels stay in registers while a window is added up.
template <class T, int kCount>
[[gnu::noinline]] static void average_of_window(const Pool& p, const T* x, std::int64_t oz,
                                                std::int64_t oy, std::int64_t ox, T factor, T* y) {
  Vec<T> sums[kCount] = {};
  for_each_element(p, oz, oy, ox, [&](std::int64_t element, std::int64_t) {
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) sums[k] += load(x + element * p.channels + k * kLanes<T>);
  });
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) store<T>(y + k * kLanes<T>, sums[k] * factor);
}

template <class T>
static void avg_channels(const Pool& p) {
  constexpr int four = 4 * kLanes<T>;
  for_each_window_row(
      p, [&](std::int64_t image, std::int64_t oz, std::int64_t oy, std::int64_t at) {
        const T* x = static_cast<const T*>(p.x) + image * p.in_size() * p.channels;
        for (std::int64_t ox = 0; ox < p.width.out; ++ox) {
          const T factor = average_factor<T>(p, oz, oy, ox);
          T* y = static_cast<T*>(p.y) + (at + ox) * p.channels;
          std::int64_t c = 0;
          for (; c + four <= p.channels; c += four)
            average_of_window<T, 4>(p, x + c, oz, oy, ox, factor, y + c);
          for_each_register<T>(
              p.channels - c,
              [&](std::int64_t i) {
                average_of_window<T, 1>(p, x + c + i, oz, oy, ox, factor, y + c + i);
              },
              [&](std::int64_t i) {
                T sum = 0;
                for_each_element(p, oz, oy, ox, [&](std::int64_t element, std::int64_t) {
                  sum += x[element * p.channels + c + i];
                });
                y[c + i] = sum * factor;
              });
        }
      });
}

template <class T>
static void avg_channels_grad(const Pool& p) {
  const T* y = static_cast<const T*>(p.y);
  spread_windows_of_images<T>(p, [&](T* x, std::int64_t from, std::int64_t, std::int64_t oz,
                                     std::int64_t oy, std::int64_t ox, auto add) {
    add_scaled<T, add()>(y + from, average_factor<T>(p, oz, oy, ox), p.channels, x);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
