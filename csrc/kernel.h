// The contract of a kernel: one name and one argument struct, implemented once per instruction set
// and once in CUDA.
//
//   // csrc/ops/scale.h
//   struct Scale { float* y; const float* x; std::int64_t size; };
//   TILEGRAD_KERNEL(scale, Scale)          // or TILEGRAD_CPU_KERNEL while cuda/ lacks it
//
//   // csrc/ops/scale.cpp, compiled once per instruction set
//   namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE { void scale(const Scale& args) { ... } }
//
//   // src/ops/scale.cpp
//   run(scale_kernel, device, args, work);  // see src/dispatch.h
//
// Kernels receive checked arguments: they neither allocate nor throw, and know nothing of Python.
#pragma once

#include "isa.h"

namespace tilegrad {

template <class Args>
struct Kernel {
  const char* name;
  void (*cpu[kIsaCount])(const Args&);  // indexed by Isa
  void (*cuda)(const Args&);            // null: no CUDA implementation in this build
};

}  // namespace tilegrad

#define TILEGRAD_DECLARE_CPU(isa, name, Args) \
  namespace tilegrad::cpu::isa {              \
  void name(const tilegrad::Args&);           \
  }

#if defined(__x86_64__)
#define TILEGRAD_DECLARE_EACH_ISA(name, Args) \
  TILEGRAD_DECLARE_CPU(baseline, name, Args)  \
  TILEGRAD_DECLARE_CPU(avx2, name, Args)      \
  TILEGRAD_DECLARE_CPU(avx512, name, Args)
#define TILEGRAD_EACH_ISA(name) \
  {tilegrad::cpu::baseline::name, tilegrad::cpu::avx2::name, tilegrad::cpu::avx512::name}
#elif defined(__aarch64__)
#define TILEGRAD_DECLARE_EACH_ISA(name, Args) TILEGRAD_DECLARE_CPU(neon, name, Args)
#define TILEGRAD_EACH_ISA(name) {tilegrad::cpu::neon::name}
#else
#define TILEGRAD_DECLARE_EACH_ISA(name, Args) TILEGRAD_DECLARE_CPU(baseline, name, Args)
#define TILEGRAD_EACH_ISA(name) {tilegrad::cpu::baseline::name}
#endif

// The only question "was this built with CUDA?" that kernels need.
#if defined(TILEGRAD_WITH_CUDA)
#define TILEGRAD_CUDA_ENTRY(name) tilegrad::cuda::name
#else
#define TILEGRAD_CUDA_ENTRY(name) nullptr
#endif

// A kernel with a CPU and a CUDA implementation; place it outside any namespace.
#define TILEGRAD_KERNEL(name, Args)                                              \
  TILEGRAD_DECLARE_EACH_ISA(name, Args)                                          \
  namespace tilegrad::cuda {                                                     \
  void name(const tilegrad::Args&);                                              \
  }                                                                              \
  namespace tilegrad {                                                           \
  inline constexpr Kernel<Args> name##_kernel = {#name, TILEGRAD_EACH_ISA(name), \
                                                 TILEGRAD_CUDA_ENTRY(name)};     \
  }

// A kernel that cuda/ does not have yet.
#define TILEGRAD_CPU_KERNEL(name, Args)                                                    \
  TILEGRAD_DECLARE_EACH_ISA(name, Args)                                                    \
  namespace tilegrad {                                                                     \
  inline constexpr Kernel<Args> name##_kernel = {#name, TILEGRAD_EACH_ISA(name), nullptr}; \
  }
