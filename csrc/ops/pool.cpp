// Pooling. Windows may overlap, so a task takes whole planes; within one the order is that of the
// output. Pairs of neighbours (csrc/pool_pairs.h), maxima over windows of fixed shape
// (csrc/pool_rows.h), averages (csrc/pool_averages.h), windows of different sizes
// (csrc/pool_uneven.h, csrc/pool_uneven_max.h), small planes (csrc/pool_lanes.h) and channels-last
// images (csrc/pool_channels.h) have loops of their own.
#include "pool.h"

#include <cmath>

#include "../host_memory.h"
#include "../pool_averages.h"
#include "../pool_channels.h"
#include "../pool_gather.h"
#include "../pool_lanes.h"
#include "../pool_pairs.h"
#include "../pool_tasks.h"
#include "../pool_threes.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

static bool pairs(const Pool& p) {
  return p.depth.trivial() && p.height.halves() && p.width.halves();
}

// Whether a gradient is written past the caches, which takes whole lines of them.
template <class T>
static bool past_caches(const Pool& p) {
  const std::int64_t row = p.width.in * static_cast<std::int64_t>(sizeof(T));
  return p.width.in == 2 * p.width.out && row % 64 == 0 &&
         reinterpret_cast<std::uintptr_t>(p.x) % 64 == 0 &&
         p.planes * p.in_size() * static_cast<std::int64_t>(sizeof(T)) > kPastCaches;
}

// task(how many outputs to compute at once, pairs of rows), in parallel
template <class T, class Task>
static void for_each_pairs(const Pool& p, const Task& task) {
  with_pack<T>(p.width.out, [&](auto pack) {
    for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
      task(pack, PairsOfRows(p, begin, end));
      finish_streams();
    });
  });
}

template <class T>
static void max_pairs(const Pool& p) {
  for_each_pairs<T>(p, [&](auto pack, const PairsOfRows& shape) {
    max_pairs_planes<T, pack()>(shape, static_cast<const T*>(p.x), static_cast<T*>(p.y), p.taps);
  });
}

template <class T>
static void max_pairs_grad(const Pool& p) {
  const bool past = past_caches<T>(p);
  for_each_pairs<T>(p, [&](auto pack, const PairsOfRows& shape) {
    max_pairs_grad_planes<T, pack()>(shape, static_cast<const T*>(p.y), p.taps,
                                     static_cast<T*>(p.x), past);
  });
}

template <class T>
static void avg_pairs(const Pool& p) {
  const T share = T{1} / static_cast<T>(p.divisor ? p.divisor : 4);
  for_each_pairs<T>(p, [&](auto pack, const PairsOfRows& shape) {
    avg_pairs_planes<T, pack()>(shape, static_cast<const T*>(p.x), share, static_cast<T*>(p.y));
  });
}

template <class T>
static void avg_pairs_grad(const Pool& p) {
  const T share = T{1} / static_cast<T>(p.divisor ? p.divisor : 4);
  const bool past = past_caches<T>(p);
  for_each_pairs<T>(p, [&](auto pack, const PairsOfRows& shape) {
    avg_pairs_grad_planes<T, pack()>(shape, static_cast<const T*>(p.y), share, static_cast<T*>(p.x),
                                     past);
  });
}

// Maxima with indices, element by element: large windows with gaps.
template <class T>
static void max_pool_any(const Pool& p) {
  const PoolAxis &d = p.depth, &h = p.height, &w = p.width;
  for_each_plane<T>(p, [&](const T* x, T* y, std::int64_t out) {
    std::int64_t* indices = p.indices + out;
    for_each_output_row(p, [&](std::int64_t row, std::int64_t oz, std::int64_t oy) {
      for (std::int64_t ox = 0; ox < w.out; ++ox) {
        T best = -std::numeric_limits<T>::infinity();
        std::int64_t place = (d.first(oz) * h.in + h.first(oy)) * w.in + w.first(ox);
        for (std::int64_t z = d.first(oz); z < d.last(oz); z += d.dilation)
          for (std::int64_t i = h.first(oy); i < h.last(oy); i += h.dilation)
            for (std::int64_t j = w.first(ox); j < w.last(ox); j += w.dilation) {
              const std::int64_t at = (z * h.in + i) * w.in + j;
              if (!(x[at] > best || std::isnan(x[at]))) continue;
              best = x[at];
              place = at;
            }
        y[row * w.out + ox] = best;
        indices[row * w.out + ox] = place;
      }
    });
  });
}

// From a window's first element to each of its taps, in elements of the plane.
struct TapOffsets {
  explicit TapOffsets(const Pool& p) {
    std::int64_t tap = 0;
    for (std::int64_t a = 0; a < p.depth.kernel; ++a)
      for (std::int64_t b = 0; b < p.height.kernel; ++b)
        for (std::int64_t c = 0; c < p.width.kernel; ++c)
          offset[tap++] =
              (a * p.depth.dilation * p.height.in + b * p.height.dilation) * p.width.in +
              c * p.width.dilation;
  }
  std::int64_t offset[256] = {};  // one for every byte
};

// visit(offset in y, its place in the plane of x) for the outputs of a plane that begins at `out`.
template <class Visit>
static void for_each_maximum(const Pool& p, const TapOffsets& offsets, std::int64_t out,
                             const Visit& visit) {
  const std::uint8_t* taps = p.taps + out;
  for_each_output_row(p, [&](std::int64_t row, std::int64_t oz, std::int64_t oy) {
    const std::int64_t first =
        (p.depth.start(oz) * p.height.in + p.height.start(oy)) * p.width.in - p.width.pad;
    for (std::int64_t o = 0; o < p.width.out; ++o) {
      const std::int64_t at = row * p.width.out + o;
      const std::int64_t place = first + o * p.width.stride + offsets.offset[taps[at]];
      // Taps that no maximum can have would lead out of the plane.
      if (static_cast<std::uint64_t>(place) < static_cast<std::uint64_t>(p.in_size()))
        visit(at, place);
    }
  });
}

template <class T>
static void max_pool_scatter(const Pool& p) {
  const TapOffsets offsets(p);
  for_each_plane<T>(p, [&](T* x, const T* y, std::int64_t out) {
    std::fill_n(x, p.in_size(), T{0});
    for_each_maximum(p, offsets, out, [&](auto at, auto place) { x[place] += y[at]; });
  });
}

template <class T>
static void max_pool_scatter_places(const Pool& p) {
  for_each_plane<T>(p, [&](T* x, const T* y, std::int64_t out) {
    const std::int64_t* places = p.indices + out;
    const auto size = static_cast<std::uint64_t>(p.in_size());
    std::fill_n(x, size, T{0});
    for (std::int64_t at = 0; at < p.out_size(); ++at)
      if (static_cast<std::uint64_t>(places[at]) < size) x[places[at]] += y[at];
  });
}

void max_pool(const Pool& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.channels) max_channels<T>(args);
    else if (!args.indices && pairs(args)) max_pairs<T>(args);
    else if (fits_lanes<T>(args)) max_lanes<T>(args);
    else if (args.indices) has_ranges<T>(args) ? max_ranges<T>(args) : max_pool_any<T>(args);
    else fits_threes<T>(args) ? max_threes<T>(args) : max_pool_rows<T>(args);
  });
}
void max_pool_grad(const Pool& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.channels) max_channels_grad<T>(args);
    else if (args.indices) max_pool_scatter_places<T>(args);
    else if (pairs(args)) max_pairs_grad<T>(args);
    else MaxGather<T>::fits(args) ? max_pool_gather<T>(args) : max_pool_scatter<T>(args);
  });
}
void max_pool_indices(const Pool& args) {
  const TapOffsets offsets(args);
  for_each_range(args, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const std::int64_t out = plane * args.out_size();
      for_each_maximum(args, offsets, out,
                       [&](auto at, auto place) { args.indices[out + at] = place; });
    }
  });
}
void avg_pool(const Pool& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.channels) avg_channels<T>(args);
    else if (pairs(args)) avg_pairs<T>(args);
    else if (whole(args)) avg_planes<T>(args);
    else if (fours(args)) avg_fours<T, false>(args);
    else if (fits_lanes<T>(args)) avg_lanes<T, false>(args);
    else args.width.adaptive ? sum_ranges<T, false>(args) : avg_pool_any<T>(args);
  });
}
void avg_pool_grad(const Pool& args) {
  visit_floating(args.dtype, [&](auto t) {
    using T = typename decltype(t)::type;
    if (args.channels) avg_channels_grad<T>(args);
    else if (pairs(args)) avg_pairs_grad<T>(args);
    else if (whole(args)) avg_planes_grad<T>(args);
    else if (fours(args)) avg_fours<T, true>(args);
    else if (fits_lanes<T>(args)) avg_lanes<T, true>(args);
    else args.width.adaptive ? sum_ranges<T, true>(args) : avg_pool_grad_any<T>(args);
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
