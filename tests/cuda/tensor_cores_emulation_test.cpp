// The instructions of tensor cores, one by one: fragments as the PTX manual draws them, and copies
// that have not arrived before they are waited for.
#include "tensor_cores.cuh"

#include "kernel_testing.h"
#include "launch.cuh"

namespace tilegrad::cuda {
namespace {

// One product of (16, inner) and (inner, 8) numbers by one warp, fragments gathered by hand.
template <class T>
__global__ void multiply_once(const T* left, const T* right, float* sum) {
  constexpr int inner = 32 / sizeof(T), of_register = 4 / sizeof(T);
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  union Register {
    unsigned bits;
    T at[of_register];
  };
  unsigned a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    Register pair;
    for (int e = 0; e < of_register; ++e)
      pair.at[e] = left[(g + i % 2 * 8) * inner + t * of_register + i / 2 * (inner / 2) + e];
    a[i] = pair.bits;
  }
  for (int i = 0; i < 2; ++i) {
    Register pair;
    for (int e = 0; e < of_register; ++e)
      pair.at[e] = right[(t * of_register + i * (inner / 2) + e) * 8 + g];
    b[i] = pair.bits;
  }
  float own[4];
  for (int i = 0; i < 4; ++i) own[i] = sum[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  multiply_fragments<T>(own, a, b);
  for (int i = 0; i < 4; ++i) sum[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = own[i];
}

template <class T>
void test_product() {
  constexpr int inner = 32 / sizeof(T);
  Array<T> left(16 * inner), right(inner * 8);
  Array<float> sum(16 * 8, 0.5f);
  // Small whole numbers: exact in every format.
  for (std::int64_t i = 0; i < left.size; ++i) left[i] = T(static_cast<float>(i * 7 % 13 - 6));
  for (std::int64_t i = 0; i < right.size; ++i) right[i] = T(static_cast<float>(i * 5 % 11 - 5));
  launch(multiply_once<T>, {1, 32}, left.data(), right.data(), sum.data());
  wait_for_cuda();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      float expected = 0.5f;
      for (int k = 0; k < inner; ++k)
        expected += static_cast<float>(left[i * inner + k]) * static_cast<float>(right[k * 8 + j]);
      ASSERT_EQ(sum[i * 8 + j], expected) << i << ", " << j;
    }
}

TEST(EmulationOfTensorCores, Products) {
  for_each_cuda_order([](const char*) {
    test_product<BFloat16>();
    test_product<Half>();
    test_product<float>();
  });
}

template <bool kTransposed>
__global__ void load_once(const unsigned short* from, unsigned* to) {
  struct Rows {
    alignas(16) unsigned short at[32][8];
  };
  __shared__ Rows shared;
  auto& rows = shared.at;
  for (int i = 0; i < 8; ++i) rows[threadIdx.x][i] = from[threadIdx.x * 8 + i];
  __syncthreads();
  unsigned own[4];
  load_matrices<kTransposed>(own, rows[threadIdx.x]);
  for (int i = 0; i < 4; ++i) to[threadIdx.x * 4 + i] = own[i];
}

TEST(EmulationOfTensorCores, Matrices) {
  Array<unsigned short> from = Array<unsigned short>::random(32 * 8, 1);
  Array<unsigned> to(32 * 4);
  for_each_cuda_order([&](const char*) {
    for (bool transposed : {false, true}) {
      launch(transposed ? load_once<true> : load_once<false>, {1, 32}, from.data(), to.data());
      wait_for_cuda();
      for (int lane = 0; lane < 32; ++lane)
        for (int matrix = 0; matrix < 4; ++matrix)
          for (int half = 0; half < 2; ++half) {
            const int along = lane % 4 * 2 + half, across = lane / 4;
            const int row = transposed ? along : across, column = transposed ? across : along;
            ASSERT_EQ(to[lane * 4 + matrix] >> (16 * half) & 0xffff,
                      from[(matrix * 8 + row) * 8 + column]);
          }
    }
  });
}

// Two groups of one chunk each; `pending` of them need not have arrived.
template <int kPending>
__global__ void copy_once(const int* from, int* to) {
  struct Chunks {
    alignas(16) int at[2][4];
  };
  __shared__ Chunks shared;
  auto& chunks = shared.at;
  for (int i = 0; i < 4; ++i) chunks[0][i] = chunks[1][i] = -1;
  copy_async(chunks[0], from, 16);
  commit_copies();
  copy_async(chunks[1], from + 4, 8);
  commit_copies();
  wait_for_copies<kPending>();
  for (int i = 0; i < 8; ++i) to[i] = chunks[i / 4][i % 4];
}

TEST(EmulationOfTensorCores, CopiesArriveWhenTheyAreWaitedFor) {
  Array<int> from(8), to(8);
  for (int i = 0; i < 8; ++i) from[i] = i + 1;
  launch(copy_once<0>, {1, 1}, from.data(), to.data());
  wait_for_cuda();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(to[i], i < 6 ? i + 1 : 0) << i;  // 8 bytes, then zeros
  launch(copy_once<1>, {1, 1}, from.data(), to.data());
  wait_for_cuda();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(to[i], i + 1) << i;
  for (int i = 4; i < 8; ++i) EXPECT_EQ(to[i], -1) << i;
}

__global__ void round_once(const float* x, float* y) {
  y[threadIdx.x] = __uint_as_float(to_tf32(__float_as_uint(x[threadIdx.x])));
}

TEST(EmulationOfTensorCores, RoundingToTf32) {
  const float cases[][2] = {{1.0f, 1.0f},
                            {1.0f + 0x1p-11f, 1.0f + 0x1p-10f},  // a tie: away from zero
                            {-1.0f - 0x1p-11f, -1.0f - 0x1p-10f},
                            {1.0f + 0x1.fp-12f, 1.0f},
                            {INFINITY, INFINITY}};
  Array<float> x(5), y(5);
  for (int i = 0; i < 5; ++i) x[i] = cases[i][0];
  launch(round_once, {1, 5}, x.data(), y.data());
  wait_for_cuda();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(y[i], cases[i][1]) << i;
}

}  // namespace
}  // namespace tilegrad::cuda
