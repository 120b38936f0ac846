// Typed errors and the CHECK macro: every complaint becomes the matching Python exception.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace tilegrad {

enum class ErrorKind { value, type, index, memory, runtime, not_implemented, out_of_memory };

// The bindings translate `kind` to ValueError, TypeError, IndexError, MemoryError, RuntimeError,
// NotImplementedError or OutOfMemoryError.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind(kind) {}
  ErrorKind kind;
};

template <class... Parts>
[[noreturn]] __attribute__((noinline, cold)) void fail(ErrorKind kind, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(kind, text.str());
}

}  // namespace tilegrad

// CHECK(condition, value, "add: argument 'other': expected ", a, ", got ", b) throws a ValueError.
// Host code only: kernels receive checked arguments and never throw.
#define TILEGRAD_CHECK(condition, error_kind, ...)                      \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::tilegrad::fail(::tilegrad::ErrorKind::error_kind, __VA_ARGS__); \
  } while (false)
