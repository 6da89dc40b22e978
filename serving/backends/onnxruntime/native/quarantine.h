// Requests that ended the server, by their shapes: after so many times they are refused, and the rest goes on.
//
// A request that was computed together with others is a suspect when the server ends, and is run alone from then on:
// whoever ends the server alone is the one. Numbers outlive the server in a folder that lives as long as whoever starts
// it again.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "flight.h"
#include "spec.h"

namespace recserve {

class Quarantine {
 public:
  // Of a version of a model. Takes the records that a server left in the folder.
  Quarantine(std::string folder, const std::string& model, const std::string& version);

  // The shapes of a request in words.
  static std::string pattern_of(const ModelSpec& spec, const Request& request);

  // Why requests of a pattern are refused; empty where they are not.
  std::string refusal(const std::string& pattern) const;
  // Whether requests of a pattern are to be run alone.
  bool is_suspect(const std::string& pattern) const;
  // A suspect was answered; one that was never found to be the one is none any more.
  void acquit(const std::string& pattern);

  // A new record, of one instance.
  std::unique_ptr<Flight> flight();

 private:
  void count(const Crashed& record);
  void read();
  void write() const;

  std::string folder_;
  std::string name_;  // <model>.<version>
  mutable std::mutex mutex_;
  std::map<std::string, int> crashes_;  // of each suspect, alone
  int flights_ = 0;
};

}  // namespace recserve
