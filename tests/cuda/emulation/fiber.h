// Fibers: stacks that take turns on one thread of the operating system. A CUDA thread is one fiber.
//
// A switch saves the registers that a called function must preserve and loads those of the other
// stack: a few nanoseconds, without a system call. The sanitizers are told of every switch.
#pragma once

#include <cstddef>

namespace emulation {

class Fiber {
 public:
  enum class Kind { scheduler, cuda_thread };  // the scheduler runs on the stack that it is born on

  explicit Fiber(Kind kind);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Prepares the stack: the next switch to this fiber calls entry(), which must not return.
  void start(void (*entry)());

  // Forgets what is on the stack, as after a deadlock; start() comes next.
  void abandon();

  // Suspends `from`, which is running, until something switches back to it.
  static void switch_over(Fiber& from, Fiber& to);

  // The first thing that an entry function does.
  static void arrived(Fiber& from);

 private:
  const Kind kind_;
  void* stack_pointer_ = nullptr;  // while suspended
  char* stack_ = nullptr;          // lowest address; a page below it faults
  std::size_t stack_bytes_ = 0;
  [[maybe_unused]] void* thread_sanitizer_fiber_ = nullptr;
  [[maybe_unused]] void* address_sanitizer_stack_ = nullptr;
};

}  // namespace emulation
