// The binary interface of DLPack 1.x, as its specification lays it out: tensors between libraries.
#pragma once

#include <cstdint>

namespace tilegrad::dlpack {

enum DeviceKind : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3 };
enum TypeCode : std::uint8_t {
  kInt = 0,
  kUint = 1,
  kFloat = 2,
  kBfloat = 4,
  kComplex = 5,
  kBool = 6
};
inline constexpr std::uint64_t kReadOnly = 1, kIsCopied = 2;  // flags

struct DLDevice {
  std::int32_t kind;
  std::int32_t index;
};

struct DLType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;  // 1 unless elements are short vectors
};

struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null in old versions: row-major
  std::uint64_t byte_offset;
};

// Before version 1.0, in capsules named "dltensor".
struct Managed {
  DLTensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

// Since version 1.0, in capsules named "dltensor_versioned".
struct ManagedVersioned {
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  DLTensor tensor;
};

}  // namespace tilegrad::dlpack
