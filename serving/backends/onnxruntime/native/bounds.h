// The bounds of one input's numbers, compared and told as numpy does it.

#pragma once

#include <string>

#include "spec.h"
#include "types.h"

namespace recserve {

// What is wrong with an array, to be said after the input's name; empty where all is well.
std::string fault_of_bounds(const InputSpec& field, const Array& array);

}  // namespace recserve
