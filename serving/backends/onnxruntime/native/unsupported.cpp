#include "unsupported.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "words.h"

namespace recserve {

namespace {

struct Refused {
  std::string_view section;
  std::string_view field;  // empty where the mere presence of the section counts
  std::string_view remedy;
};

constexpr std::string_view TARGET = "give this target its own configs/<target>.pbtxt";
constexpr std::array<Refused, 5> REFUSED{{
    {"sequence_batching", "", "remove it, or use NVIDIA's onnxruntime backend"},
    {"model_operations", "op_library_filename", "ship the operators as functions of the model"},
    {"model_transaction_policy", "decoupled", "one request has one response"},
    {"optimization", "execution_accelerators", TARGET},
    {"optimization", "cuda", TARGET},
}};
constexpr std::array<std::string_view, 2> REFUSED_OF_TENSORS{"is_shape_tensor", "optional"};
constexpr std::array<std::string_view, 4> BATCH_INPUT_KINDS{
    "BATCH_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE"};

const std::string NOT_SUPPORTED = " is not supported by this backend; ";

std::string of_sections(const Json& config) {
  for (const Refused& one : REFUSED) {
    const Json& section = config.at(one.section);
    const bool is_asked = one.field.empty() ? config.find(one.section) != nullptr : section.at(one.field).is_true();
    if (!is_asked) continue;
    const std::string path = std::string(one.section) + (one.field.empty() ? "" : ".") + std::string(one.field);
    return path + NOT_SUPPORTED + std::string(one.remedy);
  }
  return "";
}

std::string of_tensors(const Json& config) {
  for (const std::string_view side : {"input", "output"}) {
    for (const Json& tensor : config.at(side).items()) {
      for (const std::string_view field : REFUSED_OF_TENSORS) {
        if (!tensor.at(field).is_true()) continue;
        return "tensor '" + tensor.at("name").text() + "': " + std::string(field) + NOT_SUPPORTED +
               "export the model without it";
      }
    }
  }
  return "";
}

std::string of_groups(const Json& config) {
  for (const Json& group : config.at("instance_group").items()) {
    const std::string kind = group.at("kind").text("KIND_AUTO");
    if (kind != "KIND_AUTO" && kind != "KIND_CPU") {
      return "instance_group.kind " + kind + NOT_SUPPORTED + "on a CPU use KIND_CPU";
    }
  }
  return "";
}

std::string of_batch_inputs(const Json& config) {
  for (const Json& entry : config.at("batch_input").items()) {
    if (place_of_kind(entry) >= 0) continue;
    const std::vector<std::string> kinds(BATCH_INPUT_KINDS.begin(), BATCH_INPUT_KINDS.end());
    return "batch_input.kind " + entry.at("kind").text() + NOT_SUPPORTED + "use one of " + joined(kinds, ", ");
  }
  return "";
}

}  // namespace

std::string first_unsupported(const Json& config) {
  for (const auto look : {of_sections, of_tensors, of_groups, of_batch_inputs}) {
    if (std::string problem = look(config); !problem.empty()) return problem;
  }
  return "";
}

int place_of_kind(const Json& batch_input) {
  // The first kind is the protobuf default, which a configuration may leave out.
  const std::string kind = batch_input.at("kind").text(BATCH_INPUT_KINDS[0]);
  const auto place = std::find(BATCH_INPUT_KINDS.begin(), BATCH_INPUT_KINDS.end(), kind);
  return place == BATCH_INPUT_KINDS.end() ? -1 : static_cast<int>(place - BATCH_INPUT_KINDS.begin());
}

}  // namespace recserve
