// The random generator object, shared by the operations that draw from it.
#pragma once

#include "random_state.h"

namespace tilegrad {

// Bound to Python as tilegrad.Generator. The GIL guards its state.
struct Generator {
  RandomState state;
};

}  // namespace tilegrad
