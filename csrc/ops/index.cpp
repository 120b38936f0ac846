// Indexing by tensors. Indices become byte offsets once, with the bounds check; every read and
// write then is a strided loop in which one operand is displaced by its offset.
#include "index.h"

#include <cstring>

#include "../permute.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

void index_offsets(const IndexOffsets& args) {
  parallel_for(args.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
    bool bad = false;
    for (int k = 0; k < args.count; ++k) {
      const std::int64_t* index = args.index[k];
      const std::int64_t size = args.sizes[k], stride = args.strides[k];
      const std::int64_t lowest = args.wrap ? -size : 0;
      if (args.offsets == nullptr) {
        std::int64_t outside = 0;
        for (std::int64_t i = begin; i < end; ++i)
          outside |= (index[i] < lowest) | (index[i] >= size);
        bad |= outside != 0;
        continue;
      }
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
    if (args.count == 0 && args.offsets != nullptr)
      for (std::int64_t i = begin; i < end; ++i) args.offsets[i] = 0;
    if (bad) args.out_of_range->store(true, std::memory_order_relaxed);
  });
}

static bool all_within(const char* index, std::int64_t stride, std::int64_t count,
                       std::int64_t size) {
  std::int64_t outside = 0;
  if (stride == sizeof(std::int64_t)) {
    const std::int64_t* at = reinterpret_cast<const std::int64_t*>(index);
    for (std::int64_t i = 0; i < count; ++i) outside |= (at[i] < 0) | (at[i] >= size);
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = *reinterpret_cast<const std::int64_t*>(index + i * stride);
      outside |= (at < 0) | (at >= size);
    }
  }
  return outside == 0;
}

// A row that lies in one piece of x.
template <class T>
static void copy_row(char* y, std::int64_t sy, const char* x, std::int64_t sx, std::int64_t count) {
  if (sy == sizeof(T) && sx == sizeof(T)) {
    std::memcpy(y, x, static_cast<std::size_t>(count) * sizeof(T));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i)
    *reinterpret_cast<T*>(y + i * sy) = *reinterpret_cast<const T*>(x + i * sx);
}

template <class T>
static void get_rows(const IndexGet& args) {
  constexpr std::int64_t kPiece = 1024;  // its offsets stay in the cache between check and use
  const std::int64_t sy = args.loop.inner_stride(0), sx = args.loop.inner_stride(1),
                     so = args.loop.inner_stride(2);
  walk_rows(args.loop, [&, sy, sx, so, scale = args.scale](char** pointers, std::int64_t count) {
    for (std::int64_t first = 0; first < count; first += kPiece) {
      const std::int64_t size = count - first < kPiece ? count - first : kPiece;
      char* y = pointers[0] + first * sy;
      const char *x = pointers[1] + first * sx, *offsets = pointers[2] + first * so;
      if (args.out_of_range && !all_within(offsets, so, so == 0 ? 1 : size, args.size)) {
        args.out_of_range->store(true, std::memory_order_relaxed);
        return;
      }
      if (so == 0) {
        x += *reinterpret_cast<const std::int64_t*>(offsets) * scale;
        copy_row<T>(y, sy, x, sx, size);
        continue;
      }
      if (sy == sizeof(T) && sx == 0 && so == sizeof(std::int64_t)) {
        const std::int64_t* at = reinterpret_cast<const std::int64_t*>(offsets);
        T* to = reinterpret_cast<T*>(y);
#pragma GCC unroll 4
        for (std::int64_t i = 0; i < size; ++i)
          to[i] = *reinterpret_cast<const T*>(x + at[i] * scale);
        continue;
      }
      for (std::int64_t i = 0; i < size; ++i) {
        const std::int64_t at = *reinterpret_cast<const std::int64_t*>(offsets + i * so);
        *reinterpret_cast<T*>(y + i * sy) = *reinterpret_cast<const T*>(x + i * sx + at * scale);
      }
    }
  });
}

// Rows that lie in one piece each, with an index each: the walk's call per row would cost as much
// as the copy. False where that is not so.
template <class T>
static bool get_whole_rows(const IndexGet& args) {
  constexpr std::int64_t size = sizeof(T);
  const auto& strides = args.loop.strides;
  const std::int64_t bytes = args.loop.shape[0] * size;
  if (args.loop.ndim != 2 || strides[0][0] != size || strides[1][0] != size || strides[2][0] != 0 ||
      bytes < TILEGRAD_VECTOR_BYTES)
    return false;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / args.loop.shape[0]);
  parallel_for(args.loop.shape[1], grain, [&](std::int64_t begin, std::int64_t end) {
    const char* offsets = args.loop.data[2] + begin * strides[2][1];
    if (args.out_of_range && !all_within(offsets, strides[2][1], end - begin, args.size))
      return args.out_of_range->store(true, std::memory_order_relaxed);
    for (std::int64_t i = begin; i < end; ++i, offsets += strides[2][1])
      copy_row_bytes(args.loop.data[0] + i * strides[0][1],
                     args.loop.data[1] + i * strides[1][1] +
                         *reinterpret_cast<const std::int64_t*>(offsets) * args.scale,
                     bytes);
  });
  return true;
}

template <class T>
static void get(const IndexGet& args) {
  if (!get_whole_rows<T>(args)) get_rows<T>(args);
}

void index_get(const IndexGet& args) {
  switch (args.element_size) {
    case 1:
      return get<std::uint8_t>(args);
    case 2:
      return get<std::int16_t>(args);
    case 4:
      return get<std::int32_t>(args);
    default:
      return get<std::int64_t>(args);
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
