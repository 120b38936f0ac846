// isa_probe: the answer comes from the compiler's own macros, not from TILEGRAD_ISA_NAMESPACE.
#include "isa_probe.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

void isa_probe(const IsaProbe& args) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
  *args.compiled_for = "avx512";
#elif defined(__AVX2__) && defined(__FMA__)
  *args.compiled_for = "avx2";
#elif defined(__aarch64__)
  *args.compiled_for = "neon";
#else
  *args.compiled_for = "baseline";
#endif
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
