// What a configuration may ask for and this backend would have to ignore.

#pragma once

#include <cstddef>
#include <string>

#include "json.h"

namespace recserve {

// The first such thing and its remedy; empty where there is none.
std::string first_unsupported(const Json& config);

// Which kind a batch input is, in the order of `Counted`; -1 for one that this backend does not know.
int place_of_kind(const Json& batch_input);

}  // namespace recserve
