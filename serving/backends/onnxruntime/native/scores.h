// Scores that a model answered, counted by the bins of its release's reference; serving/watch/scores.py is the same in
// Python.

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "prometheus.h"
#include "types.h"

namespace recserve {

// What a release's scores were like when it was made.
struct Reference {
  std::string source;
  std::string output;          // the one whose elements are the scores
  std::vector<double> edges;   // of bins: up to the first, ..., above the last
  std::vector<double> counts;  // one more than edges

  // Of a version's folder; nothing where the release has none. Throws std::runtime_error for a damaged one.
  static std::optional<Reference> read(const std::string& folder);

  std::vector<double> shares() const;
};

class Scores {
 public:
  Scores(const std::string& model, const std::string& version, Reference reference);

  const std::string& output() const { return reference_.output; }

  // The scores of one request.
  void add(const Array& scores);

 private:
  void tell(const std::vector<double>& bins, double not_finite);

  Reference reference_;
  std::vector<double> expected_;
  std::vector<Series> bins_;
  std::vector<Series> buckets_;
  std::vector<Series> gauges_;  // what was expected of each bin, which stays as it is
  Series number_;
  Series not_finite_;
  Series drift_;
  std::mutex mutex_;
  std::vector<double> recent_;
  double requests_ = 0;
};

}  // namespace recserve
