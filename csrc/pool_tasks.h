// The tasks of pooling and the order in which they visit planes and rows. Included once per
// instruction set.
#pragma once

#include <algorithm>

#include "ops/pool.h"
#include "parallel.h"
#include "strided.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// task(first plane, end)
template <class Task>
static void for_each_range(const Pool& p, const Task& task) {
  const std::int64_t size = std::max<std::int64_t>(1, p.in_size() + p.out_size());
  parallel_for(p.planes, std::max<std::int64_t>(1, kGrain / size), task);
}

// visit(x plane, y plane, offset of the y plane)
template <class T, class Visit>
static void for_each_plane(const Pool& p, const Visit& visit) {
  for_each_range(p, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane)
      visit(static_cast<T*>(p.x) + plane * p.in_size(), static_cast<T*>(p.y) + plane * p.out_size(),
            plane * p.out_size());
  });
}

// visit(number of the row, its z, its y)
template <class Visit>
static void for_each_output_row(const Pool& p, const Visit& visit) {
  std::int64_t row = 0;
  for (std::int64_t z = 0; z < p.depth.out; ++z)
    for (std::int64_t y = 0; y < p.height.out; ++y) visit(row++, z, y);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
