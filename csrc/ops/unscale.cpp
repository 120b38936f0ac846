// unscale: one pass over the gradients, which tells whether all of them are finite.
#include "unscale.h"

#include "../strided.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// Whether all are finite: x * 0 is 0 for finite numbers and NaN for others.
template <class T>
static bool scale_range(T* x, T factor, std::int64_t begin, std::int64_t end) {
  T zeros[8] = {};
  std::int64_t i = begin;
  for (; i + 8 <= end; i += 8)
    for (int k = 0; k < 8; ++k) {
      zeros[k] += x[i + k] * T{0};
      x[i + k] *= factor;
    }
  for (; i < end; ++i) {
    zeros[0] += x[i] * T{0};
    x[i] *= factor;
  }
  T sum = 0;
  for (T zero : zeros) sum += zero;
  return sum == T{0};
}

void unscale(const Unscale& args) {
  for (std::int64_t k = 0; k < args.count; ++k) {
    const UnscaleEntry& entry = args.entries[k];
    visit_floating(entry.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      const T factor = static_cast<T>(*args.inverse_scale);
      parallel_for(entry.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
        float one = 1;
        if (!scale_range(static_cast<T*>(entry.x), factor, begin, end))
          __atomic_store(args.found_inf, &one, __ATOMIC_RELAXED);
      });
    });
  }
}

void update_scale(const UpdateScale& args) {
  if (*args.found_inf != 0) {
    *args.scale = static_cast<float>(*args.scale * args.backoff);
    *args.tracker = 0;
    return;
  }
  if (++*args.tracker < args.interval) return;
  const float grown = static_cast<float>(*args.scale * args.growth);
  if (grown - grown == 0) *args.scale = grown;
  *args.tracker = 0;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
