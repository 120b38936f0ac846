// Type promotion and scalar conversion.
#include "scalar.h"

#include <algorithm>
#include <cmath>
#include <complex>

#include "default_dtype.h"
#include "dispatch.h"
#include "half.h"
#include "loop.h"
#include "ops/fill.h"

namespace tilegrad {
namespace {

DType default_floating = DType::float32;

std::int64_t wrap_to_integer(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 9223372036854775808.0) return INT64_MAX;
  if (value < -9223372036854775808.0) return INT64_MIN;
  return static_cast<std::int64_t>(value);
}

}  // namespace

DType declared_default_dtype() { return default_floating; }

DType default_dtype() { return is_half(default_floating) ? DType::float32 : default_floating; }

void set_default_dtype(DType dtype) {
  TILEGRAD_CHECK(is_floating(dtype), type, "set_default_dtype: expected a floating dtype, got ",
                 info(dtype).name);
  default_floating = dtype;
}

void Scalar::store(DType dtype, void* element) const {
  const auto put = [element](auto value) { std::memcpy(element, &value, sizeof(value)); };
  TILEGRAD_CHECK(imaginary == 0 || is_complex(dtype), runtime, "value cannot be converted to type ",
                 info(dtype).name, " without overflow");
  const bool fractional = is_fractional();
  const std::int64_t whole = fractional ? wrap_to_integer(floating) : integer;
  switch (dtype) {
    case DType::boolean:
      return put(static_cast<std::uint8_t>(fractional ? floating != 0 : integer != 0));
    case DType::uint8:
      return put(static_cast<std::uint8_t>(whole));
    case DType::int8:
      return put(static_cast<std::int8_t>(whole));
    case DType::int16:
      return put(static_cast<std::int16_t>(whole));
    case DType::int32:
      return put(static_cast<std::int32_t>(whole));
    case DType::int64:
      return put(whole);
    case DType::float16:
      return put(Half(static_cast<float>(as_double())));
    case DType::bfloat16:
      return put(BFloat16(static_cast<float>(as_double())));
    case DType::float32:
      return put(static_cast<float>(as_double()));
    case DType::float64:
      return put(as_double());
    case DType::complex64:
      return put(
          std::complex<float>(static_cast<float>(as_double()), static_cast<float>(imaginary)));
    case DType::complex128:
      return put(std::complex<double>(as_double(), imaginary));
  }
}

namespace {

// A 0-dimensional CPU tensor on a card. Its value travels as an argument of a kernel, not by a
// copy, for which the host would have to wait.
Tensor to_card(const Tensor& x, Device device) {
  Tensor y = empty({}, x.dtype, device);
  if (size_of(x.dtype) > 8) {
    copy_into(y, x);
    return y;
  }
  Fill args{.element_size = static_cast<std::int64_t>(size_of(x.dtype)),
            .value = {},
            .loop = make_loop<1>(y.shape, {&y})};
  std::memcpy(args.value, x.bytes(), size_of(x.dtype));
  run(fill_kernel, device, args, 1);
  return y;
}

}  // namespace

Tensor scalar_tensor(const Scalar& value, DType dtype, Device device) {
  Tensor x = empty({}, dtype, Device{});
  value.store(dtype, x.bytes());
  return device.is_cpu() ? x : to_card(x, device);
}

Tensor as_tensor(const Operand& x, DType dtype, Device device, const char* op) {
  if (!x.is_tensor()) return scalar_tensor(x.scalar, dtype, device);
  if (x.tensor->device() == device) return to_dtype(*x.tensor, dtype);
  TILEGRAD_CHECK(x.tensor->ndim() == 0 && x.tensor->device().is_cpu(), runtime, op,
                 ": expected all tensors on one device, got ", device.str(), " and ",
                 x.tensor->device().str());
  return to_card(to_dtype(*x.tensor, dtype), device);
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  const DTypeCategory ca = info(a).category, cb = info(b).category;
  const bool has_doubles = a == DType::float64 || b == DType::float64;
  if (has_doubles && (is_complex(a) || is_complex(b))) return DType::complex128;
  if (ca != cb) return ca < cb ? b : a;
  if (ca == DTypeCategory::floating) {
    const bool both_halves = size_of(a) == 2 && size_of(b) == 2;
    return both_halves ? DType::float32 : std::max(a, b);
  }
  // uint8 with a signed type: the smallest signed type that holds both.
  if (std::min(a, b) == DType::uint8) return std::max(std::max(a, b), DType::int16);
  return std::max(a, b);
}

void ResultType::join(Tier& tier, DType dtype) {
  tier.dtype = tier.seen ? promote(tier.dtype, dtype) : dtype;
  tier.seen = true;
}

ResultType& ResultType::add(const Tensor& x) {
  join(x.ndim() > 0 ? dimensioned_ : zero_dim_, x.dtype);
  return *this;
}

ResultType& ResultType::add(const Scalar& x) {
  join(scalar_, x.category == DTypeCategory::complex    ? complex_dtype(default_dtype())
                : x.category == DTypeCategory::floating ? default_dtype()
                : x.category == DTypeCategory::integer  ? DType::int64
                                                        : DType::boolean);
  return *this;
}

DType ResultType::get() const {
  Tier result = dimensioned_;
  for (const Tier* lower : {&zero_dim_, &scalar_}) {
    if (!lower->seen) continue;
    if (!result.seen || info(lower->dtype).category > info(result.dtype).category) {
      // A floating tensor keeps its precision: float32 beside a complex128 number is complex64.
      const bool widens = result.seen && is_complex(lower->dtype) && is_floating(result.dtype);
      const DType joined = widens ? complex_dtype(result.dtype) : lower->dtype;
      result = {true, result.seen ? promote(result.dtype, joined) : lower->dtype};
    }
  }
  return result.dtype;
}

bool can_cast(DType from, DType to) { return info(from).category <= info(to).category; }

}  // namespace tilegrad
