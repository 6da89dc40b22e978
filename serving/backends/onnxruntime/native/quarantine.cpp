#include "quarantine.h"

#include <dirent.h>

#include <cstdlib>
#include <fstream>

#include "files.h"
#include "server.h"
#include "words.h"

namespace recserve {

namespace {

constexpr int MOST = 3;  // times that a pattern may end the server

std::vector<std::string> names_in(const std::string& folder) {
  struct Close {
    void operator()(DIR* one) const { closedir(one); }
  };
  const std::unique_ptr<DIR, Close> opened(opendir(folder.c_str()));
  std::vector<std::string> names;
  while (const dirent* entry = opened ? readdir(opened.get()) : nullptr) names.emplace_back(entry->d_name);
  return names;
}

}  // namespace

Quarantine::Quarantine(std::string folder, const std::string& model, const std::string& version)
    : folder_(std::move(folder)), name_(model + "." + version) {
  read();
  for (const std::string& name : names_in(folder_)) {
    if (name.starts_with(name_ + ".") && name.ends_with(".flight")) count(take_record(folder_ + "/" + name));
  }
  write();
}

std::string Quarantine::pattern_of(const ModelSpec& spec, const Request& request) {
  std::string pattern;
  for (size_t place = 0; place < request.size(); ++place) {
    if (place) pattern += ", ";
    pattern += spec.inputs[place].name + " [";
    for (const int64_t axis : request[place].shape) {
      if (pattern.back() != '[') pattern += ", ";
      pattern += std::to_string(axis);
    }
    pattern += "]";
  }
  return pattern;
}

std::string Quarantine::refusal(const std::string& pattern) const {
  const std::lock_guard lock(mutex_);
  const auto found = crashes_.find(pattern);
  if (found == crashes_.end() || found->second < MOST) return "";
  return "requests of this shape, " + pattern + ", ended the server " + std::to_string(found->second) +
         " times and are refused until it is served anew; export the model again without what ends it";
}

bool Quarantine::is_suspect(const std::string& pattern) const {
  const std::lock_guard lock(mutex_);
  return crashes_.contains(pattern);
}

void Quarantine::acquit(const std::string& pattern) {
  const std::lock_guard lock(mutex_);
  const auto found = crashes_.find(pattern);
  if (found == crashes_.end() || found->second > 0) return;
  crashes_.erase(found);
  write();
}

std::unique_ptr<Flight> Quarantine::flight() {
  const std::lock_guard lock(mutex_);
  return std::make_unique<Flight>(folder_ + "/" + name_ + "." + std::to_string(flights_++) + ".flight");
}

void Quarantine::count(const Crashed& record) {
  if (record.crash == Crash::None) return;
  const bool is_certain = record.crash == Crash::Here && record.patterns.size() == 1;
  for (const std::string& pattern : record.patterns) {
    crashes_[pattern] += is_certain ? 1 : 0;
    warn(name_ + ": the server ended while it computed " + pattern);
  }
}

void Quarantine::read() {
  for (const std::string& line : split(read_file(folder_ + "/" + name_ + ".crashes").value_or(""), '\n')) {
    const size_t at = line.find(' ');
    if (at != std::string::npos) crashes_[line.substr(at + 1)] = std::atoi(line.c_str());
  }
}

void Quarantine::write() const {
  if (crashes_.empty() && !read_file(folder_ + "/" + name_ + ".crashes")) return;
  std::ofstream file(folder_ + "/" + name_ + ".crashes");
  for (const auto& [pattern, number] : crashes_) file << number << ' ' << pattern << '\n';
}

}  // namespace recserve
