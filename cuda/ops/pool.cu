// Pooling over one to three dimensions, and its gradients, in both memory orders.
//
// A thread takes one element of what is written, neighbours side by side: an output and its window,
// or in the gradients an input element and the windows that hold it, which it adds up in their
// order. So nothing is written twice and no sum depends on timing. Averages over 32 elements and
// more, unless channels lie side by side, take a warp each, so that the loads are side by side too.
// Memory sees every element of both arrays once, the rest comes from the caches: sizeof(T) bytes
// for each, and 1 or 8 for a place. Maxima told in indices cost a gradient as many comparisons as
// windows overlap, all else one operation per element and window. Up to 64 registers, 4 blocks of
// 256 threads on a multiprocessor.
//
// Images have fewer than 2^31 elements, so that places in them are divided in 32 bits; batches of
// them may have more.
#include "ops/pool.h"

#include <limits>

#include "divide.cuh"
#include "launch.cuh"
#include "sums.cuh"
#include "warp.cuh"

namespace tilegrad::cuda {
namespace {

// PoolAxis for the device: adaptive windows begin at o * in / out = o * whole + o * rest / out.
struct Axis {
  int in, out, kernel, stride, pad, dilation;
  unsigned whole, rest;
  double windows;  // per element

  explicit Axis(const PoolAxis& axis)
      : in(static_cast<int>(axis.in)),
        out(static_cast<int>(axis.out)),
        kernel(static_cast<int>(axis.kernel)),
        stride(static_cast<int>(axis.stride)),
        pad(static_cast<int>(axis.pad)),
        dilation(static_cast<int>(axis.dilation)),
        whole(out == 0 ? 0 : static_cast<unsigned>(in / out)),
        rest(out == 0 ? 0 : static_cast<unsigned>(in % out)),
        windows(in == 0 ? 0 : static_cast<double>(out) / in) {
    TILEGRAD_CHECK(axis.in + 2 * axis.pad + axis.span() + axis.stride < (1ll << 31), runtime,
                   "pooling in CUDA: expected windows that end before element 2**31, got size ",
                   axis.in, ", kernel ", axis.kernel, " and stride ", axis.stride);
    TILEGRAD_CHECK(!axis.adaptive || axis.out < 65536, runtime,
                   "adaptive pooling in CUDA: expected at most 65535 windows a direction, got ",
                   axis.out);
  }

  // The first element of window o and one after its last; both may lie in the padding.
  template <bool kAdaptive>
  __device__ int start(int o) const {
    if constexpr (!kAdaptive) return o * stride - pad;
    return static_cast<int>(o * whole + o * rest / static_cast<unsigned>(out));
  }
  template <bool kAdaptive>
  __device__ int end(int o) const {
    if constexpr (!kAdaptive) return o * stride - pad + (kernel - 1) * dilation + 1;
    const auto behind = static_cast<unsigned>(o) + 1, sizes = static_cast<unsigned>(out);
    return static_cast<int>(behind * whole + (behind * rest + sizes - 1) / sizes);
  }
};

// A range of elements inside the input, `step` apart, or of windows.
struct Range {
  int first, last, step;
};

template <bool kAdaptive>
__device__ Range window_at(const Axis& axis, int o) {
  int first = axis.start<kAdaptive>(o);
  if (!kAdaptive && first < 0)
    first += (-first + axis.dilation - 1) / axis.dilation * axis.dilation;
  return {first, min(axis.end<kAdaptive>(o), axis.in), kAdaptive ? 1 : axis.dilation};
}

// The windows that reach over element i, gaps included; both ends belong to them.
template <bool kAdaptive>
__device__ Range windows_over(const Axis& axis, int i) {
  if constexpr (kAdaptive) {
    int first = static_cast<int>(i * axis.windows);
    while (first > 0 && axis.end<true>(first - 1) > i) --first;
    while (axis.end<true>(first) <= i) ++first;
    int last = first;
    while (last + 1 < axis.out && axis.start<true>(last + 1) <= i) ++last;
    return {first, last, 1};
  }
  const int begin = i + axis.pad, behind = begin - (axis.kernel - 1) * axis.dilation;
  const int first = behind <= 0 ? 0 : (behind + axis.stride - 1) / axis.stride;
  return {first, min(begin / axis.stride, axis.out - 1), 1};
}

struct Shape3 {
  Axis depth, height, width;
  int channels;           // 1 where elements of a plane lie side by side
  int in_size, out_size;  // of an image: a plane, or one with its channels
  std::int64_t images;

  explicit Shape3(const Pool& p)
      : depth(p.depth),
        height(p.height),
        width(p.width),
        channels(p.channels ? static_cast<int>(p.channels) : 1),
        images(p.planes) {
    const std::int64_t in = p.in_size() * std::max<std::int64_t>(p.channels, 1);
    const std::int64_t out = p.out_size() * std::max<std::int64_t>(p.channels, 1);
    TILEGRAD_CHECK(in < (1ll << 31) && out < (1ll << 31), runtime,
                   "pooling in CUDA: expected images of fewer than 2**31 elements, got ", in,
                   " and ", out);
    in_size = static_cast<int>(in);
    out_size = static_cast<int>(out);
  }
  std::int64_t inputs() const { return images * in_size; }
  std::int64_t outputs() const { return images * out_size; }
};

// Where an element stands in its image.
struct Standing {
  std::int64_t image;
  unsigned channel, z, y, x;

  __device__ Standing(std::int64_t i, int size, int channels, int height, int width) {
    const Divided at = divide(i, size);
    auto rest = static_cast<unsigned>(at.remainder);
    image = at.quotient;
    channel = channels == 1 ? 0 : take(rest, channels);
    x = take(rest, width);
    y = take(rest, height);
    z = rest;
  }
  __device__ static unsigned take(unsigned& rest, int size) {
    const unsigned whole = rest / static_cast<unsigned>(size);
    const unsigned taken = rest - whole * static_cast<unsigned>(size);
    rest = whole;
    return taken;
  }
};
__device__ Standing output_at(const Shape3& s, std::int64_t i) {
  return {i, s.out_size, s.channels, s.height.out, s.width.out};
}
__device__ Standing input_at(const Shape3& s, std::int64_t i) {
  return {i, s.in_size, s.channels, s.height.in, s.width.in};
}

// --- maxima ---

template <class T, bool kAdaptive>
struct MaxWindow {
  Shape3 s;
  const T* x;
  T* y;
  std::uint8_t* taps;
  std::int64_t* indices;

  __device__ void operator()(std::int64_t i) const {
    const Standing at = output_at(s, i);
    const T* const image = x + at.image * s.in_size + at.channel;
    const Range d = window_at<kAdaptive>(s.depth, at.z), h = window_at<kAdaptive>(s.height, at.y),
                w = window_at<kAdaptive>(s.width, at.x);
    using S = Sum<T>;
    S best = -std::numeric_limits<S>::infinity();
    int z_best = d.first, y_best = h.first, x_best = w.first;
    for (int a = d.first; a < d.last; a += d.step)
      for (int b = h.first; b < h.last; b += h.step) {
        const int row = (a * s.height.in + b) * s.width.in;
        for (int c = w.first; c < w.last; c += w.step) {
          const S value = static_cast<S>(image[(row + c) * s.channels]);
          if (!(value > best || value != value)) continue;
          best = value;
          z_best = a, y_best = b, x_best = c;
        }
      }
    y[i] = static_cast<T>(best);
    if (indices) {
      indices[i] = (z_best * s.height.in + y_best) * s.width.in + x_best;
    } else if (taps) {
      const auto tap = [](const Axis& axis, unsigned o, int at_best) {
        const auto distance = static_cast<unsigned>(at_best - axis.start<false>(o));
        return axis.dilation == 1 ? distance : distance / static_cast<unsigned>(axis.dilation);
      };
      taps[i] = static_cast<std::uint8_t>(
          (tap(s.depth, at.z, z_best) * s.height.kernel + tap(s.height, at.y, y_best)) *
              s.width.kernel +
          tap(s.width, at.x, x_best));
    }
  }
};

// Which tap of window o element i is; far more than there are if it lies in a gap.
__device__ unsigned tap_at(const Axis& axis, int o, unsigned i) {
  const auto distance = static_cast<unsigned>(static_cast<int>(i) + axis.pad - o * axis.stride);
  if (axis.dilation == 1) return distance;
  const unsigned tap = distance / static_cast<unsigned>(axis.dilation);
  return tap * static_cast<unsigned>(axis.dilation) == distance ? tap : 1u << 16;
}

// visit(place of the output in its image, depth, height and width) for the windows over an element.
template <bool kAdaptive, class Visit>
__device__ void for_each_window(const Shape3& s, const Standing& at, const Visit& visit) {
  const Range d = windows_over<kAdaptive>(s.depth, at.z),
              h = windows_over<kAdaptive>(s.height, at.y),
              w = windows_over<kAdaptive>(s.width, at.x);
#pragma unroll 1
  for (int oz = d.first; oz <= d.last; ++oz)
#pragma unroll 1
    for (int oy = h.first; oy <= h.last; ++oy)
#pragma unroll 1
      for (int ox = w.first; ox <= w.last; ++ox)
        visit(((oz * s.height.out + oy) * s.width.out + ox) * s.channels +
                  static_cast<int>(at.channel),
              oz, oy, ox);
}

template <class T>
struct MaxGradientOfTaps {
  Shape3 s;
  T* x;
  const T* y;
  const std::uint8_t* taps;
  __device__ void operator()(std::int64_t i) const {
    const Standing at = input_at(s, i);
    const std::int64_t first = at.image * s.out_size;
    Sum<T> sum = 0;
    for_each_window<false>(s, at, [&](int output, int oz, int oy, int ox) {
      const unsigned tap =
          (tap_at(s.depth, oz, at.z) * s.height.kernel + tap_at(s.height, oy, at.y)) *
              s.width.kernel +
          tap_at(s.width, ox, at.x);
      if (taps[first + output] == tap) sum += static_cast<Sum<T>>(y[first + output]);
    });
    x[i] = static_cast<T>(sum);
  }
};

template <class T, bool kAdaptive>
struct MaxGradientOfIndices {
  Shape3 s;
  T* x;
  const T* y;
  const std::int64_t* indices;
  __device__ void operator()(std::int64_t i) const {
    const Standing at = input_at(s, i);
    const std::int64_t first = at.image * s.out_size;
    const std::int64_t place = (at.z * s.height.in + at.y) * s.width.in + at.x;
    Sum<T> sum = 0;
    for_each_window<kAdaptive>(s, at, [&](int output, int, int, int) {
      if (indices[first + output] == place) sum += static_cast<Sum<T>>(y[first + output]);
    });
    x[i] = static_cast<T>(sum);
  }
};

struct IndexOfTap {
  Shape3 s;
  const std::uint8_t* taps;
  std::int64_t* indices;
  __device__ void operator()(std::int64_t i) const {
    const Standing at = output_at(s, i);
    unsigned rest = taps[i];
    const auto next = [&](const Axis& axis, unsigned o, int kernel) {
      return axis.start<false>(o) + static_cast<int>(Standing::take(rest, kernel)) * axis.dilation;
    };
    const std::int64_t x = next(s.width, at.x, s.width.kernel),
                       y = next(s.height, at.y, s.height.kernel), z = next(s.depth, at.z, 256);
    const std::int64_t place = (z * s.height.in + y) * s.width.in + x;
    // Taps that no maximum can have would lead out of the plane.
    if (place >= 0 && place < s.in_size) indices[i] = place;
  }
};

// --- averages ---

struct AverageRule {
  bool count_include_pad;
  std::int64_t divisor;

  // By how many elements along one axis averages are divided: the padding counts, but not what a
  // window of ceil_mode reaches beyond it.
  template <bool kAdaptive>
  __device__ int along(const Axis& axis, int o, const Range& window) const {
    if (!count_include_pad) return max(window.last - window.first, 0);
    return min(axis.end<kAdaptive>(o), axis.in + axis.pad) - axis.start<kAdaptive>(o);
  }
  template <class T>
  __device__ T of(int depth, int height, int width) const {
    return divisor ? static_cast<T>(divisor)
                   : static_cast<T>(static_cast<std::int64_t>(depth) * height * width);
  }
};

// A group of kThreads threads (one, or a warp) adds up a window.
template <int kThreads, class T, bool kAdaptive>
__global__ void __launch_bounds__(kBlock, 4)
    average_kernel(const Shape3 s, const AverageRule rule, const T* x, T* y, std::int64_t outputs) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) / kThreads;
  if (i >= outputs) return;
  const Standing at = output_at(s, i);
  const T* const image = x + at.image * s.in_size + at.channel;
  const Range d = window_at<kAdaptive>(s.depth, at.z), h = window_at<kAdaptive>(s.height, at.y),
              w = window_at<kAdaptive>(s.width, at.x);
  using S = Sum<T>;
  S sum = 0;
  if constexpr (kThreads == 1) {
    for (int a = d.first; a < d.last; ++a)
      for (int b = h.first; b < h.last; ++b)
        for (int c = w.first; c < w.last; ++c)
          sum += static_cast<S>(image[((a * s.height.in + b) * s.width.in + c) * s.channels]);
  } else {
    const int height = max(h.last - h.first, 0), width = max(w.last - w.first, 0);
    const int size = max(d.last - d.first, 0) * height * width;
    for (int k = threadIdx.x % kThreads; k < size; k += kThreads) {
      auto rest = static_cast<unsigned>(k);
      const int c = w.first + static_cast<int>(Standing::take(rest, width));
      const int b = h.first + static_cast<int>(Standing::take(rest, height));
      const int row = (d.first + static_cast<int>(rest)) * s.height.in + b;
      sum += static_cast<S>(image[row * s.width.in + c]);
    }
    sum = warp_reduce(sum, Add{});
    if (threadIdx.x % kThreads != 0) return;
  }
  const bool nothing = d.first >= d.last || h.first >= h.last || w.first >= w.last;
  const S divisor =
      rule.of<S>(rule.along<kAdaptive>(s.depth, at.z, d), rule.along<kAdaptive>(s.height, at.y, h),
                 rule.along<kAdaptive>(s.width, at.x, w));
  y[i] = static_cast<T>(nothing && !kAdaptive ? S{0} : sum / divisor);
}

template <class T, bool kAdaptive>
struct AverageGradient {
  Shape3 s;
  AverageRule rule;
  T* x;
  const T* y;
  __device__ void operator()(std::int64_t i) const {
    const Standing at = input_at(s, i);
    const T* const image = y + at.image * s.out_size;
    using S = Sum<T>;
    S sum = 0;
    for_each_window<kAdaptive>(s, at, [&](int output, int oz, int oy, int ox) {
      sum += static_cast<S>(image[output]) /
             rule.of<S>(along(s.depth, oz), along(s.height, oy), along(s.width, ox));
    });
    x[i] = static_cast<T>(sum);
  }
  __device__ int along(const Axis& axis, int o) const {
    return rule.along<kAdaptive>(axis, o, window_at<kAdaptive>(axis, o));
  }
};

// How many elements a window has, at most.
std::int64_t window_of(const Pool& p) {
  const auto along = [](const PoolAxis& axis) {
    return axis.adaptive ? (axis.in + axis.out - 1) / axis.out : axis.kernel;
  };
  return along(p.depth) * along(p.height) * along(p.width);
}

// body(the type, a constant that says whether windows are adaptive)
template <class Body>
void visit_pool(const Pool& args, const Body& body) {
  visit_stored(args.dtype, [&](auto type) {
    if (args.width.adaptive) body(type, std::true_type{});
    else body(type, std::false_type{});
  });
}

}  // namespace

void max_pool(const Pool& args) {
  const Shape3 s(args);
  visit_pool(args, [&](auto type, auto adaptive) {
    using T = typename decltype(type)::type;
    for_each_index<4>(s.outputs(),
                      MaxWindow<T, adaptive()>{s, static_cast<const T*>(args.x),
                                               static_cast<T*>(args.y), args.taps, args.indices});
  });
}

void max_pool_grad(const Pool& args) {
  const Shape3 s(args);
  visit_pool(args, [&](auto type, auto adaptive) {
    using T = typename decltype(type)::type;
    T* x = static_cast<T*>(args.x);
    const T* y = static_cast<const T*>(args.y);
    if (args.indices)
      return for_each_index<4>(s.inputs(),
                               MaxGradientOfIndices<T, adaptive()>{s, x, y, args.indices});
    for_each_index<4>(s.inputs(), MaxGradientOfTaps<T>{s, x, y, args.taps});
  });
}

void max_pool_indices(const Pool& args) {
  const Shape3 s(args);
  for_each_index<4>(s.outputs(), IndexOfTap{s, args.taps, args.indices});
}

void avg_pool(const Pool& args) {
  const Shape3 s(args);
  const std::int64_t outputs = s.outputs();
  if (outputs == 0) return;
  const AverageRule rule = {args.count_include_pad, args.divisor};
  visit_pool(args, [&](auto type, auto adaptive) {
    using T = typename decltype(type)::type;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    if (args.channels == 0 && window_of(args) >= kWarp)
      return launch(average_kernel<kWarp, T, adaptive()>,
                    {blocks_of(outputs, kBlock / kWarp), kBlock}, s, rule, x, y, outputs);
    launch(average_kernel<1, T, adaptive()>, {blocks_of(outputs, kBlock), kBlock}, s, rule, x, y,
           outputs);
  });
}

void avg_pool_grad(const Pool& args) {
  const Shape3 s(args);
  visit_pool(args, [&](auto type, auto adaptive) {
    using T = typename decltype(type)::type;
    for_each_index<4>(s.inputs(),
                      AverageGradient<T, adaptive()>{s,
                                                     {args.count_include_pad, args.divisor},
                                                     static_cast<T*>(args.x),
                                                     static_cast<const T*>(args.y)});
  });
}

}  // namespace tilegrad::cuda
