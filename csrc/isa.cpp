// Instruction-set detection and the TILEGRAD_ISA override.
#include "isa.h"

#include "check.h"

namespace tilegrad {
namespace {

#define TILEGRAD_ISA_NAME(name) #name,
constexpr const char* kNames[] = {TILEGRAD_FOR_EACH_ISA(TILEGRAD_ISA_NAME)};
#undef TILEGRAD_ISA_NAME

Isa active = Isa{0};

// __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the registers.
bool runs_here(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (isa) {
    case Isa::baseline:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
  return false;
#else
  return isa == Isa{0};  // NEON is part of the aarch64 baseline
#endif
}

std::string names_of(const std::vector<Isa>& isas) {
  std::string text;
  for (Isa isa : isas) text += (text.empty() ? "" : ", ") + std::string(isa_name(isa));
  return text;
}

}  // namespace

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

std::vector<Isa> supported_isas() {
  std::vector<Isa> found;
  for (int i = 0; i < kIsaCount; ++i)
    if (runs_here(static_cast<Isa>(i))) found.push_back(static_cast<Isa>(i));
  return found;
}

Isa choose_isa(const std::string& requested) {
  const std::vector<Isa> usable = supported_isas();
  if (requested.empty()) return usable.back();
  for (int i = 0; i < kIsaCount; ++i) {
    if (requested != kNames[i]) continue;
    TILEGRAD_CHECK(runs_here(static_cast<Isa>(i)), runtime, "TILEGRAD_ISA=", requested,
                   ": this processor does not support it; it supports ", names_of(usable));
    return static_cast<Isa>(i);
  }
  fail(ErrorKind::value, "TILEGRAD_ISA=", requested, ": unknown instruction set; expected one of ",
       names_of(usable));
}

Isa active_isa() { return active; }
void set_active_isa(Isa isa) { active = isa; }

}  // namespace tilegrad
