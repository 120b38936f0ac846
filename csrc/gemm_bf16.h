// The matrix product of bfloat16 operands, summed in float32 and rounded once. Included once per
// instruction set.
//
// Two neighbours along the inner dimension make one 32-bit pair, and both operands are packed as
// matrices of pairs: `other` in panels [inner / 2][kTileColumns], `x` in panels
// [inner / 2][kTileRows]. One step of the micro-kernel adds the products of a pair of x, broadcast,
// and of a vector of pairs of `other`. Processors with AVX512_BF16 have an instruction for it; the
// others widen both halves of the pairs and do two multiply-adds.
//
// A task owns a block of rows of y. Panel by panel it sums a strip of y, kTileColumns wide, over
// the whole inner dimension; the strip stays in cache until it is finished and rounded.
#pragma once

#include <algorithm>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "elementary.h"
#include "few_rows.h"
#include "gemm.h"
#include "half.h"
#include "host_memory.h"
#include "ops/matmul.h"
#include "parallel.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

typedef std::uint32_t Pairs __attribute__((vector_size(TILEGRAD_VECTOR_BYTES)));

static constexpr Int kStripColumns = kTileColumns<float>;
static constexpr Int kPairsPerBlock = 512;      // a panel of x stays in L1 meanwhile
static constexpr Int kXBlockBytes = 384 << 10;  // packed rows of a task: they stay in L2
static constexpr Int kOtherBytes = 8 << 20;     // packed columns shared by all tasks
static constexpr Int kMaxTaskRows = 16 * kTileRows;

static inline Pairs load_pairs(const void* address) {
  Pairs pairs;
  std::memcpy(&pairs, address, sizeof(pairs));
  return pairs;
}

// --- micro-kernels ------------------------------------------------------------------------------

// strip (+)= x_panel @ other_panel for kRows rows of the panel, whose steps hold kTileRows pairs.
template <int kRows>
[[gnu::noinline]] static void multiply_pairs(Int pairs, const std::uint32_t* x_panel,
                                             const std::uint32_t* other_panel, float* strip,
                                             bool accumulate) {
  constexpr int lanes = kLanes<float>;
  Vec<float> sum[kRows][2];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v)
      sum[i][v] = accumulate ? load(strip + i * kStripColumns + v * lanes) : Vec<float>{};
  for (Int p = 0; p < pairs; ++p, x_panel += kTileRows, other_panel += kStripColumns) {
    // The second element of a pair is its upper half: a float once the lower half is cleared.
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Vec<float> other[2];
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const Pairs both = load_pairs(other_panel + v * lanes);
        other[v] = (Vec<float>)(half ? both & 0xffff0000u : both << 16);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const auto x = std::bit_cast<float>(half ? x_panel[i] & 0xffff0000u : x_panel[i] << 16);
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) sum[i][v] += x * other[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(strip + i * kStripColumns + v * lanes, sum[i][v]);
}

#if defined(__AVX512F__)
#define TILEGRAD_NATIVE_BF16 1

// The compiler may use AVX512_BF16 in the functions so marked, which run behind this question only.
#define TILEGRAD_WITH_BF16 gnu::target("avx512bf16")
static inline bool has_native_bf16() { return __builtin_cpu_supports("avx512bf16"); }

[[TILEGRAD_WITH_BF16, gnu::always_inline]] static inline Vec<float> add_products(Vec<float> sum,
                                                                                 Pairs x,
                                                                                 Pairs other) {
  return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)other);
}

template <int kRows>
[[TILEGRAD_WITH_BF16, gnu::noinline]] static void multiply_pairs_native(
    Int pairs, const std::uint32_t* x_panel, const std::uint32_t* other_panel, float* strip,
    bool accumulate) {
  constexpr int lanes = kLanes<float>;
  Vec<float> sum[kRows][2];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v)
      sum[i][v] = accumulate ? load(strip + i * kStripColumns + v * lanes) : Vec<float>{};
  for (Int p = 0; p < pairs; ++p, x_panel += kTileRows, other_panel += kStripColumns) {
    const Pairs first = load_pairs(other_panel), second = load_pairs(other_panel + lanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Pairs x = Pairs{} + x_panel[i];
      sum[i][0] = add_products(sum[i][0], x, first);
      sum[i][1] = add_products(sum[i][1], x, second);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(strip + i * kStripColumns + v * lanes, sum[i][v]);
}

template <int kRows>
static void multiply_tile_of_pairs(Int pairs, const std::uint32_t* x_panel,
                                   const std::uint32_t* other_panel, float* strip,
                                   bool accumulate) {
  if (has_native_bf16())
    return multiply_pairs_native<kRows>(pairs, x_panel, other_panel, strip, accumulate);
  multiply_pairs<kRows>(pairs, x_panel, other_panel, strip, accumulate);
}
#else
// Half of the rows at a time: taking pairs apart needs registers, of which there are 16.
template <int kRows>
static void multiply_tile_of_pairs(Int pairs, const std::uint32_t* x_panel,
                                   const std::uint32_t* other_panel, float* strip,
                                   bool accumulate) {
  for (int first = 0; first < kRows; first += kRows / 2)
    multiply_pairs<kRows / 2>(pairs, x_panel + first, other_panel, strip + first * kStripColumns,
                              accumulate);
}
#endif

// --- packing ------------------------------------------------------------------------------------

// panel[p][i] = the pair (2p, 2p + 1) of vector i, for `count` vectors of length `inner`; zeros
// beside the last vector and after the last element.
template <int kWidth>
static void pack_pairs(std::uint32_t* panel, const BFloat16* source, Int count, Int inner,
                       Int across, Int along) {
  const Int pairs = (inner + 1) / 2;
  const bool aligned = reinterpret_cast<std::uintptr_t>(source) % 4 == 0;
  if (along == 1 && across % 2 == 0 && inner % 2 == 0 && aligned) {  // pairs lie side by side
    pack_panels<kWidth>(reinterpret_cast<float*>(panel), reinterpret_cast<const float*>(source),
                        count, pairs, across / 2, 1);
    return;
  }
  for (Int first = 0; first < count; first += kWidth, panel += pairs * kWidth) {
    const Int valid = std::min<Int>(kWidth, count - first);
    const BFloat16* from = source + first * across;
    if (across == 1 && valid == kWidth) {
      for (Int p = 0; p < inner / 2; ++p) {
        const BFloat16 *even = from + 2 * p * along, *odd = even + along;
        for (int i = 0; i < kWidth; ++i)
          panel[p * kWidth + i] = even[i].bits | static_cast<std::uint32_t>(odd[i].bits) << 16;
      }
      if (inner % 2)
        for (int i = 0; i < kWidth; ++i)
          panel[(pairs - 1) * kWidth + i] = from[(inner - 1) * along + i].bits;
      continue;
    }
    for (Int p = 0; p < pairs; ++p)
      for (int i = 0; i < kWidth; ++i) {
        const BFloat16* even = from + i * across + 2 * p * along;
        const std::uint32_t low = i < valid ? even->bits : 0u;
        const std::uint32_t high = i < valid && 2 * p + 1 < inner ? even[along].bits : 0u;
        panel[p * kWidth + i] = low | high << 16;
      }
  }
}

// --- the product --------------------------------------------------------------------------------

// y = round(activation(sums + bias)) for a block of y at (row, column).
[[gnu::flatten]] static void finish_bf16(const Matmul& args, const Product<BFloat16>& m, Int row,
                                         Int rows, Int column, Int columns, float* sums,
                                         Int stride) {
  const float* bias = args.bias ? static_cast<const float*>(args.bias) + column : nullptr;
  for (Int i = 0; i < rows; ++i) {
    float* sum = sums + i * stride;
    BFloat16* y = m.y + (row + i) * m.y_row + column;
    if (bias)
      for (Int j = 0; j < columns; ++j) sum[j] += bias[j];
    if (m.residual) {
      const BFloat16* residual =
          m.residual + (row + i) * m.residual_row + column * m.residual_column;
      for (Int j = 0; j < columns; ++j)
        sum[j] += static_cast<float>(residual[j * m.residual_column]);
    }
    if (args.activation == MatmulActivation::relu)
      for (Int j = 0; j < columns; ++j) sum[j] = sum[j] < 0 ? 0 : sum[j];
    if (args.activation == MatmulActivation::gelu)
      for (Int j = 0; j < columns; ++j)
        sum[j] *= 0.5f * (1 + error_function(sum[j] * 0.70710678118654752440f));
    for (Int j = 0; j < columns; ++j) y[j] = BFloat16(sum[j]);
  }
}

// strip = rows of packed x times one panel of `other`, over the whole inner dimension.
static void multiply_strip(Int rows, Int pairs, const std::uint32_t* x_packed,
                           const std::uint32_t* other_panel, float* strip) {
  constexpr int some = std::max(kTileRows - 4, 4);
  if (pairs == 0) std::fill_n(strip, rows * kStripColumns, 0.0f);
  for (Int p = 0; p < pairs; p += kPairsPerBlock) {
    const Int depth = std::min(kPairsPerBlock, pairs - p);
    const std::uint32_t* other = other_panel + p * kStripColumns;
    for (Int i = 0; i < rows; i += kTileRows) {
      const std::uint32_t* x = x_packed + i * pairs + p * kTileRows;
      float* tile = strip + i * kStripColumns;
      if (rows - i > kTileRows - 4) multiply_tile_of_pairs<kTileRows>(depth, x, other, tile, p > 0);
      else if (rows - i > 4) multiply_tile_of_pairs<some>(depth, x, other, tile, p > 0);
      else multiply_tile_of_pairs<4>(depth, x, other, tile, p > 0);
    }
  }
}

// How the product is cut; sizes in elements. Only the number of column groups, which serve to
// occupy more threads, depends on their number, and no sum is cut by it.
struct Bf16Plan {
  Int pairs, rows, row_blocks, columns;  // of a task; the columns that are packed at once
  Int other_size, x_size, strip_size;    // in 32-bit words

  explicit Bf16Plan(const Product<BFloat16>& m) {
    pairs = (m.inner + 1) / 2;
    const Int vector = 4 * std::max<Int>(1, pairs);  // bytes
    const Int fitting = kXBlockBytes / vector / kTileRows * kTileRows;
    rows = std::clamp<Int>(fitting, kTileRows, kMaxTaskRows);
    row_blocks = (m.rows + rows - 1) / rows;
    rows = round_up((m.rows + row_blocks - 1) / row_blocks, kTileRows);
    row_blocks = (m.rows + rows - 1) / rows;
    columns = std::clamp<Int>(kOtherBytes / vector / kStripColumns * kStripColumns, kStripColumns,
                              round_up(m.columns, kStripColumns));
    other_size = pairs * columns + kPackSpill<float>;
    x_size = pairs * rows + kPackSpill<float>;
    strip_size = rows * kStripColumns;
  }
  std::size_t bytes() const {
    return static_cast<std::size_t>(other_size + x_size + strip_size) * 4;
  }
  Int column_groups(Int panels) const {
    if (num_threads() == 1) return 1;
    return std::clamp<Int>((4 * num_threads() + row_blocks - 1) / row_blocks, 1,
                           std::max<Int>(1, panels / 4));
  }
};

// Rows [row, row + rows) of y times the panels [begin, end) of the packed columns from `column`.
static void multiply_task(const Matmul& args, const Product<BFloat16>& m, const Bf16Plan& plan,
                          Int row, Int column, Int begin, Int end, const std::uint32_t* packed) {
  const Int rows = std::min(plan.rows, m.rows - row);
  auto* x_packed = static_cast<std::uint32_t*>(thread_scratch(plan.bytes())) + plan.other_size;
  auto* strip = reinterpret_cast<float*>(x_packed + plan.x_size);
  pack_pairs<kTileRows>(x_packed, m.x + row * m.x_row, rows, m.inner, m.x_row, m.x_step);
  for (Int panel = begin; panel < end; ++panel) {
    const Int at = column + panel * kStripColumns;
    multiply_strip(rows, plan.pairs, x_packed, packed + panel * kStripColumns * plan.pairs, strip);
    finish_bf16(args, m, row, rows, at, std::min(kStripColumns, m.columns - at), strip,
                kStripColumns);
  }
}

static void multiply_blocks(const Matmul& args, const Product<BFloat16>& m) {
  const Bf16Plan plan(m);
  // As for float32, all threads ask for one size: the shared block comes first, a task's own
  // memory behind it.
  auto* shared = static_cast<std::uint32_t*>(thread_scratch(plan.bytes()));
  for (Int column = 0; column < m.columns; column += plan.columns) {
    const Int columns = std::min(plan.columns, m.columns - column);
    const Int panels = (columns + kStripColumns - 1) / kStripColumns;
    parallel_for(panels, 4, [&](Int begin, Int end) {
      pack_pairs<kStripColumns>(shared + begin * kStripColumns * plan.pairs,
                                m.other + (column + begin * kStripColumns) * m.other_column,
                                std::min(end * kStripColumns, columns) - begin * kStripColumns,
                                m.inner, m.other_column, m.other_step);
    });
    const Int groups = plan.column_groups(panels), width = (panels + groups - 1) / groups;
    parallel_for(plan.row_blocks * groups, 1, [&](Int begin, Int end) {
      for (Int task = begin; task < end; ++task) {
        const Int first = task % groups * width;
        multiply_task(args, m, plan, task / groups * plan.rows, column, first,
                      std::min(first + width, panels), shared);
      }
    });
  }
}

#if defined(TILEGRAD_NATIVE_BF16)
static constexpr Int kDotStep = 2 * kLanes<float>;     // elements in one vector of pairs
static constexpr int kPairRows = 4, kPairColumns = 4;  // of a block of inner products

// Not inlined: a loop inside the unrolled loops over accumulators would keep those in memory.
[[gnu::noinline]] static float sum_of_lanes(Vec<float> vector) {
  float lane[kLanes<float>];
  store(lane, vector);
  for (int width = kLanes<float> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

// sums[i][j] = x row (row + i) . column (column + j), both contiguous along the inner dimension.
// Rows and columns beyond the last are that one again, and nobody reads their sums.
template <int kRows>
[[TILEGRAD_WITH_BF16, gnu::noinline]] static void dot_pairs(const Product<BFloat16>& m, Int row,
                                                            Int column, float* sums, Int stride) {
  const BFloat16 *x[kRows], *other[kPairColumns];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) x[i] = m.x + std::min(row + i, m.rows - 1) * m.x_row;
#pragma GCC unroll 4
  for (int j = 0; j < kPairColumns; ++j)
    other[j] = m.other + std::min(column + j, m.columns - 1) * m.other_column;
  Vec<float> sum[kRows][kPairColumns];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kPairColumns; ++j) sum[i][j] = Vec<float>{};
  for (Int p = 0; p < m.inner; p += kDotStep) {
    const Int left = m.inner - p;
    const __mmask32 valid = left >= kDotStep ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
    Pairs rows[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) rows[i] = (Pairs)_mm512_maskz_loadu_epi16(valid, x[i] + p);
#pragma GCC unroll 4
    for (int j = 0; j < kPairColumns; ++j) {
      const auto right = (Pairs)_mm512_maskz_loadu_epi16(valid, other[j] + p);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) sum[i][j] = add_products(sum[i][j], rows[i], right);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kPairColumns; ++j) sums[i * stride + j] = sum_of_lanes(sum[i][j]);
}

// Few rows times columns that are contiguous along the inner dimension: `other` is read once,
// where it lies.
static void multiply_dots_bf16(const Matmul& args, const Product<BFloat16>& m) {
  parallel_for(
      m.columns, columns_per_task(m.rows, m.inner, kStripColumns), [&](Int begin, Int end) {
        alignas(64) float strip[kFewRows * kStripColumns];
        for (Int j = begin; j < end; j += kStripColumns) {
          const Int columns = std::min(kStripColumns, end - j);
          for (Int c = 0; c < columns; c += kPairColumns)
            for (Int i = 0; i < m.rows; i += kPairRows)
              if (m.rows == 1) dot_pairs<1>(m, 0, j + c, strip + c, kStripColumns);
              else dot_pairs<kPairRows>(m, i, j + c, strip + i * kStripColumns + c, kStripColumns);
          finish_bf16(args, m, 0, m.rows, j, columns, strip, kStripColumns);
        }
      });
}
#endif

static void multiply_one_bf16(const Matmul& args, const Product<BFloat16>& m) {
#if defined(TILEGRAD_NATIVE_BF16)
  if (m.rows <= kFewRows && m.x_step == 1 && m.other_step == 1 && has_native_bf16())
    return multiply_dots_bf16(args, m);
#endif
  multiply_blocks(args, m);
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
