// What this backend needs to know of a model's configuration, and the refusal of what it cannot do.
//
// serving/backends/onnxruntime/model_spec.py is the same in Python, and says what each field means.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "types.h"

namespace recserve {

// One number, or one for each place along the only axis beside the batch.
struct Bound {
  std::vector<int64_t> values;
  bool by_place = false;
};

struct InputSpec {
  std::string name;
  const Dtype* dtype;
  bool ragged;
  std::optional<Shape> reshape;
  std::optional<Bound> minimum;
  std::optional<Bound> maximum;
  bool missing;
  std::optional<int64_t> min_elements;
  std::optional<int64_t> max_elements;
  std::optional<int64_t> max_bytes;

  bool bounded() const { return minimum || maximum || min_elements || max_elements; }
};

struct AxisPlace {
  size_t input;   // among the inputs
  size_t number;  // of the axis beside the batch
};

struct AxisSpec {
  std::string name;
  int64_t least;
  std::optional<int64_t> greatest;
  std::vector<AxisPlace> places;
};

enum class Counted { Elements, Accumulated, AccumulatedWithZero, MaxAsShape };

struct BatchInputSpec {
  std::string name;
  const Dtype* dtype;
  Counted kind;
  size_t source;  // among the inputs
};

struct OutputSpec {
  std::string name;
  const Dtype* dtype;
  std::optional<size_t> scattered_like;  // among the inputs
  std::optional<Shape> reshape;
};

enum class GraphLevel { None = 0, Basic = 1, Extended = 2, All = 99 };  // as ONNX Runtime numbers them

struct ModelSpec {
  std::string name;
  int64_t max_batch_size;
  std::vector<InputSpec> inputs;
  std::vector<AxisSpec> axes;
  std::vector<BatchInputSpec> batch_inputs;
  std::vector<OutputSpec> outputs;
  std::string filename;
  int intra_op_threads;
  int inter_op_threads;
  bool parallel;
  std::optional<int64_t> run_elements;
  GraphLevel graph_level;

  bool ragged() const;

  // Throws std::invalid_argument where the configuration asks for what this backend does not do.
  static ModelSpec parse(const Json& config);
};

}  // namespace recserve
