// Instruction sets: which were compiled, which this processor runs, which one is in use.
#pragma once

#include <string>
#include <vector>

// The sets compiled for this architecture, worst first. One line here, one in CMakeLists.txt
// (its compiler flags) and one case in isa.cpp add a set.
#if defined(__x86_64__)
#define TILEGRAD_FOR_EACH_ISA(X) X(baseline) X(avx2) X(avx512)
#elif defined(__aarch64__)
#define TILEGRAD_FOR_EACH_ISA(X) X(neon)
#else
#define TILEGRAD_FOR_EACH_ISA(X) X(baseline)
#endif

namespace tilegrad {

#define TILEGRAD_ISA_ENUMERATOR(name) name,
enum class Isa : int { TILEGRAD_FOR_EACH_ISA(TILEGRAD_ISA_ENUMERATOR) };
#undef TILEGRAD_ISA_ENUMERATOR

#define TILEGRAD_ISA_COUNT(name) +1
inline constexpr int kIsaCount = 0 TILEGRAD_FOR_EACH_ISA(TILEGRAD_ISA_COUNT);
#undef TILEGRAD_ISA_COUNT

const char* isa_name(Isa isa);

// The compiled sets that this processor and operating system can run, worst first.
std::vector<Isa> supported_isas();

// Picks the set named by `requested` (the value of TILEGRAD_ISA), or the best one if it is empty.
// Throws a ValueError for an unknown name and a RuntimeError for one this processor lacks.
Isa choose_isa(const std::string& requested);

// The set in use, chosen once when the library is loaded (set_active_isa).
Isa active_isa();
void set_active_isa(Isa isa);

}  // namespace tilegrad
