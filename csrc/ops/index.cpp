// Indexing by tensors. Indices become byte offsets once, with the bounds check; every read and
// write then is a strided loop in which one operand is displaced by its offset.
#include "index.h"

#include <cstring>

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

void index_offsets(const IndexOffsets& args) {
  parallel_for(args.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
    bool bad = false;
    for (int k = 0; k < args.count; ++k) {
      const std::int64_t* index = args.index[k];
      const std::int64_t size = args.sizes[k], stride = args.strides[k];
      const std::int64_t lowest = args.wrap ? -size : 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t at = index[i];
        bad |= (at < lowest) | (at >= size);
        // Unsigned: an index that is out of range may overflow before the caller rejects it.
        const auto offset = static_cast<std::uint64_t>(at < 0 ? at + size : at) *
                            static_cast<std::uint64_t>(stride);
        const auto before = k == 0 ? 0 : static_cast<std::uint64_t>(args.offsets[i]);
        args.offsets[i] = static_cast<std::int64_t>(before + offset);
      }
    }
    if (args.count == 0)
      for (std::int64_t i = begin; i < end; ++i) args.offsets[i] = 0;
    if (bad) args.out_of_range->store(true, std::memory_order_relaxed);
  });
}

template <class T>
static void get_rows(const StridedLoop<3>& loop) {
  const std::int64_t sy = loop.inner_stride(0), sx = loop.inner_stride(1),
                     so = loop.inner_stride(2);
  walk_rows(loop, [=](char** pointers, std::int64_t count) {
    char* y = pointers[0];
    const char *x = pointers[1], *offsets = pointers[2];
    if (so == 0) {  // the row lies in one piece of x
      x += *reinterpret_cast<const std::int64_t*>(offsets);
      if (sy == sizeof(T) && sx == sizeof(T)) {
        std::memcpy(y, x, static_cast<std::size_t>(count) * sizeof(T));
        return;
      }
      for (std::int64_t i = 0; i < count; ++i)
        *reinterpret_cast<T*>(y + i * sy) = *reinterpret_cast<const T*>(x + i * sx);
      return;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t offset = *reinterpret_cast<const std::int64_t*>(offsets + i * so);
      *reinterpret_cast<T*>(y + i * sy) = *reinterpret_cast<const T*>(x + i * sx + offset);
    }
  });
}

void index_get(const IndexGet& args) {
  switch (args.element_size) {
    case 1:
      return get_rows<std::uint8_t>(args.loop);
    case 2:
      return get_rows<std::int16_t>(args.loop);
    case 4:
      return get_rows<std::int32_t>(args.loop);
    default:
      return get_rows<std::int64_t>(args.loop);
  }
}

void count_nonzero_elements(const CountNonzero& args) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < args.size; ++i) count += args.x[i];
  *args.count = count;
}

void nonzero(const Nonzero& args) {
  const int last = args.ndim - 1;
  const std::int64_t inner = args.ndim ? args.shape[last] : 1;
  std::int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= args.shape[d];
  std::int64_t at[kMaxDims] = {}, found = 0;
  const bool* x = args.x;
  for (std::int64_t row = 0; row < rows; ++row, x += inner) {
    for (std::int64_t i = 0; i < inner; ++i) {
      if (!x[i]) continue;
      for (int d = 0; d < last; ++d) args.coordinates[d * args.count + found] = at[d];
      if (last >= 0) args.coordinates[last * args.count + found] = i;
      ++found;
    }
    for (int d = last - 1; d >= 0; --d) {  // odometer step
      if (++at[d] < args.shape[d]) break;
      at[d] = 0;
    }
  }
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
