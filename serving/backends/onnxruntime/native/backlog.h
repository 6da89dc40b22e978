// A bound on the queue that tritonserver 2.51 does not pay for with its speed; serving/backends/backlog.py is the same in
// Python, and says why and how.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "json.h"

namespace recserve {

class Backlog {
 public:
  using Seconds = std::chrono::duration<double>;
  using Clock = std::function<Seconds()>;
  // How many requests wait for all instances of the model; infinite where nobody can say.
  using Pending = std::function<double()>;

  Backlog(int64_t max_batch_size, double patience_s, Pending pending, int64_t instances, Clock clock);

  // From a configuration; nothing where it leaves the bound to the server. Throws std::invalid_argument.
  static std::optional<Backlog> of(const Json& config, Pending pending);

  // Whether a batch, about to be computed, is to be refused; `rows` of each of its requests.
  bool refuses(const std::vector<int64_t>& rows);
  // To be told when a batch was computed or refused.
  void ended();
  // What a refused request is told.
  std::string reason() const;

 private:
  double wait_s(Seconds now);

  struct Started {
    Seconds at;
    double requests;
  };

  int64_t max_batch_size_;
  double patience_s_;
  Pending pending_;
  double instances_;
  Clock clock_;
  std::optional<Seconds> full_since_;
  std::optional<Seconds> asked_;
  double waiting_ = 0;
  std::optional<double> request_s_;
  std::optional<Started> started_;
};

// How many requests wait for a version of a model by the server's metrics in Prometheus' format; nothing where they do
// not say.
std::optional<double> pending_in(const std::string& metrics, const std::string& model, const std::string& version);

}  // namespace recserve
