// copy: dtype conversion and any strides.
//
// Where the elements of one operand lie side by side along one dimension and those of the other
// along another, as in a transposed matrix, a block moves tiles of 32 x 32 elements through shared
// memory, so that both are read and written in whole lines: 256 threads, 4 elements each on their
// way, at most 8448 bytes of shared memory.
//
// Copies within a dtype and between float32 and the halves have kernels of their own. For the rest
// there is one kernel per dtype that is written, and the switch over the one that is read is the
// same for all threads. sizeof(To) + sizeof(From) bytes an element, no arithmetic to speak of. Up
// to 56 registers, 4 blocks of 256 threads on a multiprocessor.
#include "ops/copy.h"

#include "divide.cuh"
#include "elementwise.cuh"
#include "half.h"

namespace tilegrad::cuda {
namespace {

template <class T>
constexpr bool is_half_type = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <class To, class From>
__device__ To convert(From value) {
  if constexpr (std::is_same_v<To, From>) return value;
  else if constexpr (is_half_type<From>) return convert<To>(static_cast<float>(value));
  else if constexpr (is_half_type<To>) return To(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, bool>) return value != From{0};
  // Through int64, as on the CPU: there the conversion is defined for every value in range.
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return static_cast<To>(static_cast<std::int64_t>(value));
  else return static_cast<To>(value);
}

template <class To, class From>
__device__ To load_as(const char* x) {
  return convert<To>(*reinterpret_cast<const From*>(x));
}

template <class To>
struct ConvertElement {
  DType from;
  __device__ void operator()(char* const* pointers) const {
    *reinterpret_cast<To*>(pointers[0]) = load(pointers[1]);
  }
  __device__ To load(const char* x) const {
    switch (from) {
      case DType::boolean:  // a byte that is 0 or 1
      case DType::uint8:
        return load_as<To, std::uint8_t>(x);
      case DType::int8:
        return load_as<To, std::int8_t>(x);
      case DType::int16:
        return load_as<To, std::int16_t>(x);
      case DType::int32:
        return load_as<To, std::int32_t>(x);
      case DType::int64:
        return load_as<To, std::int64_t>(x);
      case DType::float16:
        return load_as<To, Half>(x);
      case DType::bfloat16:
        return load_as<To, BFloat16>(x);
      case DType::float64:
        return load_as<To, double>(x);
      default:
        return load_as<To, float>(x);
    }
  }
};

// Between two types that are known: the copies of mixed precision, and those within a dtype.
template <class To, class From>
struct ConvertKnown {
  __device__ To operator()(From x) const { return convert<To>(x); }
};
template <class To, class From>
void copy_known(const Copy& args) {
  map_elements<To, From>(args.loop, ConvertKnown<To, From>{});
}

// --- transposition ---

constexpr int kTile = 32, kTileRows = kBlock / kTile;
constexpr std::int64_t kShortestSide = 8;  // below it most of a tile would be idle

// Tiles over the dimension along which elements lie side by side in x and the one along which they
// do in y; everything else is a loop around them.
struct Transposition {
  StridedLoop<2> around;  // operands: y, x
  std::int64_t count;     // of those
  std::int64_t size_x, size_y;
  std::int64_t step_x, step_y;  // bytes: of x along the dimension of y, and the other way round

  __device__ std::int64_t tiles_x() const { return (size_x + kTile - 1) / kTile; }
  __device__ std::int64_t tiles_y() const { return (size_y + kTile - 1) / kTile; }
};

// The dimension along which an operand's elements lie side by side; -1 if there is none.
int dense_dimension(const StridedLoop<2>& loop, int operand, std::size_t size) {
  for (int d = 0; d < loop.ndim; ++d)
    if (loop.strides[operand][d] == static_cast<std::int64_t>(size)) return d;
  return -1;
}

// Whether a copy is a transposition, and which.
bool find_transposition(const StridedLoop<2>& loop, std::size_t size, Transposition* found) {
  const int along_y = dense_dimension(loop, 0, size), along_x = dense_dimension(loop, 1, size);
  if (along_x < 0 || along_y < 0 || along_x == along_y || loop.size() == 0) return false;
  found->size_x = loop.shape[along_x];
  found->size_y = loop.shape[along_y];
  if (found->size_x < kShortestSide || found->size_y < kShortestSide) return false;
  found->step_x = loop.strides[1][along_y];
  found->step_y = loop.strides[0][along_x];
  StridedLoop<2>& around = found->around;
  around.ndim = 0;
  for (int k = 0; k < 2; ++k) around.data[k] = loop.data[k];
  for (int d = 0; d < loop.ndim; ++d) {
    if (d == along_x || d == along_y) continue;
    around.shape[around.ndim] = loop.shape[d];
    for (int k = 0; k < 2; ++k) around.strides[k][around.ndim] = loop.strides[k][d];
    ++around.ndim;
  }
  found->count = around.size();
  return true;
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    transpose_kernel(const Transposition t, std::int64_t tiles) {
  __shared__ T tile[kTile][kTile + 1];  // the extra column puts columns on different banks
  const int lane = threadIdx.x % kTile, row = threadIdx.x / kTile;
  for (std::int64_t task = blockIdx.x; task < tiles; task += gridDim.x) {
    const Divided by_x = divide(task, t.tiles_x()), by_y = divide(by_x.quotient, t.tiles_y());
    const std::int64_t first_x = by_x.remainder * kTile, first_y = by_y.remainder * kTile;
    char* pointers[2];
    pointers_at(t.around, t.count, by_y.quotient, pointers);
#pragma unroll
    for (int k = row; k < kTile; k += kTileRows)
      if (first_x + lane < t.size_x && first_y + k < t.size_y)
        tile[k][lane] =
            reinterpret_cast<const T*>(pointers[1] + (first_y + k) * t.step_x)[first_x + lane];
    __syncthreads();
#pragma unroll
    for (int k = row; k < kTile; k += kTileRows)
      if (first_x + k < t.size_x && first_y + lane < t.size_y)
        reinterpret_cast<T*>(pointers[0] + (first_x + k) * t.step_y)[first_y + lane] =
            tile[lane][k];
    __syncthreads();  // before the next tile is read
  }
}

template <class T>
void copy_same(const Copy& args) {
  Transposition t;
  if (!find_transposition(args.loop, sizeof(T), &t)) return copy_known<T, T>(args);
  const std::int64_t tiles =
      (t.size_x + kTile - 1) / kTile * ((t.size_y + kTile - 1) / kTile) * t.count;
  launch(transpose_kernel<T>, {static_cast<unsigned>(std::min(tiles, kMostBlocks)), kBlock}, t,
         tiles);
}

void copy_elements(const Copy& args) {
  switch (size_of(args.to)) {
    case 1:
      return copy_same<std::uint8_t>(args);
    case 2:
      return copy_same<std::uint16_t>(args);
    case 4:
      return copy_same<std::uint32_t>(args);
    default:
      return copy_same<std::uint64_t>(args);
  }
}

}  // namespace

void copy(const Copy& args) {
  if (args.to == args.from) return copy_elements(args);
  const auto is_pair = [&](DType to, DType from) { return args.to == to && args.from == from; };
  if (is_pair(DType::float32, DType::bfloat16)) return copy_known<float, BFloat16>(args);
  if (is_pair(DType::bfloat16, DType::float32)) return copy_known<BFloat16, float>(args);
  if (is_pair(DType::float32, DType::float16)) return copy_known<float, Half>(args);
  if (is_pair(DType::float16, DType::float32)) return copy_known<Half, float>(args);
  if (args.to == DType::float16)
    return for_each_element(args.loop, ConvertElement<Half>{args.from});
  if (args.to == DType::bfloat16)
    return for_each_element(args.loop, ConvertElement<BFloat16>{args.from});
  visit(args.to, [&](auto to) {
    for_each_element(args.loop, ConvertElement<typename decltype(to)::type>{args.from});
  });
}

}  // namespace tilegrad::cuda
