// copy: dtype conversion and any strides.
//
// Copies within a dtype and between float32 and the halves have kernels of their own. For the rest
// there is one kernel per dtype that is written, and the switch over the one that is read is the
// same for all threads. sizeof(To) + sizeof(From) bytes an element, no arithmetic to speak of.
#include "ops/copy.h"

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

void copy_elements(const Copy& args) {
  switch (size_of(args.to)) {
    case 1:
      return copy_known<std::uint8_t, std::uint8_t>(args);
    case 2:
      return copy_known<std::uint16_t, std::uint16_t>(args);
    case 4:
      return copy_known<std::uint32_t, std::uint32_t>(args);
    default:
      return copy_known<std::uint64_t, std::uint64_t>(args);
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
