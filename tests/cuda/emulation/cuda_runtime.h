// Stands in for NVIDIA's header of this name when a kernel is compiled for the host.
//
// The keywords of CUDA become nothing, or plain C++; what a kernel calls is declared in the headers
// below. A __shared__ variable is a static one: blocks run one after the other.
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static const
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

#include "arithmetic.h"
#include "atomics.h"
#include "cooperation.h"
#include "hopper.h"
#include "runtime_api.h"
#include "tensor_cores.h"
#include "vectors.h"
