// The stacks of fibers, the switch between them, and what the sanitizers must hear about it.
//
// Compiled without sanitizers: to them, a function that returns on another stack than it was called
// on makes no sense.
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(EMULATION_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(EMULATION_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

// void emulation_switch_stacks(void** save, void* load): pushes the registers that a call
// preserves, stores the stack pointer in *save, continues with the stack `load` and pops them
// there.
extern "C" void emulation_switch_stacks(void** save, void* load);

#if defined(__x86_64__)
asm(R"(
.text
.globl emulation_switch_stacks
.hidden emulation_switch_stacks
.type emulation_switch_stacks, @function
emulation_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulation_switch_stacks, . - emulation_switch_stacks
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulation_switch_stacks
.hidden emulation_switch_stacks
.type emulation_switch_stacks, @function
emulation_switch_stacks:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size emulation_switch_stacks, . - emulation_switch_stacks
)");
#else
#error "the emulation of CUDA has no switch of stacks for this architecture"
#endif

namespace emulation {
namespace {

#if defined(EMULATION_ADDRESS_SANITIZER) || defined(EMULATION_THREAD_SANITIZER)
constexpr std::size_t kStackBytes = std::size_t{512} << 10;  // redzones, unoptimized frames
#else
constexpr std::size_t kStackBytes = std::size_t{128} << 10;
#endif

// The frame that emulation_switch_stacks pops, with `entry` as the address that it returns to.
void* first_frame(char* stack_end, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack_end - 64);  // both architectures align to 16
#if defined(__x86_64__)
  *--top = nullptr;  // where entry() would return to
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
#else
  for (int i = 0; i < 20; ++i) *--top = nullptr;
  top[11] = reinterpret_cast<void*>(entry);  // x30, the link register
#endif
  return top;
}

}  // namespace

Fiber::Fiber(Kind kind) : kind_(kind) {
  if (kind_ == Kind::scheduler) return;
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);  // a stack that overflows stops there
  stack_ = static_cast<char*>(memory) + page;
  stack_bytes_ = kStackBytes;
#if defined(EMULATION_THREAD_SANITIZER)
  thread_sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  if (kind_ == Kind::scheduler) return;
#if defined(EMULATION_THREAD_SANITIZER)
  __tsan_destroy_fiber(thread_sanitizer_fiber_);
#endif
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  munmap(stack_ - page, stack_bytes_ + page);
}

void Fiber::start(void (*entry)()) { stack_pointer_ = first_frame(stack_ + stack_bytes_, entry); }

void Fiber::abandon() {
#if defined(EMULATION_ADDRESS_SANITIZER)
  __asan_unpoison_memory_region(stack_, stack_bytes_);
#elif defined(EMULATION_THREAD_SANITIZER)
  __tsan_destroy_fiber(thread_sanitizer_fiber_);
  thread_sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
}

void Fiber::switch_over(Fiber& from, Fiber& to) {
#if defined(EMULATION_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&from.address_sanitizer_stack_, to.stack_, to.stack_bytes_);
#elif defined(EMULATION_THREAD_SANITIZER)
  if (from.kind_ == Kind::scheduler) from.thread_sanitizer_fiber_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.thread_sanitizer_fiber_, __tsan_switch_to_fiber_no_sync);
#endif
  emulation_switch_stacks(&from.stack_pointer_, to.stack_pointer_);
#if defined(EMULATION_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(from.address_sanitizer_stack_, nullptr, nullptr);
#endif
}

void Fiber::arrived([[maybe_unused]] Fiber& from) {
#if defined(EMULATION_ADDRESS_SANITIZER)
  const void* bottom = nullptr;  // the scheduler's own stack is the operating system's
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  from.stack_ = const_cast<char*>(static_cast<const char*>(bottom));
  from.stack_bytes_ = bytes;
#endif
}

}  // namespace emulation
