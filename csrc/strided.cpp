// The walk through strided operands: shared by all instruction sets, since only the rows are hot.
#include "strided.h"

#include <algorithm>

#include "past_caches.h"

namespace tilegrad {

namespace {

constexpr int kMaxOperands = 4;

struct Walk {
  const std::int64_t* shape;
  const std::int64_t (*strides)[kMaxDims];
  char* const* data;
  int ndim, operands;
  RowBody body;
  const void* context;
  CopyOut copy_out = nullptr;     // null: rows write their results themselves
  std::int64_t tile_columns = 0;  // 0: no tiles
};

// The buffer in place of the result: stores past the caches in longer bursts stall.
constexpr std::int64_t kBlockBytes = 1024;

bool can_copy_out(const Walk& walk) {
  const std::int64_t unit = walk.ndim == 0 ? 0 : walk.strides[0][0];
  if (unit <= 0 || unit > 8) return false;
  for (int k = 1; k < walk.operands; ++k)
    if (walk.data[k] == walk.data[0]) return false;  // its lines are read in any case
  if (unit * walk.shape[0] >= kBlockBytes) return true;
  std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(walk.data[0]) |
                        static_cast<std::uintptr_t>(unit * walk.shape[0]);
  for (int d = 1; d < walk.ndim; ++d) bits |= static_cast<std::uintptr_t>(walk.strides[0][d]);
  return bits % 64 == 0;  // short rows must not share cache lines
}

// A row, in blocks that go through a buffer in the nearest cache. The inputs' next blocks are asked
// for in time: the processor looks ahead too late, and not beyond the end of a row.
void run_past_caches(const Walk& walk, char* const* pointers, std::int64_t count) {
  alignas(64) char buffer[kBlockBytes];
  const std::int64_t unit = walk.strides[0][0], block = kBlockBytes / unit;
  for (std::int64_t first = 0; first < count; first += block) {
    const std::int64_t size = std::min(block, count - first);
    char* at[kMaxOperands] = {buffer};
    for (int k = 1; k < walk.operands; ++k) {
      const std::int64_t stride = walk.strides[k][0];
      at[k] = pointers[k] + first * stride;
      if (stride > 0 && stride <= 8)
        for (std::int64_t ahead = 0; ahead < size * stride; ahead += 64)
          __builtin_prefetch(at[k] + size * stride + ahead);
    }
    walk.body(walk.context, at, size);
    walk.copy_out(pointers[0] + first * unit, buffer, size * unit);
  }
}

void run_row(const Walk& walk, char* const* pointers, std::int64_t count) {
  if (walk.copy_out != nullptr) return run_past_caches(walk, pointers, count);
  char* row[kMaxOperands];  // a body may move its pointers
  for (int k = 0; k < walk.operands; ++k) row[k] = pointers[k];
  walk.body(walk.context, row, count);
}

void finish(const Walk& walk) {
  if (walk.copy_out != nullptr) walk.copy_out(nullptr, nullptr, 0);
}

// A piece of the only row.
void walk_piece(const Walk& walk, std::int64_t begin, std::int64_t end) {
  char* pointers[kMaxOperands];
  for (int k = 0; k < walk.operands; ++k)
    pointers[k] = walk.data[k] + (walk.ndim == 0 ? 0 : begin * walk.strides[k][0]);
  run_row(walk, pointers, end - begin);
}

// An operand whose neighbours lie along dimension 1 rather than along the rows (a transposed one)
// would be read a cache line per element. In tiles its lines are used whole. Returns how many
// columns a tile has, 0 for none: lines that are a multiple of 4096 bytes apart share eight places
// in the nearest cache, so no more of them can be kept.
constexpr std::int64_t kTileRows = 32, kTileColumns = 32;

std::int64_t columns_of_tiles(const Walk& walk) {
  if (walk.ndim < 2 || walk.shape[0] < kTileRows || walk.shape[1] < 2) return 0;
  std::int64_t columns = 0;
  for (int k = 0; k < walk.operands; ++k) {
    const std::int64_t along = walk.strides[k][0], across = walk.strides[k][1];
    if (across <= 0 || across >= 64 || along <= across) continue;
    const std::int64_t fitting = along % 4096 == 0 ? 8 : along % 2048 == 0 ? 16 : kTileColumns;
    if (columns == 0 || fitting < columns) columns = fitting;
  }
  return columns;
}

// `rows` neighbouring rows along dimension 1, a few columns of all of them at a time.
void walk_tiles(const Walk& walk, char* const* first, std::int64_t rows) {
  const std::int64_t columns = walk.tile_columns;
  for (std::int64_t column = 0; column < walk.shape[0]; column += columns) {
    const std::int64_t size = std::min(columns, walk.shape[0] - column);
    for (std::int64_t r = 0; r < rows; ++r) {
      char* row[kMaxOperands];
      for (int k = 0; k < walk.operands; ++k)
        row[k] = first[k] + column * walk.strides[k][0] + r * walk.strides[k][1];
      walk.body(walk.context, row, size);
    }
  }
}

// The rows [begin, end), counted over dimensions 1, 2, ..., the first of them fastest; in order
// unless in tiles.
void walk_chunk(const Walk& walk, std::int64_t begin, std::int64_t end) {
  std::int64_t index[kMaxDims];
  char* pointers[kMaxOperands];
  for (int k = 0; k < walk.operands; ++k) pointers[k] = walk.data[k];
  std::int64_t rest = begin;  // position of the first row, dimension by dimension
  for (int d = 1; d < walk.ndim; ++d) {
    index[d] = rest % walk.shape[d];
    rest /= walk.shape[d];
    for (int k = 0; k < walk.operands; ++k) pointers[k] += index[d] * walk.strides[k][d];
  }
  for (std::int64_t r = begin; r < end;) {
    std::int64_t rows = 1;
    if (walk.tile_columns > 0) {
      rows = walk.shape[1] - index[1];
      if (rows > kTileRows) rows = kTileRows;
      if (rows > end - r) rows = end - r;
      walk_tiles(walk, pointers, rows);
    } else {
      run_row(walk, pointers, walk.shape[0]);
    }
    r += rows;
    for (int d = 1; d < walk.ndim; ++d) {  // odometer step
      const std::int64_t step = d == 1 ? rows : 1;
      for (int k = 0; k < walk.operands; ++k) pointers[k] += step * walk.strides[k][d];
      if ((index[d] += step) < walk.shape[d]) break;
      for (int k = 0; k < walk.operands; ++k) pointers[k] -= walk.shape[d] * walk.strides[k][d];
      index[d] = 0;
    }
  }
}

}  // namespace

void walk_strided(const std::int64_t* shape, const std::int64_t (*strides)[kMaxDims],
                  char* const* data, int ndim, int operands, std::int64_t grain, RowBody body,
                  const void* context, CopyOut copy_out) {
  Walk walk = {shape, strides, data, ndim, operands, body, context};
  const std::int64_t inner = ndim == 0 ? 1 : shape[0];
  std::int64_t outer = 1;
  for (int d = 1; d < ndim; ++d) outer *= shape[d];
  if (inner == 0 || outer == 0) return;
  if (grain != INT64_MAX) walk.tile_columns = columns_of_tiles(walk);
  const bool tiled = walk.tile_columns > 0;
  if (copy_out != nullptr && !tiled && can_copy_out(walk)) walk.copy_out = copy_out;
  if (outer == 1)
    return parallel_for(inner, grain, [&](std::int64_t begin, std::int64_t end) {
      walk_piece(walk, begin, end);
      finish(walk);
    });
  const std::int64_t rows = inner >= grain ? 1 : grain / inner;
  // A chunk of tiles has at least a tile's rows.
  const std::int64_t chunk = tiled && rows < kTileRows ? kTileRows : rows;
  parallel_for(outer, chunk, [&](std::int64_t begin, std::int64_t end) {
    walk_chunk(walk, begin, end);
    finish(walk);
  });
}

void walk_strided(const std::int64_t* shape, const std::int64_t (*strides)[kMaxDims],
                  char* const* data, int ndim, int operands, std::int64_t grain, RowBody body,
                  const void* context) {
  walk_strided(shape, strides, data, ndim, operands, grain, body, context, nullptr);
}

}  // namespace tilegrad
