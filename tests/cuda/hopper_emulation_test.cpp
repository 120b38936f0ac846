// The emulated instructions of Hopper, one by one: phases of barriers, copies that arrive later,
// exchanged chunks, descriptors; and that mistakes with them show.
#include "hopper.cuh"

#include <string>
#include <vector>

#include "kernel_testing.h"
#include "launch.cuh"
#include "tensor_map.cuh"

namespace tilegrad::cuda {
namespace {

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// --- barriers ---

__global__ void go_through_phases(int* y) {
  __shared__ Barrier barrier;
  init_barrier(barrier, 2);
  int* next = y;
  const auto note = [&] {
    *next++ = has_completed(barrier, 0);
    *next++ = has_completed(barrier, 1);
  };
  note();  // phase 0; the one before it counts as over
  arrive(barrier);
  note();
  arrive(barrier);
  note();  // phase 1
  arrive(barrier);
  note();
  arrive(barrier);
  note();  // phase 2, of parity 0 again
  expect_bytes(barrier, 48);
  arrive(barrier);
  arrive(barrier);
  note();  // all arrivals, no bytes
}

TEST(EmulationOfHopper, BarriersGoThroughPhases) {
  Array<int> y(12, -1);
  launch(go_through_phases, {1, 1}, y.data());
  const int expected[12] = {0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1};
  for (int i = 0; i < 12; ++i) EXPECT_EQ(y[i], expected[i]) << i;
}

// Warps add to a sum in turn, handed on by barriers.
__global__ void take_turns(int* y) {
  __shared__ Barrier turns[4];
  __shared__ int sum;
  if (threadIdx.x == 0) {
    for (Barrier& turn : turns) init_barrier(turn, 32);
    sum = 1;
  }
  __syncthreads();
  const unsigned warp = threadIdx.x / 32;
  for (unsigned round = 0; round < 3; ++round) {
    // The first warp begins, later it waits for the last one's turn of the round before.
    if (warp > 0) wait_for_phase(turns[warp - 1], round % 2);
    else wait_for_phase(turns[3], round % 2 ^ 1);
    if (threadIdx.x % 32 == 0) sum = sum * 3 + static_cast<int>(warp);
    __syncwarp();
    arrive(turns[warp]);
  }
  if (threadIdx.x == 96) *y = sum;
}

TEST(EmulationOfHopper, BarriersOrderWarps) {
  int expected = 1;
  for (int round = 0; round < 3; ++round)
    for (int warp = 0; warp < 4; ++warp) expected = expected * 3 + warp;
  for_each_cuda_order([&](const char*) {
    Array<int> y(1);
    launch(take_turns, {1, 128}, y.data());
    EXPECT_EQ(y[0], expected);
  });
}

enum class Mistake { none, uninitialized, unfenced, no_wait, too_few_bytes, one_arrival_too_many };

__global__ void copy_two_rows(const int* from, int* to, Mistake mistake) {
  __shared__ Barrier barrier;
  struct Rows {
    alignas(16) int at[8];
  };
  __shared__ Rows rows;
  for (int i = 0; i < 8; ++i) rows.at[i] = -1;
  if (mistake != Mistake::uninitialized) init_barrier(barrier, 1);
  if (mistake != Mistake::unfenced) fence_async_proxy();
  arrive_expecting(barrier, mistake == Mistake::too_few_bytes ? 48 : 32);
  if (mistake == Mistake::one_arrival_too_many) arrive(barrier);
  copy_bulk(rows.at, from, 16, barrier);
  copy_bulk(rows.at + 4, from + 4, 16, barrier);
  for (int i = 0; i < 8; ++i) to[i] = rows.at[i];
  if (mistake == Mistake::no_wait) return;
  wait_for_phase(barrier, 0);
  for (int i = 0; i < 8; ++i) to[8 + i] = rows.at[i];
}

TEST(EmulationOfHopper, BulkCopiesArriveAtTheirBarrier) {
  Array<int> from(8), to(16);
  for (int i = 0; i < 8; ++i) from[i] = i + 1;
  for (auto order :
       {emulation::Order::forward, emulation::Order::reverse, emulation::Order::shuffled}) {
    emulation::set_order(order);
    to = Array<int>(16);
    launch(copy_two_rows, {1, 1}, from.data(), to.data(), Mistake::none);
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(to[8 + i], i + 1);
      if (order == emulation::Order::shuffled) continue;
      EXPECT_EQ(to[i], order == emulation::Order::forward ? -1 : i + 1);  // late, or at once
    }
  }
  emulation::set_order(emulation::Order::forward);
}

TEST(EmulationOfHopper, MistakesWithBarriersAreFound) {
  Array<int> from(8), to(16);
  const struct {
    Mistake mistake;
    const char* complaint;
  } cases[] = {{Mistake::uninitialized, "was not initialized"},
               {Mistake::unfenced, "fence_async_proxy() is missing"},
               {Mistake::no_wait, "copies to its shared memory are under way"},
               {Mistake::too_few_bytes, "waits in wait_for_phase at "},
               {Mistake::one_arrival_too_many, "more arrivals than this phase expects"}};
  for (const auto& c : cases) {
    const std::string found =
        complaint_of([&] { launch(copy_two_rows, {1, 1}, from.data(), to.data(), c.mistake); });
    EXPECT_TRUE(contains(found, c.complaint)) << found;
  }
  launch(copy_two_rows, {1, 1}, from.data(), to.data(), Mistake::none);  // and the next one works
}

// --- boxes ---

struct BoxMap {
  CUtensorMap map;
};

// Copies one box and hands out shared memory as it lies there. `rows_before`: how many rows of 128
// bytes it lies behind a round address.
template <int kDimensions>
__global__ void copy_one_box(const __grid_constant__ BoxMap map, int first, int second, int third,
                             int bytes, int rows_before, unsigned char* to) {
  __shared__ Barrier barrier;
  char* shared = swizzle_aligned(dynamic_shared<char>()) + rows_before * kSwizzleBytes;
  init_barrier(barrier, 1);
  fence_async_proxy();
  arrive_expecting(barrier, bytes);
  if constexpr (kDimensions == 2) {
    const int at[2] = {first, second};
    copy_box(shared, map.map, at, barrier);
  } else {
    const int at[4] = {first, second, third, 0};
    copy_box(shared, map.map, at, barrier);
  }
  wait_for_phase(barrier, 0);
  for (int i = 0; i < bytes; ++i) to[i] = static_cast<unsigned char>(shared[i]);
}

CUresult encode_two(CUtensorMap& map, void* data, cuuint64_t along, cuuint64_t across,
                    cuuint64_t stride, cuuint32_t box_along, cuuint32_t box_across,
                    CUtensorMapSwizzle swizzle) {
  const cuuint64_t sizes[2] = {along, across};
  const cuuint32_t box[2] = {box_along, box_across}, steps[2] = {1, 1};
  return cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, data, sizes, &stride, box,
                                steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

// Rows of 104 numbers, of which the map knows 90, and of 20 rows 13.
constexpr int kAlong = 90, kAcross = 13, kRow = 104;

Array<unsigned short> numbered_matrix() {
  Array<unsigned short> matrix(20 * kRow);
  for (std::int64_t i = 0; i < matrix.size; ++i) matrix[i] = static_cast<unsigned short>(i + 1);
  return matrix;
}

TEST(EmulationOfHopper, ChunksOfABoxAreExchanged) {
  const Array<unsigned short> matrix = numbered_matrix();
  const struct {
    CUtensorMapSwizzle mode;
    int row_bytes;
  } modes[] = {{CU_TENSOR_MAP_SWIZZLE_NONE, 128},
               {CU_TENSOR_MAP_SWIZZLE_128B, 128},
               {CU_TENSOR_MAP_SWIZZLE_64B, 64},
               {CU_TENSOR_MAP_SWIZZLE_32B, 32}};
  for (const auto& mode : modes)
    for (int rows_before : {0, 3})
      for (int row = -2; row < 12; row += 5)
        for (int column : {-7, 0, 40}) {
          SCOPED_TRACE(::testing::Message() << mode.row_bytes << ", " << row << ", " << column);
          const int elements = mode.row_bytes / 2, bytes = 16 * mode.row_bytes;
          BoxMap map;
          ASSERT_EQ(encode_two(map.map, const_cast<unsigned short*>(&matrix[0]), kAlong, kAcross,
                               kRow * 2, static_cast<cuuint32_t>(elements), 16, mode.mode),
                    CUDA_SUCCESS);
          Array<unsigned char> to(bytes);
          launch(copy_one_box<2>, {1, 1, 8 * 1024}, map, column, row, 0, bytes, rows_before,
                 to.data());
          for (int r = 0; r < 16; ++r)
            for (int c = 0; c < elements; ++c) {
              const int i = row + r, j = column + c;
              const bool inside = i >= 0 && i < kAcross && j >= 0 && j < kAlong;
              // Written down from the drawings of the manual, by rows of 128 bytes.
              const int linear = r * mode.row_bytes + c * 2;
              const int line = linear / 128 + rows_before, chunk = linear % 128 / 16;
              int exchanged = chunk;
              if (mode.mode == CU_TENSOR_MAP_SWIZZLE_128B) exchanged = chunk ^ line % 8;
              if (mode.mode == CU_TENSOR_MAP_SWIZZLE_64B) exchanged = chunk ^ line % 4;
              if (mode.mode == CU_TENSOR_MAP_SWIZZLE_32B) exchanged = chunk ^ line % 2;
              const int at = linear / 128 * 128 + exchanged * 16 + linear % 16;
              ASSERT_EQ(to[at] | to[at + 1] << 8, inside ? matrix[i * kRow + j] : 0)
                  << r << ", " << c;
            }
        }
}

TEST(EmulationOfHopper, BoxesHaveBatchDimensions) {
  Array<float> matrices(3 * 8 * 40);
  for (std::int64_t i = 0; i < matrices.size; ++i) matrices[i] = static_cast<float>(i);
  matrices[640 + 40 + 4] = 1.0f + 0x1.8p-11f;  // not a TF32: to be rounded up
  const MapSource source = {&matrices[0], 36, 8, 160, {3, 7}, {8 * 160, 0}};
  BoxMap map;
  ASSERT_TRUE(encode_map(map.map, source, CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 4, 4));
  Array<unsigned char> to(512);
  launch(copy_one_box<4>, {1, 1, 4096}, map, 4, 1, 2, 512, 0, to.data());
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 32; ++c) {
      float found;
      std::memcpy(&found, &to[r * 128 + ((c / 4) ^ r) * 16 + c % 4 * 4], 4);
      if (r == 0 && c == 0) EXPECT_EQ(found, 1.0f + 0x1p-10f);
      else ASSERT_EQ(found, matrices[640 + (1 + r) * 40 + 4 + c]) << r << ", " << c;
    }
}

TEST(EmulationOfHopper, MapsThatADriverRefusesAreRefused) {
  Array<unsigned short> matrix = numbered_matrix();
  CUtensorMap map;
  const auto outcome = [&](unsigned short* data, cuuint64_t stride, cuuint32_t along,
                           cuuint32_t across) {
    return encode_two(map, data, kAlong, kAcross, stride, along, across,
                      CU_TENSOR_MAP_SWIZZLE_128B);
  };
  EXPECT_EQ(outcome(matrix.data(), 208, 64, 16), CUDA_SUCCESS);
  EXPECT_NE(outcome(matrix.data() + 1, 208, 64, 16), CUDA_SUCCESS);  // 16 bytes
  EXPECT_NE(outcome(matrix.data(), 200, 64, 16), CUDA_SUCCESS);
  EXPECT_NE(outcome(matrix.data(), 208, 72, 16), CUDA_SUCCESS);  // longer than the pattern
  EXPECT_NE(outcome(matrix.data(), 208, 64, 257), CUDA_SUCCESS);
  const MapSource wide = {matrix.data(), kAlong, kAcross, 208, {1, 1}, {0, 0}};
  EXPECT_TRUE(can_be_mapped(wide));
  for (const auto& spoil :
       {+[](MapSource& s) { s.across_stride = 0; }, +[](MapSource& s) { s.across_stride = 24; },
        +[](MapSource& s) { s.batch_strides[1] = 8; },
        +[](MapSource& s) { s.batch_strides[0] = -16; },
        +[](MapSource& s) { s.along = std::int64_t{1} << 31; }}) {
    MapSource other = wide;
    spoil(other);
    EXPECT_FALSE(can_be_mapped(other));
  }
}

// --- products ---

// How the operands lie in shared memory, by the formulas of the manual: groups of eight rows of 128
// bytes, `spread` times as far apart as they would need to be.
int place_along_inner(int outer, int inner, int bytes, int spread) {
  const int row = outer % 8, along = inner * bytes;
  return outer / 8 * 1024 * spread + row * 128 + ((along / 16) ^ row) * 16 + along % 16;
}
int place_across(int outer, int inner, int spread) {  // 64 elements of the outer dimension per row
  const int row = inner % 8, along = outer % 64 * 2;
  return outer / 64 * 4096 * spread + inner / 8 * 1024 * spread + row * 128 +
         ((along / 16) ^ row) * 16 + along % 16;
}

constexpr int kXBytes = 64 * 128;

enum class Slip { none, no_async_fence, no_fence, early_overwrite, other_lane, off_pattern };

struct ProductArguments {
  const void *x, *other;  // (64, inner), (inner, columns)
  float *sum, *early;     // (64, columns), before and after the wait
  int spread;
  Slip slip;
};

// One product by one warpgroup, of as many inner steps as a row of 128 bytes holds.
template <class T, int kColumns, bool kXTransposed, bool kOtherTransposed>
__global__ void multiply_once(const ProductArguments args) {
  constexpr int bytes = sizeof(T), inner = 32 / bytes;
  char* x = swizzle_aligned(dynamic_shared<char>());
  char* other = x + kXBytes * args.spread;
  const auto place = [&](char* data, bool transposed, int outer, int k) {
    const int at = transposed ? place_across(outer, k, args.spread)
                              : place_along_inner(outer, k, bytes, args.spread);
    return reinterpret_cast<T*>(data + at);
  };
  const int thread = static_cast<int>(threadIdx.x);
  for (int n = thread; n < 64 * inner; n += 128)
    *place(x, kXTransposed, n / inner, n % inner) = static_cast<const T*>(args.x)[n];
  for (int n = thread; n < inner * kColumns; n += 128)
    *place(other, kOtherTransposed, n % kColumns, n / kColumns) =
        static_cast<const T*>(args.other)[n];
  if (args.slip != Slip::no_async_fence) fence_async_proxy();
  __syncthreads();

  float sum[kColumns / 2];
  for (float& element : sum) element = 0.5f;
  const auto for_each_sum = [&](auto&& body) {
    for (int i = 0; i < kColumns / 2; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8;
      body(row * kColumns + i / 4 * 8 + thread % 4 * 2 + i % 2, sum[i]);
    }
  };
  const unsigned group = 1024u * static_cast<unsigned>(args.spread);
  std::uint64_t x_descriptor = tile_descriptor(x, 4 * group, group);
  if (args.slip == Slip::other_lane && thread == 5) x_descriptor = moved(x_descriptor, 32);
  if (args.slip == Slip::off_pattern) x_descriptor = moved(x_descriptor, 128);
  if (args.slip != Slip::no_fence) fence_products();
  multiply_tiles<T, kColumns, kXTransposed, kOtherTransposed>(
      sum, x_descriptor, tile_descriptor(other, 4 * group, group));
  commit_products();
  if (args.slip == Slip::early_overwrite && thread == 0)
    *place(x, kXTransposed, 0, 0) = static_cast<const T*>(args.x)[1];
  for_each_sum([&](int at, float value) { args.early[at] = value; });
  wait_for_products<0>(sum);
  for_each_sum([&](int at, float value) { args.sum[at] = value; });
}

template <class T, int kColumns>
struct ProductTest {
  static constexpr int inner = 32 / sizeof(T);
  Array<T> x{64 * inner}, other{inner * kColumns};
  Array<float> sum{64 * kColumns}, early{64 * kColumns};

  ProductTest() {
    // Small whole numbers: exact in every format.
    for (std::int64_t i = 0; i < x.size; ++i) x[i] = T(static_cast<float>(i * 7 % 13 - 6));
    for (std::int64_t i = 0; i < other.size; ++i) other[i] = T(static_cast<float>(i * 5 % 11 - 5));
  }

  template <bool kXTransposed, bool kOtherTransposed>
  void run(int spread, Slip slip) {
    sum = Array<float>(sum.size, -1.0f);
    const auto kernel = multiply_once<T, kColumns, kXTransposed, kOtherTransposed>;
    const int bytes = kSwizzleGroupBytes + (kXBytes + kColumns * 128) * spread;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    launch(kernel, {1, 128, static_cast<std::size_t>(bytes)},
           ProductArguments{x.data(), other.data(), sum.data(), early.data(), spread, slip});
  }

  // How many sums are not what they should be.
  int wrong() const {
    int count = 0;
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < kColumns; ++j) {
        float expected = 0.5f;
        for (int k = 0; k < inner; ++k)
          expected +=
              static_cast<float>(x[i * inner + k]) * static_cast<float>(other[k * kColumns + j]);
        count += !(sum[i * kColumns + j] == expected);
      }
    return count;
  }
};

template <class T, int kColumns>
void test_products() {
  ProductTest<T, kColumns> test;
  for (int spread : {1, 2}) {  // the strides of descriptors are read
    test.template run<false, false>(spread, Slip::none);
    EXPECT_EQ(test.wrong(), 0) << spread;
    if constexpr (sizeof(T) == 2) {
      test.template run<true, false>(spread, Slip::none);
      EXPECT_EQ(test.wrong(), 0) << spread;
      test.template run<false, true>(spread, Slip::none);
      EXPECT_EQ(test.wrong(), 0) << spread;
      test.template run<true, true>(spread, Slip::none);
      EXPECT_EQ(test.wrong(), 0) << spread;
    }
  }
}

TEST(EmulationOfHopper, Products) {
  for_each_cuda_order([](const char*) {
    test_products<BFloat16, 128>();
    test_products<Half, 128>();
    test_products<float, 128>();
    test_products<BFloat16, 256>();
    test_products<float, 256>();
  });
}

TEST(EmulationOfHopper, MistakesWithProductsShow) {
  ProductTest<BFloat16, 128> test;
  const auto wrong_after = [&](Slip slip) {
    test.run<false, true>(1, slip);
    return test.wrong();
  };
  EXPECT_EQ(wrong_after(Slip::none), 0);
  for (std::int64_t i = 0; i < test.early.size; ++i) ASSERT_TRUE(std::isnan(test.early[i]));
  EXPECT_EQ(wrong_after(Slip::no_async_fence), 64 * 128);
  EXPECT_EQ(wrong_after(Slip::no_fence), 64 * 128);
  EXPECT_GT(wrong_after(Slip::early_overwrite), 0);
  const std::string lanes = complaint_of([&] { wrong_after(Slip::other_lane); });
  EXPECT_TRUE(contains(lanes, "different descriptors")) << lanes;
  const std::string pattern = complaint_of([&] { wrong_after(Slip::off_pattern); });
  EXPECT_TRUE(contains(pattern, "from a round address on")) << pattern;
}

TEST(EmulationOfHopper, TheDeviceCanBeAnotherCard) {
  emulation::set_compute_capability(8, 0);
  EXPECT_EQ(compute_capability(), 80);
  EXPECT_EQ(device_properties(0).major, 8);
  emulation::set_compute_capability(9, 0);
  EXPECT_EQ(compute_capability(), 90);
}

}  // namespace
}  // namespace tilegrad::cuda
