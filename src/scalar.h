// A Python number on its way into a kernel, and operands that may be a number or a tensor.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor.h"

namespace tilegrad {

struct Scalar {
  DTypeCategory category = DTypeCategory::integer;
  std::int64_t integer = 0;  // booleans too
  double floating = 0;       // the real part of complex numbers too
  double imaginary = 0;

  bool is_fractional() const { return category >= DTypeCategory::floating; }
  double as_double() const { return is_fractional() ? floating : static_cast<double>(integer); }
  template <class T>
  T to() const {
    return is_fractional() ? static_cast<T>(floating) : static_cast<T>(integer);
  }
  // Writes the value as one element of `dtype`, converting like PyTorch's fill_ (integers wrap).
  // Throws for a complex number that the dtype cannot hold.
  void store(DType dtype, void* element) const;
};

struct Operand {
  const Tensor* tensor = nullptr;  // null: the scalar counts
  Scalar scalar;
  bool is_tensor() const { return tensor != nullptr; }
};

// A 0-dimensional tensor that holds the scalar.
Tensor scalar_tensor(const Scalar& value, DType dtype, Device device);
// The operand as a tensor of `dtype` on `device`; a number, and a 0-dimensional CPU tensor beside
// CUDA ones, becomes a 0-dimensional tensor there.
Tensor as_tensor(const Operand& x, DType dtype, Device device, const char* op);

// Type promotion (src/promote.cpp), PyTorch's rules: tensors with dimensions decide before
// 0-dimensional ones, those before Python numbers; a lower tier counts only if its category is
// higher (bool < integer < floating < complex).
DType promote(DType a, DType b);
DType default_dtype();  // of Python floats and of integer arguments to floating-point functions
void set_default_dtype(DType dtype);

class ResultType {
 public:
  ResultType& add(const Tensor& x);
  ResultType& add(const Scalar& x);
  ResultType& add(const Operand& x) { return x.is_tensor() ? add(*x.tensor) : add(x.scalar); }
  DType get() const;

 private:
  // One tier: the promotion of everything seen there.
  struct Tier {
    bool seen = false;
    DType dtype = DType::boolean;
  };
  void join(Tier& tier, DType dtype);
  Tier dimensioned_, zero_dim_, scalar_;
};

// True if PyTorch allows writing values of dtype `from` into a tensor of dtype `to` in place.
bool can_cast(DType from, DType to);

}  // namespace tilegrad
