# CUDA in four states. Sets TILEGRAD_HAVE_CUDA, and the outcome with its reason for show_config().
#
#   AUTO      on if a working nvcc and an NVIDIA driver are both here: built for the card at hand
#   ON        required: built for the release architectures; no working nvcc is an error
#   OFF       skipped
#   EMULATED  for tests: the kernels run on the host (tests/cuda/emulation)
set(TILEGRAD_HAVE_CUDA OFF)
set(TILEGRAD_CUDA_RELEASE_ARCHITECTURES "80-real;90a-real;100-real;120" CACHE STRING
    "Architectures of TILEGRAD_CUDA=ON; the last also carries PTX for newer cards")
set(TILEGRAD_CUDA_ARCHITECTURES "")

if(NOT TILEGRAD_CUDA MATCHES "^(AUTO|ON|OFF|EMULATED)$")
  message(FATAL_ERROR "TILEGRAD_CUDA=${TILEGRAD_CUDA}: expected AUTO, ON, OFF or EMULATED")
endif()

if(TILEGRAD_CUDA STREQUAL "OFF")
  set(TILEGRAD_CUDA_REASON "TILEGRAD_CUDA=OFF")
elseif(TILEGRAD_CUDA STREQUAL "EMULATED")
  set(TILEGRAD_CUDA_REASON "TILEGRAD_CUDA=EMULATED: kernels run on the host, for tests only")
elseif(TILEGRAD_CUDA STREQUAL "AUTO" AND NOT EXISTS "/proc/driver/nvidia/version"
       AND NOT EXISTS "/dev/nvidiactl")
  set(TILEGRAD_CUDA_REASON "TILEGRAD_CUDA=AUTO and no NVIDIA driver on the building machine")
else()
  # Never left to the compiler's default, which is an old architecture.
  if(TILEGRAD_CUDA STREQUAL "AUTO")
    set(TILEGRAD_CUDA_ARCHITECTURES native)
  else()
    set(TILEGRAD_CUDA_ARCHITECTURES ${TILEGRAD_CUDA_RELEASE_ARCHITECTURES})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${TILEGRAD_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  include(CheckLanguage)
  check_language(CUDA) # an nvcc that cannot compile counts as none
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(TILEGRAD_HAVE_CUDA ON)
    # CMake 3.25 knows C++20 for CUDA, but not how newer versions of nvcc are asked for it.
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    # Hopper's own instructions (wgmma) need 90a, which "native" leaves out.
    if(TILEGRAD_CUDA STREQUAL "AUTO" AND "${CMAKE_CUDA_ARCHITECTURES_NATIVE}" MATCHES "90-real")
      string(REPLACE "90-real" "90a-real" TILEGRAD_CUDA_ARCHITECTURES
                     "${CMAKE_CUDA_ARCHITECTURES_NATIVE}")
      set(CMAKE_CUDA_ARCHITECTURES ${TILEGRAD_CUDA_ARCHITECTURES})
    endif()
    set(TILEGRAD_CUDA_REASON "TILEGRAD_CUDA=${TILEGRAD_CUDA}, nvcc ${CMAKE_CUDA_COMPILER_VERSION}")
  elseif(TILEGRAD_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TILEGRAD_CUDA=ON but no working nvcc was found (set CUDACXX to its path)")
  else()
    set(TILEGRAD_CUDA_REASON "TILEGRAD_CUDA=AUTO and no working nvcc on the building machine")
    set(TILEGRAD_CUDA_ARCHITECTURES "")
  endif()
endif()

if(TILEGRAD_HAVE_CUDA)
  set(TILEGRAD_CUDA_STATE "on")
elseif(TILEGRAD_CUDA STREQUAL "EMULATED")
  set(TILEGRAD_CUDA_STATE "emulated")
else()
  set(TILEGRAD_CUDA_STATE "off")
endif()
message(STATUS "tilegrad: CUDA ${TILEGRAD_CUDA_STATE} (${TILEGRAD_CUDA_REASON})")
