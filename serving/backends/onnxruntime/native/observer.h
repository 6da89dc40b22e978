// What is counted of a version's requests: refusals, scores, and its release. serving/watch/observer.py is the same in
// Python, and keeps a log of requests, which this form of the backend does not.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "packing.h"
#include "prometheus.h"
#include "scores.h"
#include "spec.h"

namespace recserve {

enum class Reason { Invalid, Unavailable, Internal, QueueFull };

class Observer {
 public:
  // Of a version's folder, <model>/<version>. Throws std::exception for a damaged one.
  Observer(const std::string& model, const std::string& version, const std::string& folder);

  void refused(Reason reason) const;
  void answered(const ModelSpec& spec, const Arrays& outputs) const;

 private:
  Series release_;
  std::vector<Series> refused_;
  std::unique_ptr<Scores> scores_;
};

}  // namespace recserve
