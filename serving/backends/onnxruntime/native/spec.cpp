#include "spec.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

#include "unsupported.h"
#include "words.h"

namespace recserve {

namespace {

// The reader of one configuration: it knows the model's name, for messages, and the parameters.
class Reader {
 public:
  explicit Reader(const Json& config) : config_(config), name_(config.at("name").text()) {}

  ModelSpec model() const {
    const std::string problem = first_unsupported(config_);
    if (!problem.empty()) fail(problem);
    ModelSpec spec{};
    spec.name = name_;
    spec.max_batch_size = config_.at("max_batch_size").integer(0);
    for (const Json& entry : config_.at("input").items()) spec.inputs.push_back(input(entry));
    spec.axes = axes(spec);
    for (const Json& entry : config_.at("batch_input").items()) add_batch_inputs(spec, entry);
    for (const Json& entry : config_.at("output").items()) spec.outputs.push_back(output(spec, entry));
    spec.filename = config_.at("default_model_filename").text();
    if (spec.filename.empty()) spec.filename = "model.onnx";
    spec.intra_op_threads = threads("intra_op_thread_count");
    spec.inter_op_threads = threads("inter_op_thread_count");
    spec.parallel = integer("execution_mode") == 1;
    spec.run_elements = run_elements(spec);
    spec.graph_level = graph_level();
    return spec;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const { throw std::invalid_argument(name_ + ": " + problem); }

  [[noreturn]] void fail(const std::string& key, const std::string& value, const char* remedy) const {
    fail("parameter '" + key + "' is '" + value + "'; " + remedy);
  }

  const Json* parameter(const std::string& key) const { return config_.at("parameters").find(key); }

  std::string parameter_text(const std::string& key) const {
    return config_.at("parameters").at(key).at("string_value").text();
  }

  std::optional<int64_t> integer(const std::string& key) const {
    if (!parameter(key)) return std::nullopt;
    const std::string text = parameter_text(key);
    const std::optional<int64_t> value = whole_number(text);
    if (!value) fail(key, text, "write a whole number");
    return value;
  }

  int threads(const std::string& key) const {
    const int64_t number = integer(key).value_or(0);
    return number == 0 ? 1 : static_cast<int>(number);
  }

  std::optional<Bound> bound(const std::string& key, int64_t unlimited) const {
    if (!parameter(key)) return std::nullopt;
    const std::string text = parameter_text(key);
    const std::vector<std::string> places = split(text, ',');
    Bound bound{{}, places.size() > 1};
    for (const std::string& place : places) {
      const std::optional<int64_t> value = bound.by_place && place.empty() ? unlimited : whole_number(place);
      if (!value) fail(key, text, "write whole numbers");
      bound.values.push_back(*value);
    }
    return bound;
  }

  const Dtype* dtype(const std::string& tensor, const Json& entry) const {
    const std::string type = entry.at("data_type").text();
    const Dtype* found = dtype_of_config(type);
    if (found) return found;
    std::vector<std::string> known;
    for (const Dtype& one : dtypes()) {
      if (!one.config.empty()) known.emplace_back(one.config);
    }
    fail("tensor '" + tensor + "' has data_type " + type + "; use one of " + joined(known, ", "));
  }

  static Shape shape(const Json& axes) {
    Shape result;
    for (const Json& axis : axes.items()) result.push_back(axis.integer(0));
    return result;
  }

  InputSpec input(const Json& entry) const {
    const std::string name = entry.at("name").text();
    InputSpec spec{};
    spec.name = name;
    spec.dtype = dtype(name, entry);
    spec.ragged = entry.at("allow_ragged_batch").is_true();
    if (const Json* reshape = entry.find("reshape")) spec.reshape = shape(reshape->at("shape"));
    spec.minimum = bound("minimum." + name, std::numeric_limits<int64_t>::min());
    spec.maximum = bound("maximum." + name, std::numeric_limits<int64_t>::max());
    spec.missing = parameter("missing." + name) != nullptr;
    spec.min_elements = integer("min_elements." + name);
    spec.max_elements = integer("max_elements." + name);
    spec.max_bytes = integer("max_bytes." + name);
    return spec;
  }

  std::vector<AxisSpec> axes(const ModelSpec& spec) const {
    std::vector<AxisSpec> found;
    for (size_t input = 0; input < spec.inputs.size(); ++input) {
      const std::vector<std::string> names = split(parameter_text("axes." + spec.inputs[input].name), ',');
      for (size_t number = 0; number < names.size(); ++number) {
        const std::string& name = names[number];
        if (name.find_first_not_of("0123456789") == std::string::npos) continue;  // empty, or a fixed size
        axis(found, name).places.push_back({input, number});
      }
    }
    for (AxisSpec& one : found) {
      one.least = integer("least." + one.name).value_or(0);
      one.greatest = integer("greatest." + one.name);
    }
    return found;
  }

  static AxisSpec& axis(std::vector<AxisSpec>& axes, const std::string& name) {
    const auto place = std::find_if(axes.begin(), axes.end(), [&](const AxisSpec& one) { return one.name == name; });
    return place != axes.end() ? *place : axes.emplace_back(AxisSpec{name, 0, std::nullopt, {}});
  }

  size_t input_called(const ModelSpec& spec, const Json& names) const {
    const std::string name = names.items().empty() ? "" : names.items()[0].text();
    for (size_t place = 0; place < spec.inputs.size(); ++place) {
      if (spec.inputs[place].name == name) return place;
    }
    fail("source_input '" + name + "' is no input");
  }

  void add_batch_inputs(ModelSpec& spec, const Json& entry) const {
    for (const Json& target : entry.at("target_name").items()) {
      const std::string name = target.text();
      const auto kind = static_cast<Counted>(place_of_kind(entry));
      spec.batch_inputs.push_back({name, dtype(name, entry), kind, input_called(spec, entry.at("source_input"))});
    }
  }

  OutputSpec output(const ModelSpec& spec, const Json& entry) const {
    OutputSpec output{entry.at("name").text(), nullptr, std::nullopt, std::nullopt};
    output.dtype = dtype(output.name, entry);
    for (const Json& scattered : config_.at("batch_output").items()) {
      for (const Json& target : scattered.at("target_name").items()) {
        if (target.text() == output.name) output.scattered_like = input_called(spec, scattered.at("source_input"));
      }
    }
    if (entry.find("reshape")) output.reshape = shape(entry.at("dims"));
    return output;
  }

  std::optional<int64_t> run_elements(const ModelSpec& spec) const {
    const std::optional<int64_t> found = integer("run_elements");
    if (found && *found < 1) fail("run_elements", std::to_string(*found), "write 1 or more, or leave it out");
    if (found && !spec.ragged()) fail("parameter 'run_elements' needs an input with allow_ragged_batch; leave it out");
    return found;
  }

  GraphLevel graph_level() const {
    const int64_t level = config_.at("optimization").at("graph").at("level").integer(0);
    switch (level) {
      case 0: return GraphLevel::All;
      case -1: return GraphLevel::Basic;
      case 1: return GraphLevel::Extended;
      case 2: return GraphLevel::None;
      default: fail("optimization.graph.level is " + std::to_string(level) + "; use -1, 1, 2 or leave it out");
    }
  }

  const Json& config_;
  std::string name_;
};

}  // namespace

bool ModelSpec::ragged() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const InputSpec& one) { return one.ragged; });
}

ModelSpec ModelSpec::parse(const Json& config) { return Reader(config).model(); }

}  // namespace recserve
