// Gradients of maxima over windows of fixed shape, gathered in whole registers. Included once per
// instruction set.
//
// Adding each gradient to the element that its tap names is a loop over single numbers whose sums
// wait for each other. The other way round an element adds up the outputs that may have chosen it:
// rows and columns that lie a stride apart meet the same taps of neighbouring outputs, so each tap
// is one comparison and one addition for a register of columns. That takes the outputs of a strip,
// and as wide integers where their maxima lie, surrounded by outputs that chose nothing.
#pragma once

#include "pool_rows.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Along one direction, element m * stride + e meets output m + shift through some taps.
struct GatherAxis {
  explicit GatherAxis(const PoolAxis& axis) : a(axis), stride(axis.stride) {
    for (std::int64_t c = 0; c < a.kernel; ++c)
      for (std::int64_t e = 0; e < stride; ++e) {
        if (!meets(e, c)) continue;
        least = std::min(least, shift(e, c));
        most = std::max(most, shift(e, c));
      }
  }
  bool meets(std::int64_t e, std::int64_t c) const {
    return (e + a.pad - c * a.dilation) % stride == 0;
  }
  std::int64_t shift(std::int64_t e, std::int64_t c) const {
    return (e + a.pad - c * a.dilation) / stride;
  }
  std::int64_t count() const { return (a.in + stride - 1) / stride; }  // of m

  const PoolAxis& a;
  std::int64_t stride, least = 0, most = 0;
};

template <class T>
struct MaxGather {
  typedef std::remove_reference_t<decltype(VecInt<T>{}[0])> Int;
  struct Tap {
    std::int64_t offset;  // of its output from element (m, m)
    Int number;
  };
  static constexpr int kMost = 64, kStride = 2;

  // Whether comparing every tap is worth it. Short rows leave lanes idle.
  static bool fits(const Pool& p) {
    const PoolAxis &h = p.height, &w = p.width;
    const std::int64_t registers = (w.out + kLanes<T> - 1) / kLanes<T>;
    return w.stride <= kStride && h.stride <= kStride && p.window_size() <= kMost &&
           4 * p.window_size() * registers <= 5 * w.out && w.span() <= 4 * kLanes<T> &&
           h.span() <= 32;
  }

  explicit MaxGather(const Pool& pool) : p(pool), y(pool.height), x(pool.width) {
    columns = round_up(x.count());
    margin = round_up(-x.least);
    pitch = margin + round_up(std::max(columns + x.most, p.width.out));
    reach = y.most - y.least;
    const std::int64_t row = 2 * pitch * p.depth.kernel * static_cast<std::int64_t>(sizeof(T));
    strip = std::clamp<std::int64_t>(kStripBytes / row - reach, 1, y.count());
    slice = (strip + reach) * pitch;
  }
  static std::int64_t round_up(std::int64_t count) {
    return (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  }
  std::size_t bytes() const {
    return static_cast<std::size_t>(2 * p.depth.kernel * slice) * sizeof(T);
  }
  void place(void* memory) {
    grads = static_cast<T*>(memory);
    places = reinterpret_cast<Int*>(grads + p.depth.kernel * slice);
    std::fill_n(grads, p.depth.kernel * slice, T{0});
    std::fill_n(places, p.depth.kernel * slice, Int{-1});
  }

  // The taps that reach slice z of x; those along the depth go to depth_taps.
  void list_taps(std::int64_t z) {
    const PoolAxis& d = p.depth;
    depth_taps = 0;
    for (std::int64_t a = 0; a < d.kernel; ++a) {
      const std::int64_t at = z + d.pad - a * d.dilation;
      if (at < 0 || at % d.stride != 0 || at / d.stride >= d.out) continue;
      depth_tap[depth_taps] = a;
      depth_output[depth_taps++] = at / d.stride;
    }
    int count = 0;
    for (std::int64_t ey = 0; ey < y.stride; ++ey)
      for (std::int64_t ex = 0; ex < x.stride; ++ex) {
        first[ey][ex] = count;
        for (int i = 0; i < depth_taps; ++i) count = list_taps(i, ey, ex, count);
        first[ey][ex + 1] = count;
      }
  }
  int list_taps(int i, std::int64_t ey, std::int64_t ex, int count) {
    for (std::int64_t b = 0; b < p.height.kernel; ++b)
      for (std::int64_t c = 0; c < p.width.kernel; ++c)
        if (y.meets(ey, b) && x.meets(ex, c))
          taps[count++] = {
              i * slice + (y.shift(ey, b) - y.least) * pitch + margin + x.shift(ex, c),
              static_cast<Int>((depth_tap[i] * p.height.kernel + b) * p.width.kernel + c)};
    return count;
  }

  const Pool& p;
  GatherAxis y, x;
  std::int64_t columns, margin, pitch, reach, strip, slice;
  T* grads = nullptr;
  Int* places = nullptr;
  int depth_taps = 0;
  std::int64_t depth_tap[kMost], depth_output[kMost];
  Tap taps[kMost];
  int first[kStride][kStride + 1];  // of the taps for each remainder
};

// Copies the outputs [begin, end) of the rows of one slice to `grads` and `places`; there are none
// outside [0, out).
template <class T, int kCount>
[[gnu::noinline]] static void copy_outputs(const MaxGather<T>& g, const T* y,
                                           const std::uint8_t* taps, std::int64_t begin,
                                           std::int64_t end, std::int64_t at) {
  using P = Pack<T, kCount>;
  typedef typename MaxGather<T>::Int Int;
  const std::int64_t out = g.p.width.out, rows = g.p.height.out, pitch = g.pitch;
  T* grads = g.grads + at + g.margin;
  Int* places = g.places + at + g.margin;
  for (std::int64_t row = begin; row < end; ++row, grads += pitch, places += pitch) {
    if (row < 0 || row >= rows) {
      std::fill_n(places, out, Int{-1});
      continue;
    }
    const T* from = y + row * out;
    const std::uint8_t* bytes_from = taps + row * out;
    if constexpr (kCount == 1) {
      for (std::int64_t i = 0; i < out; ++i) grads[i] = from[i], places[i] = bytes_from[i];
    } else {
      for_each_pack<kCount>(out, [=](std::int64_t i) {
        const auto wide = widen_bytes<typename P::Mask>(bytes_from + i);
        P::store(grads + i, P::load(from + i));
        std::memcpy(places + i, &wide, sizeof(wide));
      });
    }
  }
}

// Copied outputs, and the taps through which elements of a strip meet them: copies, since what is
// written to x might change anything else.
template <class T>
struct GatherStrip {
  using Int = typename MaxGather<T>::Int;
  using Tap = typename MaxGather<T>::Tap;

  explicit GatherStrip(const MaxGather<T>& g)
      : grads(g.grads), places(g.places), columns(g.columns), pitch(g.pitch), in(g.p.width.in) {
    for (std::int64_t e = 0; e < g.y.stride; ++e) std::copy_n(g.first[e], 3, first[e]);
    std::copy_n(g.taps, g.first[g.y.stride - 1][g.x.stride], taps);
  }

  // The sums of what a register of elements meets: of kCount taps, or of `count` if that is 0.
  template <int kCount>
  [[gnu::always_inline]] Vec<T> sum(const Tap* tap, int count, std::int64_t at) const {
    Vec<T> result{};
#pragma GCC unroll 9
    for (int t = 0; t < (kCount ? kCount : count); ++t) {
      VecInt<T> place;
      std::memcpy(&place, places + at + tap[t].offset, sizeof(place));
      const Vec<T> grad = load(grads + at + tap[t].offset);
      result += place == tap[t].number ? grad : Vec<T>{};
    }
    return result;
  }

  // A row of x: evens(at) and odds(at) are the sums for the columns that belong to a register
  // there.
  template <int kStride, class Evens, class Odds>
  [[gnu::always_inline]] void row(std::int64_t at, std::int64_t room, T* x, bool past_caches,
                                  const Evens& evens, const Odds& odds) const {
    constexpr int lanes = kLanes<T>;
    for (std::int64_t m = at; m < at + columns; m += lanes, x += kStride * lanes) {
      const Vec<T> even = evens(m);
      if constexpr (kStride == 1) {
        if (past_caches) stream(x, even);
        else if (room >= lanes) store(x, even);
        else store_part(x, even, std::max<std::int64_t>(room, 0));
      } else {
        const Vec<T> odd = odds(m);
        if (past_caches || room >= 2 * lanes) store_zipped<T, lanes>(x, even, odd, past_caches);
        else store_zipped_part(x, even, odd, std::max<std::int64_t>(room, 0));
      }
      room -= kStride * lanes;
    }
  }
  [[gnu::noinline]] static void store_zipped_part(T* x, Vec<T> even, Vec<T> odd,
                                                  std::int64_t count) {
    T zipped[2 * kLanes<T>];
    store_zipped<T, kLanes<T>>(zipped, even, odd, false);
    std::copy_n(zipped, count, x);
  }

  // The gradients at `at` whose maximum is tap kTap.
  template <int kTap>
  [[gnu::always_inline]] Vec<T> chosen(std::int64_t at) const {
    VecInt<T> place;
    std::memcpy(&place, places + at, sizeof(place));
    const Vec<T> grad = load(grads + at);
    return place == kTap ? grad : Vec<T>{};
  }
  // Windows of 3 x 3 two apart, with kPad rows and columns of padding: what even and odd columns
  // meet in the row kRow of the windows at `at`.
  template <int kPad, int kRow>
  [[gnu::always_inline]] Vec<T> evens(std::int64_t at) const {
    if constexpr (kPad == 1) return chosen<3 * kRow + 1>(at);
    else return chosen<3 * kRow>(at) + chosen<3 * kRow + 2>(at - 1);
  }
  template <int kPad, int kRow>
  [[gnu::always_inline]] Vec<T> odds(std::int64_t at) const {
    if constexpr (kPad == 0) return chosen<3 * kRow + 1>(at);
    else return chosen<3 * kRow + 2>(at) + chosen<3 * kRow>(at + 1);
  }
  // Rows of x that meet one row of such windows, and those between, which meet two.
  template <int kPad>
  [[gnu::always_inline]] void single(std::int64_t at, std::int64_t room, T* x, bool past) const {
    row<2>(
        at, room, x, past, [this](auto m) { return evens<kPad, 1>(m); },
        [this](auto m) { return odds<kPad, 1>(m); });
  }
  template <int kPad>
  [[gnu::always_inline]] void twofold(std::int64_t upper, std::int64_t room, T* x,
                                      bool past) const {
    const std::int64_t down = pitch;
    row<2>(
        upper, room, x, past,
        [=, this](auto m) { return evens<kPad, 2>(m) + evens<kPad, 0>(m + down); },
        [=, this](auto m) { return odds<kPad, 2>(m) + odds<kPad, 0>(m + down); });
  }

  const T* grads;
  const Int* places;
  std::int64_t columns, pitch, in;
  int first[MaxGather<T>::kStride][3];
  Tap taps[MaxGather<T>::kMost];
};

// `rows` rows from the beginning of the strip. kPad 1 and 0 are for windows of 3 x 3 taps two apart
// with such padding; -1 is for any with such a stride of columns.
template <class T, int kStride, int kPad>
[[gnu::noinline]] static void gather_strip(const MaxGather<T>& g, std::int64_t rows,
                                           std::int64_t room, T* x, bool past_caches) {
  const GatherStrip<T> strip(g);
  const int stride = static_cast<int>(g.y.stride);
  std::int64_t at = kPad >= 0 ? g.margin : 0;
  for (std::int64_t i = 0; i < rows; at += strip.pitch)
    for (int e = 0; e < stride && i < rows; ++e, ++i, x += strip.in, room -= strip.in) {
      if constexpr (kPad == 1) {
        if (e == 0) strip.template single<1>(at, room, x, past_caches);
        else strip.template twofold<1>(at, room, x, past_caches);
      } else if constexpr (kPad == 0) {
        if (e == 0) strip.template twofold<0>(at, room, x, past_caches);
        else strip.template single<0>(at + strip.pitch, room, x, past_caches);
      } else {
        const int *first = strip.first[e], evens = first[1] - first[0], odds = first[2] - first[1];
        const auto *even = strip.taps + first[0], *odd = strip.taps + first[1];
        const bool nine = kStride == 1 && evens == 9;
        const auto sum = [&](auto m) { return strip.template sum<0>(even, evens, m); };
        const auto sum_of_nine = [&](auto m) { return strip.template sum<9>(even, evens, m); };
        const auto odd_sum = [&](auto m) { return strip.template sum<0>(odd, odds, m); };
        if (nine) strip.template row<kStride>(at, room, x, past_caches, sum_of_nine, odd_sum);
        else strip.template row<kStride>(at, room, x, past_caches, sum, odd_sum);
      }
    }
}

template <class T>
using GatherRows = decltype(&gather_strip<T, 1, -1>);

template <class T>
static GatherRows<T> gather_rows_for(const Pool& p) {
  const PoolAxis &h = p.height, &w = p.width;
  const bool threes = p.depth.trivial() && h.kernel == 3 && w.kernel == 3 && h.dilation == 1 &&
                      w.dilation == 1 && h.stride == w.stride && h.pad == w.pad;
  if (w.stride == 1) return gather_strip<T, 1, -1>;
  if (!threes) return gather_strip<T, 2, -1>;
  return w.pad == 1 ? gather_strip<T, 2, 1> : gather_strip<T, 2, 0>;
}

// A plane of x; `y` and `taps` are those of its outputs.
template <class T, int kCount>
static void gather_plane(MaxGather<T>& g, GatherRows<T> gather_rows, const T* y,
                         const std::uint8_t* taps, std::int64_t room, T* x, bool past_caches) {
  const PoolAxis &d = g.p.depth, &h = g.p.height, &w = g.p.width;
  for (std::int64_t z = 0; z < d.in; ++z) {
    if (d.trivial()) g.depth_output[0] = z;  // the taps stay the same
    else g.list_taps(z);
    for (std::int64_t m = 0; m < g.y.count(); m += g.strip) {
      const std::int64_t first = m + g.y.least;
      const std::int64_t rows = std::min(g.strip, g.y.count() - m) + g.reach;
      for (int i = 0; i < g.depth_taps; ++i) {
        const std::int64_t from = g.depth_output[i] * h.out * w.out;
        copy_outputs<T, kCount>(g, y + from, taps + from, first, first + rows, i * g.slice);
      }
      const std::int64_t of_x = std::min(g.strip * h.stride, h.in - m * h.stride);
      gather_rows(g, of_x, room, x, past_caches);
      x += of_x * w.in;
      room -= of_x * w.in;
    }
  }
}

template <class T>
static void max_pool_gather(const Pool& p) {
  const std::int64_t size = p.in_size();
  const bool past_caches = p.width.in % (p.width.stride * kLanes<T>) == 0 &&
                           reinterpret_cast<std::uintptr_t>(p.x) % 64 == 0 &&
                           p.planes * size * static_cast<std::int64_t>(sizeof(T)) > kPastCaches;
  const GatherRows<T> gather_rows = gather_rows_for<T>(p);
  with_pack<T>(p.width.out, [&](auto pack) {
    for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
      MaxGather<T> g(p);
      g.place(thread_scratch(g.bytes()));
      if (p.depth.trivial()) g.list_taps(0);
      for (std::int64_t plane = begin; plane < end; ++plane)
        gather_plane<T, pack()>(g, gather_rows, static_cast<const T*>(p.y) + plane * p.out_size(),
                                p.taps + plane * p.out_size(), (end - plane) * size,
                                static_cast<T*>(p.x) + plane * size, past_caches);
      finish_streams();
    });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
