// Many requests, one run: how a dynamic batch becomes feeds, and the outputs become answers.

#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "check.h"
#include "spec.h"
#include "types.h"

namespace recserve {

using Arrays = std::vector<Array>;
using Requests = std::vector<const Request*>;

// The feeds of a run, inputs and then batch inputs -> its outputs in the order of the configuration. Throws
// std::runtime_error where the run fails.
using Compute = std::function<Arrays(const Arrays& feeds)>;

// The outputs of a request, in the order of the configuration, or why there are none.
using Answer = std::variant<Arrays, std::string>;

// One answer for each request that passed the check, run by run; where a run fails, each request is run alone.
std::vector<Answer> isolated(const ModelSpec& spec, const Requests& requests, const Compute& compute);

// The requests of each run: all of them, one each where the model does not batch, or as many as `run_elements` allows.
std::vector<Requests> runs(const ModelSpec& spec, const Requests& requests);

Arrays pack(const ModelSpec& spec, const Requests& requests);

// The outputs of one run, cut into those of each request. Throws std::runtime_error where their shapes do not fit.
std::vector<Arrays> unpack(const ModelSpec& spec, const Requests& requests, const Arrays& outputs);

}  // namespace recserve
