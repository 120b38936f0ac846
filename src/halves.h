// Operations on float16 and bfloat16 tensors.
//
// No kernel but matmul's and those that only move elements knows the halves. A function of the
// module that is called with one computes in float32: its half arguments are converted, its float32
// results are rounded to the half dtype, arguments that it wrote to are written back. So each
// result is rounded once, as PyTorch does on the CPU, and a new operation supports the halves
// without a line of its own.
#pragma once

#include <initializer_list>

#include "bind.h"

namespace tilegrad {

// These functions of the module, or all that it has so far, take tensors of every dtype as they
// are: views, copies, anything that looks at the size of an element only.
void takes_every_dtype(py::module_& module);
void takes_every_dtype(std::initializer_list<const char*> names);

// What becomes of the float32 results of a call with halves.
enum class HalfRule {
  promote,       // rounded to the promoted dtype of all arguments; where no other rule is given
  compare,       // the same, and numbers beside a half are rounded to it first
  follow_input,  // rounded to the dtype of the first argument, whatever that of weights is
  first_result,  // as follow_input the first result, the others, statistics for backward, not at
                 // all
};
void half_rule(HalfRule rule, std::initializer_list<const char*> names);

// Makes all other functions of the module accept the halves as described above.
void accept_halves(py::module_& module);

}  // namespace tilegrad
