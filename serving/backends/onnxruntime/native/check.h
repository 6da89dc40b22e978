// Whether one request can be answered.

#pragma once

#include <string>
#include <vector>

#include "spec.h"
#include "types.h"

namespace recserve {

// A request's inputs, in the order of the configuration; one without a dtype was not sent.
using Request = std::vector<Array>;

// Why a request cannot be answered: the field, its value and the remedy; empty where it can.
std::string fault_of(const ModelSpec& spec, const Request& request);

}  // namespace recserve
