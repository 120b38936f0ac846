// Products of a matrix with one whose elements are gathered from images: the loop behind all
// convolutions, without the gathered matrix in memory.
//
// A block of 256 threads computes a tile of the result, kRows x kColumns, and each thread a patch
// of it in registers. The inner dimension is walked kDepth steps at a time: while they are
// multiplied from one half of shared memory, the next are on their way from memory to registers,
// and from there to the other half. An element of the gathered matrix lies at step.right +
// column.right if the sums of their coordinates lie inside the image, and is 0 outside. What a step
// is, a division or two, is worked out for kTable of them at a time, one by each thread.
//
// Every element of the result is summed by one thread in order. With 128 x 128 floats a step reads
// 8 KiB and multiplies 131072 pairs: 16 per byte from the caches. 128 registers, 24 KiB of shared
// memory: 2 blocks, 16 warps per multiprocessor, each with 64 independent sums.
#pragma once

#include <new>

#include "launch.cuh"
#include "sums.cuh"
#include "tensor_cores.cuh"

namespace tilegrad::cuda {

inline constexpr int kTable = kBlock;        // steps
inline constexpr int kOutside = -(1 << 30);  // a coordinate that stays outside whatever is added

// One index of the inner dimension.
struct GatherStep {
  std::int64_t left, right;  // offsets, in elements
  int y, x;                  // coordinates; y is kOutside for a step that adds nothing
};
// One column of the gathered matrix and of the result.
struct GatherColumn {
  std::int64_t right, result;
  int y, x;
};

// What a problem tells the loop; a problem is a class that derives from it, lives in shared memory
// and has
//   using Element = ...;
//   static constexpr bool kStepsFast;
//   void begin(const Arguments&, std::int64_t block);
//   GatherStep step(std::int64_t) const;
//   GatherColumn column(std::int64_t) const;
//   void store(std::int64_t row, std::int64_t result, Sum<Element> sum) const;
// all of them __device__. kStepsFast says whether neighbouring steps are neighbours in memory,
// begin is called by one thread, steps are asked for inside [first_step, end_step), columns inside
// [0, columns).
template <class T>
struct GatherProblem {
  using Element = T;
  std::int64_t rows, columns, first_step, end_step;
  std::int64_t first_row, first_column;  // of this block's tile
  const T *left, *right;
  std::int64_t left_row;  // from one row of the left matrix to the next
  int height, width;      // of the images
};

// Halves lie in shared memory in pairs of neighbouring steps, as instructions take them.
template <class T>
struct alignas(2 * sizeof(T)) HalfPair {
  T at[2];
};
template <class T>
using GatherWord = std::conditional_t<kIsHalf<T>, HalfPair<T>, T>;

template <class T, int kRows_, int kColumns_, int kPatchRows_, int kPatchColumns_>
struct GatherTile {
  static constexpr int kWords = 8;
  static constexpr int kDepth = kIsHalf<T> ? 2 * kWords : kWords;
  static constexpr int kRows = kRows_, kColumns = kColumns_;
  static constexpr int kPatchRows = kPatchRows_, kPatchColumns = kPatchColumns_;
  static constexpr int kThreadRows = kRows / kPatchRows, kThreadColumns = kColumns / kPatchColumns;
  static_assert(kThreadRows * kThreadColumns == kBlock && kThreadColumns % 8 == 0);
  static constexpr int kLeftLoads = kRows * kDepth / kBlock;
  static constexpr int kRightLoads = kColumns * kDepth / kBlock;
};

// Neighbouring elements that are read at once.
template <class T>
struct alignas(16) Four {
  T at[4];
};

// The shared memory of a block. A few more columns (Patch::kPad): rows keep their alignment, and
// those that are read or written at one time begin in different banks.
template <class Problem, class Tile, class Patch>
struct GatherShared {
  using T = typename Problem::Element;
  alignas(Problem) unsigned char problem[sizeof(Problem)];  // thread 0 constructs it
  GatherStep steps[kTable];
  std::int64_t results[Tile::kColumns];
  alignas(16) GatherWord<T> left[2][Tile::kWords][Tile::kRows + Patch::kPad];
  alignas(16) GatherWord<T> right[2][Tile::kWords][Tile::kColumns + Patch::kPad];
};

// What a thread brings from memory, and where to. What is one number for the whole block is read
// from the problem, in shared memory, for every load: kept, it would take the registers of sums.
template <class Problem, class Tile>
struct GatherLoads {
  using T = typename Problem::Element;
  static constexpr bool kStepsFast = Problem::kStepsFast;
  static constexpr int kDepth = Tile::kDepth;
  static constexpr int kColumnsOfThread = kStepsFast ? Tile::kRightLoads : 1;
  static constexpr int kStepsAtOnce = kStepsFast ? kDepth : kBlock / Tile::kColumns;

  T left[Tile::kLeftLoads], right[Tile::kRightLoads];
  const T* left_row;  // of the first of this thread's rows, which are kRowsApart apart
  int rows;           // from this thread's first row to the end
  const T* column_right[kColumnsOfThread];
  int column_y[kColumnsOfThread], column_x[kColumnsOfThread];
  static constexpr int kRowsApart = kBlock / kDepth;

  // Place of load i within the tile of the gathered matrix.
  static __device__ int depth_of(int i) {
    if constexpr (kStepsFast) return threadIdx.x % kDepth;
    else return threadIdx.x / Tile::kColumns + i * kStepsAtOnce;
  }
  static __device__ int column_of(int i) {
    if constexpr (kStepsFast) return threadIdx.x / kDepth + i * (kBlock / kDepth);
    else return threadIdx.x % Tile::kColumns;
  }

  __device__ void begin(const Problem& problem, std::int64_t* results) {
    const std::int64_t row = problem.first_row + threadIdx.x / kDepth;
    left_row = problem.left + row * problem.left_row;
    rows = static_cast<int>(min(problem.rows - row, std::int64_t{Tile::kRows}));
#pragma unroll
    for (int i = 0; i < kColumnsOfThread; ++i) {
      const std::int64_t n = problem.first_column + column_of(i);
      GatherColumn column = {0, 0, kOutside, 0};
      if (n < problem.columns) column = problem.column(n);
      column_right[i] = problem.right + column.right;
      column_y[i] = column.y;
      column_x[i] = column.x;
      if (depth_of(0) == 0) results[column_of(i)] = column.result;
    }
  }

  // From memory: steps [first, first + kDepth) of the table.
  __device__ void load(const Problem& problem, const GatherStep* steps, int first) {
    const auto height = static_cast<unsigned>(problem.height);
    const auto width = static_cast<unsigned>(problem.width);
    const std::int64_t row_step = kRowsApart * problem.left_row;  // elements to the next row
    const GatherStep& own = steps[first + threadIdx.x % kDepth];
    const T* from = left_row + own.left;
    const bool counts = own.y != kOutside;
#pragma unroll
    for (int i = 0; i < Tile::kLeftLoads; ++i)
      left[i] = counts && i * kRowsApart < rows ? from[i * row_step] : T{};
#pragma unroll
    for (int i = 0; i < Tile::kRightLoads; ++i) {
      const GatherStep& step = steps[first + depth_of(i)];
      const int c = kStepsFast ? i : 0;
      const bool inside = static_cast<unsigned>(step.y + column_y[c]) < height &&
                          static_cast<unsigned>(step.x + column_x[c]) < width;
      right[i] = inside ? column_right[c][step.right] : T{};
    }
  }

  template <int kCount>
  static __device__ void put(GatherWord<T> (&to)[Tile::kWords][kCount], int depth, int at,
                             T value) {
    if constexpr (kIsHalf<T>) to[depth / 2][at].at[depth % 2] = value;
    else to[depth][at] = value;
  }

  template <int kLeft, int kRight>
  __device__ void store(GatherWord<T> (&to_left)[Tile::kWords][kLeft],
                        GatherWord<T> (&to_right)[Tile::kWords][kRight]) const {
#pragma unroll
    for (int i = 0; i < Tile::kLeftLoads; ++i)
      put(to_left, threadIdx.x % kDepth, threadIdx.x / kDepth + i * kRowsApart, left[i]);
#pragma unroll
    for (int i = 0; i < Tile::kRightLoads; ++i) put(to_right, depth_of(i), column_of(i), right[i]);
  }
};

// The patch of a thread: groups of four neighbours, so that a warp's reads of shared memory cover
// whole rows of banks. A warp takes 4 x 8 patches.
template <class T, class Tile>
struct GatherPatch {
  static constexpr int kPad = 4;
  T sum[Tile::kPatchRows][Tile::kPatchColumns];
  int row, column;

  __device__ GatherPatch() : sum{} {
    constexpr int kWarpsAcross = Tile::kThreadColumns / 8;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    row = 4 * (lane / 8 + 4 * (warp / kWarpsAcross));
    column = 4 * (lane % 8 + 8 * (warp % kWarpsAcross));
  }
  __device__ int row_of(int i) const { return i / 4 * (4 * Tile::kThreadRows) + row + i % 4; }
  __device__ int column_of(int j) const {
    return j / 4 * (4 * Tile::kThreadColumns) + column + j % 4;
  }

  __device__ void multiply(const T (&left)[Tile::kDepth][Tile::kRows + 4],
                           const T (&right)[Tile::kDepth][Tile::kColumns + 4]) {
#pragma unroll
    for (int p = 0; p < Tile::kDepth; ++p) {
      Four<T> a[Tile::kPatchRows / 4], b[Tile::kPatchColumns / 4];
#pragma unroll
      for (int i = 0; i < Tile::kPatchRows / 4; ++i)
        a[i] = *reinterpret_cast<const Four<T>*>(&left[p][row_of(4 * i)]);
#pragma unroll
      for (int j = 0; j < Tile::kPatchColumns / 4; ++j)
        b[j] = *reinterpret_cast<const Four<T>*>(&right[p][column_of(4 * j)]);
#pragma unroll
      for (int i = 0; i < Tile::kPatchRows; ++i)
#pragma unroll
        for (int j = 0; j < Tile::kPatchColumns; ++j)
          sum[i][j] += a[i / 4].at[i % 4] * b[j / 4].at[j % 4];
    }
  }

  // Calls body(row, column, sum) for all its elements, counted within the block's tile.
  template <class Body>
  __device__ void for_each(const Body& body) const {
#pragma unroll
    for (int i = 0; i < Tile::kPatchRows; ++i)
#pragma unroll
      for (int j = 0; j < Tile::kPatchColumns; ++j) body(row_of(i), column_of(j), sum[i][j]);
  }
};

// The same on tensor cores, of halves or of floats rounded to TF32: kDepth is that of one
// instruction. 2 x 4 warps, each with parts of 16 x 8.
template <class T, class Tile>
struct GatherMmaPatch {
  static constexpr int kPad = 8;
  static constexpr int kDown = Tile::kRows / 2 / 16, kAcross = Tile::kColumns / 4 / 8;
  float sum[kDown][kAcross][4];
  int row, column;

  __device__ GatherMmaPatch() : sum{} {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    row = warp / 4 * (Tile::kRows / 2) + lane / 4;
    column = warp % 4 * (Tile::kColumns / 4) + lane / 4;
  }

  // What an instruction takes: two halves or a float.
  static __device__ unsigned bits_of(const GatherWord<T>& word) {
    if constexpr (kIsHalf<T>) return std::bit_cast<unsigned>(word);
    else return to_tf32(__float_as_uint(word));
  }

  __device__ void multiply(const GatherWord<T> (&left)[Tile::kWords][Tile::kRows + kPad],
                           const GatherWord<T> (&right)[Tile::kWords][Tile::kColumns + kPad]) {
    const int t = threadIdx.x % 4;
    unsigned b[kAcross][2];
#pragma unroll
    for (int j = 0; j < kAcross; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        b[j][half] = bits_of(right[t + 4 * half][column + 8 * j]);
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
      unsigned a[4];
#pragma unroll
      for (int part = 0; part < 4; ++part)
        a[part] = bits_of(left[t + part / 2 * 4][row + 16 * i + part % 2 * 8]);
#pragma unroll
      for (int j = 0; j < kAcross; ++j) multiply_fragments<T>(sum[i][j], a, b[j]);
    }
  }

  template <class Body>
  __device__ void for_each(const Body& body) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kDown; ++i)
#pragma unroll
      for (int j = 0; j < kAcross; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          body(row + 16 * i + e / 2 * 8, column - lane / 4 + 8 * j + lane % 4 * 2 + e % 2,
               sum[i][j][e]);
  }
};

// Works out the steps [first, first + kTable) below the end, and as many that add nothing.
template <class Problem>
static __device__ void fill_steps(const Problem& problem, std::int64_t first, GatherStep* steps) {
  const std::int64_t k = first + threadIdx.x;
  GatherStep step = {0, 0, kOutside, 0};
  if (k < problem.end_step) step = problem.step(k);
  steps[threadIdx.x] = step;
}

template <class Problem, class Tile, class Patch, class Arguments>
static __global__ void __launch_bounds__(kBlock, sizeof(typename Problem::Element) == 8 ? 1 : 2)
    gather_kernel(const Arguments args) {
  __shared__ GatherShared<Problem, Tile, Patch> shared;
  if (threadIdx.x == 0) (new (shared.problem) Problem)->begin(args, blockIdx.x);
  __syncthreads();
  const Problem& problem = *reinterpret_cast<const Problem*>(shared.problem);
  GatherLoads<Problem, Tile> loads;
  loads.begin(problem, shared.results);
  Patch patch;
  for (std::int64_t k = problem.first_step; k < problem.end_step; k += kTable) {
    fill_steps(problem, k, shared.steps);
    __syncthreads();
    const std::int64_t left = problem.end_step - k;
    const int count = static_cast<int>(left < kTable ? left : kTable);
    loads.load(problem, shared.steps, 0);
    loads.store(shared.left[0], shared.right[0]);
    __syncthreads();
#pragma unroll 1
    for (int first = 0, half = 0; first < count; first += Tile::kDepth, half ^= 1) {
      const bool more = first + Tile::kDepth < count;
      if (more) loads.load(problem, shared.steps, first + Tile::kDepth);
      patch.multiply(shared.left[half], shared.right[half]);
      if (more) loads.store(shared.left[half ^ 1], shared.right[half ^ 1]);
      __syncthreads();
    }
  }
  if (problem.first_step >= problem.end_step) __syncthreads();  // shared.results
  patch.for_each([&](int row, int column, Sum<typename Problem::Element> sum) {
    const std::int64_t to_row = problem.first_row + row;
    if (to_row < problem.rows && problem.first_column + column < problem.columns)
      problem.store(to_row, shared.results[column], sum);
  });
}

}  // namespace tilegrad::cuda
