// A version of a model, and an instance of it, which answers dynamic batches.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backlog.h"
#include "exchange.h"
#include "observer.h"
#include "onnx.h"
#include "session.h"
#include "spec.h"
#include "triton.h"

namespace recserve {

// What all instances share. They run in one session, which any number of threads may do at once, so that a second
// instance needs no second copy of the weights.
class Model {
 public:
  // Throws std::exception where the configuration asks for what is not supported, or the file cannot be loaded.
  Model(TRITONBACKEND_Model* model, const Onnx& onnx);

  const ModelSpec& spec() const { return spec_; }
  const Session& session() const { return session_; }
  const Observer& observer() const { return observer_; }

  // Nothing where the configuration leaves the bound of the queue to the server.
  std::optional<Backlog> backlog() const;

 private:
  double pending() const;

  TRITONBACKEND_Model* model_;
  std::string name_;
  std::string version_;
  std::string folder_;
  Json config_;
  ModelSpec spec_;
  Session session_;
  Observer observer_;
};

class Instance {
 public:
  Instance(TRITONBACKEND_ModelInstance* instance, const Model& model)
      : instance_(instance), model_(model), backlog_(model.backlog()) {}

  // Answers or refuses each request, and gives it back to the server.
  void execute(std::span<TRITONBACKEND_Request*> requests);

 private:
  struct Times {
    uint64_t begin, compute_begin, compute_end;  // nanoseconds of the steady clock
  };

  bool is_behind(const std::vector<Exchange>& exchanges);
  void respond(std::vector<Exchange>& exchanges, Times& times);
  void refuse(Exchange& exchange, Reason reason, const std::string& text);
  void report(const std::vector<Exchange>& exchanges, int64_t rows, const Times& times) const;

  TRITONBACKEND_ModelInstance* instance_;
  const Model& model_;
  std::optional<Backlog> backlog_;
};

}  // namespace recserve
