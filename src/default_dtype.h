// The dtype of Python floats where it is a half, which no kernel computes in: see default_dtype()
// in scalar.h for the dtype in which operations on integers are computed then.
#pragma once

#include "dtype.h"

namespace tilegrad {

DType declared_default_dtype();  // what set_default_dtype was given

}  // namespace tilegrad
