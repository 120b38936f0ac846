// dropout: draws, compares and scales in one pass.
#include "dropout.h"

#include <algorithm>

#include "../parallel.h"
#include "../philox.h"
#include "../visit.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

template <class T>
static void dropout_block(const T* x, T* y, std::int64_t count, std::uint32_t threshold, T scale,
                          const std::uint32_t* numbers) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * (numbers[i] < threshold ? scale : T{0});
}

void dropout(const Dropout& args) {
  constexpr std::int64_t kChunk = 16384;  // elements, a multiple of the block
  visit_floating(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T scale = static_cast<T>(args.scale);
    parallel_for(args.size, kChunk, [&](std::int64_t begin, std::int64_t end) {
      std::uint32_t numbers[kPhiloxBlock];
      for (std::int64_t i = begin; i < end; i += kPhiloxBlock) {
        philox_block(args.key.read(), static_cast<std::uint64_t>(i / kPhiloxBlock), numbers);
        const T* x = static_cast<const T*>(args.x) + i;
        T* y = static_cast<T*>(args.y) + i;
        if (end - i >= kPhiloxBlock)
          dropout_block(x, y, kPhiloxBlock, args.threshold, scale, numbers);
        else dropout_block(x, y, end - i, args.threshold, scale, numbers);
      }
    });
  });
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
