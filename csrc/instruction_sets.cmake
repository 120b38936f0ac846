# The instruction sets for which csrc/ops is compiled, and their flags. In step with csrc/isa.h.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(TILEGRAD_ISAS baseline avx2 avx512)
  set(TILEGRAD_ISA_FLAGS_baseline "")
  set(TILEGRAD_ISA_FLAGS_avx2 -mavx2 -mfma)
  set(TILEGRAD_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
                                -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(TILEGRAD_ISAS neon) # part of the architecture's baseline
  set(TILEGRAD_ISA_FLAGS_neon "")
else()
  set(TILEGRAD_ISAS baseline)
  set(TILEGRAD_ISA_FLAGS_baseline "")
endif()
message(STATUS "tilegrad: CPU kernels for ${TILEGRAD_ISAS}")
