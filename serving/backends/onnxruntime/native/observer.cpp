#include "observer.h"

#include <array>

#include "files.h"
#include "json.h"
#include "words.h"

namespace recserve {

namespace {

constexpr std::array REASONS{"invalid", "unavailable", "internal", "queue_full"};

// The manifest of a version; JSON's null of one that nobody exported here.
Json manifest(const std::string& folder) {
  const std::optional<std::string> content = read_file(folder + "/manifest.json");
  if (!content) return {};
  try {
    Json said = Json::parse(*content);
    return said.at("files").is_object() ? said : Json{};
  } catch (const std::invalid_argument&) {
    return {};
  }
}

// What a release was made of: the names of its runs, or of its source.
std::string run_of(const Json& manifest) {
  std::vector<std::string> runs;
  for (const Json& one : manifest.at("measured").items()) runs.push_back(base_name(one.at("run").text()));
  if (const std::string names = joined(runs, "+"); !names.empty()) return names;
  const Json& source = manifest.at("source");
  const std::string named = source.at("name").text();
  return source.at("kind").text() == "run" ? base_name(named) : named;
}

std::vector<std::string> release(const std::string& model, const std::string& version, const Json& manifest) {
  const Json& identity = manifest.at("identity");
  return {model, version, identity.at("system").text(), identity.at("dataset").text(), run_of(manifest)};
}

}  // namespace

Observer::Observer(const std::string& model, const std::string& version, const std::string& folder)
    : release_(families::RELEASE_INFO, release(model, version, manifest(folder))) {
  release_.set(1);
  for (const char* reason : REASONS) refused_.emplace_back(families::REFUSALS, std::vector<std::string>{model, reason});
  if (std::optional<Reference> reference = Reference::read(folder)) {
    scores_ = std::make_unique<Scores>(model, version, std::move(*reference));
  }
}

void Observer::refused(Reason reason) const { refused_[static_cast<size_t>(reason)].add(1); }

void Observer::answered(const ModelSpec& spec, const Arrays& outputs) const {
  if (!scores_) return;
  for (size_t place = 0; place < outputs.size(); ++place) {
    if (spec.outputs[place].name == scores_->output()) scores_->add(outputs[place]);
  }
}

}  // namespace recserve
