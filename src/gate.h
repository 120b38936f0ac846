// What stands at the entry of every function of the module: which dtypes it may be called with.
//
// Kernels know integers, float32 and float64. A call with a half is computed in float32
// (src/halves.h), a call with a complex number by the rule that Python has registered for the
// function, and refused by name without one. So a new operation cannot misread either of them, and
// supports the halves without a line of its own. Functions that take them as they are say so:
#pragma once

#include <initializer_list>

#include "bind.h"
#include "halves.h"

namespace tilegrad {

// These functions of the module, or all that it has so far, take tensors of every dtype as they
// are: views, copies, anything that looks at the size of an element only.
void takes_every_dtype(py::module_& module);
void takes_every_dtype(std::initializer_list<const char*> names);
// These know the halves, but no complex numbers.
void takes_halves(std::initializer_list<const char*> names);
// These know the halves where all of theirs are on CUDA devices.
void takes_halves_on_cards(std::initializer_list<const char*> names);
// The same where all of their floating tensors, at least so many, have one half dtype.
void takes_alike_halves_on_cards(int least, std::initializer_list<const char*> names);
// The same where their only tensor is a half.
void takes_halves_beside_numbers_on_cards(std::initializer_list<const char*> names);
// These know complex numbers; halves are computed in float32.
void takes_complex(std::initializer_list<const char*> names);

// Another rule than HalfRule::promote for these functions.
void half_rule(HalfRule rule, std::initializer_list<const char*> names);

// Sets the guard before all functions of the module.
void guard(py::module_& module);

}  // namespace tilegrad
