// copy: dtype conversion and any strides.
//
// One kernel for each dtype that is written; the switch over the one that is read is the same for
// all threads, and next to the memory traffic it costs nothing. One element per thread and step:
// sizeof(To) + sizeof(From) bytes, no arithmetic to speak of.
#include "ops/copy.h"

#include "half.h"
#include "launch.cuh"

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

template <class T>
struct CopyElement {
  __device__ void operator()(char* const* pointers) const {
    *reinterpret_cast<T*>(pointers[0]) = *reinterpret_cast<const T*>(pointers[1]);
  }
};

void copy_elements(std::size_t size, const StridedLoop<2>& loop) {
  switch (size) {
    case 1:
      return for_each_element(loop, CopyElement<std::uint8_t>{});
    case 2:
      return for_each_element(loop, CopyElement<std::uint16_t>{});
    case 4:
      return for_each_element(loop, CopyElement<std::uint32_t>{});
    default:
      return for_each_element(loop, CopyElement<std::uint64_t>{});
  }
}

}  // namespace

void copy(const Copy& args) {
  if (args.to == args.from) return copy_elements(size_of(args.to), args.loop);
  if (args.to == DType::float16)
    return for_each_element(args.loop, ConvertElement<Half>{args.from});
  if (args.to == DType::bfloat16)
    return for_each_element(args.loop, ConvertElement<BFloat16>{args.from});
  visit(args.to, [&](auto to) {
    for_each_element(args.loop, ConvertElement<typename decltype(to)::type>{args.from});
  });
}

}  // namespace tilegrad::cuda
