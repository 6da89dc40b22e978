// A version of a model, and an instance of it, which answers dynamic batches.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backlog.h"
#include "exchange.h"
#include "observer.h"
#include "onnx.h"
#include "quarantine.h"
#include "session.h"
#include "spec.h"
#include "triton.h"

namespace recserve {

// What all instances share. They run in one session, which any number of threads may do at once, so that a second
// instance needs no second copy of the weights.
class Model {
 public:
  // Throws std::exception where the configuration asks for what is not supported, or the file cannot be loaded. In the
  // folder `crashes` are records of requests that ended the server; nobody keeps any where it is empty.
  Model(TRITONBACKEND_Model* model, const Onnx& onnx, const std::string& crashes);

  const ModelSpec& spec() const { return spec_; }
  const Session& session() const { return session_; }
  const Observer& observer() const { return observer_; }
  Quarantine* quarantine() const { return quarantine_.get(); }  // null where nobody keeps records

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
  std::unique_ptr<Quarantine> quarantine_;
};

class Instance {
 public:
  Instance(TRITONBACKEND_ModelInstance* instance, const Model& model)
      : instance_(instance),
        model_(model),
        backlog_(model.backlog()),
        flight_(model.quarantine() ? model.quarantine()->flight() : nullptr) {}

  // Answers or refuses each request, and gives it back to the server.
  void execute(std::span<TRITONBACKEND_Request*> requests);

 private:
  struct Times {
    uint64_t begin, compute_begin, compute_end;  // nanoseconds of the steady clock
  };

  // Requests that passed the check, with what is known of their shapes.
  struct Accepted {
    Exchange* exchange;
    const Request* request;
    std::string pattern;  // empty where nobody keeps records
  };

  bool is_behind(const std::vector<Exchange>& exchanges);
  std::string fault_of_request(const Request& request, std::string& pattern) const;
  std::vector<Answer> computed(const std::vector<Accepted>& accepted);
  std::vector<Answer> flown(const std::vector<Accepted>& accepted);
  void respond(std::vector<Exchange>& exchanges, Times& times);
  void refuse(Exchange& exchange, Reason reason, const std::string& text);
  void report(const std::vector<Exchange>& exchanges, int64_t rows, const Times& times) const;

  TRITONBACKEND_ModelInstance* instance_;
  const Model& model_;
  std::optional<Backlog> backlog_;
  std::unique_ptr<Flight> flight_;
};

}  // namespace recserve
